package rtsp

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pion/rtp"

	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// TestAnotherReaderSharesTheCamera with the viewers of the door: it sees the packets
// as they are, whatever the server writes into those of viewers, and outlives the
// door.
func TestAnotherReaderSharesTheCamera(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := h.pool.Acquire(ctx, upstream.Stream{Device: "dev-1", Channel: 1}, func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	q := upstream.NewQueue(1024, func() {})
	_, detach, err := l.Flow().Attach(q)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()

	mine, err := q.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	body, err := p.packet()
	if err != nil {
		t.Fatal(err)
	}
	var theirs rtp.Packet
	var ours rtp.Packet
	if err := errors.Join(theirs.Unmarshal(body), ours.Unmarshal(mine.Data)); err != nil || theirs.PayloadType != ours.PayloadType {
		t.Fatalf("%v, %v", theirs, err)
	}
	if theirs.SSRC == ours.SSRC {
		t.Error("the door changes the packets of other readers")
	}

	if err := h.Door.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	for closed := time.Now(); mine.NTP.Before(closed); {
		if mine, err = q.Next(ctx); err != nil {
			t.Fatalf("after the door was closed: %v", err)
		}
	}
	if n := camera.Dials.Load(); n != 1 {
		t.Errorf("the camera was dialled %d times", n)
	}
	if packets, bytes := h.streams.delivered(); packets == 0 || bytes < packets {
		t.Errorf("%d packets of %d bytes were delivered", packets, bytes)
	}
}

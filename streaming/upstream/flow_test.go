package upstream

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

// TestReadersOfAnyKind: each gets every packet from when it is attached, in order,
// until it detaches or the camera drops, and hears why.
func TestReadersOfAnyKind(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	first, lease := h.reading(t, "dev-1", 1)
	if medias := lease.Flow().Description().Medias; len(medias) != 1 || medias[0].Type != description.MediaTypeVideo {
		t.Fatalf("the description: %v", medias)
	}
	second := NewQueue(1024, func() {})
	_, detach, err := lease.Flow().Attach(second)
	if err != nil {
		t.Fatal(err)
	}
	number := map[*Queue]uint16{}
	for range 50 {
		for _, q := range []*Queue{first, second} {
			p, err := q.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if last, ok := number[q]; ok && Sequence(p.Data) != last+1 {
				t.Fatalf("packet %d after %d", Sequence(p.Data), last)
			}
			if p.Media != lease.Flow().Description().Medias[0] || time.Since(p.NTP) > time.Minute {
				t.Fatalf("%v at %v", p.Media, p.NTP)
			}
			number[q] = Sequence(p.Data)
		}
	}
	detach()
	for len(second.packets) > 0 { // what came before
		<-second.packets
	}
	camera.Close()
	if err := receive(t, first, 2000); err == nil || errors.Is(err, ErrEnded) {
		t.Errorf("the end that a reader hears of: %v", err)
	}
	select {
	case <-second.ended:
		t.Error("a reader that is detached hears of the end")
	case <-second.packets:
		t.Error("a packet came after detach")
	default:
	}
	if _, _, err := lease.Flow().Attach(second); !errors.Is(err, ErrEnded) {
		t.Errorf("attaching to a flow that has ended: %v", err)
	}
}

// TestDropped: a stream that breaks off is told, with the reason; one that is not wanted any
// more is not.
func TestDropped(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	told := make(chan string, 4)
	h := open(t, camera, func(c *Config) {
		c.CloseAfter = time.Millisecond
		c.Dropped = func(device ids.Device, reason string) { told <- string(device) + " " + reason }
	})
	if err := h.ask("dev-1", 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is left", func() bool { return camera.Open.Load() == 0 })
	h.reading(t, "dev-1", 1)
	camera.Close()
	if got := <-told; got != "dev-1 ended by camera" {
		t.Errorf("%q", got)
	}
	select {
	case more := <-told:
		t.Errorf("%q as well", more)
	default:
	}
}

// TestSilenceIsTheReason that a reader hears.
func TestSilenceIsTheReason(t *testing.T) {
	camera := (&cameratest.Camera{Rate: 1000, Frame: 1_000_000}).Start(t) // a frame in a quarter of an hour
	h := open(t, camera, func(c *Config) { c.SilenceLimit = 300 * time.Millisecond })
	q, _ := h.reading(t, "dev-1", 1)
	if err := receive(t, q, 1); !errors.Is(err, errSilent) {
		t.Errorf("%v, want that it is silent", err)
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
}

// TestASlowReaderHoldsUpNobody: its queue is full, which is reported, and others get
// every packet.
func TestASlowReaderHoldsUpNobody(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	q, lease := h.reading(t, "dev-1", 1)
	var dropped atomic.Int32
	slow := NewQueue(5, func() { dropped.Add(1) })
	_, detach, err := lease.Flow().Attach(slow)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	if err := receive(t, q, 100); err != nil {
		t.Error(err)
	}
	if n := dropped.Load(); n < 50 || len(slow.packets) != 5 {
		t.Errorf("%d packets were dropped, %d are queued", n, len(slow.packets))
	}
}

// TestNothingIsHandedOutWhileNothingIsKnown of what is permitted.
func TestNothingIsHandedOutWhileNothingIsKnown(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *Config) { c.CheckEvery = time.Hour })
	q, _ := h.reading(t, "dev-1", 1)
	if err := receive(t, q, 10); err != nil {
		t.Fatal(err)
	}
	h.devices.setSick(true)
	before := h.droppedFor(DroppedNotLive)
	eventually(t, "a packet is dropped", func() bool { return h.droppedFor(DroppedNotLive) > before })
	for len(q.packets) > 0 { // what came before
		<-q.packets
	}
	eventually(t, "more packets are dropped", func() bool { return h.droppedFor(DroppedNotLive) > before+10 })
	if n := len(q.packets); n != 0 {
		t.Errorf("%d packets were handed out", n)
	}
	h.devices.setSick(false)
	if err := receive(t, q, 10); err != nil {
		t.Errorf("when it is known again: %v", err)
	}
}

// bug is a reader with one.
type bug struct{}

func (bug) Take(Packet) { panic("a bug") }
func (bug) End(error)   {}

// TestAReaderWithABug costs packets, and ends nothing.
func TestAReaderWithABug(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	q, lease := h.reading(t, "dev-1", 1)
	_, detach, err := lease.Flow().Attach(bug{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is counted", func() bool { return h.droppedFor(droppedBroken) > 10 })
	detach()
	if err := receive(t, q, 100); err != nil {
		t.Errorf("another reader: %v", err)
	}
}

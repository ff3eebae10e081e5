package webrtc

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// largePictures is a camera whose pictures have 25 packets: more than is sent at once.
func largePictures() *cameratest.Camera {
	return &cameratest.Camera{Medias: video(), Frame: 30_000, Rate: 750_000, GOP: 10}
}

// TestEveryProfile: viewers with keys and profiles of their own get all of every picture, in
// order, from the same batches.
func TestEveryProfile(t *testing.T) {
	h := open(t, largePictures().Start(t))
	var players []*player
	for _, profile := range []dtls.SRTPProtectionProfile{
		dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM,
	} {
		p := newPlayerOf(t, []dtls.SRTPProtectionProfile{profile})
		h.show(p, annUse, true)
		players = append(players, p)
	}
	for _, p := range players {
		wholePictures(p, 12)
	}
}

// wholePictures fails unless the next pictures come whole, in order, and numbered without a
// gap.
func wholePictures(p *player, pictures int) {
	p.t.Helper()
	last := p.next(p.video)
	for !last.Marker {
		last = p.next(p.video)
	}
	frame, left := uint32(0), 0
	for range pictures * 25 {
		packet := p.next(p.video)
		if packet.SequenceNumber != last.SequenceNumber+1 {
			p.t.Fatalf("packet %d follows %d", packet.SequenceNumber, last.SequenceNumber)
		}
		last = packet
		if packet.Payload[0] == 0x78 {
			continue
		}
		if left == 0 {
			if frame != 0 && frameOf(packet) != frame+1 {
				p.t.Fatalf("picture %d follows %d", frameOf(packet), frame)
			}
			frame, left = frameOf(packet), int(binary.BigEndian.Uint32(packet.Payload[5:]))
		}
		left--
		if frameOf(packet) != frame || len(packet.Payload) != 1200 || packet.Marker != (left == 0) {
			p.t.Fatalf("in picture %d with %d packets left: picture %d, %d bytes, marker %v", frame, left, frameOf(packet), len(packet.Payload), packet.Marker)
		}
	}
}

// TestSentAgainIsTheSameBytes: a number stands for one packet, or the encryption would be
// broken.
func TestSentAgainIsTheSameBytes(t *testing.T) {
	for _, profile := range []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80} {
		h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
		p := newPlayerOf(t, []dtls.SRTPProtectionProfile{profile})
		var mu sync.Mutex
		first, again := map[uint16][]byte{}, 0
		look := func(d []byte) bool {
			if len(d) < 12 || !isRTP(d) {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			number := binary.BigEndian.Uint16(d[2:])
			if before := first[number]; before == nil {
				first[number] = bytes.Clone(d)
			} else if again++; !bytes.Equal(before, d) {
				t.Errorf("packet %d is sent again with other bytes", number)
			}
			return false
		}
		p.socket.lose.Store(&look)
		a := h.show(p, annUse, true)
		v := h.viewers.get(a.ID)
		for range 20 {
			p.next(p.video)
		}
		last := p.next(p.video)
		lost := &rtcp.TransportLayerNack{MediaSSRC: last.SSRC, Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{
			last.SequenceNumber - 1, last.SequenceNumber - 4, last.SequenceNumber - 15, last.SequenceNumber,
		})}
		eventually(t, "what was asked for", func() bool {
			if err := p.WriteRTCP([]rtcp.Packet{lost}); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			return again >= 8
		})
		if v.ending.Load() != nil {
			t.Error("the viewer has ended")
		}
	}
}

// TestCutLeavesTheOthers: viewers who are sent to together end one by one.
func TestCutLeavesTheOthers(t *testing.T) {
	h := open(t, largePictures().Start(t))
	var players []*player
	var viewers []*viewer
	for range 6 {
		p, a := h.watch(annUse)
		p.next(p.video)
		players, viewers = append(players, p), append(viewers, h.viewers.get(a.ID))
	}
	for n, v := range viewers[:3] {
		v.permit.Revoke(access.Ended)
		if err := h.AwaitCuts(t.Context()); err != nil {
			t.Fatal(err)
		}
		players[n].nothing()
	}
	for _, p := range players[3:] {
		for len(p.video) > 0 {
			<-p.video
		}
		wholePictures(p, 3)
	}
}

// quietFan is a fan that sends to nobody by itself.
func quietFan(t *testing.T) *fan {
	t.Helper()
	b, err := newBatch(loopback(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return &fan{wake: make(chan struct{}, 1), batch: b}
}

// TestPartingSendsTheBatchFirst: what was permitted is sent before the cut is over, and
// nothing after it.
func TestPartingSendsTheBatchFirst(t *testing.T) {
	f, to := quietFan(t), loopback(t)
	v := &viewer{fan: f}
	add := func() { f.batch.add(&guard{viewer: v}, []byte("a packet"), to.LocalAddr()) }
	f.with(v, add)
	f.part(v)
	f.with(v, add)
	if n := len(f.batch.runs); n != 0 {
		t.Errorf("%d runs wait after the cut", n)
	}
	if got := datagramsOf(t, to, 1); string(got[0]) != "a packet" {
		t.Errorf("%q was sent", got[0])
	}
}

// datagramsOf returns the next datagrams of a socket.
func datagramsOf(t *testing.T, c *net.UDPConn, n int) (list [][]byte) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for range n {
		data := make([]byte, 2048)
		n, err := c.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, data[:n])
	}
	return list
}

// TestBatch: each packet arrives as it was, where it belongs, in order; whether the kernel
// cuts up datagrams or not, and also while a viewer's address changes.
func TestBatch(t *testing.T) {
	for _, alone := range []bool{false, true} {
		from := loopback(t)
		b, err := newBatch(from)
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		sockets := []*net.UDPConn{loopback(t), loopback(t), loopback(t)}
		guards := []*guard{{alone: alone}, {alone: alone}}
		want := make([][][]byte, len(sockets))
		add := func(g, socket, size int) {
			p := bytes.Repeat([]byte{byte(len(want[socket]))}, size)
			want[socket] = append(want[socket], p)
			b.add(guards[g], p, sockets[socket].LocalAddr())
		}
		for range 3 {
			for range 5 { // a picture, and its end
				add(0, 0, 1400)
			}
			add(0, 0, 300)
			add(0, 0, 500) // is longer
			add(1, 1, 500)
			for n := range 2 * maxMessages { // more than one call sends
				add(n%2, n%2, 100)
			}
			add(0, 2, 1000) // the viewer has another address now
			add(0, 2, 1000)
		}
		b.flush()
		for n, s := range sockets {
			got := datagramsOf(t, s, len(want[n]))
			if !slices.EqualFunc(got, want[n], bytes.Equal) {
				t.Errorf("alone is %v: socket %d received other packets", alone, n)
			}
		}
	}
}

// TestPicturesAreGivenTogether: at their ends, large ones in parts, sound at once; of a camera
// that does not mark the ends, each packet.
func TestPicturesAreGivenTogether(t *testing.T) {
	f := quietFan(t)
	v := &viewer{fan: f}
	st := &stream{
		video: 0, audio: 1, marks: newMarker(h264Format), formats: append(picture().Formats, sound().Formats...),
		fans: []*fan{f}, now: &burst{}, viewers: []*viewer{v},
	}
	v.box.start([]*burst{{}})
	v.box.take()
	number := uint16(0)
	take := func(track int, timestamp uint32, marker bool, size int) (given []int) {
		number++
		kind := []uint8{96, 0}[track]
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: kind, SequenceNumber: number, Timestamp: timestamp, Marker: marker}, Payload: make([]byte, size)}
		p.Payload[0] = 0x41
		data, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		st.collect(upstream.Packet{Track: track, Data: data}, track == 0 && (!st.begun || timestamp != st.picture))
		for list, more := v.box.take(); len(list) > 0; list, more = v.box.take() {
			for _, b := range list {
				given = append(given, len(b.pieces))
			}
			if !more {
				break
			}
		}
		return given
	}
	for n, c := range []struct {
		track     int
		timestamp uint32
		marker    bool
		size      int
		want      []int
	}{
		{0, 1, false, 1000, nil}, {1, 7, false, 160, []int{1}}, {0, 1, false, 1000, nil}, {0, 1, true, 1000, []int{3}},
		{0, 2, true, 1000, []int{1}},
		{0, 3, false, 1000, nil}, {0, 4, false, 1000, []int{1, 1}}, {0, 4, true, 1000, []int{1}}, // the end was lost
		{0, 5, false, 1000, nil}, {0, 5, true, 1000, []int{2}},
	} {
		if got := take(c.track, c.timestamp, c.marker, c.size); !slices.Equal(got, c.want) {
			t.Errorf("packet %d gives %v, want %v", n, got, c.want)
		}
	}
	for n := range maxTurn / 1000 {
		if got := take(0, 6, false, 1000); len(got) != 0 {
			t.Errorf("packet %d of a large picture gives %v", n, got)
		}
	}
	if got := take(0, 6, false, 1000); !slices.Equal(got, []int{maxTurn/1000 + 1}) {
		t.Errorf("a large picture is not given in parts: %v", got)
	}
}

// loopback opens a socket.
func loopback(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

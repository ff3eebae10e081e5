package upstream

import (
	"encoding/binary"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/cameratest"
)

// packetOf makes an RTP packet.
func packetOf(seq uint16, ts uint32, payload ...byte) Packet {
	b := []byte{0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	return Packet{Data: append(b, payload...)}
}

func cacheOf(f format.Format) *cache {
	return newCache(&description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}}, &space{})
}

// numbers are the sequence numbers that are cached.
func (c *cache) numbers() []uint16 {
	var list []uint16
	for _, p := range c.gop().Packets {
		list = append(list, Sequence(p.Data))
	}
	return list
}

// TestTheCacheBeginsWithAKeyFrame and the parameter sets before it, however they are
// packed.
func TestTheCacheBeginsWithAKeyFrame(t *testing.T) {
	h264, h265 := &format.H264{PacketizationMode: 1}, &format.H265{}
	type unit struct {
		ts      uint32
		payload []byte
	}
	for name, c := range map[string]struct {
		f     format.Format
		units []unit
		want  uint16 // the first one cached; 0: none
	}{
		"IDR":                  {h264, []unit{{1, []byte{0x41, 1}}, {2, []byte{0x65, 1}}, {2, []byte{0x65, 2}}, {3, []byte{0x41, 1}}}, 2},
		"parameter sets first": {h264, []unit{{1, []byte{0x41, 1}}, {2, []byte{9, 16}}, {2, []byte{0x67, 1}}, {2, []byte{0x68, 1}}, {2, []byte{0x65, 1}}, {3, []byte{0x41, 1}}}, 2},
		"with their own time":  {h264, []unit{{1, []byte{0x41, 1}}, {2, []byte{0x67, 1}}, {3, []byte{0x68, 1}}, {4, []byte{0x65, 1}}, {5, []byte{0x41, 1}}}, 2},
		"STAP-A":               {h264, []unit{{1, []byte{0x41, 1}}, {2, []byte{24, 0, 2, 0x67, 1, 0, 2, 0x65, 1}}, {3, []byte{0x41, 1}}}, 2},
		"FU-A":                 {h264, []unit{{1, []byte{0x41, 1}}, {2, []byte{28, 0x85, 1}}, {2, []byte{28, 0x05, 1}}, {2, []byte{28, 0x45, 1}}, {3, []byte{0x41, 1}}}, 2},
		"the second GOP":       {h264, []unit{{1, []byte{0x65, 1}}, {2, []byte{0x41, 1}}, {3, []byte{0x65, 1}}, {4, []byte{0x41, 1}}}, 3},
		"no key frame":         {h264, []unit{{1, []byte{0x41, 1}}, {2, []byte{0x41, 1}}}, 0},
		"an aggregate lies":    {h264, []unit{{1, []byte{24, 0xff, 0xff, 0x65}}, {2, []byte{24}}, {3, []byte{28}}}, 0},
		"H.265":                {h265, []unit{{1, []byte{2, 1, 1}}, {2, []byte{0x40, 1, 1}}, {2, []byte{0x42, 1, 1}}, {2, []byte{0x26, 1, 1}}, {3, []byte{2, 1, 1}}}, 2},
		"H.265 AP":             {h265, []unit{{1, []byte{2, 1, 1}}, {2, []byte{0x60, 1, 0, 3, 0x40, 1, 1, 0, 3, 0x26, 1, 1}}, {3, []byte{2, 1, 1}}}, 2},
		"H.265 FU":             {h265, []unit{{1, []byte{2, 1, 1}}, {2, []byte{0x62, 1, 0x93, 1}}, {2, []byte{0x62, 1, 0x53, 1}}, {3, []byte{2, 1, 1}}}, 2},
		"MJPEG":                {&format.MJPEG{}, []unit{{1, []byte{0, 0, 0, 0, 1}}, {1, []byte{0, 0, 9, 0, 1}}, {2, []byte{0, 0, 0, 0, 1}}, {2, []byte{0, 0, 9, 0, 1}}}, 3},
		"unknown":              {&format.VP8{}, []unit{{1, []byte{0x10, 1}}, {2, []byte{0x10, 1}}}, 0},
	} {
		cache := cacheOf(c.f)
		for n, u := range c.units {
			cache.add(packetOf(uint16(n+1), u.ts, u.payload...))
		}
		got := cache.numbers()
		if c.want == 0 {
			if len(got) != 0 {
				t.Errorf("%s: %v is cached", name, got)
			}
			continue
		}
		if len(got) != len(c.units)-int(c.want)+1 || got[0] != c.want {
			t.Errorf("%s: %v is cached, want %d and what follows", name, got, c.want)
		}
	}
}

// video is a stream of one video track.
type video struct {
	*Flow
	seq uint16
	ts  uint32
}

func newVideo(s *space) *video {
	return &video{Flow: newFlow(&description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{}}}}}, s)}
}

// play plays a picture of some MiB.
func (v *video) play(kind byte, size int) {
	for left := size << 20; left > 0; left -= 1400 {
		v.seq++
		v.hand(packetOf(v.seq, v.ts, append([]byte{kind}, make([]byte, 1400)...)...))
	}
	v.ts += 3600
}

// cached reports how many packets are cached, and whether the flow says that the GOP is
// too long.
func (v *video) cached() (packets int, tooLong bool) {
	return len(v.GOP(0).Packets), v.facts.seen().Video.GOPTooLong
}

// TestALongGOPIsNotCached, which the flow says until a whole one has fitted again.
func TestALongGOPIsNotCached(t *testing.T) {
	v := newVideo(&space{})
	v.play(0x65, 3)
	v.play(0x41, 4)
	if n, tooLong := v.cached(); tooLong || n == 0 {
		t.Fatal("a GOP that fits is not cached")
	}
	held := v.GOP(0)
	v.play(0x41, 2)
	v.play(0x41, 2)
	if n, tooLong := v.cached(); !tooLong || n != 0 {
		t.Error("a GOP that is too long is cached")
	}
	v.play(0x65, 1)
	v.play(0x41, 1)
	if n, tooLong := v.cached(); !tooLong || n < 1400 {
		t.Errorf("of the next one %d packets are cached; too long before: %v", n, tooLong)
	}
	v.play(0x65, 1)
	if n, tooLong := v.cached(); tooLong || n == 0 {
		t.Errorf("of the one after that %d packets are cached; too long: %v", n, tooLong)
	}
	if Sequence(held.Packets[0].Data) != 1 {
		t.Error("what a viewer has was changed")
	}
}

// TestTinyPackets: a camera that sends only such fills no more memory.
func TestTinyPackets(t *testing.T) {
	s := &space{}
	v := newVideo(s)
	v.play(0x65, 1)
	tiny := make([]byte, 14)
	copy(tiny, []byte{0x80, 96})
	tiny[12] = 0x41
	for n := range MaxGOP / len(tiny) / 2 {
		v.hand(Packet{Data: tiny})
		if used := s.used.Load(); used > MaxGOP || len(v.GOP(0).Packets) > MaxGOP/packetCost {
			t.Fatalf("%d bytes and %d packets are cached after %d", used, len(v.GOP(0).Packets), n)
		}
	}
	if n, tooLong := v.cached(); !tooLong || n != 0 {
		t.Errorf("%d packets are cached, too long: %v", n, tooLong)
	}
}

// TestAChannelSharesItsSpace: what one stream has cached is missing for the other, until it
// is let go.
func TestAChannelSharesItsSpace(t *testing.T) {
	s := &space{}
	main, sub := newVideo(s), newVideo(s)
	main.play(0x65, 5)
	sub.play(0x65, 2)
	sub.play(0x41, 2)
	if n, tooLong := sub.cached(); n != 0 || !tooLong {
		t.Errorf("%d packets of a GOP that does not fit are cached; too long: %v", n, tooLong)
	}
	if n, tooLong := main.cached(); n == 0 || tooLong {
		t.Errorf("of the other stream %d packets are cached; too long: %v", n, tooLong)
	}
	main.play(0x65, 1)
	sub.play(0x65, 4)
	sub.play(0x65, 4)
	if n, tooLong := sub.cached(); n == 0 || tooLong {
		t.Errorf("%d packets of a GOP that fits again are cached; too long: %v", n, tooLong)
	}
	sub.end(nil)
	main.play(0x41, 6)
	if n, tooLong := main.cached(); n == 0 || tooLong {
		t.Errorf("%d packets are cached after the other stream has ended; too long: %v", n, tooLong)
	}
	sub.play(0x65, 1) // late
	main.end(nil)
	if used := s.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

// TestTwoLongStreams: which of them was not cached is told whenever it is looked, also after
// the end, and whatever comes after that.
func TestTwoLongStreams(t *testing.T) {
	s := &space{}
	main, sub := newVideo(s), newVideo(s)
	for range 5 {
		main.play(0x65, 1)
		sub.play(0x65, 1)
		for range 4 {
			main.play(0x41, 1)
			sub.play(0x41, 1)
		}
	}
	sub.play(0x65, 1)
	if _, tooLong := sub.cached(); !tooLong {
		t.Error("nothing is told at a key frame")
	}
	sub.end(nil)
	for range 3 {
		sub.play(0x65, 1)
	}
	if _, tooLong := sub.cached(); !tooLong {
		t.Error("nothing is told after the end")
	}
	main.end(nil)
}

// TestTheStreamsOfAChannelHaveOneSpace, whether they are pulled or published; another
// channel has its own.
func TestTheStreamsOfAChannelHaveOneSpace(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	_, lease := h.reading(t, "dev-1", 1)
	of := Stream{"dev-1", 1, Sub}
	pub, err := h.Publish(t.Context(), of, &description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.End()
	h.mu.Lock()
	sub, other := h.streams[of].flowing, h.upstream(Stream{"dev-1", 2, Main})
	h.mu.Unlock()
	space := lease.Flow().caches[0].space
	if space == nil || sub.caches[0].space != space || other.space == space {
		t.Errorf("main %p, sub %p, another channel %p", space, sub.caches[0].space, other.space)
	}
}

// TestSqueezedTimestamps keep their order, end where the camera is, and take 40 ms.
func TestSqueezedTimestamps(t *testing.T) {
	for name, c := range map[string]struct {
		from     uint32
		pictures []int32 // in the order of decoding, numbered in that of display
		next     int32   // the first one that follows in display
	}{
		"one picture":             {1000, []int32{0}, 1},
		"no B-frames":             {1000, series(50), 50},
		"across the wrap":         {0xffff0000, series(50), 50},
		"B-frames":                {1000, []int32{0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12}, 10},
		"B-frames, in between":    {1000, []int32{0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10}, 11},
		"leading pictures":        {1000, []int32{2, 0, 1, 5, 3, 4, 8, 6, 7, 11}, 9},
		"a GOP of twenty minutes": {1000, series(30000), 30000},
	} {
		g := GOP{clockRate: 90000}
		for n, at := range c.pictures {
			g.Packets = append(g.Packets, packetOf(uint16(n), c.from+uint32(at*3600)))
		}
		s := g.Squeeze()
		mapped := map[int32]int32{}
		oldest := int32(0)
		for _, at := range c.pictures {
			mapped[at] = int32(s.Map(c.from+uint32(at*3600)) - c.from)
			if mapped[at] < mapped[oldest] {
				oldest = at
			}
		}
		for _, at := range c.pictures {
			if before, ok := mapped[at-1]; ok && mapped[at] <= before {
				t.Fatalf("%s: picture %d is at %d, the one before it at %d", name, at, mapped[at], before)
			}
			if at < c.next && mapped[at] >= c.next*3600 {
				t.Errorf("%s: picture %d is at %d, though the next one is at %d", name, at, mapped[at], c.next*3600)
			}
			if at > c.next && mapped[at] != at*3600 {
				t.Errorf("%s: picture %d, which is still due, is moved to %d", name, at, mapped[at])
			}
		}
		if took := c.next*3600 - mapped[oldest]; took > 3600*4+int32(len(c.pictures)) {
			t.Errorf("%s: the pictures take %d ticks", name, took)
		}
	}
}

func series(n int32) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

func FuzzCache(f *testing.F) {
	f.Add([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x65, 1}, byte(0))
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x10, 0, 0, 0, 24, 0, 2, 0x67, 1}, byte(0))
	f.Add([]byte{0xb0, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x62, 1, 0x93, 1}, byte(1))
	f.Add([]byte{0x80, 26, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0}, byte(2))
	f.Fuzz(func(t *testing.T, data []byte, codec byte) {
		if len(data) < 12 {
			return
		}
		c := cacheOf([]format.Format{&format.H264{}, &format.H265{}, &format.MJPEG{}}[codec%3])
		for n := range 4 {
			p := Packet{Data: append([]byte{}, data...)}
			p.Data[3] += byte(n)
			p.Data[7] += byte(n / 2)
			c.add(p)
		}
		g := c.gop()
		if s := g.Squeeze(); len(g.Packets) > 0 {
			if last := Timestamp(g.Packets[len(g.Packets)-1].Data); int32(s.live-s.Map(last)) > 90*burst+4 {
				t.Errorf("timestamp %d became %d, live is %d", last, s.Map(last), s.live)
			}
		}
		if n := len(g.Until(Sequence(data)).Packets); n > len(g.Packets) {
			t.Errorf("%d packets of %d", n, len(g.Packets))
		}
	})
}

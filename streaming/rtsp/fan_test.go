package rtsp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// incoming is a packet that a player received.
type incoming struct {
	channel int // 2n: RTP of track n; 2n+1: its RTCP
	at      time.Time
	data    []byte
	rtp     rtp.Packet
}

// next reads a packet of RTP or RTCP. Responses are no packets.
func (p *player) next(t testing.TB) incoming {
	t.Helper()
	in := incoming{}
	if p.udp[0] == nil {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		var head [4]byte
		if _, err := io.ReadFull(p.in, head[:]); err != nil {
			t.Fatal(err)
		}
		if head[0] != '$' {
			t.Fatalf("the framing is broken: %q", head)
		}
		in.channel, in.data = int(head[1]), make([]byte, int(head[2])<<8|int(head[3]))
		if _, err := io.ReadFull(p.in, in.data); err != nil {
			t.Fatal(err)
		}
	} else {
		in.data = make([]byte, 2048)
		for deadline := time.Now().Add(patience); ; {
			_ = p.udp[in.channel].SetReadDeadline(time.Now().Add(time.Millisecond))
			n, err := p.udp[in.channel].Read(in.data)
			if err == nil {
				in.data = in.data[:n]
				break
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(deadline) {
				t.Fatal(err)
			}
			in.channel ^= 1
		}
	}
	in.at = time.Now()
	if in.channel%2 == 0 {
		if err := in.rtp.Unmarshal(in.data); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// picture returns the number of a packet's picture, and how many packets that has.
func (in incoming) picture() (number, packets uint32) {
	return binary.BigEndian.Uint32(in.rtp.Payload[1:]), binary.BigEndian.Uint32(in.rtp.Payload[5:])
}

// TestANewViewerCatchesUp: it gets what was played since the last key frame, at once, and
// is then where the camera is. RTP-Info and the reports fit what it gets.
func TestANewViewerCatchesUp(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			cam := (&cameratest.Camera{GOP: 40}).Start(t)
			h := open(t, cam)
			first := h.watching(t, "/dev-1/1", annKey, transport)
			for key, n := uint32(0), uint32(0); key == 0 || n < key+20; { // the cache has that many pictures
				if in := first.next(t); in.channel == 0 {
					if n, _ = in.picture(); in.rtp.Payload[0] == 0x65 && key == 0 {
						key = n
					}
				}
			}
			p := h.player(t, "/dev-1/1", annKey)
			if _, err := p.describe(); err != nil {
				t.Fatal(err)
			}
			setup, err := p.setup(transport)
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.play()
			if err != nil || r.status != 200 {
				t.Fatal(r, err)
			}
			p.catchesUp(t, cam, r, setup)
		})
	}
}

func (p *player) catchesUp(t *testing.T, cam *cameratest.Camera, play, setup *reply) {
	t.Helper()
	var info headers.RTPInfo
	var transport headers.Transport
	if err := errors.Join(info.Unmarshal(play.header["Rtp-Info"]), transport.Unmarshal(setup.header["Transport"])); err != nil {
		t.Fatal(err)
	}
	in := p.next(t)
	if e := info[0]; e.SequenceNumber == nil || *e.SequenceNumber != in.rtp.SequenceNumber || *e.Timestamp != in.rtp.Timestamp {
		t.Errorf("RTP-Info %v; the first packet has %d and %d", play.header["Rtp-Info"], in.rtp.SequenceNumber, in.rtp.Timestamp)
	}
	if n, _ := in.picture(); in.rtp.Payload[0] != 0x65 {
		t.Errorf("it begins with picture %d, which is no key frame", n)
	}
	began, number, packets, octets, reports := in.rtp.Timestamp, in.rtp.SequenceNumber, uint32(0), uint32(0), 0
	picture, _ := in.picture()
	last := began
	for live := 0; live < 25; in = p.next(t) {
		if in.channel == 1 {
			reports++
			p.reportFits(t, cam, in, *transport.SSRC, packets, octets, picture)
			continue
		}
		if in.rtp.SequenceNumber != number || in.rtp.SSRC != *transport.SSRC {
			t.Fatalf("packet %d of %x, want %d of %x", in.rtp.SequenceNumber, in.rtp.SSRC, number, *transport.SSRC)
		}
		number++
		packets++
		octets += uint32(len(in.rtp.Payload))
		n, _ := in.picture()
		if n == picture {
			continue
		}
		step := in.rtp.Timestamp - last
		switch {
		case n != picture+1 || step == 0 || step > 3600:
			t.Fatalf("picture %d is %d after picture %d", n, step, picture)
		case step == 3600:
			live++
		case live > 1:
			t.Fatalf("picture %d is squeezed after live ones", n)
		case in.rtp.Timestamp-began > 90*45:
			t.Fatalf("the squeezed pictures take %d", in.rtp.Timestamp-began)
		}
		picture, last = n, in.rtp.Timestamp
	}
	if reports == 0 {
		t.Error("there was no sender report")
	}
}

// reportFits checks a report against what came before it: over UDP what came after it may
// have been read before.
func (p *player) reportFits(t *testing.T, cam *cameratest.Camera, in incoming, ssrc, packets, octets, picture uint32) {
	t.Helper()
	list, err := rtcp.Unmarshal(in.data)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := list[0].(*rtcp.SenderReport)
	if !ok || r.SSRC != ssrc {
		t.Fatalf("%v, want a sender report of %x", list[0], ssrc)
	}
	if p.udp[0] == nil && (r.PacketCount != packets || r.OctetCount != octets) {
		t.Errorf("the report counts %d packets of %d bytes, want %d of %d", r.PacketCount, r.OctetCount, packets, octets)
	}
	wall := time.Unix(int64(r.NTPTime>>32)-2208988800, int64((r.NTPTime&0xffffffff)*1e9>>32))
	off := int64(int32(r.RTPTime-3600*picture)/90) - wall.Sub(cam.SentAt(picture)).Milliseconds()
	if off < -1000 || off > 1000 { // on a busy machine it may have come late
		t.Errorf("the report is %d ms from the camera's clock", off)
	}
}

// TestASlowViewerLosesWholePictures: each picture that it gets is whole, and after a loss
// the next one is a key frame.
func TestASlowViewerLosesWholePictures(t *testing.T) {
	h := open(t, (&cameratest.Camera{Rate: 4_000_000, Frame: 100_000, GOP: 10}).Start(t))
	h.maxLag = time.Second
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	var have, losses, pictures uint32
	var current, want uint32
	until := time.Now().Add(patience)
	for n := 0; losses == 0 || have != 0; n++ {
		if time.Now().After(until) {
			t.Fatalf("%d losses in %d pictures", losses, pictures)
		}
		if n%100 == 0 {
			time.Sleep(60 * time.Millisecond) // 2 MB/s at most
		}
		in := p.next(t)
		if in.channel != 0 {
			continue
		}
		number, packets := in.picture()
		if have == 0 {
			if pictures > 0 && number != current+1 {
				losses++
				if in.rtp.Payload[0] != 0x65 {
					t.Fatalf("picture %d follows %d, and is no key frame", number, current)
				}
			}
			current, want, pictures = number, packets, pictures+1
		}
		if number != current {
			t.Fatalf("picture %d has %d of %d packets", current, have, want)
		}
		if have++; have == want {
			have = 0
		}
	}
	if h.dropped(t, "viewer queue") == 0 {
		t.Error("what was lost is not counted")
	}
}

// stuck is the way of a viewer that takes nothing.
type stuck struct{}

func (stuck) size(b *burst, _ *sub) int                 { return len(b.data) }
func (stuck) send(_ *burst, _ *sub, n int) (int, error) { return n, nil }
func (stuck) rest(*burst, *sub, int) []byte             { return nil }
func (stuck) probing() bool                             { return false }
func (stuck) giveUp()                                   {}

// TestAResponseIsNoLag: a viewer whose queue begins with a response is not behind by the
// age of the door.
func TestAResponseIsNoLag(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	o := &outbox{door: h.Door, way: stuck{}, subs: []sub{{on: true, report: math.MaxInt64}}, quiet: true}
	t.Cleanup(o.close)
	picture := func(at int64) *burst {
		return &burst{video: true, first: true, data: make([]byte, 100), ends: []int32{100}, at: at}
	}
	now := monotonic()
	if what, _ := o.offer(picture(now), nil); what != begun {
		t.Fatalf("the first picture: %d", what)
	}
	if _, err := o.respond([]byte("RTSP/1.0 200 OK\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if what, _ := o.offer(picture(now+int64(h.maxLag)), nil); what != taken {
		t.Errorf("the picture after a response: %d", what)
	}
}

// TestNothingFollowsACutOfASlowViewer: what waits in its outbox is not sent.
func TestNothingFollowsACutOfASlowViewer(t *testing.T) {
	h := open(t, (&cameratest.Camera{Rate: 4_000_000, Frame: 100_000, GOP: 10}).Start(t))
	for range 3 {
		p := h.watching(t, "/dev-1/1", annKey, "tcp")
		v := h.viewers.list()[0]
		eventually(t, "packets wait for the viewer", func() bool {
			v.box.mu.Lock()
			defer v.box.mu.Unlock()
			return len(v.box.queue) > 3
		})
		h.grants.remove("ann", "dev-1")
		h.recheck(t, "ann", "dev-1", "")
		sent := v.wire.tcp.pace.sent
		if n, err := p.drain(); n > 128<<10 {
			t.Errorf("%d bytes were drained after the cut: %v", n, err)
		}
		if after := v.wire.tcp.pace.sent; after != sent {
			t.Errorf("%d bytes were sent after the cut", after-sent)
		}
		h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
		eventually(t, "the viewer is gone", func() bool { return h.viewers.count() == 0 })
	}
}

// TestChannelsAreTheViewersOwn: each gets its packets on the channels that it asked for, a
// paused one gets nothing, and continues with the camera.
func TestChannelsAreTheViewersOwn(t *testing.T) {
	sound := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{
		&format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1},
	}}
	h := open(t, (&cameratest.Camera{Medias: []*description.Media{cameratest.Video(), sound}}).Start(t))
	for _, base := range []int{0, 10, 20} {
		p := h.player(t, "/dev-1/1", annKey)
		if _, err := p.describe(); err != nil {
			t.Fatal(err)
		}
		for track, control := range p.controls {
			channel := base + 2*(1-track) // the other way round
			if r, err := p.do("SETUP", control, fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d", channel, channel+1)); err != nil || r.status != 200 {
				t.Fatal(r, err)
			}
		}
		for range 2 {
			r, err := p.play()
			if err != nil || r.status != 200 || strings.Count(r.header.Get("Rtp-Info"), "rtptime=") != 2 {
				t.Fatal(r, err)
			}
			for seen := map[int]int{}; seen[base] < 3 || seen[base+2] < 30; {
				in := p.next(t)
				seen[in.channel]++
				if want := map[int]uint8{base + 2: 96, base: 8}[in.channel]; in.channel%2 == 0 && in.rtp.PayloadType != want {
					t.Fatalf("payload type %d on channel %d", in.rtp.PayloadType, in.channel)
				}
			}
			if r, err := p.do("PAUSE", p.url); err != nil || r.status != 200 {
				t.Fatal(r, err)
			}
			if !p.silent(t) {
				t.Error("packets come though it is paused")
			}
		}
		p.close()
	}
}

// TestTheFirstPictureReachesTheFirstViewer: a camera may send it together with its response
// to PLAY, before anybody can read it here, and nothing more for long.
func TestTheFirstPictureReachesTheFirstViewer(t *testing.T) {
	for _, early := range []int{1, 2} { // packets with the response, of 2
		for try := range 5 {
			t.Run(fmt.Sprint(early, " of 2, ", try), func(t *testing.T) {
				watched := make(chan struct{})
				h := open(t, nil)
				h.sources.set("dev-1", 1, upstream.Main, upstream.Source{URL: "rtsp://" + earlyCamera(t, early, watched) + "/x"})
				p := h.watching(t, "/dev-1/1", annKey, "tcp")
				close(watched)
				_ = p.conn.SetReadDeadline(time.Now().Add(patience))
				for n := 0; n < 2; {
					data, err := p.packet()
					if err != nil {
						t.Fatalf("packet %d: %v", n, err)
					}
					if data[1]&0x7f != 96 { // a report
						continue
					}
					if got := data[13] >> 6; got != byte(2>>n) {
						t.Fatalf("packet %d has the marks %b", n, got)
					}
					n++
				}
			})
		}
	}
}

// earlyCamera returns the address of a camera that sends a key picture of two packets: so
// many with its response to PLAY, the rest when somebody watches.
func earlyCamera(t *testing.T, early int, watched <-chan struct{}) string {
	picture := func(from, to int) (text string) {
		for n := from; n < to; n++ {
			p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: uint16(n), Timestamp: 9000, SSRC: 1, Marker: n == 1}}
			p.Payload = []byte{0x7c, byte(0x80>>n | 5), 1, 2, 3} // the begin and the end of an IDR picture
			data, err := p.Marshal()
			if err != nil {
				t.Error(err)
			}
			text += string([]byte{'$', 0, 0, byte(len(data))}) + string(data)
		}
		return text
	}
	return cameratest.Listen(t, func(conn net.Conn) {
		cameratest.Script(conn, func(method, cseq string) string {
			ok := "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: 1\r\n"
			switch method {
			case "DESCRIBE":
				return cameratest.WithSDP(cseq, cameratest.SDP)
			case "SETUP":
				return ok + "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
			case "PLAY":
				go func() {
					select {
					case <-watched:
						_, _ = io.WriteString(conn, picture(early, 2))
					case <-t.Context().Done():
					}
				}()
				return ok + "\r\n" + picture(0, early)
			}
			return ok + "\r\n"
		})
	})
}

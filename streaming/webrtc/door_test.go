package webrtc

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// h264Format has parameter sets, which cameratest does not send between the pictures.
var h264Format = &format.H264{
	PayloadTyp: 96, PacketizationMode: 1,
	SPS: []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x3d, 0x08},
	PPS: []byte{0x68, 0xee, 0x3c, 0x80},
}

func picture() *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{h264Format}}
}

func video() []*description.Media { return []*description.Media{picture()} }

// sound is G.711 as cameras send it.
func sound() *description.Media {
	return &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{
		&format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1},
	}}
}

func TestPictureAndSoundArrive(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: []*description.Media{picture(), sound()}}).Start(t))
	p, _ := h.watch(annUse)
	sets := p.next(p.video)
	if want := aggregate([]byte{0x78}, h264Format.SPS, h264Format.PPS); string(sets.Payload) != string(want) {
		t.Errorf("it begins with %x, want the parameter sets %x", sets.Payload, want)
	}
	number := sets.SequenceNumber
	for range 20 {
		packet := p.next(p.video)
		if step := packet.SequenceNumber - number; step == 0 || step > 2 { // the camera counts its sound, too
			t.Errorf("packet %d follows %d", packet.SequenceNumber, number)
		}
		number = packet.SequenceNumber
		if packet.Payload[0] == 0x78 {
			continue
		}
		if packet.Payload[0] != 0x65 || len(packet.Payload) != 1200 {
			t.Errorf("it is changed: %x", packet.Payload[:8])
		}
	}
	if packet := p.next(p.audio); packet.PayloadType != 0 {
		t.Errorf("the sound has the payload type %d, want 0: PCMU", packet.PayloadType)
	}
	in := h.permits.InUse("dev-1")
	if len(in) != 1 || in[0].Transport != "webrtc" || in[0].Address != annUse.Address || in[0].Account != "ann" {
		t.Errorf("in use: %+v", in)
	}
	if used := h.uses(); len(used) != 1 || used[0].Device != "dev-1" {
		t.Errorf("uses %+v, want one so far", used)
	}
}

func TestFirstPictureIsFromTheCache(t *testing.T) {
	const gop = 50 // 2 s: nobody waits for the next one
	h := open(t, (&cameratest.Camera{Medias: video(), GOP: gop}).Start(t))
	first, _ := h.watch(annUse)
	first.next(first.video)
	for frameOf(first.next(first.video))%gop < 5 {
	}
	second, _ := h.watch(annUse)
	second.next(second.video) // parameter sets
	at := frameOf(second.next(second.video))
	if at%gop != 0 {
		t.Errorf("it begins with frame %d, which is no key frame", at)
	}
	for end := at + 8; at < end; {
		packet := second.next(second.video)
		if packet.Payload[0] == 0x78 {
			continue
		}
		frame := frameOf(packet)
		if frame != at && frame != at+1 {
			t.Fatalf("frame %d follows %d", frame, at)
		}
		at = frame
	}
}

func TestRevocationEndsTheViewer(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	p.next(p.video)
	v := h.viewers.get(a.ID)
	h.set("ann", false)
	h.permits.Changed(access.Change{Account: "ann"})
	if err := h.AwaitCuts(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.nothing()
	h.gone(v, access.PrivilegeGone)
	if in := h.permits.InUse("dev-1"); len(in) != 0 {
		t.Errorf("still in use: %+v", in)
	}
	if _, err := h.Start(t.Context(), annUse, newPlayer(t).offer(true)); !isDenied(err, access.NotFound) {
		t.Errorf("it may come back: %v", err)
	}
}

func isDenied(err error, v access.Verdict) bool {
	denied, ok := errors.AsType[*Denied](err)
	return ok && denied.Verdict == v
}

func TestUnknownPermissionsSendNothing(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	p.next(p.video)
	v := h.viewers.get(a.ID)
	h.setSick(true) // nobody tells the permits
	sent := func() uint32 {
		tr := v.tracks[0]
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.packets
	}
	p.nothingOfMedia(sent)
	h.setSick(false)
	before := sent()
	eventually(t, "the picture goes on", func() bool { return sent() > before })
	h.setSick(true)
	if _, err := h.Start(t.Context(), annUse, newPlayer(t).offer(true)); !isDenied(err, access.Unavailable) {
		t.Errorf("it is admitted: %v", err)
	}
}

// nothingOfMedia fails if the count grows.
func (p *player) nothingOfMedia(sent func() uint32) {
	p.t.Helper()
	time.Sleep(10 * time.Millisecond) // what was being sent
	before := sent()
	time.Sleep(150 * time.Millisecond) // some pictures
	if now := sent(); now != before {
		p.t.Errorf("%d packets were sent", now-before)
	}
}

func TestViewerEndsWithItsSession(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	other := annUse
	other.Session = "session-2"
	q, b := h.watch(other)
	p.next(p.video)
	q.next(q.video)
	v := h.viewers.get(a.ID)
	h.endSession("session-1")
	h.SessionsEnded(t.Context())
	p.nothing()
	h.gone(v, endedSession)
	if h.viewers.get(b.ID) == nil {
		t.Error("the other session's viewer was ended")
	}
}

func TestOwnerAndViewerEndIt(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	p.next(p.video)
	v := h.viewers.get(a.ID)
	if !h.permits.End("dev-1", h.permits.InUse("dev-1")[0].No) {
		t.Fatal("it is not listed")
	}
	if err := h.AwaitCuts(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.nothing()
	h.gone(v, access.Ended)

	q, b := h.watch(annUse)
	q.next(q.video)
	if err := h.End(t.Context(), "eve", b.ID); !errors.Is(err, ErrNoViewer) {
		t.Errorf("another account ends it: %v", err)
	}
	if err := h.End(t.Context(), "ann", b.ID); err != nil {
		t.Fatal(err)
	}
	q.nothing()
	if err := h.End(t.Context(), "ann", b.ID); !errors.Is(err, ErrNoViewer) {
		t.Errorf("ending it again: %v", err)
	}
}

func TestLimits(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t), func(c *Config) { c.MaxPerAccount, c.MaxPerAddress, c.MaxViewers = 1, 2, 3 })
	for _, account := range []string{"bob", "cid", "dan", "eve"} {
		h.set(idOf(account), true)
	}
	try := func(account, address string) error {
		use := annUse
		use.Account, use.Address = idOf(account), addr(address)
		_, err := h.Start(t.Context(), use, newPlayer(t).offer(true))
		return err
	}
	for _, c := range []struct {
		account, address string
		want             error
	}{
		{"ann", "2001:db8::1", nil},
		{"ann", "192.0.2.1", ErrTooMany},
		{"bob", "2001:db8::2", nil},
		{"cid", "2001:db8::3", ErrTooMany},
		{"cid", "192.0.2.1", nil},
		{"dan", "192.0.2.2", ErrFull},
	} {
		if err := try(c.account, c.address); !errors.Is(err, c.want) {
			t.Errorf("%s from %s: %v, want %v", c.account, c.address, err, c.want)
		}
	}
	for _, v := range h.viewers.list() {
		if err := h.End(t.Context(), v.use.Account, v.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := try("dan", "192.0.2.2"); err != nil {
		t.Errorf("after the others: %v", err)
	}
}

func TestViewerThatNeverConnectsOrFallsSilentEnds(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t), func(c *Config) { c.SetupWithin = 100 * time.Millisecond })
	a, err := h.Start(t.Context(), annUse, newPlayer(t).offer(true))
	if err != nil {
		t.Fatal(err)
	}
	if v := h.viewers.get(a.ID); v != nil {
		h.gone(v, endedSetup)
	}

	h = open(t, (&cameratest.Camera{Medias: video()}).Start(t), func(c *Config) { c.SilentWithin = 10 * time.Millisecond })
	p, a := h.watch(annUse)
	v := h.viewers.get(a.ID)
	p.next(p.video)
	p.socket.Close() // its cable is pulled
	h.gone(v, endedSilent)
	p.leave()
}

func TestViewerThatSaysGoodbyeEnds(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	v := h.viewers.get(a.ID)
	p.next(p.video)
	p.leave()
	h.gone(v, endedLeft)
	if used := h.uses(); len(used) != 2 {
		t.Errorf("%d uses, want one at the beginning and one at the end", len(used))
	}
}

func TestViewerEndsWithTheCamera(t *testing.T) {
	camera := (&cameratest.Camera{Medias: video()}).Start(t)
	h := open(t, camera)
	p, a := h.watch(annUse)
	v := h.viewers.get(a.ID)
	p.next(p.video)
	camera.Close()
	h.gone(v, endedCamera)
}

// TestCameraEndsWhileTheViewerConnects: there is nothing left that it could join.
func TestCameraEndsWhileTheViewerConnects(t *testing.T) {
	camera := (&cameratest.Camera{Medias: video()}).Start(t)
	h := open(t, camera)
	p := newPlayer(t)
	a, err := h.Start(t.Context(), annUse, p.offer(true))
	if err != nil {
		t.Fatal(err)
	}
	v := h.viewers.get(a.ID)
	camera.Close()
	eventually(t, "the stream ends", func() bool {
		v.stream.mu.Lock()
		defer v.stream.mu.Unlock()
		return v.stream.ended
	})
	p.take(a)
	h.gone(v, endedCamera)
}

func TestBFramesAreRefused(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video(), BFrames: true, GOP: 50}).Start(t))
	p := newPlayer(t)
	a, err := h.Start(t.Context(), annUse, p.offer(true))
	if unplayable, ok := errors.AsType[*UnplayableError](err); ok {
		if !unplayable.BFrames {
			t.Error(err)
		}
	} else if err != nil {
		t.Fatal(err)
	} else if v := h.viewers.get(a.ID); v != nil { // nothing was known yet: it ends when it is
		p.take(a)
		h.gone(v, endedBFrames)
	}
	_, err = h.Start(t.Context(), annUse, newPlayer(t).offer(true))
	if unplayable, ok := errors.AsType[*UnplayableError](err); !ok || !unplayable.BFrames {
		t.Errorf("%v, want the refusal for B-frames", err)
	}
}

// h265 is a media of H.265.
func h265() *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H265{PayloadTyp: 96}}}
}

func TestH265NeedsAViewerThatTakesIt(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: []*description.Media{h265()}}).Start(t))
	only := func(mime, fmtp string) webrtc.RTPCodecParameters {
		return webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp}, PayloadType: 100,
		}
	}
	h264 := only(webrtc.MimeTypeH264, "packetization-mode=1;profile-level-id=42e01f")
	_, err := h.Start(t.Context(), annUse, newPlayer(t, h264).offer(false))
	if unplayable, ok := errors.AsType[*UnplayableError](err); !ok || unplayable.Codec != "H265" || unplayable.BFrames {
		t.Errorf("%v, want the refusal for H.265", err)
	}
	if _, err := h.Start(t.Context(), annUse, newPlayer(t, only(webrtc.MimeTypeH265, "")).offer(false)); err != nil {
		t.Errorf("a player of H.265: %v", err)
	}
}

func TestCameraThatIsAwayIsRefused(t *testing.T) {
	camera := (&cameratest.Camera{Medias: video()}).Start(t)
	h := open(t, camera)
	camera.Close()
	_, err := h.Start(t.Context(), annUse, newPlayer(t).offer(true))
	if _, ok := errors.AsType[*upstream.AwayError](err); !ok {
		t.Errorf("%v, want that the camera is away", err)
	}
	if n := h.viewers.count(); n != 0 {
		t.Errorf("%d viewers are left", n)
	}
}

func TestSubStreamOrElseTheMainOne(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	use := annUse
	use.Quality = upstream.Sub
	p, _ := h.watch(use)
	p.next(p.video)
}

// TestLostPacketsCome: what is lost on the way is asked for, and sent again.
func TestLostPacketsCome(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, _ := h.watch(annUse)
	begin := p.next(p.video).SequenceNumber
	lost := map[uint16]bool{} // used by the socket's reader only
	lose := func(d []byte) bool {
		number := binary.BigEndian.Uint16(d[2:])
		if len(d) < 500 || number%10 != 0 || lost[number] { // not a picture's, or it was lost before
			return false
		}
		lost[number] = true
		return true
	}
	p.socket.lose.Store(&lose)
	received := map[uint16]bool{begin: true}
	for end := begin + 100; ; {
		packet := p.next(p.video)
		received[packet.SequenceNumber] = true
		missing := 0
		for n := begin; n != end; n++ {
			if !received[n] {
				missing++
			}
		}
		if missing == 0 {
			return
		}
	}
}

// TestCutsAtAnyTime: a viewer ends in whatever state its connection is.
func TestCutsAtAnyTime(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	var all sync.WaitGroup
	for n := range 20 {
		p := newPlayer(t)
		a, err := h.Start(t.Context(), annUse, p.offer(true))
		if err != nil {
			t.Fatal(err)
		}
		v := h.viewers.get(a.ID)
		p.take(a)
		all.Go(func() {
			time.Sleep(time.Duration(n) * 8 * time.Millisecond)
			v.permit.Revoke(access.Ended)
			if err := h.AwaitCuts(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case <-v.done:
			default:
				t.Errorf("viewer %d has not ended", n)
			}
		})
	}
	all.Wait()
	if in, left := h.permits.InUse("dev-1"), h.viewers.count(); len(in) != 0 || left != 0 {
		t.Errorf("%d permits are held, %d viewers are left", len(in), left)
	}
}

// TestFloodOfOthers: what strangers send to the port does not disturb a viewer.
func TestFloodOfOthers(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, _ := h.watch(annUse)
	p.next(p.video)
	from, err := net.Dial("udp4", h.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	kinds := [][]byte{
		{0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3},                         // DTLS
		{0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, // STUN
		{0x80, 0x60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff},                                        // RTP
		{0x80, 0xc8, 0xff, 0xff, 0, 0, 0, 1}, {},                                                // RTCP, nothing
	}
	for n := range 2000 {
		_, _ = from.Write(kinds[n%len(kinds)])
	}
	for len(p.video) > 0 {
		<-p.video
	}
	for range 20 {
		p.next(p.video)
	}
}

// TestHostileViewer: one that reports about ever more tracks ends; what players do not send is
// not read.
func TestHostileViewer(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	p.next(p.video)
	v := h.viewers.get(a.ID)
	report := &rtcp.ReceiverReport{SSRC: 1}
	for n := range uint32(maxSources + 1) {
		report.Reports = append(report.Reports, rtcp.ReceptionReport{SSRC: n + 1000})
	}
	if err := p.WriteRTCP([]rtcp.Packet{report}); err != nil {
		t.Fatal(err)
	}
	h.gone(v, endedFlood)

	g := newGuard(v)
	from := func(port int) net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port} }
	rtcpOf := func(source byte) []byte { return []byte{0x80, 201, 0, 1, 0, 0, 0, source} }
	for _, c := range []struct {
		name string
		data []byte
		want bool
	}{
		{"STUN", []byte{0, 1}, true}, {"DTLS", []byte{22, 254}, true}, {"RTCP", rtcpOf(1), true},
		{"nothing", nil, false}, {"RTP", []byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, false}, {"half of RTCP", []byte{0x80, 201, 0}, false},
	} {
		if g.admits(c.data, from(1)) != c.want {
			t.Errorf("%s: admitted is %v", c.name, !c.want)
		}
	}
	for n := range 100 {
		if got, want := g.admits(rtcpOf(byte(n+1)), from(1)), n < maxSources; got != want {
			t.Errorf("sender %d: admitted is %v", n, got)
		}
		if got, want := g.admits([]byte{0, 1}, from(n+1)), n < maxPeers; got != want {
			t.Errorf("address %d: admitted is %v", n, got)
		}
	}
	if !g.admits(rtcpOf(1), from(1)) {
		t.Error("the first ones are forgotten")
	}
}

func TestClosingEndsEverybody(t *testing.T) {
	h := open(t, (&cameratest.Camera{Medias: video()}).Start(t))
	p, a := h.watch(annUse)
	p.next(p.video)
	v := h.viewers.get(a.ID)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := h.Run(ctx); err != nil {
		t.Error(err)
	}
	h.gone(v, endedClosing)
	p.nothing()
	if _, err := h.Start(t.Context(), annUse, newPlayer(t).offer(true)); !errors.Is(err, ErrFull) {
		t.Errorf("it admits another: %v", err)
	}
}

func TestConfigurationFaultsTogether(t *testing.T) {
	_, err := New(Config{})
	for _, name := range []string{"Address", "Access", "Sessions", "Upstreams"} {
		if err == nil || !contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

// TestPortTaken: the caller may try another port, with the same metrics.
func TestPortTaken(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	open(t, nil, func(c *Config) {
		address := c.Address
		c.Address = taken.LocalAddr().String()
		if _, err := New(*c); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a taken port: %v", err)
		}
		c.Address = address
	})
}

// TestAnswerNamesOurAddresses: those of the port, and those that the operator has named.
func TestAnswerNamesOurAddresses(t *testing.T) {
	camera := (&cameratest.Camera{Medias: video()}).Start(t)
	for _, c := range []struct{ address, want, not string }{
		{"0.0.0.0:0", " 203.0.113.7 ", " ::1 "}, {"[::]:0", " 203.0.113.7 ", "srflx"},
		{"127.0.0.1:0", " 127.0.0.1 ", " 2001:db8::7 "}, {"127.0.0.1:0", " 203.0.113.7 ", " ::1 "},
		{"[::1]:0", " ::1 ", " 203.0.113.7 "}, {"[::1]:0", " 2001:db8::7 ", " 127.0.0.1 "},
	} {
		h := open(t, camera, func(cfg *Config) {
			cfg.Address, cfg.Public = c.address, []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}
		})
		a, err := h.Start(t.Context(), annUse, newPlayer(t).offer(true))
		if err != nil {
			t.Fatal(err)
		}
		if sdp := string(a.SDP); !contains(sdp, c.want) || contains(sdp, c.not) || contains(sdp, "srflx") {
			t.Errorf("at %s, want %q and not %q:\n%s", c.address, c.want, c.not, sdp)
		}
	}
}

// interfaces is a mux of a port that is open at several addresses.
type interfaces struct {
	ice.UDPMux
	list []net.Addr
}

func (i interfaces) GetListenAddresses() []net.Addr { return i.list }

func TestWildcardDoesNotNameLoopback(t *testing.T) {
	loopback, lan := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}
	for _, c := range []struct{ has, want []net.Addr }{
		{[]net.Addr{loopback, lan}, []net.Addr{lan}}, {[]net.Addr{loopback}, []net.Addr{loopback}}, {[]net.Addr{lan}, []net.Addr{lan}},
	} {
		if got := (&guard{UDPMux: interfaces{list: c.has}}).GetListenAddresses(); !slices.Equal(got, c.want) {
			t.Errorf("of %v: %v", c.has, got)
		}
	}
}

package webrtc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"

	"latchkey/domain/ids"
	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/device"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

// ear notes what a camera hears.
type ear struct {
	mu      sync.Mutex
	sound   []byte
	packets []rtp.Packet
}

func (e *ear) hear(p *rtp.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sound = append(e.sound, p.Payload...)
	e.packets = append(e.packets, *p)
}

func (e *ear) heard() int { e.mu.Lock(); defer e.mu.Unlock(); return len(e.sound) }

func (e *ear) has(what byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Contains(e.sound, piece20(what))
}

// piece20 is 20 ms of sound.
func piece20(what byte) []byte { return bytes.Repeat([]byte{what}, 160) }

// talkedTo returns a camera with a back channel of a format, and what it hears.
func talkedTo(t testing.TB, f format.Format) (*cameratest.Camera, *ear) {
	t.Helper()
	e := &ear{}
	back := &description.Media{Type: description.MediaTypeAudio, IsBackChannel: true, Formats: []format.Format{f}}
	return (&cameratest.Camera{Medias: []*description.Media{picture(), back}, Heard: e.hear}).Start(t), e
}

func g711(pt uint8) *format.G711 {
	return &format.G711{PayloadTyp: pt, MULaw: pt == 0, SampleRate: 8000, ChannelCount: 1}
}

// mouths are where the channels of a house are talked to.
type mouths struct{ *house }

func (m mouths) Source(ctx context.Context, id ids.Device, channel int) (backchannel.Source, error) {
	s, err := m.Camera(ctx, id, channel, upstream.Main)
	if err != nil {
		return backchannel.Source{}, backchannel.ErrNone
	}
	return backchannel.Source{URL: s.URL}, nil
}

// owner has every device in one account.
type owner ids.Account

func (o owner) Owns(account ids.Account, _ ids.Device) bool { return account == ids.Account(o) }

// openToTalk opens a house of olga's to whose camera ann may talk.
func openToTalk(t testing.TB, camera *cameratest.Camera, change ...func(*Config)) *house {
	t.Helper()
	client, err := device.New(device.Config{Allow: func(netip.AddrPort) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, camera, append([]func(*Config){func(c *Config) {
		c.Floor = talk.New(owner("olga"))
		c.Lines = backchannel.New(backchannel.Config{
			Sources: mouths{c.Uses.(*house)}, Contact: c.Upstreams.Contact, ISAPI: client,
		})
		t.Cleanup(c.Lines.Close)
	}}, change...)...)
	h.letTalk("ann", true)
	return h
}

func (h *house) letTalk(account ids.Account, may bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.talk[account] = may
	if may {
		h.may[account] = true
	}
}

// speaker is pion as the browser of somebody who talks.
type speaker struct {
	*player
	track *webrtc.TrackLocalStaticRTP
	pt    uint8
	next  uint16
}

func newSpeaker(t testing.TB, codec backchannel.Codec) *speaker {
	t.Helper()
	s := &speaker{player: newPlayer(t), pt: map[backchannel.Codec]uint8{backchannel.PCMU: 0, backchannel.PCMA: 8}[codec]}
	var err error
	s.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: "audio/" + string(codec), ClockRate: 8000}, "microphone", "page")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddTransceiverFromTrack(s.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return s
}

// offerTalk is the offer of a speaker.
func (s *speaker) offerTalk() []byte {
	s.t.Helper()
	o, err := s.CreateOffer(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.SetLocalDescription(o); err != nil {
		s.t.Fatal(err)
	}
	return []byte(o.SDP)
}

// say sends 20 ms of sound.
func (s *speaker) say(what byte) {
	s.next++
	s.send(s.next, piece20(what))
}

func (s *speaker) send(number uint16, sound []byte) {
	_ = s.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: number, Timestamp: uint32(number) * 160}, Payload: sound})
}

// sayUntil talks until something is so.
func (s *speaker) sayUntil(what byte, name string, ok func() bool) {
	s.t.Helper()
	eventually(s.t, name, func() bool {
		s.say(what)
		time.Sleep(10 * time.Millisecond)
		return ok()
	})
}

// talkAs makes somebody talk.
func (h *house) talkAs(use Use, codec backchannel.Codec) (*speaker, Answer) {
	h.t.Helper()
	s := newSpeaker(h.t, codec)
	a, err := h.StartTalk(h.t.Context(), use, s.offerTalk())
	if err != nil {
		h.t.Fatal(err)
	}
	s.take(a)
	return s, a
}

func TestWhatIsSaidReachesTheCamera(t *testing.T) {
	for codec, pt := range map[backchannel.Codec]uint8{backchannel.PCMU: 0, backchannel.PCMA: 8} {
		t.Run(string(codec), func(t *testing.T) {
			camera, ear := talkedTo(t, g711(pt))
			h := openToTalk(t, camera)
			s, a := h.talkAs(annUse, codec)
			if used := h.uses(); len(used) != 0 {
				t.Errorf("it is used before anything is said: %+v", used)
			}
			s.sayUntil(7, "it is heard", func() bool { return ear.has(7) })
			if p := ear.packets[0]; p.PayloadType != pt {
				t.Errorf("the camera hears the payload type %d, want %d", p.PayloadType, pt)
			}
			in := h.permits.InUse("dev-1")
			if len(in) != 1 || in[0].Transport != "webrtc-talk" || in[0].Account != "ann" {
				t.Errorf("in use: %+v", in)
			}
			if err := h.End(t.Context(), "ann", a.ID); err != nil {
				t.Fatal(err)
			}
			if used := h.uses(); len(used) != 2 || used[0].Transport != "webrtc-talk" {
				t.Errorf("uses: %+v, want one at the beginning and one at the end", used)
			}
			if h.cfg.Floor.Busy(talk.Talker{Account: "x", Device: "dev-1", Channel: 1}) {
				t.Error("the floor is taken after the end")
			}
		})
	}
}

func TestTalkIsRefused(t *testing.T) {
	camera, _ := talkedTo(t, g711(8))
	h := openToTalk(t, camera, func(c *Config) { c.MaxTalkers = 1 })
	h.set("bob", true) // he may watch
	start := func(account ids.Account, codecs ...webrtc.RTPCodecParameters) error {
		s := newSpeaker(t, backchannel.PCMA)
		offer := s.offerTalk()
		if codecs != nil {
			offer = []byte(head + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=sendonly\r\na=mid:0\r\n")
		}
		use := annUse
		use.Account = account
		_, err := h.StartTalk(t.Context(), use, offer)
		return err
	}
	if err := start("bob"); !isDenied(err, access.Forbidden) {
		t.Errorf("without two-way audio: %v", err)
	}
	if err := start("eve"); !isDenied(err, access.NotFound) {
		t.Errorf("a stranger: %v", err)
	}
	if _, ok := errors.AsType[*OfferError](start("ann", webrtc.RTPCodecParameters{})); !ok {
		t.Error("an offer without what the camera takes is answered")
	}
	if _, err := h.Start(t.Context(), annUse, newSpeaker(t, backchannel.PCMA).offerTalk()); err == nil {
		t.Error("who watches may send")
	}
	if err := start("ann"); err != nil {
		t.Fatal(err)
	}
	if err := start("ann"); !errors.Is(err, ErrTooMany) {
		t.Errorf("the second at once: %v", err)
	}

	other, _ := talkedTo(t, &format.G722{})
	if err := errorOf(openToTalk(t, other)); err == nil || err.Error() != (&backchannel.CodecError{Name: "G722"}).Error() {
		t.Errorf("a camera that takes another codec: %v", err)
	}
	deaf := (&cameratest.Camera{Medias: video()}).Start(t)
	if err := errorOf(openToTalk(t, deaf)); !errors.Is(err, backchannel.ErrNone) {
		t.Errorf("a camera without a back channel: %v", err)
	}
	nobody := open(t, deaf)
	nobody.letTalk("ann", true)
	if err := errorOf(nobody); !errors.Is(err, backchannel.ErrNone) {
		t.Errorf("a door without lines: %v", err)
	}
	if n := nobody.viewers.count(); n != 0 {
		t.Errorf("%d viewers are left", n)
	}
}

func errorOf(h *house) error {
	_, err := h.StartTalk(h.t.Context(), annUse, newSpeaker(h.t, backchannel.PCMA).offerTalk())
	return err
}

func TestRevocationEndsTalk(t *testing.T) {
	camera, ear := talkedTo(t, g711(0))
	h := openToTalk(t, camera)
	watching, _ := h.watch(annUse)
	watching.next(watching.video)
	s, a := h.talkAs(annUse, backchannel.PCMU)
	v := h.viewers.get(a.ID)
	s.sayUntil(7, "it is heard", func() bool { return ear.has(7) })
	talking := make(chan struct{})
	var mouth sync.WaitGroup
	mouth.Go(func() {
		for {
			select {
			case <-talking:
				return
			case <-time.After(5 * time.Millisecond):
				s.say(9)
			}
		}
	})
	h.letTalk("ann", false)
	h.permits.Changed(access.Change{Account: "ann"})
	if err := h.AwaitCuts(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // what was sent before is read by the camera
	before := ear.heard()
	time.Sleep(150 * time.Millisecond)
	if more := ear.heard() - before; more != 0 {
		t.Errorf("%d bytes were heard after the revocation", more)
	}
	close(talking)
	mouth.Wait()
	h.gone(v, access.PrivilegeGone)
	for len(watching.video) > 0 {
		<-watching.video
	}
	watching.next(watching.video) // the picture goes on
}

// TestNothingIsSaidWhileUnknown: while it is not known who may what.
func TestNothingIsSaidWhileUnknown(t *testing.T) {
	camera, ear := talkedTo(t, g711(0))
	h := openToTalk(t, camera)
	s, _ := h.talkAs(annUse, backchannel.PCMU)
	s.sayUntil(7, "it is heard", func() bool { return ear.has(7) })
	h.setSick(true)
	for range 10 {
		s.say(9)
		time.Sleep(10 * time.Millisecond)
	}
	if ear.has(9) {
		t.Error("it is heard although nobody knows whether it may be")
	}
	h.setSick(false)
	s.sayUntil(8, "it is heard again", func() bool { return ear.has(8) })
}

func TestOneTalksAtATime(t *testing.T) {
	camera, ear := talkedTo(t, g711(0))
	h := openToTalk(t, camera)
	h.letTalk("bob", true)
	h.letTalk("olga", true)
	as := func(account ids.Account) Use { use := annUse; use.Account = account; return use }
	bob, _ := h.talkAs(as("bob"), backchannel.PCMU)
	ann, _ := h.talkAs(annUse, backchannel.PCMU)
	bob.sayUntil(1, "bob is heard", func() bool { return ear.has(1) })
	for range 20 {
		ann.say(2)
		bob.say(1)
		time.Sleep(20 * time.Millisecond)
	}
	if ear.has(2) {
		t.Error("ann is heard while bob talks")
	}
	if err := errorOf(h); !errors.Is(err, talk.ErrBusy) {
		t.Errorf("another who comes: %v", err)
	}
	olga, _ := h.talkAs(as("olga"), backchannel.PCMU)
	olga.sayUntil(3, "the owner interrupts", func() bool { return ear.has(3) })
}

func TestTalkersEnd(t *testing.T) {
	camera, ear := talkedTo(t, g711(0))
	h := openToTalk(t, camera, func(c *Config) { c.SilentWithin = time.Second })
	s, a := h.talkAs(annUse, backchannel.PCMU)
	v := h.viewers.get(a.ID)
	s.sayUntil(7, "it is heard", func() bool { return ear.has(7) })
	h.endSession(annUse.Session)
	h.SessionsEnded(t.Context())
	h.gone(v, endedSession)

	other := annUse
	other.Session = "session-2"
	quiet, b := h.talkAs(other, backchannel.PCMU)
	w := h.viewers.get(b.ID)
	eventually(t, "it is connected", func() bool { return quiet.ConnectionState() == webrtc.PeerConnectionStateConnected })
	h.gone(w, endedSilent)

	leaving, c := h.talkAs(other, backchannel.PCMU)
	x := h.viewers.get(c.ID)
	leaving.sayUntil(8, "it is heard", func() bool { return ear.has(8) })
	leaving.leave()
	h.gone(x, endedLeft)
	eventually(t, "nothing is kept", func() bool { return h.viewers.count() == 0 })
}

// TestMuchSound: nobody talks faster than people do, whatever the packets claim.
func TestMuchSound(t *testing.T) {
	camera, ear := talkedTo(t, g711(0))
	h := openToTalk(t, camera)
	s, _ := h.talkAs(annUse, backchannel.PCMU)
	s.sayUntil(7, "it is heard", func() bool { return ear.has(7) })
	before, began := ear.heard(), time.Now()
	for range 500 { // 10 s of sound
		s.say(8)
	}
	time.Sleep(300 * time.Millisecond)
	most := int(time.Since(began).Seconds()*8200) + 2*backchannel.MaxSound
	if more := ear.heard() - before; more > most {
		t.Errorf("%d bytes were heard, want %d at most", more, most)
	}
	s.sayUntil(9, "it is heard after that", func() bool { return ear.has(9) })
}

func TestGuardOfTalkers(t *testing.T) {
	h := openToTalk(t, (&cameratest.Camera{Medias: video()}).Start(t))
	from := addrOf{}
	sound := func(pt, source byte, size int) []byte {
		p := make([]byte, size)
		p[0], p[1], p[11] = 0x80, pt, source
		return p
	}
	watching, talking := newGuard(&viewer{door: h.Door}), newGuard(&viewer{door: h.Door, talker: &talker{payload: 8}})
	for _, c := range []struct {
		name string
		data []byte
		want bool
	}{
		{"sound", sound(8, 1, 190), true}, {"the beginning of a talkspurt", sound(8|0x80, 1, 190), true}, {"another codec", sound(0, 1, 190), false},
		{"a picture", sound(96, 1, 190), false}, {"a large packet", sound(8, 1, maxSpoken+1), false}, {"half a header", sound(8, 1, 12), false},
	} {
		if watching.admits(c.data, from) {
			t.Errorf("%s is admitted from who watches", c.name)
		}
		if talking.admits(c.data, from) != c.want {
			t.Errorf("%s from who talks: admitted is %v", c.name, !c.want)
		}
	}
	for n := range 20 {
		if got, want := talking.admits(sound(8, byte(n+1), 190), from), n < maxSpeakers; got != want {
			t.Errorf("source %d: admitted is %v", n, got)
		}
	}
	admitted := 0
	for range 10 * spokenBurst {
		if talking.admits(sound(8, 1, 190), from) {
			admitted++
		}
	}
	if admitted > 2*spokenBurst {
		t.Errorf("%d packets of a flood are admitted", admitted)
	}
	_ = talking.buffer(packetio.RTPBufferPacket, 1).(io.Closer).Close()
}

type addrOf struct{}

func (addrOf) Network() string { return "udp" }
func (addrOf) String() string  { return "192.0.2.1:1" }

// TestOldSoundIsLeftOut: what comes after what followed it is not heard.
func TestOldSoundIsLeftOut(t *testing.T) {
	camera, _ := talkedTo(t, g711(0))
	h := openToTalk(t, camera)
	_, a := h.talkAs(annUse, backchannel.PCMU)
	tk := &talker{viewer: h.viewers.get(a.ID), payload: 0, codec: backchannel.PCMU}
	tk.Speech = h.viewers.get(a.ID).talker.Speech
	packet := func(pt byte, number uint16) []byte {
		p := append([]byte{0x80, pt, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, piece20(5)...)
		binary.BigEndian.PutUint16(p[2:], number)
		return p
	}
	for _, c := range []struct {
		data []byte
		want bool
	}{
		{packet(0, 65535), true}, {packet(0, 1), true}, {packet(0, 0), false}, {packet(0, 1), false}, {packet(8, 2), false},
		{[]byte{0x80, 0, 0}, false}, {[]byte{0x9f, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1}, false}, {packet(0, 2), true}, {packet(0, 30000), true},
	} {
		if tk.take(c.data) != c.want {
			t.Errorf("%x: taken is %v", c.data[:3], !c.want)
		}
	}
}

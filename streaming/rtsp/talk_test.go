package rtsp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/simcamera"
	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
	said "latchkey/streaming/speech"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

const talking = privilege.LiveView | privilege.TwoWayAudio

// ear notes what a camera hears.
type ear struct {
	mu      sync.Mutex
	packets []rtp.Packet
	sound   []byte
}

func (e *ear) hear(p *rtp.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packets = append(e.packets, *p)
	e.sound = append(e.sound, p.Payload...)
}

func (e *ear) heard() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sound)
}

// quiet waits until nothing is on its way, and returns how much was heard.
func (e *ear) quiet(t *testing.T) (n int) {
	t.Helper()
	last := time.Now()
	eventually(t, "nothing more is heard", func() bool {
		if now := e.heard(); now != n {
			n, last = now, time.Now()
		}
		return time.Since(last) > 50*time.Millisecond
	})
	return n
}

func backMedia(f format.Format) *description.Media {
	return &description.Media{Type: description.MediaTypeAudio, IsBackChannel: true, Formats: []format.Format{f}}
}

// talkedTo returns a camera with a back channel of a format, and what it hears.
func talkedTo(t *testing.T, f format.Format) (*cameratest.Camera, *ear) {
	t.Helper()
	e := &ear{}
	cam := &cameratest.Camera{Medias: []*description.Media{cameratest.Video(), backMedia(f)}, Heard: e.hear}
	return cam.Start(t), e
}

// mouths are where channels are talked to: as pulled, and by ISAPI at a URL.
type mouths struct {
	*sources
	isapi string
	user  upstream.Source
}

func (m mouths) Source(ctx context.Context, id ids.Device, channel int) (backchannel.Source, error) {
	source, err := m.Camera(ctx, id, channel, upstream.Main)
	if err != nil && m.isapi == "" {
		return backchannel.Source{}, backchannel.ErrNone
	}
	if m.isapi != "" {
		source.Username, source.Password = m.user.Username, m.user.Password
	}
	return backchannel.Source{URL: source.URL, Username: source.Username, Password: source.Password, ISAPIURL: m.isapi}, nil
}

// owner has every device in one account.
type owner ids.Account

func (o owner) Owns(account ids.Account, _ ids.Device) bool { return account == ids.Account(o) }

// talks lets people talk to the cameras of a house, which is olga's.
func talks(c *config) { c.Talk = &mouths{} }

func (m *mouths) lines(t testing.TB, pool *upstream.Pool) *backchannel.Lines {
	client, err := device.New(device.Config{Allow: func(netip.AddrPort) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return backchannel.New(backchannel.Config{Sources: m, Contact: pool.Contact, ISAPI: client})
}

const requireTalk = "Require: " + rtspclient.BackChannel

// talker is a player that has set up the back channel.
type talker struct {
	*player
	back   string // its URL
	seq    uint16
	server *net.UDPAddr
	conn   *net.UDPConn
}

// talker returns a player that plays the first track, and talks.
func (h *house) talker(t *testing.T, key, transport string) *talker {
	t.Helper()
	return talkerBy(t, h.player(t, "/dev-1/1", key), transport)
}

func talkerBy(t *testing.T, by *player, transport string) *talker {
	t.Helper()
	p := &talker{player: by}
	r, err := p.do("DESCRIBE", p.url, requireTalk)
	if err != nil || r.status != 200 {
		t.Fatalf("DESCRIBE: %+v, %v", r, err)
	}
	p.readBack(t, r.body)
	if len(p.controls) > 0 {
		if r, err = p.setup(transport); err != nil || r.status != 200 {
			t.Fatalf("SETUP: %+v, %v", r, err)
		}
	}
	if r, err = p.setupBack(t, transport); err != nil || r.status != 200 {
		t.Fatalf("SETUP of the back channel: %+v, %v", r, err)
	}
	if r, err = p.do("PLAY", p.url, requireTalk); err != nil || r.status != 200 {
		t.Fatalf("PLAY: %+v, %v", r, err)
	}
	if strings.Contains(r.header.Get("Rtp-Info"), p.back) {
		t.Errorf("RTP-Info says where the sound of the player begins: %v", r.header)
	}
	return p
}

// readBack finds the back channel in a description, and the other tracks.
func (p *talker) readBack(t *testing.T, sdp string) {
	t.Helper()
	for _, media := range strings.Split(sdp, "m=")[1:] {
		_, control, _ := strings.Cut(media, "a=control:")
		control, _, _ = strings.Cut(control, "\r\n")
		if strings.Contains(media, "a=sendonly") {
			p.back = p.url + "/" + control
		} else {
			p.controls = append(p.controls, p.url+"/"+control)
		}
	}
	if p.back == "" {
		t.Fatalf("no back channel in\n%s", sdp)
	}
}

func (p *talker) setupBack(t *testing.T, transport string) (*reply, error) {
	t.Helper()
	if transport == "tcp" {
		return p.do("SETUP", p.back, requireTalk, "Transport: RTP/AVP/TCP;unicast;interleaved=6-7")
	}
	pair, err := listenUDP("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { pair[0].Close(); pair[1].Close() })
	port := pair[0].LocalAddr().(*net.UDPAddr).Port
	r, err := p.do("SETUP", p.back, requireTalk, fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", port, port+1))
	if err == nil && r.status == 200 {
		_, ports, _ := strings.Cut(r.header.Get("Transport"), "server_port=")
		var at int
		if _, err := fmt.Sscanf(ports, "%d-", &at); err != nil {
			t.Fatalf("%v: %v", r.header, err)
		}
		p.conn, p.server = pair[0], &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at}
	}
	return r, err
}

// say sends a packet of sound.
func (p *talker) say(t *testing.T, pt uint8, sound []byte) {
	t.Helper()
	p.seq++
	packet, err := (&rtp.Packet{
		Header: rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: p.seq, Timestamp: uint32(p.seq) * 160, SSRC: 99}, Payload: sound,
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p.conn != nil {
		_, err = p.conn.WriteToUDP(packet, p.server)
	} else {
		_, err = p.player.conn.Write(append([]byte{'$', 6, byte(len(packet) >> 8), byte(len(packet))}, packet...))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func piece(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 160) }

// sayUntil talks until something is so.
func (p *talker) sayUntil(t *testing.T, pt uint8, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		p.say(t, pt, piece(0))
	}
}

// TestTalk: what a player says arrives as it is, in one stream of ours; the picture goes
// on; the camera is left when the player leaves.
func TestTalk(t *testing.T) {
	for transport, law := range map[string]bool{"tcp": true, "udp": false} {
		t.Run(transport, func(t *testing.T) {
			pt := uint8(8)
			if law {
				pt = 0
			}
			cam, ear := talkedTo(t, &format.G711{PayloadTyp: 97, MULaw: law, SampleRate: 8000, ChannelCount: 1})
			h := open(t, cam, talks)
			h.grants.grant("ann", "dev-1", 1, talking)
			p := h.talker(t, annKey, transport)
			p.sayUntil(t, pt, "the line opens", func() bool { return ear.heard() > 0 })
			from := ear.quiet(t)
			for n := range 40 {
				p.say(t, pt, piece(n))
				time.Sleep(20 * time.Millisecond) // as people do
			}
			eventually(t, "everything is heard", func() bool { return ear.heard() == from+40*160 })
			ear.mu.Lock()
			for n := range 40 {
				if got := ear.sound[from+160*n]; got != byte(n) {
					t.Fatalf("piece %d arrives as %d", n, got)
				}
			}
			for n, packet := range ear.packets[1:] {
				before := ear.packets[n]
				if packet.SSRC != before.SSRC || packet.SequenceNumber != before.SequenceNumber+1 || packet.PayloadType != 97 || packet.SSRC == 99 {
					t.Errorf("packet %+v after %+v", packet.Header, before.Header)
				}
				if gap := packet.Timestamp - before.Timestamp; gap != 160 && !packet.Marker {
					t.Errorf("a gap of %d without a mark", gap)
				}
			}
			ear.mu.Unlock()
			if err := p.receive(20); err != nil {
				t.Errorf("the picture: %v", err)
			}
			if n := cam.Open.Load(); n != 2 {
				t.Errorf("%d connections to the camera", n)
			}
			p.close()
			eventually(t, "the camera is left", func() bool { return cam.Open.Load() <= 1 })
		})
	}
}

// TestWhoMayNotTalk gets no back channel, described or not.
func TestWhoMayNotTalk(t *testing.T) {
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks)
	p := h.player(t, "/dev-1/1", annKey)
	for _, option := range []string{requireTalk, "X: y"} {
		r, err := p.do("DESCRIBE", p.url, option)
		if err != nil || r.status != 200 || strings.Contains(r.body, "sendonly") || strings.Count(r.body, "m=") != 1 {
			t.Errorf("%s: %+v, %v", option, r, err)
		}
	}
	for _, track := range []string{"0", "1"} {
		r, err := p.do("SETUP", p.url+"/trackID="+track, requireTalk, "Transport: RTP/AVP/TCP;unicast")
		if want := map[string]int{"0": 200, "1": 403}[track]; err != nil || r.status != want {
			t.Errorf("track %s: %+v, %v; want %d", track, r, err, want)
		}
	}
	if r, err := p.play(); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	blind := &talker{player: p}
	for range 20 {
		blind.say(t, 0, piece(1))
	}
	if err := p.receive(20); err != nil || ear.heard() > 0 || cam.Dials.Load() != 1 {
		t.Errorf("%v; %d bytes heard, %d dials", err, ear.heard(), cam.Dials.Load())
	}
	h.grants.grant("ann", "dev-1", 1, privilege.Playback)
	for _, track := range []string{"0", "1"} { // on another connection: nothing is known of this one
		q := h.player(t, "/dev-1/1", annKey)
		if r, err := q.do("SETUP", q.url+"/trackID="+track, requireTalk, "Transport: RTP/AVP/TCP;unicast"); err != nil || r.status != 403 {
			t.Errorf("without live view, track %s: %+v, %v", track, r, err)
		}
	}
}

// TestTalkIsTakenBack: not a byte follows the answer, and the picture goes on.
func TestTalkIsTakenBack(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			cam, ear := talkedTo(t, g711(0))
			h := open(t, cam, talks)
			h.grants.grant("ann", "dev-1", 1, talking)
			p := h.talker(t, annKey, transport)
			p.sayUntil(t, 0, "it is heard", func() bool { return ear.heard() > 1000 })
			stop := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
						p.say(t, 0, piece(1))
					}
				}
			})
			h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
			h.recheck(t, "ann", "dev-1", "")
			// What the camera was sent before may still be read there.
			asked := time.Now()
			n := ear.quiet(t)
			if took := time.Since(asked); took > 2*time.Second {
				t.Errorf("it was heard for %v after the answer", took)
			}
			if err := p.receive(30); err != nil {
				t.Errorf("the picture: %v", err)
			}
			if more := ear.heard() - n; more != 0 {
				t.Errorf("%d bytes were heard after the answer", more)
			}
			close(stop)
			all.Wait()
			eventually(t, "the camera is left", func() bool { return cam.Open.Load() == 1 })
			if h.viewers.count() != 1 {
				t.Error("the viewer has ended")
			}
			if uses := h.grants.InUse("dev-1"); len(uses) != 1 || uses[0].Privilege != privilege.LiveView {
				t.Errorf("in use: %+v", uses)
			}
		})
	}
}

// TestTalkWithinTLS: sound comes over the connection, and nothing outside of it is
// accepted.
func TestTalkWithinTLS(t *testing.T) {
	with, trust := secured(t)
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks, with)
	h.grants.grant("ann", "dev-1", 1, talking)
	p := talkerBy(t, h.securePlayer(t, "/dev-1/1", annKey, trust), "tcp")
	p.sayUntil(t, 0, "it is heard", func() bool { return ear.heard() > 1000 })
	if uses := h.grants.InUse("dev-1"); len(uses) != 2 || uses[1].Transport != "rtsps-talk" {
		t.Errorf("in use: %+v", uses)
	}
	q := h.securePlayer(t, "/dev-1/1?srtp", annKey, trust)
	r, err := q.do("SETUP", q.url+"/trackID=1", requireTalk, "Transport: RTP/SAVP;unicast;client_port=40000-40001")
	if err != nil || r.status != 461 {
		t.Errorf("SRTP: %+v, %v", r, err)
	}
	r, err = q.do("DESCRIBE", q.url, requireTalk)
	if err != nil || r.status != 200 || strings.Contains(r.body, "sendonly") {
		t.Errorf("SRTP: %+v, %v", r, err)
	}
}

// TestARemovedDevice is left, whoever talks.
func TestARemovedDevice(t *testing.T) {
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks)
	h.grants.grant("ann", "dev-1", 1, talking)
	p := h.talker(t, annKey, "tcp")
	p.sayUntil(t, 0, "it is heard", func() bool { return ear.heard() > 1000 })
	h.grants.remove("ann", "dev-1")
	h.recheck(t, "", "dev-1", "")
	eventually(t, "the camera is left", func() bool { return cam.Open.Load() == 0 })
	eventually(t, "nothing is kept", func() bool { return len(h.speeches.list()) == 0 })
}

// TestLiveViewIsTakenBack: what rides on it ends, too.
func TestLiveViewIsTakenBack(t *testing.T) {
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks)
	h.grants.grant("ann", "dev-1", 1, talking)
	p := h.talker(t, annKey, "udp")
	p.sayUntil(t, 0, "it is heard", func() bool { return ear.heard() > 1000 })
	h.grants.grant("ann", "dev-1", 1, privilege.TwoWayAudio)
	h.recheck(t, "ann", "dev-1", "")
	n := ear.quiet(t)
	for range 20 {
		p.say(t, 0, piece(1))
	}
	if more := ear.quiet(t) - n; more != 0 || h.viewers.count() != 0 {
		t.Errorf("%d bytes were heard, %d viewers", more, h.viewers.count())
	}
}

// TestTalkAlone: who may only talk sees nothing.
func TestTalkAlone(t *testing.T) {
	cam, ear := talkedTo(t, g711(8))
	h := open(t, cam, talks)
	h.grants.grant("ann", "dev-1", 1, privilege.TwoWayAudio)
	if status := h.status(t, "/dev-1/1", annKey); status != 403 {
		t.Errorf("without requiring it: %d", status)
	}
	q := h.player(t, "/dev-1/1", annKey)
	if r, err := q.do("SETUP", q.url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast"); err != nil || r.status != 403 {
		t.Errorf("a blind SETUP: %+v, %v", r, err)
	}
	p := h.talker(t, annKey, "tcp")
	if len(p.controls) != 0 {
		t.Errorf("it is shown %v", p.controls)
	}
	p.sayUntil(t, 8, "it is heard", func() bool { return ear.heard() > 1000 })
	if uses := h.grants.InUse("dev-1"); len(uses) != 1 || uses[0].Privilege != privilege.TwoWayAudio || uses[0].Transport != "rtsp-talk" {
		t.Errorf("in use: %+v", uses)
	}
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	h.recheck(t, "ann", "dev-1", "")
	n := ear.quiet(t)
	if _, err := p.packet(); err == nil {
		t.Error("it is sent something")
	}
	if more := ear.quiet(t) - n; more != 0 {
		t.Errorf("%d bytes were heard after the answer", more)
	}
}

// TestOnlyTheBackChannel: who might watch too, but has set up only the back channel, talks
// without live view, and not without two-way audio.
func TestOnlyTheBackChannel(t *testing.T) {
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks)
	h.grants.grant("ann", "dev-1", 1, talking)
	p := &talker{player: h.player(t, "/dev-1/1", annKey)}
	r, err := p.do("DESCRIBE", p.url, requireTalk)
	if err != nil || r.status != 200 {
		t.Fatalf("DESCRIBE: %+v, %v", r, err)
	}
	p.readBack(t, r.body)
	if r, err = p.setupBack(t, "tcp"); err != nil || r.status != 200 {
		t.Fatalf("SETUP: %+v, %v", r, err)
	}
	if r, err = p.do("PLAY", p.url, requireTalk); err != nil || r.status != 200 {
		t.Fatalf("PLAY: %+v, %v", r, err)
	}
	p.sayUntil(t, 0, "it is heard", func() bool { return ear.heard() > 1000 })
	h.grants.grant("ann", "dev-1", 1, privilege.TwoWayAudio)
	h.recheck(t, "ann", "dev-1", "")
	if uses := h.grants.InUse("dev-1"); len(uses) != 1 || uses[0].Privilege != privilege.TwoWayAudio || uses[0].Transport != "rtsp-talk" {
		t.Errorf("in use: %+v", uses)
	}
	n := ear.quiet(t)
	p.sayUntil(t, 0, "it is heard without live view", func() bool { return ear.heard() > n+1000 })
	for _, request := range []struct {
		method, url string
		status      int
	}{{"PAUSE", p.url, 200}, {"SETUP", p.controls[0], 455}, {"PLAY", p.url, 200}} {
		if r, err = p.do(request.method, request.url, requireTalk, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"); err != nil || r.status != request.status {
			t.Errorf("%s: %+v, %v", request.method, r, err)
		}
	}
	n = ear.quiet(t)
	p.sayUntil(t, 0, "it is heard after a pause", func() bool { return ear.heard() > n })
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	h.recheck(t, "ann", "dev-1", "")
	n = ear.quiet(t)
	if _, err := p.packet(); err == nil {
		t.Error("it is sent something")
	}
	if more := ear.quiet(t) - n; more != 0 {
		t.Errorf("%d bytes were heard after the answer", more)
	}
	eventually(t, "nothing is kept", func() bool { return h.viewers.count() == 0 && len(h.grants.InUse("dev-1")) == 0 })
}

// TestTheOwnerIsFirst: others wait, and are not told for whom; who was interrupted is heard
// again only after a pause.
func TestTheOwnerIsFirst(t *testing.T) {
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks)
	for _, who := range []string{"ann", "bob", "olga"} {
		h.grants.key(access.Key{Name: ids.Key("k" + who), Account: ids.Account(who)}, "secret")
		h.grants.grant(who, "dev-1", 1, talking)
	}
	heard := func(what byte) func() bool {
		return func() bool {
			ear.mu.Lock()
			defer ear.mu.Unlock()
			return bytes.Contains(ear.sound, bytes.Repeat([]byte{what}, 160))
		}
	}
	ann, olga := h.talker(t, annKey, "tcp"), h.talker(t, "kolga:secret", "tcp")
	ann.sayUntil(t, 0, "ann is heard", func() bool { return ear.heard() > 0 })

	bob := &talker{player: h.player(t, "/dev-1/1", "kbob:secret")}
	r, err := bob.do("DESCRIBE", bob.url, requireTalk)
	if err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	bob.readBack(t, r.body)
	r, err = bob.setupBack(t, "tcp")
	if err != nil || r.status != 453 || strings.Contains(fmt.Sprint(r.header), "ann") || !strings.Contains(r.header.Get("Warning"), "somebody else") {
		t.Errorf("bob: %+v, %v", r, err)
	}
	if r, err = bob.setup("tcp"); err != nil || r.status != 200 {
		t.Errorf("the picture: %+v, %v", r, err)
	}

	eventually(t, "olga is heard", func() bool { olga.say(t, 0, piece(2)); time.Sleep(10 * time.Millisecond); return heard(2)() })
	for range 10 {
		ann.say(t, 0, piece(3))
		time.Sleep(10 * time.Millisecond)
	}
	if ear.quiet(t); heard(3)() {
		t.Error("ann is heard while olga talks")
	}
	olga.close()
	eventually(t, "olga has left", func() bool { return !h.floor.Busy(talk.Talker{Account: "x", Device: "dev-1", Channel: 1}) })
	time.Sleep(said.Pause + 50*time.Millisecond) // ann is quiet
	eventually(t, "ann is heard again", func() bool { ann.say(t, 0, piece(4)); time.Sleep(10 * time.Millisecond); return heard(4)() })
}

// TestOtherCodecs are left out, and refused with the reason.
func TestOtherCodecs(t *testing.T) {
	cam, _ := talkedTo(t, &format.G722{})
	h := open(t, cam, talks)
	h.grants.grant("ann", "dev-1", 1, talking)
	p := h.player(t, "/dev-1/1", annKey)
	r, err := p.do("DESCRIBE", p.url, requireTalk)
	if err != nil || r.status != 200 || strings.Contains(r.body, "sendonly") || !strings.Contains(r.header.Get("Warning"), "G722") {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = p.do("SETUP", p.url+"/trackID=1", requireTalk, "Transport: RTP/AVP/TCP;unicast")
	if err != nil || r.status != 415 || !strings.Contains(r.header.Get("Warning"), "only G.711") {
		t.Errorf("%+v, %v", r, err)
	}
	h.grants.grant("ann", "dev-1", 1, privilege.TwoWayAudio)
	q := h.player(t, "/dev-1/1", annKey)
	if r, err = q.do("DESCRIBE", q.url, requireTalk); err != nil || r.status != 415 {
		t.Errorf("to talk alone: %+v, %v", r, err)
	}
}

// TestTalkByISAPI: a camera without a back channel in its description is talked to by
// ISAPI.
func TestTalkByISAPI(t *testing.T) {
	sim, err := simcamera.Start(t.Context(), simcamera.Config{RTSP: "127.0.0.1:0", HTTP: "127.0.0.1:0", Username: "admin", Password: "camera-pass"})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) {
		c.Talk = &mouths{isapi: "http://" + sim.HTTPAddr(), user: upstream.Source{Username: "admin", Password: "camera-pass"}}
	})
	h.grants.grant("ann", "dev-1", 1, talking)
	p := h.talker(t, annKey, "tcp")
	p.sayUntil(t, 0, "it is heard", func() bool { return sim.Talk().Bytes > 1000 })
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	h.recheck(t, "ann", "dev-1", "")
	time.Sleep(50 * time.Millisecond) // what was sent before is read there
	n := sim.Talk().Bytes
	for range 20 {
		p.say(t, 0, piece(1))
	}
	if err := p.receive(20); err != nil || sim.Talk().Bytes != n {
		t.Errorf("%v; %d bytes more", err, sim.Talk().Bytes-n)
	}
}

// TestOptionsThatNobodyKnows are named, and the connection goes on.
func TestOptionsThatNobodyKnows(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.player(t, "/dev-1/1", annKey)
	r, err := p.do("DESCRIBE", p.url, "Require: com.example.flying, "+rtspclient.BackChannel)
	if err != nil || r.status != 551 || r.header.Get("Unsupported") != "com.example.flying" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = p.describe(); err != nil || r.status != 200 {
		t.Errorf("after that: %+v, %v", r, err)
	}
}

// TestNothingIsSaidWhileUnknown: while it is not known who may what.
func TestNothingIsSaidWhileUnknown(t *testing.T) {
	cam, ear := talkedTo(t, g711(0))
	h := open(t, cam, talks, func(c *config) { c.CheckEvery = time.Hour })
	h.grants.grant("ann", "dev-1", 1, talking)
	p := h.talker(t, annKey, "udp")
	p.sayUntil(t, 0, "it is heard", func() bool { return ear.heard() > 0 })
	h.grants.setSick(true)
	n := ear.quiet(t)
	for range 20 {
		p.say(t, 0, piece(1))
	}
	if more := ear.quiet(t) - n; more != 0 {
		t.Errorf("%d bytes were heard", more)
	}
	h.grants.setSick(false)
	p.sayUntil(t, 0, "it is heard again", func() bool { return ear.heard() > n })
}

// FuzzSound: no packet of a viewer makes the reader panic, or is heard as more than it is.
func FuzzSound(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 99, 0xff, 0xff})
	f.Add([]byte{0xb1, 0x80, 0, 1, 0, 0, 0, 160, 0, 0, 0, 99, 0, 0, 0, 1, 0xbe, 0xde, 0, 0, 0xff, 0x01})
	f.Add([]byte{0x8f, 0, 0, 1})
	f.Fuzz(func(t *testing.T, packet []byte) {
		pt, sound, ok := soundOf(packet)
		if ok && (pt > 127 || len(sound) > len(packet)-12 || !bytes.Contains(packet, sound)) {
			t.Errorf("%d, %d bytes of %d", pt, len(sound), len(packet))
		}
	})
}

package webrtc

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = cameratest.Patience

var eventually = cameratest.Eventually

// house is a door, and the streams behind it: the account ann may watch channel 1 of dev-1
// live.
type house struct {
	*Door
	t       testing.TB
	permits *access.Permits

	mu      sync.Mutex
	may     map[ids.Account]bool
	talk    map[ids.Account]bool
	sick    bool
	ended   map[string]bool // sessions
	used    []access.Use
	sources map[upstream.Quality]upstream.Source
}

// open starts a house. Change the configuration with the functions.
func open(t testing.TB, camera *cameratest.Camera, change ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, may: map[ids.Account]bool{"ann": true}, talk: map[ids.Account]bool{}, ended: map[string]bool{}, sources: map[upstream.Quality]upstream.Source{}}
	if camera != nil {
		h.sources[upstream.Main] = upstream.Source{URL: camera.URL()}
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	h.permits = access.NewPermits(h, nil, logger)
	pool, err := upstream.New(upstream.Config{
		Cameras: h, Privileges: h, Logger: logger, CloseAfter: 300 * time.Millisecond, Allow: func(netip.Addr) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Address: "127.0.0.1:0", Access: h.permits, Sessions: sessionsOf{h}, Upstreams: pool, Uses: h, Logger: logger, Metrics: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&cfg)
	}
	if h.Door, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = h.Run(ctx) })
	parts.Go(func() { _ = pool.Run(ctx) })
	t.Cleanup(func() { stop(); parts.Wait() })
	return h
}

// The house is the rules of access.

func (h *house) Live(time.Time) bool             { h.mu.Lock(); defer h.mu.Unlock(); return !h.sick }
func (h *house) Pulse() *access.Pulse            { return nil }
func (h *house) Key(ids.Key) (access.Key, bool)  { return access.Key{}, false }
func (h *house) Gone(ids.Device, time.Time) bool { return false }
func (h *house) Owner(device ids.Device) string  { return string(device) }
func (h *house) Used(use access.Use, _ time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used = append(h.used, use)
}
func (h *house) uses() []access.Use { h.mu.Lock(); defer h.mu.Unlock(); return h.used }
func (h *house) set(account ids.Account, may bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.may[account] = may
}
func (h *house) endSession(token string) { h.mu.Lock(); defer h.mu.Unlock(); h.ended[token] = true }
func (h *house) setSick(sick bool)       { h.mu.Lock(); defer h.mu.Unlock(); h.sick = sick }

func (h *house) Pair(account ids.Account, device ids.Device) access.Pair {
	return pair{h, account, device}
}

type pair struct {
	of      *house
	account ids.Account
	device  ids.Device
}

func (p pair) Check(channel int, want privilege.Set, _ time.Time) access.Standing {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	switch {
	case p.of.sick:
		return access.Standing{Verdict: access.Unavailable}
	case p.device != "dev-1" || channel != 1 || !p.of.may[p.account]:
		return access.Standing{Verdict: access.NotFound}
	case want == privilege.TwoWayAudio && p.of.talk[p.account]:
	case want != privilege.LiveView:
		return access.Standing{Verdict: access.Forbidden}
	}
	return access.Standing{Verdict: access.Allowed}
}

// The house has the sessions and the addresses of cameras.

type sessionsOf struct{ *house }

func (s sessionsOf) Live(_ context.Context, token string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended[token], nil
}

func (h *house) Camera(_ context.Context, _ ids.Device, _ int, q upstream.Quality) (upstream.Source, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.sources[q]; ok {
		return s, nil
	}
	return upstream.Source{}, upstream.ErrNoStream
}

// annUse is what ann may do.
var annUse = Use{Account: "ann", Session: "session-1", Address: netip.MustParseAddr("192.0.2.7"), Device: "dev-1", Channel: 1}

// player is pion as the browser.
type player struct {
	*webrtc.PeerConnection
	t       testing.TB
	socket  *counted
	video   chan *rtp.Packet
	audio   chan *rtp.Packet
	closing sync.Once
}

// counted counts the datagrams that a socket receives.
type counted struct {
	*net.UDPConn
	n    atomic.Int64
	lose atomic.Pointer[func(datagram []byte) bool] // what gets lost on the way; nil: nothing
}

func (c *counted) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, a, err := c.UDPConn.ReadFrom(p)
		c.n.Add(1)
		if lose := c.lose.Load(); err != nil || lose == nil || !(*lose)(p[:n]) {
			return n, a, err
		}
	}
}

// datagrams hides the other methods of a socket, so that all are counted.
type datagrams struct{ net.PacketConn }

// newPlayer makes a player that takes these codecs; none: those of browsers.
func newPlayer(t testing.TB, codecs ...webrtc.RTPCodecParameters) *player {
	t.Helper()
	return newPlayerOf(t, nil, codecs...)
}

// newPlayerOf is newPlayer for one that takes these profiles of SRTP; none: those of pion.
func newPlayerOf(t testing.TB, profiles []dtls.SRTPProtectionProfile, codecs ...webrtc.RTPCodecParameters) *player {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.SetReadBuffer(4 << 20)
	p := &player{t: t, socket: &counted{UDPConn: socket}, video: make(chan *rtp.Packet, 4096), audio: make(chan *rtp.Packet, 4096)}
	engine := webrtc.SettingEngine{LoggerFactory: silence{}}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: datagrams{p.socket}, Logger: silence{}})
	engine.SetICEUDPMux(mux)
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetReceiveMTU(2048)
	engine.SetSRTPProtectionProfiles(profiles...)
	media := &webrtc.MediaEngine{}
	if codecs == nil {
		if err := media.RegisterDefaultCodecs(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range codecs {
		if err := media.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	if p.PeerConnection, err = webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	p.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		to := p.video
		if remote.Kind() == webrtc.RTPCodecTypeAudio {
			to = p.audio
		}
		begun, asked := remote.Kind() == webrtc.RTPCodecTypeAudio, time.Time{}
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			// Like a browser: what cannot be decoded is left out, and a key frame asked for.
			begun = begun || packet.Payload[0] == 0x78
			if now := time.Now(); !begun && now.Sub(asked) > 200*time.Millisecond {
				asked = now
				_ = p.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}})
			}
			if !begun {
				continue
			}
			select {
			case to <- packet:
			default:
			}
		}
	})
	t.Cleanup(p.leave)
	return p
}

// leave ends the player.
func (p *player) leave() {
	p.closing.Do(func() {
		_ = p.GracefulClose()
		_ = p.socket.Close()
	})
}

// offer is that of a player of picture, and of sound unless it takes one codec only.
func (p *player) offer(sound bool) []byte {
	p.t.Helper()
	recvonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	kinds := []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo}
	if sound {
		kinds = append(kinds, webrtc.RTPCodecTypeAudio)
	}
	for _, kind := range kinds {
		if _, err := p.AddTransceiverFromKind(kind, recvonly); err != nil {
			p.t.Fatal(err)
		}
	}
	o, err := p.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.PeerConnection)
	if err := p.SetLocalDescription(o); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return []byte(p.LocalDescription().SDP)
}

func (p *player) take(a Answer) {
	p.t.Helper()
	if err := p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(a.SDP)}); err != nil {
		p.t.Fatalf("taking the answer: %v\n%s", err, a.SDP)
	}
}

// watch makes a player watch.
func (h *house) watch(use Use, codecs ...webrtc.RTPCodecParameters) (*player, Answer) {
	h.t.Helper()
	p := newPlayer(h.t, codecs...)
	return p, h.show(p, use, codecs == nil)
}

// show makes a player watch.
func (h *house) show(p *player, use Use, sound bool) Answer {
	h.t.Helper()
	a, err := h.Start(h.t.Context(), use, p.offer(sound))
	if err != nil {
		h.t.Fatal(err)
	}
	p.take(a)
	return a
}

// next returns the next packet.
func (p *player) next(from chan *rtp.Packet) *rtp.Packet {
	p.t.Helper()
	select {
	case packet := <-from:
		return packet
	case <-time.After(patience):
		p.t.Fatal("no packet came")
		return nil
	}
}

// frameOf returns the number of the frame that a packet of cameratest has.
func frameOf(p *rtp.Packet) uint32 { return binary.BigEndian.Uint32(p.Payload[1:]) }

// nothing fails if anything is sent to the player from now on.
func (p *player) nothing() {
	p.t.Helper()
	// What was sent before is in the socket's queue before the mark.
	mark, err := net.Dial("udp4", p.socket.LocalAddr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer mark.Close()
	for before := int64(-1); before != p.socket.n.Load(); {
		before = p.socket.n.Load()
		if _, err := mark.Write([]byte("mark")); err != nil {
			p.t.Fatal(err)
		}
		eventually(p.t, "the mark", func() bool { return p.socket.n.Load() > before })
		before++
		time.Sleep(20 * time.Millisecond) // the next queued one would have been read
	}
	before := p.socket.n.Load()
	time.Sleep(150 * time.Millisecond) // some pictures
	if n := p.socket.n.Load(); n != before {
		p.t.Errorf("%d datagrams came after the end", n-before)
	}
}

// gone waits until a viewer has ended, for this reason.
func (h *house) gone(v *viewer, reason access.Reason) {
	h.t.Helper()
	select {
	case <-v.done:
	case <-time.After(patience):
		h.t.Fatal("the viewer did not end")
	}
	if got := v.ending.Load().reason; got != reason {
		h.t.Errorf("it ended for %q, want %q", got, reason)
	}
}

package streaming

import (
	"bufio"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"latchkey/domain/privilege"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// udpPatience is how long a player waits for a packet: it is not told of an end.
const udpPatience = 2 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// grants is an Authorizer in memory.
type grants struct {
	mu      sync.Mutex
	sick    bool
	keys    map[string]Key
	secrets map[string]string
	domains map[string]string        // account/name -> device
	sees    map[string]bool          // account/device
	may     map[string]privilege.Set // account/device/channel
	owners  map[string]string        // of devices; a device that has none here is its own
	bug     func()                   // called by Check
	away    bool                     // the database of the secrets
	fresh   time.Time                // when it was last known to be right; zero: it always is
}

// staleAfter is how long grants with a time stay known.
const staleAfter = 5 * time.Second

// refresh says that the grants are known to be right at that time.
func (g *grants) refresh(at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fresh = at
}

func (g *grants) setAway(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
}

func (g *grants) setBug(bug func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bug = bug
}

func (g *grants) Live(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live(now)
}

func (g *grants) live(now time.Time) bool {
	return !g.sick && (g.fresh.IsZero() || now.Sub(g.fresh) <= staleAfter)
}

func newGrants() *grants {
	return &grants{
		keys: map[string]Key{}, secrets: map[string]string{}, domains: map[string]string{},
		sees: map[string]bool{}, may: map[string]privilege.Set{}, owners: map[string]string{},
	}
}

func (g *grants) key(k Key, secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[k.Name], g.secrets[k.Name] = k, secret
}

func (g *grants) revokeKey(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.keys, name)
}

// grant gives privileges; None leaves the sight of the device.
func (g *grants) grant(account, device string, channel int, p privilege.Set) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sees[account+"/"+device] = true
	g.may[fmt.Sprint(account, "/", device, "/", channel)] = p
}

func (g *grants) remove(account, device string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sees, account+"/"+device)
}

func (g *grants) setSick(sick bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sick = sick
}

func (g *grants) Key(name string) (Key, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k, ok := g.keys[name]
	return k, ok && !g.sick
}

func (g *grants) Resolve(account, name string) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if device, ok := g.domains[account+"/"+name]; ok {
		return device, !g.sick
	}
	return name, !g.sick
}

func (g *grants) Check(account, device string, channel int, p privilege.Set, now time.Time) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bug != nil {
		g.bug()
	}
	switch {
	case !g.live(now):
		return Unavailable
	case !g.sees[account+"/"+device]:
		return NotFound
	case !g.may[fmt.Sprint(account, "/", device, "/", channel)].Has(p):
		return Forbidden
	default:
		return Allowed
	}
}

func (g *grants) Gone(device string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for seen := range g.sees {
		if strings.HasSuffix(seen, "/"+device) {
			return false
		}
	}
	return g.live(now)
}

func (g *grants) Owner(device string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if owner, ok := g.owners[device]; ok {
		return owner
	}
	return device
}

func (g *grants) own(owner string, devices ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, device := range devices {
		g.owners[device] = owner
	}
}

func (g *grants) Secret(_ context.Context, key string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away {
		return "", errors.New("the database is away")
	}
	if s, ok := g.secrets[key]; ok {
		return s, nil
	}
	return "", errors.New("no secret")
}

// sources are Cameras in memory: device/channel/quality.
type sources struct {
	mu  sync.Mutex
	of  map[string]Source
	bug func() error // called by Camera
}

func (s *sources) setBug(bug func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bug = bug
}

func (s *sources) set(device string, channel int, q Quality, src Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]Source{}
	}
	s.of[fmt.Sprint(device, "/", channel, "/", q)] = src
}

func (s *sources) Camera(_ context.Context, device string, channel int, q Quality) (Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bug != nil {
		if err := s.bug(); err != nil {
			return Source{}, err
		}
	}
	if src, ok := s.of[fmt.Sprint(device, "/", channel, "/", q)]; ok {
		return src, nil
	}
	return Source{}, ErrNoStream
}

// fakeCamera is an RTSP server that plays to whoever asks, in this process.
type fakeCamera struct {
	t        testing.TB
	server   *gortsplib.Server
	stream   *gortsplib.ServerStream
	medias   []*description.Media
	user     string
	password string
	methods  []auth.VerifyMethod
	noTCP    bool
	rate     int // bytes a second; 0 is 2 Mbit/s
	frame    int // bytes at once
	addr     string

	dials    atomic.Int32 // connections accepted
	open     atomic.Int32 // connections open now
	describe atomic.Int32

	authorised atomic.Int32 // requests with the right password
	hold       func()       // called at DESCRIBE
	stop       chan struct{}
	wg         sync.WaitGroup
}

var h264 = &format.H264{
	PayloadTyp: 96, PacketizationMode: 1,
	SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8}, PPS: []byte{0x68, 0xce, 0x3c, 0x80},
}

func video() *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{h264}}
}

func (c *fakeCamera) start(t testing.TB) *fakeCamera {
	t.Helper()
	c.t, c.stop = t, make(chan struct{})
	if c.medias == nil {
		c.medias = []*description.Media{video()}
	}
	if c.addr == "" {
		c.addr = "127.0.0.1:0"
	}
	udp, err := listenUDP("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c.server = &gortsplib.Server{
		RTSPAddress: c.addr, Handler: c, AuthMethods: c.methods, WriteQueueSize: 2048,
		UDPRTPAddress: udp[0].LocalAddr().String(), UDPRTCPAddress: udp[1].LocalAddr().String(),
		ListenPacket: func(_, a string) (net.PacketConn, error) {
			if a == udp[0].LocalAddr().String() {
				return udp[0], nil
			}
			return udp[1], nil
		},
		Listen: func(network, address string) (net.Listener, error) {
			ln, err := net.Listen(network, address)
			if err == nil {
				c.addr = ln.Addr().String()
			}
			return ln, err
		},
	}
	if err := c.server.Start(); err != nil {
		t.Fatal(err)
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Title: "secret title", Medias: c.medias}}
	if err := c.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	c.wg.Go(c.play)
	t.Cleanup(c.close)
	return c
}

func (c *fakeCamera) close() {
	select {
	case <-c.stop:
		return
	default:
	}
	close(c.stop)
	c.wg.Wait()
	c.stream.Close()
	c.server.Close()
}

func (c *fakeCamera) url() string { return "rtsp://" + c.addr + "/secret-path" }

func (c *fakeCamera) source() Source { return Source{c.url(), c.user, c.password} }

// play sends frames of packets of 1200 bytes.
func (c *fakeCamera) play() {
	bytes, frame := c.rate, c.frame
	if bytes == 0 {
		bytes = 250_000
	}
	if frame == 0 {
		frame = bytes / 25
	}
	tick := time.NewTicker(time.Duration(float64(frame) / float64(bytes) * float64(time.Second)))
	defer tick.Stop()
	var seq uint16
	payload := make([]byte, 1200)
	payload[0] = 0x65
	for n := uint32(0); ; n++ {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		for _, m := range c.medias {
			for sent := 0; sent < frame; sent += len(payload) {
				seq++
				_ = c.stream.WritePacketRTP(m, &rtp.Packet{
					Header: rtp.Header{
						Version: 2, PayloadType: m.Formats[0].PayloadType(), SequenceNumber: seq,
						Timestamp: n * 3600, Marker: sent+len(payload) >= frame, SSRC: 7,
					},
					Payload: payload,
				})
				if m.Type != description.MediaTypeVideo {
					break
				}
			}
		}
	}
}

func (c *fakeCamera) OnConnOpen(*gortsplib.ServerHandlerOnConnOpenCtx)   { c.dials.Add(1); c.open.Add(1) }
func (c *fakeCamera) OnConnClose(*gortsplib.ServerHandlerOnConnCloseCtx) { c.open.Add(-1) }
func (c *fakeCamera) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
}
func (c *fakeCamera) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}

func (c *fakeCamera) allowed(conn *gortsplib.ServerConn, req *base.Request) bool {
	if c.user == "" {
		return true
	}
	allowed := conn.VerifyCredentials(req, c.user, c.password)
	if allowed {
		c.authorised.Add(1)
	}
	return allowed
}

func (c *fakeCamera) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !c.allowed(ctx.Conn, ctx.Request) {
		return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{}}, nil, liberrors.ErrServerAuth{}
	}
	c.describe.Add(1)
	if c.hold != nil {
		c.hold()
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *fakeCamera) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !c.allowed(ctx.Conn, ctx.Request) {
		return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{}}, nil, liberrors.ErrServerAuth{}
	}
	if c.noTCP && ctx.Transport == gortsplib.TransportTCP {
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *fakeCamera) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// house is a door with one device, "dev-1", whose channel 1 the account "ann"
// may watch live with the key kann:secret.
type house struct {
	*Door
	grants  *grants
	sources *sources
	camera  *fakeCamera
	addr    string
}

const annKey = "kann:secret"

// open starts a house. Change the configuration with the functions.
func open(t testing.TB, camera *fakeCamera, change ...func(*Config)) *house {
	t.Helper()
	h := &house{grants: newGrants(), sources: &sources{}, camera: camera}
	h.grants.key(Key{Name: "kann", Account: "ann"}, "secret")
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	if camera != nil {
		h.sources.set("dev-1", 1, Main, camera.source())
	}
	cfg := Config{
		Address: "127.0.0.1:0", Authorizer: h.grants, Cameras: h.sources,
		Logger:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		CloseAfter: 300 * time.Millisecond, Allow: func(netip.Addr) error { return nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	door, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Start(); err != nil {
		t.Fatal(err)
	}
	h.Door, h.addr = door, door.Addr().String()
	t.Cleanup(func() {
		if err := door.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// recheck is what a command that revokes does: Recheck, and wait for the cuts.
func (h *house) recheck(t testing.TB, account, device, key string) {
	t.Helper()
	h.Recheck(account, device, key)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.AwaitCuts(ctx); err != nil {
		t.Error(err)
	}
}

// player speaks RTSP by hand: it sees each byte, and does what no good player does.
type player struct {
	t        testing.TB
	conn     *net.TCPConn
	in       *bufio.Reader
	url      string
	key      string
	digest   bool
	nonce    string
	seq      int
	session  string
	udp      [2]*net.UDPConn
	sdp      string
	controls []string
}

func (h *house) player(t testing.TB, path, key string) *player {
	t.Helper()
	p, err := h.dial(path, key)
	if err != nil {
		t.Fatal(err)
	}
	p.t = t
	t.Cleanup(p.close)
	return p
}

func (h *house) dial(path, key string) (*player, error) {
	conn, err := net.DialTimeout("tcp", h.addr, patience)
	if err != nil {
		return nil, err
	}
	return &player{conn: conn.(*net.TCPConn), in: bufio.NewReader(conn), url: "rtsp://" + h.addr + path, key: key}, nil
}

func (p *player) close() {
	p.conn.Close()
	for _, c := range p.udp {
		if c != nil {
			c.Close()
		}
	}
}

type reply struct {
	status int
	header textproto.MIMEHeader
	body   string
}

func (p *player) do(method, url string, headers ...string) (*reply, error) {
	if err := p.send(method, url, headers...); err != nil {
		return nil, err
	}
	return p.reply()
}

func (p *player) send(method, url string, headers ...string) error {
	p.seq++
	req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, p.seq)
	switch user, secret, _ := strings.Cut(p.key, ":"); {
	case p.key == "":
	case p.digest:
		ha1 := fmt.Sprintf("%x", md5.Sum([]byte(user+":"+realm+":"+secret)))
		ha2 := fmt.Sprintf("%x", md5.Sum([]byte(method+":"+url)))
		req += fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=\"%x\"\r\n",
			user, realm, p.nonce, url, md5.Sum([]byte(ha1+":"+p.nonce+":"+ha2)))
	default:
		req += "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.key)) + "\r\n"
	}
	if p.session != "" {
		req += "Session: " + p.session + "\r\n"
	}
	for _, h := range headers {
		req += h + "\r\n"
	}
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(p.conn, req+"\r\n")
	return err
}

// reply reads the next response and drops the packets before it.
func (p *player) reply() (*reply, error) {
	for {
		b, err := p.in.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != '$' {
			break
		}
		if _, err := p.packet(); err != nil {
			return nil, err
		}
	}
	tp := textproto.NewReader(p.in)
	line, err := tp.ReadLine()
	if err != nil {
		return nil, err
	}
	r := &reply{}
	if _, err := fmt.Sscanf(line, "RTSP/1.0 %d", &r.status); err != nil {
		return nil, fmt.Errorf("%q is no response: %w", line, err)
	}
	if r.header, err = tp.ReadMIMEHeader(); err != nil {
		return nil, err
	}
	if n, _ := strconv.Atoi(r.header.Get("Content-Length")); n > 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(p.in, body); err != nil {
			return nil, err
		}
		r.body = string(body)
	}
	if s := r.header.Get("Session"); s != "" && r.status == 200 {
		p.session, _, _ = strings.Cut(s, ";")
	}
	return r, nil
}

// packet reads one interleaved packet.
func (p *player) packet() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return nil, err
	}
	if head[0] != '$' {
		return nil, fmt.Errorf("byte %#x begins no packet", head[0])
	}
	body := make([]byte, int(head[2])<<8|int(head[3]))
	_, err := io.ReadFull(p.in, body)
	return body, err
}

func (p *player) describe() (*reply, error) {
	r, err := p.do("DESCRIBE", p.url, "Accept: application/sdp")
	if err == nil && r.status == 200 {
		p.sdp = r.body
		p.controls = nil
		for _, line := range strings.Split(r.body, "\r\n") {
			if c, ok := strings.CutPrefix(line, "a=control:trackID="); ok {
				p.controls = append(p.controls, p.url+"/trackID="+c)
			}
		}
	}
	return r, err
}

// setup sets up the first media over tcp or udp.
func (p *player) setup(transport string) (*reply, error) {
	header := "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
	if transport == "udp" {
		if p.udp[0] == nil {
			pair, err := listenUDP("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				return nil, err
			}
			p.udp = pair
		}
		port := p.udp[0].LocalAddr().(*net.UDPAddr).Port
		header = fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", port, port+1)
	}
	if len(p.controls) == 0 {
		p.controls = []string{p.url + "/trackID=0"}
	}
	return p.do("SETUP", p.controls[0], header)
}

func (p *player) play() (*reply, error) { return p.do("PLAY", p.url, "Range: npt=0.000-") }

// watch goes to PLAY; it answers the status that is not 200, or 200.
func (p *player) watch(transport string) (int, error) {
	for _, step := range []func() (*reply, error){
		p.describe, func() (*reply, error) { return p.setup(transport) }, p.play,
	} {
		r, err := step()
		if err != nil {
			return 0, err
		}
		if r.status != 200 {
			return r.status, nil
		}
	}
	return 200, nil
}

// watching starts a player that plays.
func (h *house) watching(t testing.TB, path, key, transport string) *player {
	t.Helper()
	p := h.player(t, path, key)
	if status, err := p.watch(transport); status != 200 {
		t.Fatalf("watching %s over %s: status %d, %v", path, transport, status, err)
	}
	return p
}

// status is that of one DESCRIBE.
func (h *house) status(t testing.TB, path, key string) int {
	t.Helper()
	p, err := h.dial(path, key)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	r, err := p.describe()
	if err != nil {
		t.Fatalf("DESCRIBE %s: %v", path, err)
	}
	return r.status
}

// receive reads n packets.
func (p *player) receive(n int) error {
	buf := make([]byte, 2048)
	for range n {
		if p.udp[0] != nil {
			_ = p.udp[0].SetReadDeadline(time.Now().Add(udpPatience))
			if _, err := p.udp[0].Read(buf); err != nil {
				return err
			}
			continue
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := p.packet(); err != nil {
			return err
		}
	}
	return nil
}

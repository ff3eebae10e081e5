package rtsp

import (
	"bufio"
	"cmp"
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
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/playback"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = cameratest.Patience

// udpPatience is how long a player waits for a packet: it is not told of an end.
const udpPatience = 2 * time.Second

var eventually = cameratest.Eventually

// grants are the Access and the Secrets of a door, and the Privileges of the streams of
// cameras, in memory.
type grants struct {
	*access.Permits
	mu      sync.Mutex
	sick    bool
	keys    map[ids.Key]access.Key
	secrets map[ids.Key]string
	domains map[string]string        // account/name -> device
	sees    map[string]bool          // account/device
	may     map[string]privilege.Set // account/device/channel
	owners  map[string]string        // of devices; a device that has none here is its own
	bug     func()                   // called by Check
	window  privilege.Interval       // what may be played back; a zero To: all of it
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

func (g *grants) Pulse() *access.Pulse { return nil }

func (g *grants) live(now time.Time) bool {
	return !g.sick && (g.fresh.IsZero() || now.Sub(g.fresh) <= staleAfter)
}

func newGrants() *grants {
	return &grants{
		keys: map[ids.Key]access.Key{}, secrets: map[ids.Key]string{}, domains: map[string]string{},
		sees: map[string]bool{}, may: map[string]privilege.Set{}, owners: map[string]string{},
	}
}

// pairing is an account and a device.
type pairing struct {
	of      *grants
	account ids.Account
	device  ids.Device
}

func (p pairing) Check(channel int, want privilege.Set, now time.Time) access.Standing {
	return access.Standing{Verdict: p.of.Check(p.account, p.device, channel, want, now)}
}

func (g *grants) Pair(account ids.Account, device ids.Device) access.Pair {
	return pairing{g, account, device}
}

func (g *grants) key(k access.Key, secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[k.Name], g.secrets[k.Name] = k, secret
}

func (g *grants) revokeKey(name ids.Key) {
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

func (g *grants) Key(name ids.Key) (access.Key, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k, ok := g.keys[name]
	return k, ok && !g.sick
}

func (g *grants) Resolve(account ids.Account, name string) (ids.Device, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if device, ok := g.domains[string(account)+"/"+name]; ok {
		return ids.Device(device), !g.sick
	}
	return ids.Device(name), !g.sick
}

func (g *grants) Check(account ids.Account, device ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bug != nil {
		g.bug()
	}
	switch {
	case !g.live(now):
		return access.Unavailable
	case !g.sees[string(account)+"/"+string(device)]:
		return access.NotFound
	case !g.may[fmt.Sprint(account, "/", device, "/", channel)].Has(p):
		return access.Forbidden
	default:
		return access.Allowed
	}
}

func (g *grants) setWindow(from, to time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.window = privilege.Interval{From: from, To: to}
}

func (g *grants) Playable(account ids.Account, device ids.Device, channel int, within privilege.Interval, now time.Time, hold time.Duration) (privilege.Interval, bool) {
	if g.Check(account, device, channel, privilege.Playback, now) != access.Allowed {
		return privilege.Interval{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.window.To.IsZero() {
		within = within.Within(g.window)
	}
	return within, !within.Empty()
}

func (g *grants) Gone(device ids.Device, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for seen := range g.sees {
		if strings.HasSuffix(seen, "/"+string(device)) {
			return false
		}
	}
	return g.live(now)
}

func (g *grants) Owner(device ids.Device) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if owner, ok := g.owners[string(device)]; ok {
		return owner
	}
	return string(device)
}

func (g *grants) Owns(account ids.Account, device ids.Device) bool {
	return g.Owner(device) == string(account)
}

func (g *grants) own(owner string, devices ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, device := range devices {
		g.owners[device] = owner
	}
}

func (g *grants) Secret(_ context.Context, key ids.Key) (string, error) {
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
	mu     sync.Mutex
	of     map[string]upstream.Source
	replay playback.Source // where ONVIF replays; zero: nowhere
	bug    func() error    // called by Camera
}

func (s *sources) setBug(bug func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bug = bug
}

func (s *sources) set(device string, channel int, q upstream.Quality, src upstream.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]upstream.Source{}
	}
	s.of[fmt.Sprint(device, "/", channel, "/", q)] = src
}

func (s *sources) Recordings(ctx context.Context, device ids.Device, channel int, replay bool) (playback.Source, error) {
	s.mu.Lock()
	onvif := s.replay
	s.mu.Unlock()
	switch {
	case onvif.URL != "":
		return onvif, nil
	case replay:
		return playback.Source{}, playback.ErrNoReplay
	}
	live, err := s.Camera(ctx, device, channel, upstream.Main)
	source, ok := playback.Track(live.URL)
	if err != nil || !ok {
		return source, playback.ErrNoRecorder
	}
	source.Username, source.Password = live.Username, live.Password
	return source, nil
}

func (s *sources) Camera(_ context.Context, device ids.Device, channel int, q upstream.Quality) (upstream.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bug != nil {
		if err := s.bug(); err != nil {
			return upstream.Source{}, err
		}
	}
	if src, ok := s.of[fmt.Sprint(device, "/", channel, "/", q)]; ok {
		return src, nil
	}
	return upstream.Source{}, upstream.ErrNoStream
}

// house is a door with one device, "dev-1", whose channel 1 the account "ann"
// may watch live with the key kann:secret, and the streams of cameras behind it.
type house struct {
	*Door
	pool    *upstream.Pool
	grants  *grants
	sources *sources
	camera  *cameratest.Camera
	addr    string
	shut    func() error // ends door and pool

	public, private *prometheus.Registry
}

const annKey = "kann:secret"

// config is that of a door and of the streams of cameras behind it. What the two
// have in common is set for the door.
type config struct {
	Config
	Up         upstream.Config
	Talk       *mouths       // nil: nobody talks
	CheckEvery time.Duration // how often permits and devices are checked again: 1 s
}

// open starts a house. Change the configuration with the functions.
func open(t testing.TB, camera *cameratest.Camera, change ...func(*config)) *house {
	t.Helper()
	h := &house{grants: newGrants(), sources: &sources{}, camera: camera, public: prometheus.NewRegistry(), private: prometheus.NewRegistry()}
	h.grants.key(access.Key{Name: "kann", Account: "ann"}, "secret")
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView)
	if camera != nil {
		h.sources.set("dev-1", 1, upstream.Main, sourceOf(camera))
	}
	cfg := config{
		Config: Config{
			Address: "127.0.0.1:0", Access: h.grants, Secrets: h.grants, Metrics: h.public,
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		},
		Up: upstream.Config{
			Cameras: h.sources, Privileges: h.grants, Private: h.private,
			CloseAfter: 300 * time.Millisecond, Allow: func(netip.Addr) error { return nil },
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	cfg.CheckEvery = cmp.Or(cfg.CheckEvery, time.Second)
	h.grants.Permits = access.NewPermits(h.grants, cfg.Now, cfg.Logger)
	cfg.Up.Now, cfg.Up.Logger, cfg.Up.Metrics, cfg.Up.CheckEvery = cfg.Now, cfg.Logger, cfg.Metrics, cfg.CheckEvery
	pool, err := upstream.New(cfg.Up)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Upstreams = pool
	if cfg.Talk != nil {
		cfg.Talk.sources = h.sources
		cfg.Lines, cfg.Floor = cfg.Talk.lines(t, pool), talk.New(owner("olga"))
	}
	cfg.Recorders = playback.New(playback.Config{Sources: h.sources, Contact: pool.Contact, Now: cfg.Now})
	door, err := New(cfg.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var all sync.WaitGroup
		all.Go(func() { h.grants.Run(ctx, cfg.CheckEvery) })
		_ = pool.Run(ctx)
		all.Wait()
	}()
	h.shut = func() error {
		err := door.Close()
		stop()
		<-ended
		return err
	}
	t.Cleanup(func() {
		if err := h.shut(); err != nil {
			t.Error(err)
		}
	})
	if err := door.Start(); err != nil {
		t.Fatal(err)
	}
	h.Door, h.pool, h.addr = door, pool, door.Addr().String()
	return h
}

func sourceOf(c *cameratest.Camera) upstream.Source {
	return upstream.Source{URL: c.URL(), Username: c.User, Password: c.Password}
}

// Close is what the service does when it stops.
func (h *house) Close() error { return h.shut() }

// Recheck is what the service does with a change.
func (h *house) Recheck(account ids.Account, device ids.Device, key ids.Key) {
	h.grants.Changed(access.Change{Account: account, Device: device, Key: key})
	if key != "" {
		h.Forget(key)
	}
	h.pool.Recheck(account, device)
}

// AwaitCuts is what the service waits for before it answers a command.
func (h *house) AwaitCuts(ctx context.Context) error {
	if err := h.Door.AwaitCuts(ctx); err != nil {
		return err
	}
	return h.pool.AwaitLeft(ctx)
}

// metric is what a registry has for a name and the value of a label.
func metric(t testing.TB, r *prometheus.Registry, name, value string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetValue() == value }) {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// upstreams counts those in a state: flowing, dialing, away.
func (h *house) upstreams(t testing.TB, state string) float64 {
	return metric(t, h.public, "latchkey_rtsp_upstreams", state)
}

func (h *house) dropped(t testing.TB, reason string) float64 {
	return metric(t, h.public, "latchkey_rtsp_dropped_packets_total", reason)
}

func (h *house) cameraErrors(t testing.TB, reason string) float64 {
	return metric(t, h.private, "latchkey_rtsp_camera_errors_total", reason)
}

// recheck is what a command that revokes does: Recheck, and wait for the cuts.
func (h *house) recheck(t testing.TB, account ids.Account, device ids.Device, key ids.Key) {
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
	conn     net.Conn
	tcp      *net.TCPConn // conn, or under it
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
	return &player{conn: conn, tcp: conn.(*net.TCPConn), in: bufio.NewReader(conn), url: "rtsp://" + h.addr + path, key: key}, nil
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
			_ = pair[0].SetReadBuffer(4 << 20) // it is read late on a busy machine
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

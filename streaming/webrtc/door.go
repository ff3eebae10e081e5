package webrtc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

// Config configures a Door. Every field without a default is required.
type Config struct {
	Address string       // of the UDP port, such as 0.0.0.0:8189
	Public  []netip.Addr // addresses under which others reach it, besides its own; may be empty

	Access    Access
	Sessions  Sessions
	Upstreams *upstream.Pool
	Uses      Uses // nil: uses are not recorded

	Lines *backchannel.Lines // to cameras, for those who talk; nil: nobody can
	Floor *talk.Floor        // who talks; required with Lines

	Now     func() time.Time      // time.Now
	Logger  *slog.Logger          // discards
	Metrics prometheus.Registerer // nil: none

	// Viewers at once, in all, of an account, and from an address (IPv6: a /64): 1024, 64
	// and 128.
	MaxViewers, MaxPerAccount, MaxPerAddress int
	// MaxTalkers is how many viewers of an account may be there to talk: 8.
	MaxTalkers int
	// SetupWithin is how long a viewer may take from its answer until it is connected: 10 s.
	SetupWithin time.Duration
	// SilentWithin is after how long a viewer that is not heard is ended: 30 s.
	SilentWithin time.Duration
	// CheckEvery is how often the sessions of viewers are looked up, besides SessionsEnded:
	// 2 s.
	CheckEvery time.Duration
}

func (c Config) withDefaults() (Config, error) {
	var faults []error
	for _, f := range []struct {
		name  string
		there bool
	}{
		{"Address", c.Address != ""}, {"Access", c.Access != nil}, {"Sessions", c.Sessions != nil}, {"Upstreams", c.Upstreams != nil},
	} {
		if !f.there {
			faults = append(faults, errors.New(f.name+" is required"))
		}
	}
	if c.Lines != nil && c.Floor == nil {
		faults = append(faults, errors.New("the Lines need a Floor"))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, n := range []struct {
		value   *int
		missing int
	}{
		{&c.MaxViewers, 1024}, {&c.MaxPerAccount, 64}, {&c.MaxPerAddress, 128}, {&c.MaxTalkers, 8},
	} {
		if *n.value == 0 {
			*n.value = n.missing
		}
	}
	for _, d := range []struct {
		value   *time.Duration
		missing time.Duration
	}{
		{&c.SetupWithin, 10 * time.Second}, {&c.SilentWithin, 30 * time.Second}, {&c.CheckEvery, 2 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.missing
		}
	}
	return c, errors.Join(faults...)
}

// Door serves viewers by WebRTC. Use New; it is safe for concurrent use.
type Door struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	viewers  *registry
	streams  *streams
	fans     []*fan
	next     atomic.Uint32 // of the fans, for viewers in turn
	socket   *net.UDPConn
	mux      *ice.UDPMuxDefault
	engine   webrtc.SettingEngine
	identity identity
}

// New opens the port. Viewers are admitted until Run ends, which must be called. If
// the port cannot be opened, nothing is left of it: New can be called again with another
// Address.
func New(cfg Config) (*Door, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring WebRTC: %w", err)
	}
	d := &Door{cfg: cfg, log: cfg.Logger, viewers: newRegistry()}
	if _, err := d.identity.at(cfg.Now()); err != nil {
		return nil, err
	}
	if err := d.listen(); err != nil {
		return nil, fmt.Errorf("opening the WebRTC port: %w", err)
	}
	if d.metrics, err = newMetrics(d, cfg.Metrics); err != nil {
		closeFans(d.fans)
		return nil, errors.Join(fmt.Errorf("registering the WebRTC metrics: %w", err), d.mux.Close())
	}
	d.streams = &streams{fans: d.fans, all: map[*upstream.Flow]*stream{}}
	return d, nil
}

// listen opens the port, and sets pion up for it.
func (d *Door) listen() error {
	addr, err := net.ResolveUDPAddr("udp", d.cfg.Address)
	if err != nil {
		return err
	}
	network := "udp"
	if addr.IP.To4() != nil {
		network = "udp4"
	}
	if d.socket, err = net.ListenUDP(network, addr); err != nil {
		return err
	}
	_ = d.socket.SetWriteBuffer(sendBuffer) // a smaller one makes the fans wait
	if d.fans, err = newFans(d.socket); err != nil {
		return errors.Join(err, d.socket.Close())
	}
	quiet := silence{}
	d.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: d.socket, Logger: quiet.NewLogger("")})
	e := &d.engine
	e.LoggerFactory = quiet
	e.SetLite(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.DisableActiveTCP(true)
	e.SetIncludeLoopbackCandidate(addr.IP.IsLoopback())
	e.SetICETimeouts(10*time.Second, 15*time.Second, 2*time.Second)
	e.SetDTLSConnectContextMaker(func() (context.Context, func()) {
		return context.WithTimeout(context.Background(), d.cfg.SetupWithin)
	})
	e.SetReceiveMTU(2048)
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	if len(d.cfg.Public) == 0 {
		return nil
	}
	rule := webrtc.ICEAddressRewriteRule{AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteAppend}
	for _, a := range d.cfg.Public {
		rule.External = append(rule.External, a.String())
	}
	return e.SetICEAddressRewriteRules(rule)
}

// Addr is the address of the port.
func (d *Door) Addr() net.Addr { return d.socket.LocalAddr() }

// Run ends viewers with their sessions until the context ends; then it ends all of them,
// and returns when they have ended. Call it once.
func (d *Door) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.CheckEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			d.checkSessions(ctx)
		case <-ctx.Done():
		}
	}
	d.viewers.close()
	d.streams.close()
	list := d.viewers.list()
	for _, v := range list {
		v.end(endedClosing)
	}
	for _, v := range list {
		_ = d.await(context.Background(), v) // it waits some seconds at most
	}
	closeFans(d.fans)
	return d.mux.Close()
}

// Start admits a viewer with its offer, or refuses it: see the errors of this package. The
// viewer lasts until one of the reasons for its end; callers need not end it.
func (d *Door) Start(ctx context.Context, use Use, text []byte) (Answer, error) {
	offered, err := readOffer(text)
	if err != nil {
		return Answer{}, err
	}
	return d.admit(ctx, use, func(ctx context.Context, v *viewer) (string, error) { return v.prepare(ctx, offered) })
}

// admit admits a viewer if it may be there, and there is an answer to its offer.
func (d *Door) admit(ctx context.Context, use Use, prepare func(context.Context, *viewer) (string, error)) (_ Answer, err error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	v := &viewer{
		door: d, id: base64.RawURLEncoding.EncodeToString(id), use: use, source: sourceOf(use.Address),
		done: make(chan struct{}), connected: make(chan struct{}), fan: d.fans[int(d.next.Add(1))%len(d.fans)], resends: rate.NewLimiter(rate.Every(resendEvery), resendBurst),
		log: d.log.With("account", use.Account, "device", use.Device, "channel", use.Channel),
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	if err := d.viewers.add(v, &d.cfg); err != nil {
		v.cancel()
		return Answer{}, err
	}
	running := false
	defer func() {
		if !running { // refused, or in a panic
			v.ending.CompareAndSwap(nil, &ending{endedRefused, time.Now()})
			v.teardown()
		}
	}()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(v.ctx, stop)()
	permit, verdict := d.cfg.Access.Acquire(use.access(), v.end)
	if verdict != access.Allowed {
		return Answer{}, &Denied{verdict}
	}
	v.permit = permit
	answer, err := prepare(ctx, v)
	if refused := v.verdict(); refused != nil {
		return Answer{}, refused
	}
	if err != nil {
		return Answer{}, err
	}
	running = true
	go v.run()
	return Answer{ID: v.id, SDP: []byte(answer)}, nil
}

// verdict returns the refusal if the viewer may not watch any more.
func (v *viewer) verdict() error {
	if verdict := v.permit.Check(v.door.cfg.Now()); verdict != access.Allowed {
		return &Denied{verdict}
	}
	if v.ending.Load() != nil {
		return ErrFull
	}
	return nil
}

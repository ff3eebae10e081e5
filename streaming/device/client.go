package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"
)

// Config is what a Client needs. Only Allow must be given.
type Config struct {
	// Allow is asked with each address that a name resolves to, before it is dialled.
	Allow func(netip.AddrPort) error

	Within time.Duration // of one proof, all in all: 8 s
	Now    func() time.Time
	Logger *slog.Logger // discards

	// How often devices are proven for one account, and how many at once for it and for
	// all.
	Burst         int           // 32
	Every         time.Duration // one more each 5 s
	MaxPerAccount int           // 4
	Max           int           // 64
}

// Client asks devices. It may be used concurrently.
type Client struct {
	cfg    Config
	guard  guard
	budget budget
}

// New makes a client.
func New(cfg Config) (*Client, error) {
	if cfg.Allow == nil {
		return nil, errors.New("configuring the clients of devices: Allow is needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.Within, 8*time.Second)
	setDefault(&cfg.Burst, 32)
	setDefault(&cfg.Every, 5*time.Second)
	setDefault(&cfg.MaxPerAccount, 4)
	setDefault(&cfg.Max, 64)
	return &Client{cfg: cfg, budget: budget{
		burst: cfg.Burst, every: cfg.Every, most: cfg.MaxPerAccount,
		places: make(chan struct{}, cfg.Max), accounts: map[string]*spending{},
	}}, nil
}

func setDefault[T comparable](value *T, missing T) {
	var zero T
	if *value == zero {
		*value = missing
	}
}

// Target is the device that is to be proven.
type Target struct {
	Account            string // whose proofs are counted together
	Username, Password string // "": it asks for none
	ISAPIURL, ONVIFURL string // "" for none
	Streams            []Stream
}

// Stream is the address of a channel's main stream.
type Stream struct {
	Channel int
	URL     string
}

const (
	// maxProbed is how many streams of a device are asked for. Others are taken to be
	// as their owner says.
	maxProbed = 32
	// maxHosts is how many hosts a device may be spread over.
	maxHosts = 8
)

// proof is one attempt to prove a device.
type proof struct {
	client   *Client
	target   Target
	attempts []*attempt
}

// Prove connects to a device with its credentials, and returns what it says of itself.
// The error is a *Failure. What was not answered in time, after the device itself was
// proven, is not known. Nothing is tried again.
func (c *Client) Prove(ctx context.Context, t Target) (facts Facts, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Within)
	defer cancel()
	end, wait := c.budget.begin(ctx, t.Account, c.cfg.Now())
	if wait > 0 {
		return Facts{}, &Failure{Kind: TooManyProofs, RetryAfter: wait}
	}
	defer end()
	defer func() {
		if r := recover(); r != nil { // of what a device said
			c.cfg.Logger.Error("a device made its proof panic", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			facts, err = Facts{}, fail(Unsupported, "")
		}
	}()
	p := &proof{client: c, target: t}
	defer p.settle()
	if err := p.streams(ctx, &facts); err != nil {
		return Facts{}, err
	}
	if t.ISAPIURL != "" {
		if err := p.isapi(ctx, &facts); err != nil {
			return Facts{}, err
		}
	}
	if t.ONVIFURL != "" {
		if err := p.onvif(ctx, &facts); err != nil {
			return Facts{}, err
		}
	}
	for i := range facts.Channels {
		facts.Channels[i].judgeTalk(t.ISAPIURL != "")
	}
	return facts, nil
}

// streams asks for the streams of the channels, over one connection for each host.
func (p *proof) streams(ctx context.Context, facts *Facts) error {
	sessions := map[string]*rtspSession{}
	defer func() {
		for _, s := range sessions {
			s.close()
		}
	}()
	probed := 0
	for _, stream := range p.target.Streams {
		u, err := parseStream(stream.URL)
		if err != nil {
			return &Failure{Kind: Unsupported, Service: RTSP, Channel: stream.Channel}
		}
		at := u.Scheme + " " + hostPort(u)
		s := sessions[at]
		if s == nil && len(sessions) == maxHosts {
			return &Failure{Kind: Unsupported, Service: RTSP, Channel: stream.Channel}
		}
		if probed == maxProbed && s != nil {
			continue // its host is proven
		}
		channel := facts.channel(stream.Channel)
		if channel == nil {
			return &Failure{Kind: Unsupported, Service: RTSP, Channel: stream.Channel}
		}
		if s == nil {
			s = &rtspSession{proof: p, root: u}
			sessions[at] = s
			err = s.options(ctx)
		} else {
			probed++
		}
		if err == nil {
			err = s.probe(ctx, u, channel)
		}
		var failure *Failure
		if errors.As(err, &failure) {
			failure.Channel = stream.Channel
			return failure
		}
	}
	return nil
}

// mayTry takes leave to send credentials, where one more refusal does not lock the
// device.
func (p *proof) mayTry(ctx context.Context, addr netip.Addr, service Service) (*attempt, error) {
	a, wait, err := p.client.guard.try(ctx, addr, p.client.cfg.Now)
	if err != nil {
		return nil, fail(Timeout, service)
	}
	if wait > 0 {
		return nil, &Failure{Kind: TooManyAttempts, Service: service, RetryAfter: wait}
	}
	p.attempts = append(p.attempts, a)
	return a, nil
}

// settle counts what was sent and never answered as refused: the device may have
// counted it.
func (p *proof) settle() {
	for _, a := range p.attempts {
		a.refused(p.client.cfg.Now())
	}
}

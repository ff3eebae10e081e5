package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"

	"latchkey/streaming/rtspclient"
)

// Config configures a Client. Only Allow is required.
type Config struct {
	// Allow is called with each address that a name resolves to, before it is dialed.
	Allow func(netip.AddrPort) error

	Within time.Duration // of one proof, in total: 8 s
	Now    func() time.Time
	Logger *slog.Logger // discards

	// How often devices are proven for one account, and how many at once for it and for
	// all.
	Burst         int           // 32
	Every         time.Duration // one more each 5 s
	MaxPerAccount int           // 4
	Max           int           // 64
}

// Client proves devices. It is safe for concurrent use.
type Client struct {
	cfg    Config
	guard  guard
	trust  trust
	budget budget

	neighbours neighbours
}

// New returns a client.
func New(cfg Config) (*Client, error) {
	if cfg.Allow == nil {
		return nil, errors.New("configuring the device client: Allow is required")
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

// Target is the device to prove.
type Target struct {
	Account            string // whose proofs are counted together
	Username, Password string // "": none are sent
	ISAPIURL, ONVIFURL string // "" for none
	Streams            []Stream
	// Certificate is the fingerprint that the owner has confirmed for rtsps and
	// https. Zero: the certificate must be valid.
	Certificate rtspclient.Fingerprint
}

// Stream is the address of a channel's main stream.
type Stream struct {
	Channel int
	URL     string
}

const (
	// maxProbed is how many streams of a device are requested. The owner's word is taken
	// for the others.
	maxProbed = 32
	// maxHosts is the maximum number of hosts of a device.
	maxHosts = 8
)

// proof is one attempt to prove a device.
type proof struct {
	client   *Client
	target   Target
	trusting bool // credentials that were accepted before are sent without waiting
	attempts []*attempt
	most     int64 // bytes read from a connection; 0: maxAnswers
}

func (p *proof) mostRead() int64 {
	if p.most == 0 {
		return maxAnswers
	}
	return p.most
}

// Prove connects to a device with its credentials, and returns what it reports about
// itself. The error is a *Failure. Facts that were not received in time, after the device
// itself was proven, stay unknown. Nothing is retried.
func (c *Client) Prove(ctx context.Context, t Target) (facts Facts, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Within)
	defer cancel()
	end, wait := c.budget.begin(ctx, t.Account, c.cfg.Now())
	if wait > 0 {
		return Facts{}, &Failure{Kind: TooManyProofs, RetryAfter: wait}
	}
	defer end()
	defer func() {
		if r := recover(); r != nil { // caused by a device's response
			c.cfg.Logger.Error("proving a device panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
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

// streams requests the streams of the channels, over one connection per host.
func (p *proof) streams(ctx context.Context, facts *Facts) error {
	sessions := map[string]*rtspSession{}
	defer func() {
		for _, s := range sessions {
			s.close()
		}
	}()
	probed := 0
	for _, stream := range p.target.Streams {
		address, at, err := parseStream(stream.URL)
		if err != nil {
			return &Failure{Kind: Unsupported, Service: RTSP, Channel: stream.Channel}
		}
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
			s = &rtspSession{proof: p}
			sessions[at] = s
		} else {
			probed++
		}
		err = s.probe(ctx, address, channel)
		var failure *Failure
		if errors.As(err, &failure) {
			failure.Channel = stream.Channel
			return failure
		}
	}
	return nil
}

// mayTry gets permission to send credentials, if one more refusal does not lock the
// device.
func (p *proof) mayTry(ctx context.Context, addr netip.Addr, service Service) (*attempt, error) {
	if p.trusting && p.client.trust.has(addr, p.target.Username, p.target.Password) {
		return p.watched(p.client.guard.trusted(addr, p.client.cfg.Now()), addr), nil
	}
	a, wait, err := p.client.guard.try(ctx, addr, p.client.cfg.Now)
	if err != nil {
		return nil, fail(Timeout, service)
	}
	if wait > 0 {
		return nil, &Failure{Kind: TooManyAttempts, Service: service, RetryAfter: wait}
	}
	return p.watched(a, addr), nil
}

// watched keeps an attempt for settle, and lets it decide which credentials are trusted.
func (p *proof) watched(a *attempt, addr netip.Addr) *attempt {
	if p.trusting {
		a.judged = func(accepted bool) { p.client.trust.set(addr, p.target.Username, p.target.Password, accepted) }
	}
	p.attempts = append(p.attempts, a)
	return a
}

// distrust forgets that the address accepted the credentials.
func (p *proof) distrust(addr netip.Addr) {
	p.client.trust.set(addr, p.target.Username, p.target.Password, false)
}

// settle settles the credentials that were sent without a response.
func (p *proof) settle() {
	for _, a := range p.attempts {
		a.unanswered(p.client.cfg.Now())
	}
}

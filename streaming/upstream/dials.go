package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// dials limits how often and how many cameras are dialed, per owning account and in all.
// Owners choose the addresses of their cameras: without limits the door would scan ports
// for them.
type dials struct {
	cfg *Config

	mu       sync.Mutex
	owners   map[string]*dialsOf
	inFlight int
	changed  chan struct{} // closed when a dial has ended
}

// dialsOf are the dials of one owner. The mutex of dials guards the counts.
type dialsOf struct {
	tokens   *rate.Limiter // one per connection
	inFlight int
	users    int // dials in progress and waiting
}

func newDials(cfg *Config) *dials {
	return &dials{cfg: cfg, owners: map[string]*dialsOf{}, changed: make(chan struct{})}
}

// spentError is returned if a camera was not dialed because its owner has exhausted the
// budget.
type spentError struct {
	wait time.Duration // until a retry makes sense
}

func (*spentError) Error() string { return "too many cameras of this owner were dialled" }

// permit allows one dial.
type permit struct {
	dials *dials
	of    *dialsOf
	used  atomic.Bool // its connection was made
}

// begin waits until another camera of the owner may be dialed, if that takes at most half
// of the dial timeout. The permit must be released with end.
func (d *dials) begin(ctx context.Context, owner string) (*permit, error) {
	p := &permit{dials: d, of: d.enter(owner)}
	err := d.pay(ctx, p.of)
	if err == nil {
		err = d.takePlace(ctx, p.of)
	}
	if err != nil {
		d.leave(p.of, false)
		return nil, err
	}
	return p, nil
}

func (d *dials) enter(owner string) *dialsOf {
	d.mu.Lock()
	defer d.mu.Unlock()
	of := d.owners[owner]
	if of == nil {
		of = &dialsOf{tokens: rate.NewLimiter(rate.Every(d.cfg.DialEvery), d.cfg.DialBurst)}
		d.owners[owner] = of
	}
	of.users++
	return of
}

// pay waits for a token.
func (d *dials) pay(ctx context.Context, of *dialsOf) error {
	now := d.cfg.Now()
	r := of.tokens.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > d.cfg.DialTimeout/2 {
		r.CancelAt(now)
		return &spentError{wait}
	}
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.CancelAt(d.cfg.Now())
		return &spentError{wait}
	}
}

// takePlace waits for a slot among the dials in progress.
func (d *dials) takePlace(ctx context.Context, of *dialsOf) error {
	timeout := time.NewTimer(d.cfg.DialTimeout / 2)
	defer timeout.Stop()
	for {
		changed, ok := d.tryPlace(of)
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return &spentError{firstBackoff}
		case <-ctx.Done():
			return &spentError{firstBackoff}
		}
	}
}

func (d *dials) tryPlace(of *dialsOf) (changed <-chan struct{}, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := d.cfg.MaxDials - d.inFlight
	// The fewer slots are left, the fewer each owner gets: nobody takes them all.
	if left <= 0 || of.inFlight >= min(d.cfg.MaxDialsPerOwner, 1+left/8) {
		return d.changed, false
	}
	of.inFlight++
	d.inFlight++
	return nil, true
}

func (d *dials) leave(of *dialsOf, hadPlace bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	of.users--
	if hadPlace {
		of.inFlight--
		d.inFlight--
		close(d.changed)
		d.changed = make(chan struct{})
	}
}

func (p *permit) end() { p.dials.leave(p.of, true) }

// connect is called before each connection. The permit is for one; every other address of
// the camera's name, and another attempt over UDP, takes one more token, without waiting.
func (p *permit) connect() error {
	if !p.used.CompareAndSwap(false, true) && !p.of.tokens.AllowN(p.dials.cfg.Now(), 1) {
		return &spentError{firstBackoff}
	}
	return nil
}

// forget drops the owners with a full budget.
func (d *dials) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
	for owner, of := range d.owners {
		if of.users == 0 && of.tokens.TokensAt(now) >= float64(d.cfg.DialBurst) {
			delete(d.owners, owner)
		}
	}
}

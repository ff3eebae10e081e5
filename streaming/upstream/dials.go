package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// dials bounds how often and how many cameras are dialled, for each account that
// owns devices and in all. Owners choose the addresses of their cameras: without
// bounds the door would look for open ports for them.
type dials struct {
	cfg *Config

	mu       sync.Mutex
	owners   map[string]*dialsOf
	inFlight int
	changed  chan struct{} // closed when a dial has ended
}

// dialsOf are the dials of one owner. The mutex of dials guards the counts.
type dialsOf struct {
	tokens   *rate.Limiter // one for each connection
	inFlight int
	users    int // dials in flight and those that wait
}

func newDials(cfg *Config) *dials {
	return &dials{cfg: cfg, owners: map[string]*dialsOf{}, changed: make(chan struct{})}
}

// spentError says that a camera was not dialled, as its owner has had too many
// dialled.
type spentError struct {
	wait time.Duration // until it makes sense to try again
}

func (*spentError) Error() string { return "too many cameras of this owner were dialled" }

// permit is leave for one dial.
type permit struct {
	dials *dials
	of    *dialsOf
	used  atomic.Bool // the connection that it was given for was made
}

// begin waits until another camera of the owner may be dialled, where that takes
// no longer than half a dial may. The permit must be given back with end.
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

// takePlace waits for a place among the dials in flight.
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
	// The fewer places are left, the fewer has each owner: nobody takes them all.
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

// connect is asked before each connection. The permit is for one; every other
// address of the camera's name, and another try over UDP, takes a token more,
// without waiting.
func (p *permit) connect() error {
	if !p.used.CompareAndSwap(false, true) && !p.of.tokens.AllowN(p.dials.cfg.Now(), 1) {
		return &spentError{firstBackoff}
	}
	return nil
}

// forget drops the owners who have their whole budget.
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

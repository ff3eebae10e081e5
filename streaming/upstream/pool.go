package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"latchkey/domain/ids"
	"latchkey/internal/sealed"
)

// Pool holds every upstream. Use New.
type Pool struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	dials   *dials
	sources *sealed.Memory // addresses of cameras
	own     listeners

	mu      sync.Mutex
	streams map[Stream]*upstream
	cameras map[cameraAt]*camera
	seen    map[Stream]*observer // of the last pull
	closed  bool
	pulls   sync.WaitGroup

	ctx    context.Context // ends with Run's context
	cancel context.CancelFunc
}

// upstream is one stream of a camera: idle, dialling, or flowing. The pool's
// mutex guards its fields.
type upstream struct {
	of     Stream
	camera *camera
	space  *space // of the channel, shared with its other stream

	dialing   chan struct{} // closed when the dial in progress has ended; nil: none
	flowing   *Flow
	published bool               // flowing is a publication, which needs no lease
	stop      context.CancelFunc // ends the pull
	over      chan struct{}      // closed when the pull or the dial sends nothing more to the camera
	left      time.Time          // when the pull was ended because the device was removed; zero otherwise
	refs      int
	idle      *time.Timer // closes it some time after the last lease

	mute  bool  // it accepted TCP, and no packet came: UDP is tried next
	err   error // of the last dial
	retry backoff
}

// New returns a pool that pulls nothing yet. It reports all configuration errors
// together. Its pulls end with Run, which must be called.
func New(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring camera streams: %w", err)
	}
	p := &Pool{
		cfg: cfg, log: cfg.Logger, sources: sealed.New(maxSources),
		streams: map[Stream]*upstream{}, cameras: map[cameraAt]*camera{}, seen: map[Stream]*observer{},
	}
	p.dials = newDials(&p.cfg)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if p.metrics, err = newMetrics(p, cfg.Metrics, cfg.Private); err != nil {
		return nil, fmt.Errorf("registering the camera stream metrics: %w", err)
	}
	return p, nil
}

// Run disconnects the cameras of removed devices, including those without a Recheck,
// until the context ends. Then it ends every upstream, and returns when they have ended.
// Call it once.
func (p *Pool) Run(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.leaveGone("", p.cfg.Now())
			p.forgetIdle()
			p.dials.forget()
		case <-ctx.Done():
			p.close()
			return nil
		}
	}
}

// close ends every upstream and waits for them.
func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.pulls.Wait()
}

// Lease is a share in a flowing upstream. It keeps the camera connected until Release.
type Lease struct {
	flow *Flow
	once sync.Once
	pool *Pool
	of   *upstream
}

// Flow returns the leased flow. It may end before the lease does.
func (l *Lease) Flow() *Flow { return l.flow }

// ErrLeft is returned if a camera is not dialed because its device was removed or the
// caller is not permitted any more.
var ErrLeft = errors.New("the camera connection was closed")

// Acquire joins the upstream, dialing the camera if needed and if it is permitted then:
// permitted must not block. It waits for a dial in progress only if the camera is not
// known to be unavailable, or if it began the dial itself; then for at most the dial
// timeout. The returned lease must be released.
//
// It fails with ErrNoCamera, ErrNoStream, ErrLeft or an AwayError.
func (p *Pool) Acquire(ctx context.Context, of Stream, permitted func() bool) (*Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	l, dial, err := p.join(of, permitted)
	if l != nil || err != nil {
		return l, err
	}
	select {
	case <-dial:
		return p.joinDialled(of)
	case <-ctx.Done():
		return nil, &AwayError{Wait: time.Second, cause: ctx.Err()}
	}
}

// join takes a share of a flowing upstream, begins a dial, or returns a dial in progress
// that is worth waiting for.
//
// permitted is called under the mutex: a removal that it has not seen finds the dial in
// leaveGone, and ends it.
func (p *Pool) join(of Stream, permitted func() bool) (*Lease, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, &AwayError{cause: net.ErrClosed}
	}
	u := p.upstream(of)
	if u.flowing != nil {
		return p.share(u), nil, nil
	}
	now := p.cfg.Now()
	away := u.retry.failures > 0 || u.camera.retry.failures > 0
	switch wait := u.wait(now); {
	case u.dialing != nil && !away:
		return nil, u.dialing, nil
	case u.dialing != nil || wait > 0:
		return nil, nil, &AwayError{Wait: wait, cause: u.err}
	case !permitted():
		return nil, nil, ErrLeft
	}
	u.dialing = make(chan struct{})
	pullCtx, stop := context.WithCancel(p.ctx)
	over := make(chan struct{})
	u.stop, u.over, u.left = stop, over, time.Time{}
	p.pulls.Go(func() {
		defer close(over)
		defer stop()
		p.run(pullCtx, u)
	})
	return nil, u.dialing, nil
}

// wait returns how long the backoff of the upstream or its camera still lasts.
func (u *upstream) wait(now time.Time) time.Duration {
	return max(u.retry.until.Sub(now), u.camera.retry.until.Sub(now), 0)
}

// joinDialled takes a share after a dial that has ended.
func (p *Pool) joinDialled(of Stream) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.upstream(of)
	switch {
	case u.flowing != nil:
		return p.share(u), nil
	case errors.Is(u.err, ErrNoStream) || errors.Is(u.err, ErrNoCamera) || errors.Is(u.err, ErrLeft):
		return nil, u.err
	default:
		return nil, &AwayError{Wait: u.wait(p.cfg.Now()), cause: u.err}
	}
}

func (p *Pool) upstream(of Stream) *upstream {
	u := p.streams[of]
	if u == nil {
		u = &upstream{of: of, camera: &camera{}, space: p.spaceOf(of)} // the camera is known when it is dialed
		p.streams[of] = u
	}
	return u
}

// spaceOf returns the space that is shared with the other stream of a channel, if that is
// in use.
func (p *Pool) spaceOf(of Stream) *space {
	for _, q := range []Quality{Main, Sub} {
		if other := p.streams[Stream{of.Device, of.Channel, q}]; other != nil {
			return other.space
		}
	}
	return &space{}
}

func (p *Pool) share(u *upstream) *Lease {
	u.refs++
	if u.idle != nil {
		u.idle.Stop()
		u.idle = nil
	}
	return &Lease{flow: u.flowing, pool: p, of: u}
}

// Release releases the share. The upstream of the last one ends after a while. Releasing
// again does nothing.
func (l *Lease) Release() {
	l.once.Do(func() {
		p, u := l.pool, l.of
		p.mu.Lock()
		defer p.mu.Unlock()
		if u.flowing != l.flow { // it dropped in the meantime
			return
		}
		if u.refs--; u.refs == 0 && !u.published {
			p.closeLater(u)
		}
	})
}

// leastCloseAfter is the minimum time that a player may take from DESCRIBE to SETUP.
const leastCloseAfter = 200 * time.Millisecond

// closeLater ends the upstream unless a reader joins before.
func (p *Pool) closeLater(u *upstream) {
	flow := u.flowing
	u.idle = time.AfterFunc(max(p.cfg.CloseAfter, leastCloseAfter), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if u.flowing == flow && u.refs == 0 {
			u.stop()
		}
	})
}

// run pulls the upstream: from the wait for its turn to dial until it ends.
func (p *Pool) run(ctx context.Context, u *upstream) {
	pull, err := p.dial(ctx, u)
	if err != nil && ctx.Err() != nil {
		err = ErrLeft
	}
	if err != nil {
		p.dialFailed(u, err)
		return
	}
	p.mu.Lock()
	u.flowing, u.err, u.refs = pull.flow, nil, 0
	p.observe(u.of, pull.flow)
	u.camera.retry, u.camera.good = backoff{}, true // whether this stream is stable remains to be seen
	p.closeLater(u)                                 // the caller that began the dial may be gone
	close(u.dialing)
	u.dialing = nil
	p.mu.Unlock()
	p.cfg.Reached(u.of.Device, "")

	began := time.Now()
	err = pull.wait(ctx)
	p.mu.Lock()
	u.mute = errors.Is(err, errSilent) && !pull.heard.Load() && !u.mute
	p.mu.Unlock()
	if errors.Is(err, errSilent) { // told before another dial may begin
		p.cfg.Reached(u.of.Device, faultOf(err).label)
	}
	if err != nil {
		p.cfg.Dropped(u.of.Device, faultOf(err).label)
	}
	p.ended(u, err, time.Since(began))
	pull.close(err)
}

// ended takes an upstream out of use, before its readers are ended.
func (p *Pool) ended(u *upstream, err error, lived time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.idle != nil {
		u.idle.Stop()
		u.idle = nil
	}
	published := u.published
	u.flowing, u.published, u.refs = nil, false, 0
	if lived >= steady || err == nil {
		u.retry = backoff{}
		if !published { // which says nothing about where the camera is dialed
			u.camera.retry = backoff{}
		}
	}
	if err == nil {
		return
	}
	u.err = err
	u.retry.failed(p.cfg.Now())
	p.report("a camera's stream dropped", u.of, faultOf(err))
}

// forgetIdle drops upstreams that are not in use and have no backoff to remember.
func (p *Pool) forgetIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	inUse := map[*camera]bool{}
	for of, u := range p.streams {
		if u.flowing == nil && u.dialing == nil && u.isOver() && now.Sub(u.retry.until) > maxBackoff && now.Sub(u.camera.retry.until) > maxBackoff {
			delete(p.streams, of)
		} else {
			inUse[u.camera] = true
		}
	}
	for at, cam := range p.cameras {
		// Contact may use it, or have failed.
		if !inUse[cam] && len(cam.slots) == 0 && now.Sub(cam.retry.until) > maxBackoff {
			delete(p.cameras, at)
		}
	}
}

// states counts the upstreams by state.
func (p *Pool) states() (flowing, dialing, away int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.streams {
		switch {
		case u.flowing != nil:
			flowing++
		case u.dialing != nil:
			dialing++
		case u.retry.failures > 0:
			away++
		}
	}
	return flowing, dialing, away
}

// Pulled reports whether a stream of the device is being pulled.
func (p *Pool) Pulled(device ids.Device) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, u := range p.streams {
		if of.Device == device && u.flowing != nil {
			return true
		}
	}
	return false
}

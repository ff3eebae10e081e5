package streaming

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
)

// upstreamOf names what is pulled once, however many watch it.
type upstreamOf struct {
	device  string
	channel int
	quality Quality
}

// upstream is one stream of a camera: idle, dialling, or flowing. The pool's
// mutex guards its fields.
type upstream struct {
	of     upstreamOf
	camera *camera

	dialing chan struct{} // closed when the dial in progress has ended; nil: none
	flowing *gortsplib.ServerStream
	stop    context.CancelFunc // ends the pull
	over    chan struct{}      // closed when nothing more is sent to the camera by the pull, or the dial
	left    time.Time          // when the pull was ended because the device is gone; zero: it was not
	refs    int
	idle    *time.Timer // closes it some time after the last viewer

	err   error // of the last dial
	retry backoff
}

// camera is what the upstreams of one device share whose addresses have the same host
// and port. What becomes of a dial of one of them says nothing to those elsewhere: its
// owner must not find out by their answers why it failed.
type camera struct {
	slots chan struct{} // holds a token for each dial
	first chan struct{} // and one for a dial while the last one failed, or there was none
	good  bool          // the last dial succeeded
	retry backoff
}

// cameraAt names a camera: a device at one host and port.
type cameraAt struct{ device, host string }

// dialsOfCamera is how many of its channels a camera is asked for at the same time:
// one while it is not known that it lets us in, as it may lock whoever is wrong
// several times.
const dialsOfCamera = 4

// backoff says when to try again. The zero value: at once.
type backoff struct {
	failures int
	until    time.Time
}

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// An upstream that flowed for so long begins again with the first backoff.
	steady = 30 * time.Second
)

// failed counts a failure: half a second, then twice as long each time, up to
// half a minute, less up to a half by chance.
func (b *backoff) failed(now time.Time) {
	wait := min(firstBackoff<<min(b.failures, 10), maxBackoff)
	b.failures++
	b.until = now.Add(wait/2 + rand.N(wait/2))
}

// awayError says that a camera cannot be reached now.
type awayError struct {
	wait  time.Duration // until it makes sense to ask again
	cause error         // not for viewers
}

func (e *awayError) Error() string { return "the camera is away" }
func (e *awayError) Unwrap() error { return e.cause }

// retryAfter is the value of the header of that name: whole seconds, at least one.
func retryAfter(err error) string {
	var away *awayError
	seconds := 1
	if errors.As(err, &away) {
		seconds = max(seconds, int((away.wait+time.Second-1)/time.Second))
	}
	return strconv.Itoa(seconds)
}

// pool holds every upstream.
type pool struct {
	door *Door

	mu      sync.Mutex
	streams map[upstreamOf]*upstream
	cameras map[cameraAt]*camera
	closed  bool
	pulls   sync.WaitGroup

	ctx    context.Context
	cancel context.CancelFunc
}

func newPool(d *Door) *pool {
	p := &pool{door: d, streams: map[upstreamOf]*upstream{}, cameras: map[cameraAt]*camera{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// lease is a share in an upstream that flows.
type lease struct {
	stream *gortsplib.ServerStream
	once   sync.Once
	pool   *pool
	of     *upstream
}

// acquire joins the upstream, dialling the camera if need be and if it is
// permitted then: permitted must not block. It waits for a
// dial that is in progress only where the camera is not known to be away, or
// where it began the dial itself; then for the dial timeout at most. What it
// takes must be released.
func (p *pool) acquire(ctx context.Context, of upstreamOf, permitted func() bool) (*lease, error) {
	ctx, cancel := context.WithTimeout(ctx, p.door.cfg.DialTimeout)
	defer cancel()
	l, dial, err := p.join(of, permitted)
	if l != nil || err != nil {
		return l, err
	}
	select {
	case <-dial:
		return p.joinDialled(of)
	case <-ctx.Done():
		return nil, &awayError{wait: time.Second, cause: ctx.Err()}
	}
}

// errLeft says that a camera is not dialled, as its device is gone or the viewer
// is not permitted any more.
var errLeft = errors.New("the camera is left")

// join takes a share of an upstream that flows, or begins a dial, or finds one
// in progress that is worth waiting for.
//
// Whether a dial is permitted is asked under the mutex: a removal that the answer
// has not seen finds the dial in leaveGone, and ends it.
func (p *pool) join(of upstreamOf, permitted func() bool) (*lease, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, &awayError{cause: net.ErrClosed}
	}
	u := p.upstream(of)
	if u.flowing != nil {
		return p.share(u), nil, nil
	}
	now := p.door.cfg.Now()
	away := u.retry.failures > 0 || u.camera.retry.failures > 0
	switch wait := u.wait(now); {
	case u.dialing != nil && !away:
		return nil, u.dialing, nil
	case u.dialing != nil || wait > 0:
		return nil, nil, &awayError{wait: wait, cause: u.err}
	case !permitted():
		return nil, nil, errLeft
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

// wait is how long the backoff of the upstream or its camera still lasts.
func (u *upstream) wait(now time.Time) time.Duration {
	return max(u.retry.until.Sub(now), u.camera.retry.until.Sub(now), 0)
}

// joinDialled takes a share after a dial that has ended.
func (p *pool) joinDialled(of upstreamOf) (*lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.upstream(of)
	switch {
	case u.flowing != nil:
		return p.share(u), nil
	case errors.Is(u.err, ErrNoStream) || errors.Is(u.err, ErrNoCamera) || errors.Is(u.err, errLeft):
		return nil, u.err
	default:
		return nil, &awayError{wait: u.wait(p.door.cfg.Now()), cause: u.err}
	}
}

func (p *pool) upstream(of upstreamOf) *upstream {
	u := p.streams[of]
	if u == nil {
		u = &upstream{of: of, camera: &camera{}} // which one is known when it is dialled
		p.streams[of] = u
	}
	return u
}

func (p *pool) camera(at cameraAt) *camera {
	cam := p.cameras[at]
	if cam == nil {
		cam = &camera{slots: make(chan struct{}, dialsOfCamera), first: make(chan struct{}, 1)}
		p.cameras[at] = cam
	}
	return cam
}

func (p *pool) share(u *upstream) *lease {
	u.refs++
	if u.idle != nil {
		u.idle.Stop()
		u.idle = nil
	}
	return &lease{stream: u.flowing, pool: p, of: u}
}

// release gives the share back. The upstream of the last one ends after a while.
func (l *lease) release() {
	l.once.Do(func() {
		p, u := l.pool, l.of
		p.mu.Lock()
		defer p.mu.Unlock()
		if u.flowing != l.stream { // it dropped meanwhile
			return
		}
		if u.refs--; u.refs == 0 {
			p.closeLater(u)
		}
	})
}

// leastCloseAfter is what a player may take from DESCRIBE to SETUP, at least.
const leastCloseAfter = 200 * time.Millisecond

// closeLater ends the upstream unless somebody joins before.
func (p *pool) closeLater(u *upstream) {
	stream := u.flowing
	u.idle = time.AfterFunc(max(p.door.cfg.CloseAfter, leastCloseAfter), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if u.flowing == stream && u.refs == 0 {
			u.stop()
		}
	})
}

// run pulls the upstream: from the wait for its turn to dial until it ends.
func (p *pool) run(ctx context.Context, u *upstream) {
	pull, err := p.dial(ctx, u)
	if err != nil && ctx.Err() != nil {
		err = errLeft
	}
	if err != nil {
		p.dialFailed(u, err)
		return
	}
	p.mu.Lock()
	u.flowing, u.err, u.refs = pull.stream, nil, 0
	u.camera.retry, u.camera.good = backoff{}, true // whether this stream of it is steady will be seen
	p.closeLater(u)                                 // whoever began the dial may be gone
	close(u.dialing)
	u.dialing = nil
	p.mu.Unlock()

	began := time.Now()
	err = pull.wait(ctx)
	p.ended(u, err, time.Since(began))
	pull.close()
}

// errPanic says that a bug was met while a camera was dialled.
var errPanic = errors.New("a panic")

// dial waits for a slot of the camera and for its owner's turn, and connects. Both
// have the dial timeout. A bug in it must not end everybody's streams.
func (p *pool) dial(ctx context.Context, u *upstream) (_ *pull, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.door.log.Error("dialling a camera made the door panic", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	waiting, cancel := context.WithTimeout(ctx, p.door.cfg.DialTimeout)
	defer cancel()
	source, err := p.door.source(waiting, u.of)
	if err == nil {
		err = waiting.Err()
	}
	if err != nil {
		return nil, err
	}
	leave, err := p.enter(waiting, u, source)
	if err != nil {
		return nil, err
	}
	defer leave()
	permit, err := p.door.dials.begin(waiting, p.door.cfg.Authorizer.Owner(u.of.device))
	if err != nil {
		return nil, err
	}
	defer permit.end()
	connecting, cancel := context.WithTimeout(ctx, p.door.cfg.DialTimeout)
	defer cancel()
	p.door.metrics.dials.Inc()
	return p.door.connect(connecting, u.of, source, permit)
}

// enter waits for a slot of the camera that the source is at; errBusy where there is
// none in time, or a dial of another channel has just failed.
func (p *pool) enter(ctx context.Context, u *upstream, source Source) (leave func(), err error) {
	p.mu.Lock()
	u.camera = p.camera(cameraAt{device: u.of.device, host: hostOf(source.URL)})
	cam, good := u.camera, u.camera.good
	p.mu.Unlock()
	leave = func() {}
	if !good {
		select {
		case cam.first <- struct{}{}:
			leave = func() { <-cam.first }
		case <-ctx.Done():
			return nil, errBusy
		}
	}
	select {
	case cam.slots <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, errBusy
	}
	p.mu.Lock()
	wait := u.wait(p.door.cfg.Now())
	if cam.good && !good { // the one before got in: the others need not wait for each other
		leave()
		leave = func() {}
	}
	p.mu.Unlock()
	alone := leave
	leave = func() { <-cam.slots; alone() }
	if wait > 0 {
		leave()
		return nil, errBusy
	}
	return leave, nil
}

// hostOf is the host and the port of an address, whatever else is in it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// errBusy says that a camera was not dialled, because another dial of it took
// too long or failed.
var errBusy = errors.New("another dial of the camera is in progress or has failed")

func (p *pool) dialFailed(u *upstream, err error) {
	reason := faultOf(err)
	p.mu.Lock()
	now := p.door.cfg.Now()
	u.err = err
	var spent *spentError
	switch {
	case errors.As(err, &spent): // the camera is not at fault
		u.retry.until = now.Add(max(spent.wait, firstBackoff))
	case errors.Is(err, ErrNoStream), errors.Is(err, ErrNoCamera), errors.Is(err, errBusy), errors.Is(err, errLeft):
	default:
		u.retry.failed(now)
		if reason.ofCamera {
			u.camera.retry.failed(now)
			u.camera.good = false
		}
		if errors.Is(err, errMute) { // it may be busy with what it did not answer
			u.camera.good = false
			if soon := now.Add(firstBackoff); soon.After(u.camera.retry.until) {
				u.camera.retry.until = soon
			}
		}
	}
	close(u.dialing)
	u.dialing = nil
	p.mu.Unlock()
	if errors.Is(err, ErrNoStream) || errors.Is(err, errLeft) { // usual: of sub streams, of a removal
		return
	}
	p.door.metrics.dialErrors.WithLabelValues(reason.label).Inc()
	p.door.log.Warn("a camera was not reached", "device", u.of.device, "channel", u.of.channel,
		"quality", u.of.quality.String(), "reason", reason.label)
}

// ended takes an upstream out of use, before its viewers are ended.
func (p *pool) ended(u *upstream, err error, lived time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.idle != nil {
		u.idle.Stop()
		u.idle = nil
	}
	p.door.metrics.ended(u.flowing)
	u.flowing, u.refs = nil, 0
	if lived >= steady || err == nil {
		u.retry, u.camera.retry = backoff{}, backoff{}
	}
	if err == nil {
		return
	}
	u.err = err
	u.retry.failed(p.door.cfg.Now())
	reason := faultOf(err)
	p.door.metrics.dialErrors.WithLabelValues(reason.label).Inc()
	p.door.log.Warn("a camera's stream dropped", "device", u.of.device, "channel", u.of.channel,
		"quality", u.of.quality.String(), "reason", reason.label)
}

// leaveGone ends what is pulled or dialled of a device ("" is any) that is in no
// account any more.
func (p *pool) leaveGone(device string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, u := range p.streams {
		if u.isOver() || !u.left.IsZero() || device != "" && device != of.device || !p.door.cfg.Authorizer.Gone(of.device, now) {
			continue
		}
		u.left = time.Now()
		u.stop()
		p.door.log.Info("the camera of a removed device is left", "device", of.device, "channel", of.channel, "quality", of.quality.String())
	}
}

// leftPull is a pull, or a dial, that was ended as its device is gone.
type leftPull struct {
	device string
	at     time.Time
	over   <-chan struct{}
}

// left lists the pulls that were ended as their device is gone, and are not over.
func (p *pool) left() []leftPull {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []leftPull
	for of, u := range p.streams {
		if !u.left.IsZero() && !u.isOver() {
			list = append(list, leftPull{of.device, u.left, u.over})
		}
	}
	return list
}

// isOver reports whether nothing more is sent to the camera.
func (u *upstream) isOver() bool {
	select {
	case <-u.over:
		return true
	default:
		return u.over == nil
	}
}

// forgetIdle drops what is not in use and has no backoff to remember.
func (p *pool) forgetIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.door.cfg.Now()
	inUse := map[*camera]bool{}
	for of, u := range p.streams {
		if u.flowing == nil && u.dialing == nil && u.isOver() && now.Sub(u.retry.until) > maxBackoff && now.Sub(u.camera.retry.until) > maxBackoff {
			delete(p.streams, of)
		} else {
			inUse[u.camera] = true
		}
	}
	for device, cam := range p.cameras {
		if !inUse[cam] {
			delete(p.cameras, device)
		}
	}
}

// states counts the upstreams by state.
func (p *pool) states() (flowing, dialing, away int) {
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

// close ends every upstream and waits for them.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.pulls.Wait()
}

// delivered is what was queued for viewers since the door opened.
func (p *pool) delivered() (packets, bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	packets, bytes = p.door.metrics.packets, p.door.metrics.bytes
	for _, u := range p.streams {
		if u.flowing != nil {
			stats := u.flowing.Stats()
			packets += stats.RTPPacketsSent
			bytes += stats.BytesSent
		}
	}
	return packets, bytes
}

package simcamera

import (
	"context"
	"sync"
	"time"
)

// feed is one live stream of a channel: pictures are made while it has watchers, once for
// all of them.
type feed struct {
	ctx   context.Context
	tasks *sync.WaitGroup
	now   func() time.Time

	sps, pps []byte
	step     time.Duration

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	wantKey  bool
	running  bool
	footage  footage // of the goroutine that runs
}

// watcher receives the pictures of a feed, from a key picture on.
type watcher struct {
	units   chan unit
	current bool // has all since the last key picture
}

// newFeed returns a feed that ends with ctx and counts its goroutines in tasks.
func newFeed(ctx context.Context, tasks *sync.WaitGroup, source footage, now func() time.Time) *feed {
	f := &feed{ctx: ctx, tasks: tasks, now: now, footage: source, step: source.step(),
		watchers: map[*watcher]struct{}{}}
	f.sps, f.pps = source.parameters()
	return f
}

// watch adds a watcher, which begins with a key picture made for it if possible.
func (f *feed) watch() *watcher {
	w := &watcher{units: make(chan unit, 64)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[w] = struct{}{}
	f.wantKey = true
	if !f.running {
		f.running = true
		f.tasks.Go(f.run)
	}
	return w
}

// leave removes a watcher.
func (f *feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
}

// run makes pictures until there are no watchers.
func (f *feed) run() {
	began := time.Now()
	clock := f.now().Truncate(f.step)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		pts := time.Duration(n) * f.step
		if late := time.Since(began) - pts; late > 10*f.step {
			n += int64(late / f.step) // this process was held up: skip that time
			pts = time.Duration(n) * f.step
		}
		timer.Reset(time.Until(began.Add(pts)))
		select {
		case <-timer.C:
		case <-f.ctx.Done():
			return
		}
		if !f.send(n, clock.Add(pts), pts) {
			return
		}
	}
}

// send makes one picture and passes it to all watchers; it returns false if there are
// none.
func (f *feed) send(n int64, at time.Time, pts time.Duration) bool {
	wantKey, watched := f.demand(n)
	if !watched {
		return false
	}
	nalus, key, err := f.footage.next(at, wantKey)
	if err != nil {
		return false
	}
	u := unit{at: at, pts: pts, length: f.step, key: key, nalus: nalus}

	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		w.offer(u)
	}
	return true
}

// demand returns what picture n must be, and whether there are watchers; if not, the
// caller must stop at once.
func (f *feed) demand(n int64) (key, watched bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) == 0 {
		f.running, f.wantKey = false, false
		return false, false
	}
	if n%4 != 0 { // watchers who join at the same time share one key picture
		return false, true
	}
	key, f.wantKey = f.wantKey, false
	return key, true
}

// offer never blocks: a watcher that does not keep up resumes at the next key picture.
func (w *watcher) offer(u unit) {
	if !w.current && !u.key {
		return
	}
	select {
	case w.units <- u:
		w.current = true
	default:
		w.current = false
	}
}

package ptz

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rules are who may do what, in memory.
type rules struct {
	mu  sync.Mutex
	may map[ids.Account]privilege.Set
}

func (r *rules) Live(time.Time) bool                                { return true }
func (r *rules) Pulse() *access.Pulse                               { return nil }
func (r *rules) Key(ids.Key) (access.Key, bool)                     { return access.Key{}, false }
func (r *rules) Pair(account ids.Account, _ ids.Device) access.Pair { return pair{r, account} }
func (r *rules) set(account ids.Account, p privilege.Set, sees bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.may[account] = p; !sees {
		delete(r.may, account)
	}
}

type pair struct {
	of      *rules
	account ids.Account
}

func (p pair) Check(_ int, want privilege.Set, _ time.Time) access.Standing {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	has, sees := p.of.may[p.account]
	switch {
	case !sees:
		return access.Standing{Verdict: access.NotFound}
	case has.Has(want):
		return access.Standing{Verdict: access.Allowed}
	}
	return access.Standing{Verdict: access.Forbidden}
}

// camera obeys, or behaves as told.
type camera struct {
	mu     sync.Mutex
	fault  error         // of every order
	slow   time.Duration // before it obeys
	orders []string      // that it obeyed
	moving bool
	late   bool // it was moved while it was told to move without a note
	notes  *notebook
	asked  int
}

func (c *camera) obey(ctx context.Context, what string, then func()) error {
	c.mu.Lock()
	fault, slow := c.fault, c.slow
	c.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
	if fault != nil {
		return fault
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders = append(c.orders, what)
	then()
	return nil
}

func (c *camera) Move(ctx context.Context, v Vector, _ time.Duration) error {
	return c.obey(ctx, fmt.Sprintf("move %g", v.Pan), func() {
		c.moving = true
		c.late = c.late || !c.notes.has(Channel{Device: "cam", Number: 1})
	})
}

func (c *camera) Stop(ctx context.Context) error {
	return c.obey(ctx, "stop", func() { c.moving = false })
}

func (c *camera) Relative(ctx context.Context, v Vector) error {
	return c.obey(ctx, "relative", func() {})
}

func (c *camera) Absolute(ctx context.Context, p Place) error {
	return c.obey(ctx, "absolute", func() {})
}

func (c *camera) Goto(ctx context.Context, id string) error {
	return c.obey(ctx, "goto "+id, func() {})
}

func (c *camera) Presets(ctx context.Context) ([]Preset, error) {
	return []Preset{{"1", "Gate"}}, c.obey(ctx, "presets", func() { c.asked++ })
}

func (c *camera) Place(ctx context.Context) (*Place, error) {
	return &Place{Pan: 0.5}, c.obey(ctx, "place", func() { c.asked++ })
}

func (c *camera) set(change func(*camera)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *camera) did() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.orders, ", ")
}

func (c *camera) moves() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moving
}

// notebook has notes in memory, beyond a desk.
type notebook struct {
	mu  sync.Mutex
	on  map[Channel]bool
	err error
}

func (n *notebook) Note(c Channel) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.on[c] = true
	}
	return n.err
}

func (n *notebook) Drop(c Channel) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.on, c)
	return nil
}

func (n *notebook) All() ([]Channel, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.on)), nil
}

func (n *notebook) has(c Channel) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.on[c]
}

// world is a desk with one camera of olga's, which rita and bob may move and vic may see.
type world struct {
	*access.Permits
	t      *testing.T
	rules  *rules
	camera *camera
	notes  *notebook
	desk   *Desk
	mu     sync.Mutex
	none   bool // no address is known
	ended  map[string]bool
	used   int
	stop   func()
	line   *line
}

// line is what one process has to the camera and the notes; a killed one has nothing.
type line struct {
	*world
	dead atomic.Bool
}

func (l *line) Head(ctx context.Context, device ids.Device, channel int) (Head, error) {
	if _, err := l.world.Head(ctx, device, channel); err != nil {
		return nil, err
	}
	return wire{l.camera, l}, nil
}

// wire is the camera as one process has it.
type wire struct {
	*camera
	line *line
}

func (w wire) Move(ctx context.Context, v Vector, lasting time.Duration) error {
	if w.line.dead.Load() {
		return ErrUnreachable
	}
	return w.camera.Move(ctx, v, lasting)
}

func (w wire) Stop(ctx context.Context) error {
	if w.line.dead.Load() {
		return ErrUnreachable
	}
	return w.camera.Stop(ctx)
}

func (l *line) Note(c Channel) error { return l.notes.Note(c) }

func (l *line) Drop(c Channel) error {
	if l.dead.Load() {
		return nil
	}
	return l.notes.Drop(c)
}

func (l *line) All() ([]Channel, error) { return l.notes.All() }

// kill ends the process without anything that it does at its end.
func (w *world) kill() {
	w.line.dead.Store(true)
	w.stop()
}

func (w *world) Owns(account ids.Account, _ ids.Device) bool { return account == "olga" }

func (w *world) Head(context.Context, ids.Device, int) (Head, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.none {
		return nil, ErrNoHead
	}
	return w.camera, nil
}

func (w *world) Live(_ context.Context, token string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.ended[token], nil
}

func (w *world) endSession(token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[token] = true
}

func (w *world) Used(access.Use, time.Time) { w.used++ }

// in runs a test with a desk in a bubble of time.
func in(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &notebook{on: map[Channel]bool{}}
		w := &world{
			t: t, notes: n, camera: &camera{notes: n}, ended: map[string]bool{},
			rules: &rules{may: map[ids.Account]privilege.Set{"olga": privilege.All, "rita": privilege.PTZ, "bob": privilege.PTZ, "vic": privilege.LiveView}},
		}
		w.Permits = access.NewPermits(w.rules, nil, nil)
		w.start()
		f(w)
		w.stop()
		if w.camera.late {
			t.Error("the camera was moved without a note")
		}
	})
}

// start starts a desk, as a process does.
func (w *world) start() {
	w.line = &line{world: w}
	desk, err := New(Config{Access: w, Heads: w.line, Sessions: w, Notes: w.line, Uses: w})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = desk.Run(ctx) }()
	w.desk, w.stop = desk, func() { cancel(); <-done }
}

func use(who ids.Account) Use {
	return Use{Account: who, Session: "session of " + string(who), Device: "cam", Channel: 1}
}

func (w *world) move(who ids.Account, lasting time.Duration) error {
	return w.desk.Move(context.Background(), use(who), Vector{Pan: 0.5}, lasting)
}

func (w *world) moveWell(who ids.Account, lasting time.Duration) {
	w.t.Helper()
	if err := w.move(who, lasting); err != nil {
		w.t.Fatal(err)
	}
}

// revoke takes the privilege away, as a command does: it returns when it may answer.
func (w *world) revoke(who ids.Account) {
	w.t.Helper()
	w.rules.set(who, 0, true)
	w.Changed(access.Change{Account: who, Device: "cam"})
	if err := w.desk.AwaitStops(context.Background()); err != nil {
		w.t.Error(err)
	}
}

func (w *world) want(orders string) {
	w.t.Helper()
	if got := w.camera.did(); got != orders {
		w.t.Errorf("the camera did %q, want %q", got, orders)
	}
}

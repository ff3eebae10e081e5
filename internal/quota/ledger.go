package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/pause"
	"latchkey/internal/position"
	"latchkey/internal/rates"
)

// Counter counts what an account has: devices, shares and stream keys in the read models,
// sessions in the vault. seen is the log position covered by the count.
type Counter interface {
	Count(ctx context.Context, account, quota string) (n int, seen position.Position, err error)
}

const (
	// accounts is the minimum number of accounts whose rates are remembered.
	accounts = 50_000
	// recountAfter is how long a count is extended locally while it leaves room.
	// Additions by other processes are not seen until it is counted again.
	recountAfter = time.Minute
	// fullFor is how long a count that left no room is not repeated, unless the account
	// has given something up in this process.
	fullFor = 200 * time.Millisecond
	// patience is how long a command waits for its turn before it is refused.
	patience = 250 * time.Millisecond
	// lookEvery is how often a count is checked for what was given up.
	lookEvery = 5 * time.Millisecond
	// tallies is roughly how many are kept.
	tallies = 10_000
)

// Ledger counts for this process. What accounts have includes what all processes of the
// database have written, at most a minute late; rates are counted per process and start
// again from zero with it.
type Ledger struct {
	limits   Limits
	count    Counter
	now      func() time.Time
	rates    map[string]*rates.Rates
	commands map[app.RequestKind]*rates.Rates

	mu      sync.Mutex
	tallies map[of]*tally
	running map[key]int // requests
}

// key names requests of an account.
type key struct {
	account string
	kind    app.RequestKind
}

// of names what is counted.
type of struct{ account, quota string }

// tally is how much of a quota's subject an account has.
type tally struct {
	mu    sync.Mutex
	when  time.Time         // of the count; zero: not counted
	base  int               // the count
	since []*held           // additions since
	freed position.Position // position at which something was given up that the count has not seen, 0 for none
}

// held is one addition that the count has not seen.
type held struct{ position position.Position } // 0: not yet in the log

// New returns a ledger. now is the clock.
func New(limits Limits, count Counter, now func() time.Time) *Ledger {
	l := &Ledger{limits: limits, count: count, now: now, rates: map[string]*rates.Rates{}, commands: map[app.RequestKind]*rates.Rates{}, tallies: map[of]*tally{}, running: map[key]int{}}
	for _, q := range All() {
		if q.Per > 0 && q.Name != Commands {
			l.rates[q.Name] = l.rate(q)
		}
		if q.Name == Commands {
			for _, kind := range []app.RequestKind{app.Gives, app.Changes, app.TakesAway} {
				l.commands[kind] = l.rate(q)
			}
		}
	}
	return l
}

func (l *Ledger) rate(q Quota) *rates.Rates {
	n := l.limits[q.Name]
	return rates.New(max(1, q.Per/time.Duration(n)), n, accounts)
}

// Most returns the limit of a quota.
func (l *Ledger) Most(quota string) int { return l.limits[quota] }

// Hold reserves room for one more of what an account has.
func (l *Ledger) Hold(ctx context.Context, account, quota string) (settle func(position position.Position), err error) {
	t := l.tally(of{account, quota})
	t.mu.Lock()
	defer t.mu.Unlock()
	most, age := l.limits[quota], l.now().Sub(t.when)
	if full := t.base+len(t.since) >= most; t.when.IsZero() || age >= recountAfter || full && (t.freed > 0 || age >= fullFor) {
		if err := l.recount(ctx, t, account, quota); err != nil {
			return nil, err
		}
	}
	if t.base+len(t.since) >= most {
		return nil, &app.Exceeded{Quota: quota, Most: most}
	}
	h := &held{}
	t.since = append(t.since, h)
	return func(position position.Position) { t.settle(h, position) }, nil
}

func (l *Ledger) recount(ctx context.Context, t *tally, account, quota string) error {
	n, seen, err := l.count.Count(ctx, account, quota)
	for until := time.Now().Add(patience); err == nil && seen < t.freed && time.Now().Before(until) && pause.For(ctx, lookEvery); {
		n, seen, err = l.count.Count(ctx, account, quota)
	}
	if err != nil {
		return fmt.Errorf("counting the %s of an account: %w", quota, err)
	}
	t.when, t.base = l.now(), n
	if seen >= t.freed {
		t.freed = 0
	}
	t.keep(func(h *held) bool { return h.position == 0 || h.position > seen })
	return nil
}

func (t *tally) keep(f func(*held) bool) {
	var kept []*held
	for _, h := range t.since {
		if f(h) {
			kept = append(kept, h)
		}
	}
	t.since = kept
}

// pending reports whether a command with unknown outcome holds room.
func (t *tally) pending() bool {
	return slices.ContainsFunc(t.since, func(h *held) bool { return h.position == 0 })
}

func (t *tally) settle(h *held, position position.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.position = position; position == 0 {
		t.keep(func(other *held) bool { return other != h })
	}
}

// Freed reports that an account has fewer of something since a position in the log.
func (l *Ledger) Freed(account, quota string, position position.Position) {
	l.mu.Lock()
	t := l.tallies[of{account, quota}]
	l.mu.Unlock()
	if t != nil {
		t.mu.Lock()
		t.freed = max(t.freed, position)
		t.mu.Unlock()
	}
}

// tally returns what is known about an account. When there are too many, those without
// holds are dropped; they are counted again.
func (l *Ledger) tally(name of) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[name]
	if t != nil {
		return t
	}
	if len(l.tallies) >= tallies {
		for other, t := range l.tallies {
			if t.mu.TryLock() {
				if !t.pending() {
					delete(l.tallies, other)
				}
				t.mu.Unlock()
			}
		}
	}
	t = &tally{}
	l.tallies[name] = t
	return t
}

// Spend uses up n of a rate quota of an account.
func (l *Ledger) Spend(account, quota, with string, n int) error {
	if wait := l.rates[quota].TakeN(account+"\x00"+with, n, l.now()); wait > 0 {
		return &app.Exceeded{Quota: quota, Most: l.limits[quota], RetryAfter: wait}
	}
	return nil
}

// Begin counts a request of an account until end is called, and uses up a command if it
// is one, waiting briefly if that helps. Each kind is counted separately, so that
// granting leaves room for revoking.
func (l *Ledger) Begin(ctx context.Context, account string, kind app.RequestKind) (end func(), err error) {
	name := key{account, kind}
	l.mu.Lock()
	if l.running[name] >= l.limits[Requests] {
		l.mu.Unlock()
		return nil, &app.Exceeded{Quota: Requests, Most: l.limits[Requests], RetryAfter: time.Second}
	}
	l.running[name]++
	l.mu.Unlock()
	if r := l.commands[kind]; r != nil {
		err = l.command(ctx, r, account)
	}
	if err != nil {
		l.ended(name)
		return nil, err
	}
	return func() { l.ended(name) }, nil
}

func (l *Ledger) ended(name key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[name]--; l.running[name] == 0 {
		delete(l.running, name)
	}
}

func (l *Ledger) command(ctx context.Context, r *rates.Rates, account string) error {
	wait := r.ReserveN(account, 1, l.now(), patience)
	if wait > patience {
		return &app.Exceeded{Quota: Commands, Most: l.limits[Commands], RetryAfter: wait}
	}
	if wait == 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Use is how much of a quota an account has used.
type Use struct {
	Quota
	Used int
}

// Of returns how much of each quota an account has used, except the quota per serial, as
// there are too many serials.
func (l *Ledger) Of(ctx context.Context, account string) ([]Use, error) {
	var list []Use
	var faults []error
	for _, q := range All() {
		u := Use{Quota: Quota{Name: q.Name, Per: q.Per, Most: l.limits[q.Name]}}
		switch {
		case q.Name == app.QuotaGenerations:
		case q.Name == Requests:
			l.mu.Lock()
			u.Used = l.running[key{account, app.Reads}]
			l.mu.Unlock()
		case q.Per == 0:
			var err error
			u.Used, _, err = l.count.Count(ctx, account, q.Name)
			faults = append(faults, err)
		case q.Name == Commands:
			u.Used = max(0, u.Most-l.commands[app.Gives].Left(account, l.now()))
		default:
			u.Used = max(0, u.Most-l.rates[q.Name].Left(account+"\x00", l.now()))
		}
		list = append(list, u)
	}
	return list, errors.Join(faults...)
}

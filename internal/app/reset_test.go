package app

import (
	"context"
	"testing"
	"time"
)

// TestResetsAreBounded: however often somebody asks, by whatever name, an address is sent
// few codes, and always has one that is valid.
func TestResetsAreBounded(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	w.core.verify = false // Bob's address needs no proof
	clock := &clockedAllowances{now: func() time.Time { return w.clock }, spent: map[string][]time.Time{}}
	w.accounts.allowances = clock
	name := "bob.b"
	if _, err := w.accounts.SetProfile(ctx, Meta{Account: w.bob}, ProfileChange{UserName: &name}); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for range 24 * 60 {
		for _, login := range []string{name, "bob@example.com"} {
			before := len(post.notices)
			if err := w.accounts.RequestReset(ctx, login); err != nil {
				t.Fatal(err)
			}
			if len(post.notices) > before {
				if w.clock.Sub(last) < resetPause {
					t.Errorf("a code is replaced after %v", w.clock.Sub(last))
				}
				last = w.clock
			}
			if w.clock.Sub(last) >= resetTTL {
				t.Fatalf("no code is valid at %v", w.clock)
			}
		}
		w.clock = w.clock.Add(time.Minute)
	}
	if n := len(post.notices); n < 20 || n > 24+resetBurst {
		t.Errorf("%d codes were sent in a day", n)
	}
}

// clockedAllowances is Allowances by a clock.
type clockedAllowances struct {
	now   func() time.Time
	spent map[string][]time.Time // when each is given back
}

func (a *clockedAllowances) Take(_ context.Context, name string, every time.Duration, burst int) (time.Duration, error) {
	now, until := a.now(), a.now()
	var live []time.Time
	for _, t := range a.spent[name] {
		if t.After(now) {
			live, until = append(live, t), t
		}
	}
	if len(live) >= burst {
		return live[0].Sub(now), nil
	}
	a.spent[name] = append(live, until.Add(every))
	return 0, nil
}

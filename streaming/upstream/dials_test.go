package upstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

func budget(burst, perOwner, all int) *dials {
	return newDials(&Config{
		Now: time.Now, DialTimeout: 4 * time.Second, DialEvery: time.Second, DialBurst: burst, MaxDialsPerOwner: perOwner, MaxDials: all,
	})
}

// took begins a dial and returns how long that took.
func (d *dials) took(ctx context.Context, owner string) (time.Duration, *permit, error) {
	began := time.Now()
	p, err := d.begin(ctx, owner)
	return time.Since(began), p, err
}

// TestBudgetOfAnOwner: a burst at once, then one each second, up to two seconds
// ahead; what comes sooner is told how long it would take.
func TestBudgetOfAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := budget(3, 16, 256)
		for n := range 3 {
			if took, p, err := d.took(t.Context(), "ann"); took != 0 || err != nil {
				t.Fatalf("dial %d of the burst: %v after %v", n+1, err, took)
			} else {
				p.end()
			}
		}
		type result struct {
			took time.Duration
			err  error
		}
		results := make(chan result)
		for n := range 3 {
			go func() {
				time.Sleep(time.Duration(n)) // in this order
				took, p, err := d.took(t.Context(), "ann")
				if err == nil {
					p.end()
				}
				results <- result{took.Round(time.Millisecond), err}
			}()
		}
		var spent *spentError
		if r := <-results; !errors.As(r.err, &spent) || r.took != 0 || spent.wait.Round(time.Millisecond) != 3*time.Second {
			t.Errorf("the third: %v after %v, want a wait of 3 s, at once", r.err, r.took)
		}
		for _, want := range []time.Duration{time.Second, 2 * time.Second} {
			if r := <-results; r.err != nil || r.took != want {
				t.Errorf("%v after %v, want it after %v", r.err, r.took, want)
			}
		}
		if took, p, err := d.took(t.Context(), "bob"); took != 0 || err != nil {
			t.Errorf("another owner: %v after %v", err, took)
		} else {
			p.end()
		}
		d.forget()
		if len(d.owners) != 2 {
			t.Errorf("%d owners are remembered, want 2", len(d.owners))
		}
		time.Sleep(4 * time.Second)
		d.forget()
		if len(d.owners) != 0 || d.inFlight != 0 {
			t.Errorf("%d owners are remembered who have their whole budget, %d dials in flight", len(d.owners), d.inFlight)
		}
	})
}

// TestWhoGoesGivesTheTurnBack: a dial that is ended while it waits costs nothing.
func TestWhoGoesGivesTheTurnBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := budget(1, 16, 256)
		if _, p, err := d.took(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		} else {
			p.end()
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		if took, _, err := d.took(ctx, "ann"); err == nil || took != time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		if took, p, err := d.took(t.Context(), "ann"); err != nil || took.Round(10*time.Millisecond) != time.Second {
			t.Errorf("the next: %v after %v, want it after 1 s", err, took)
		} else {
			p.end()
		}
	})
}

// TestDialsInFlight: an owner's next dial begins when one of theirs ends, or is
// refused after a while.
func TestDialsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := budget(64, 2, 256)
		_, first, err1 := d.took(t.Context(), "ann")
		_, second, err2 := d.took(t.Context(), "ann")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		var spent *spentError
		if took, _, err := d.took(t.Context(), "ann"); !errors.As(err, &spent) || took != 2*time.Second {
			t.Errorf("a third: %v after %v, want it refused after 2 s", err, took)
		}
		time.AfterFunc(time.Second, first.end)
		took, third, err := d.took(t.Context(), "ann")
		if err != nil || took != time.Second {
			t.Fatalf("a third when one ends: %v after %v, want it after 1 s", err, took)
		}
		second.end()
		third.end()
	})
}

// TestNobodyTakesEveryPlace: whoever has many dials in flight leaves places to those
// who have none.
func TestNobodyTakesEveryPlace(t *testing.T) {
	d := budget(64, 16, 32)
	ann := d.enter("ann")
	n := 0
	for ok := true; ok; {
		if _, ok = d.tryPlace(ann); ok {
			n++
		}
	}
	if n != 4 { // with 28 left
		t.Errorf("alone one owner has %d of 32, want 4", n)
	}
	for ; n < 32; n++ {
		if _, ok := d.tryPlace(d.enter(fmt.Sprint("owner", n))); !ok {
			t.Fatalf("with %d of 32 taken an owner who has none gets none", n)
		}
	}
	if _, ok := d.tryPlace(d.enter("last")); ok {
		t.Error("there are more places than 32")
	}
}

// TestEachConnectionCosts: a name with many addresses is many dials.
func TestEachConnectionCosts(t *testing.T) {
	d := budget(3, 16, 256)
	p, err := d.begin(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	for n := range 3 {
		if err := p.connect(); err != nil {
			t.Errorf("connection %d: %v", n+1, err)
		}
	}
	var spent *spentError
	if err := p.connect(); !errors.As(err, &spent) {
		t.Errorf("a fourth connection of a budget of three: %v", err)
	}
}

// TestThePoolKeepsTheDialsInFlight: of three cameras that take their time two are
// dialled at once; another owner's camera is not held up.
func TestThePoolKeepsTheDialsInFlight(t *testing.T) {
	described, goOn := make(chan struct{}, 9), make(chan struct{})
	slow := &cameratest.Camera{Hold: func() { described <- struct{}{}; <-goOn }}
	slow.Start(t)
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *Config) { c.MaxDialsPerOwner, c.DialTimeout = 2, time.Minute })
	results := make(chan error, 3)
	for n := range 3 {
		device := fmt.Sprint("slow-", n)
		h.devices.own("bob", ids.Device(device))
		h.sources.set(ids.Device(device), 1, sourceOf(slow))
		go func() { results <- h.ask(ids.Device(device), 1) }()
	}
	<-described
	<-described
	eventually(t, "the third waits", func() bool {
		h.dials.mu.Lock()
		defer h.dials.mu.Unlock()
		of := h.dials.owners["bob"]
		return of != nil && of.users == 3
	})
	if err := h.ask("dev-1", 1); err != nil {
		t.Errorf("another owner's camera: %v", err)
	}
	if n := slow.Dials.Load(); n != 2 {
		t.Errorf("%d dials at once, want 2", n)
	}
	close(goOn)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/rates"
)

// sharedCount stands for the vault: it counts for several servers.
type sharedCount struct {
	mu       sync.Mutex
	limiters map[time.Duration]*rates.Rates
	networks map[string]bool
	now      func() time.Time
	fail     error
}

func newSharedCount(now func() time.Time) *sharedCount {
	return &sharedCount{limiters: map[time.Duration]*rates.Rates{}, networks: map[string]bool{}, now: now}
}

func (c *sharedCount) Take(_ context.Context, name string, every time.Duration, burst int) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limiters[every] == nil {
		c.limiters[every] = rates.New(every, burst, 1000)
	}
	return c.limiters[every].Take(name, c.now()), c.fail
}

func (c *sharedCount) Forgive(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.limiters {
		l.Forgive(name)
	}
	return c.fail
}

func (c *sharedCount) KnownNetwork(_ context.Context, login, network string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.networks[login+" "+network], c.fail
}

func (c *sharedCount) RememberNetwork(_ context.Context, login, network string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.networks[login+" "+network] = true
	return c.fail
}

// from attempts to log in, from an address.
func (w *world) from(address, login, password string) answer {
	w.t.Helper()
	r := w.request("POST", "/api/v1/sessions", "", rest.Credentials{Login: login, Password: password})
	r.RemoteAddr = address + ":4711"
	return w.send(r)
}

func TestSpellingsShareAnAllowance(t *testing.T) {
	w := newWorld(t)
	spellings := []string{
		"+8618969190000", "+86 18969190000", "+86-189-6919-0000", "0086 189 6919 0000", " +86 (189) 69190000", "+86.189.69190000", "＋8618969190000",
		"+86\u00a018969190000", "008618969190000", "+86 1896919 0000", "+86 18 96 91 90 00 0", "+86/18969190000",
	}
	limited := 0
	for i := range 59 {
		a := w.from("192.0.2.1", spellings[i%len(spellings)], "wrong")
		if a.StatusCode == http.StatusTooManyRequests {
			limited++
		} else {
			w.wantProblem(a, 401, "invalid_credentials")
		}
	}
	if limited != 49 {
		t.Errorf("%d of 59 guesses were refused, want 49", limited)
	}
	for _, login := range []string{"alice@example.com", "ALICE@example.com", "ａlice@example.com", " alice@example.com"} {
		for range 3 {
			w.from("192.0.2.2", login, "wrong")
		}
	}
	w.wantProblem(w.from("192.0.2.2", "Alice@example.COM", "wrong"), 429, "rate_limited")
}

// TestNobodyLocksOutSomebodyElse: a stranger guesses twice a second for an hour;
// whoever has the password gets in from anywhere else.
func TestNobodyLocksOutSomebodyElse(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice")
	checked := 0
	for second := range 3600 {
		w.clock.advance(time.Second)
		for range 2 {
			if w.from("203.0.113.66", alice.email, "guess").StatusCode == http.StatusUnauthorized {
				checked++
			}
		}
		if second%600 == 599 {
			w.wantStatus(w.from(fmt.Sprint("198.51.100.", second/600), alice.email, password), 201)
		}
	}
	if checked > 10+3600/30+1 {
		t.Errorf("%d guesses were checked in an hour", checked)
	}
}

// TestGuessesFromManyNetworks use up the allowance of a login, but not for
// networks from which its person has logged in.
func TestGuessesFromManyNetworks(t *testing.T) {
	var count *sharedCount
	w := newWorld(t, func(c *Config) {
		count = newSharedCount(c.Now)
		c.Limits, c.Networks = count, count
	})
	alice := w.person("alice")
	w.wantStatus(w.from("192.0.2.1", alice.email, password), 201)
	for i := range 250 {
		w.from(fmt.Sprint("203.0.113.", i), alice.email, "guess")
	}
	w.wantProblem(w.from("203.0.113.251", alice.email, "guess"), 429, "rate_limited")
	w.wantProblem(w.from("192.0.2.99", alice.email, password), 429, "rate_limited")
	w.wantStatus(w.from("192.0.2.1", alice.email, password), 201)
	w.clock.advance(time.Minute)
	w.wantStatus(w.from("192.0.2.99", alice.email, password), 201)
}

// TestAttemptsAreCountedTogether: thirty guesses through three processes are not
// three allowances, and a database that is away leaves each its own.
func TestAttemptsAreCountedTogether(t *testing.T) {
	c := &clock{now: noon}
	count := newSharedCount(c.Now)
	share := func(cfg *Config) { cfg.Now, cfg.Limits, cfg.Networks = c.Now, count, count }
	processes := []*world{newWorld(t, share), newWorld(t, share), newWorld(t, share)}
	checked := func() (n int) {
		for i := range 30 {
			if processes[i%3].from("203.0.113.1", "alice@example.com", "guess").StatusCode == http.StatusUnauthorized {
				n++
			}
		}
		return n
	}
	if n := checked(); n != 10 {
		t.Errorf("%d guesses were checked, want 10", n)
	}
	c.advance(time.Hour)
	count.fail = errors.New("the database is away")
	if n := checked(); n != 30 {
		t.Errorf("with the database away %d guesses were checked, want 10 of each process", n)
	}
	if metrics := string(processes[0].asOperator("/metrics").body); strings.Contains(metrics, "latchkey_limits_unshared_total 0") {
		t.Error("nothing says that the processes count alone")
	}
}

func TestProxiesAreBelievedWhereTheyAreTrusted(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	attempt := func(remote, forwarded string) int {
		r := w.request("POST", "/api/v1/sessions", "", rest.Credentials{Login: "alice@example.com", Password: "guess"}, "X-Forwarded-For", forwarded)
		r.RemoteAddr = remote + ":4711"
		return w.send(r).StatusCode
	}
	for i := range 11 {
		want := http.StatusUnauthorized
		if i == 10 {
			want = http.StatusTooManyRequests
		}
		if got := attempt("10.0.0.1", fmt.Sprintf("192.0.2.%d, 203.0.113.1", i)); got != want {
			t.Errorf("attempt %d through the proxy: %d, want %d", i, got, want)
		}
	}
	if got := attempt("10.0.0.1", "203.0.113.2"); got != http.StatusUnauthorized {
		t.Errorf("another client of the proxy: %d", got)
	}
	for i := range 11 {
		attempt("198.51.100.1", fmt.Sprint("192.0.2.", i))
	}
	if got := attempt("198.51.100.1", "192.0.2.200"); got != http.StatusTooManyRequests {
		t.Errorf("a client that forwards for itself: %d", got)
	}
}

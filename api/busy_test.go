package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/hashing"
)

// busyWorld is a world in a synctest bubble, whose clock runs, whose hashes take
// hashTakes, slots of them at once, and whose limits leave a flood to the queue.
func busyWorld(t *testing.T, slots int) *world {
	count := newSharedCount(time.Now)
	w := newWorld(t, func(c *Config) {
		c.Now, c.Networks = time.Now, count
		c.NetworkBurst, c.LoginBurst = 1_000_000, 1_000_000
	})
	w.vault.queue = hashing.New(slots)
	return w
}

// flood lets a number of networks guess, two clients each, which try again some
// milliseconds after each answer. It returns when the queue is full; end ends the
// flood and returns how often each status was answered.
func (w *world) flood(t *testing.T, networks int) (end func() map[int]int) {
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]int{}
	for i := range 2 * networks {
		clients.Go(func() {
			for {
				a := w.from(fmt.Sprint("203.0.113.", i%networks), fmt.Sprint("login", i, "@example.com"), "guess")
				mu.Lock()
				seen[a.StatusCode]++
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(hashTakes / 4):
				}
			}
		})
	}
	end = sync.OnceValue(func() map[int]int {
		close(stop)
		clients.Wait()
		return seen
	})
	t.Cleanup(func() { end() })
	time.Sleep(hashTakes / 2)
	return end
}

// TestAFloodOfGuesses: sixty networks send a guess after each answer. The right
// password from a network that is known waits for the hash that is computed and
// for its own, every time; a stranger is refused at once, and served when the
// flood has ended.
func TestAFloodOfGuesses(t *testing.T) {
	for _, slots := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := busyWorld(t, slots)
			alice := w.person("alice") // from 192.0.2.1
			end := w.flood(t, 60)
			for range 10 {
				began := time.Now()
				a := w.from("192.0.2.1", alice.email, password)
				if took := time.Since(began); a.StatusCode != http.StatusCreated || took > 2*hashTakes {
					t.Errorf("%d slots: the right password was answered %d after %v, want 201 within two hashes", slots, a.StatusCode, took)
				}
				time.Sleep(hashTakes / 2) // in the midst of a hash, when the queue is full again
			}
			for _, login := range []string{alice.email, "nobody@example.com"} {
				began := time.Now()
				a := w.from("198.51.100.1", login, password)
				w.wantProblem(a, http.StatusTooManyRequests, "passwords_busy")
				if took := time.Since(began); took != 0 || a.Header.Get("Retry-After") != "1" {
					t.Errorf("%d slots: a stranger was refused after %v, Retry-After %q; want at once and 1", slots, took, a.Header.Get("Retry-After"))
				}
			}
			if metrics := string(w.asOperator("/metrics").body); strings.Contains(metrics, "latchkey_passwords_busy_total 0") {
				t.Error("no metric counts the refusals")
			}
			if seen := end(); seen[401] == 0 || seen[429] == 0 || len(seen) != 2 {
				t.Errorf("%d slots: the flood was answered %v, want 401 and 429", slots, seen)
			}
			w.wantStatus(w.from("198.51.100.1", alice.email, password), 201)
		})
	}
}

// TestRegistrationsQueue too: one that is refused has left nothing behind, and
// succeeds when it is repeated.
func TestRegistrationsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busyWorld(t, 1)
		end := w.flood(t, 60)
		register := func() answer {
			return w.do("POST", "/api/v1/accounts", "", rest.Registration{Email: "carol@example.com", Password: password}, "Idempotency-Key", "one")
		}
		events := len(w.log.all)
		began := time.Now()
		a := register()
		w.wantProblem(a, http.StatusTooManyRequests, "passwords_busy")
		if took := time.Since(began); took != 0 || a.Header.Get("Retry-After") != "1" || len(w.log.all) != events {
			t.Errorf("refused after %v, Retry-After %q, %d events; want at once, 1 and none", took, a.Header.Get("Retry-After"), len(w.log.all)-events)
		}
		end()
		w.wantStatus(register(), 201)
		w.wantStatus(w.from("192.0.2.1", "carol@example.com", password), 201)
	})
}

// TestALeavingClientGivesItsPlaceBack to the next one of its network.
func TestALeavingClientGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busyWorld(t, 1)
		guess := rest.Credentials{Login: "alice@example.com", Password: "guess"}
		gone, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for _, ctx := range []context.Context{t.Context(), gone} { // one hashes, one waits
			clients.Go(func() {
				r := w.request("POST", "/api/v1/sessions", "", guess)
				w.server.Handler().ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
			})
			synctest.Wait()
		}
		w.wantProblem(w.do("POST", "/api/v1/sessions", "", guess), http.StatusTooManyRequests, "passwords_busy")
		leave()
		synctest.Wait()
		if n := w.vault.queue.Waiting(); n != 0 {
			t.Errorf("%d wait after the client has left, want none", n)
		}
		w.wantProblem(w.do("POST", "/api/v1/sessions", "", guess), http.StatusUnauthorized, "invalid_credentials")
		clients.Wait()
	})
}

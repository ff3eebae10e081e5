package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"latchkey/api/internal/rest"
)

// TestWhatIsLimited: each way to guess, to have messages sent or to make something that
// opens a door has a limit for a network, whatever the name; and where a name is given, one
// for the name from one network, which nobody elsewhere uses up. What a client says of its
// own address counts only through a trusted proxy.
func TestWhatIsLimited(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("guessed%d@example.com", i) }
	device := []any{map[string]any{"device": "none", "channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}}
	for what, c := range map[string]struct {
		method, path  string
		session       bool
		body          func(name string) any
		name, network int // how many at once; 0: not by it
	}{
		"log-in": {"POST", "/sessions", false, func(n string) any { return rest.Credentials{Login: n, Password: "guess"} }, 10, 100},
		"registration": {"POST", "/accounts", false, func(n string) any {
			return map[string]any{"email": n, "password": "a long password", "name": "N"}
		}, 5, 50},
		"first account": {"POST", "/setup", false, func(n string) any {
			return map[string]any{"secret": "guessed", "email": n, "password": "a long password"}
		}, 0, 100},
		"forgotten password": {"POST", "/password-resets", false, func(n string) any { return map[string]any{"login": n} }, 0, 50},
		"new password": {"POST", "/password-resets/confirm", false, func(n string) any {
			return map[string]any{"login": n, "code": "12345670", "new_password": "a long password"}
		}, 10, 100},
		"adding an address": {"POST", "/accounts/me/addresses", true, func(n string) any { return map[string]any{"email": n} }, 5, 50},
		"asking for a code": {"POST", "/accounts/me/addresses/00000000000000000000000000000000/code", true, nil, 5, 0},
		"a code":            {"POST", "/accounts/me/addresses/00000000000000000000000000000000/verify", true, func(string) any { return map[string]any{"code": "12345678"} }, 0, 100},
		"change of password": {"PUT", "/accounts/me/password", true, func(string) any {
			return map[string]any{"current": "guess", "new": "a long password"}
		}, 10, 0},
		"invitation": {"POST", "/shares", true, func(n string) any {
			return map[string]any{"recipient": map[string]any{"email": n}, "devices": device}
		}, 0, invitesBurst},
		"invitation by code": {"POST", "/invitation-codes", true, func(string) any { return map[string]any{"devices": device} }, 0, invitesBurst},
		"stream key":         {"POST", "/stream-keys", true, func(string) any { return map[string]any{} }, 0, keysBurst},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, func(cfg *Config) {
				cfg.Verification = true
				cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			})
			token := ""
			if c.session {
				token = w.person("alice").token
			}
			ask := func(remote, forwarded, n string) int {
				var body any
				if c.body != nil {
					body = c.body(n)
				}
				r := w.request(c.method, "/api/v1"+c.path, token, body, "X-Forwarded-For", forwarded)
				r.RemoteAddr = remote + ":4711"
				return w.send(r).StatusCode
			}
			limited := func(status int) bool { return status == http.StatusTooManyRequests }
			if c.name > 0 {
				for i := range c.name {
					if got := ask("198.51.100.1", fmt.Sprint("192.0.2.", i), name(0)); limited(got) {
						t.Fatalf("try %d of one name: %d", i+1, got)
					}
				}
				if got := ask("198.51.100.1", "192.0.2.77", name(0)); !limited(got) {
					t.Errorf("one try too many of one name, which forwards for itself: %d", got)
				}
			}
			if c.network == 0 {
				return
			}
			w.clock.advance(24 * time.Hour)
			server := w.server
			for _, a := range []*allowance{server.inviting, server.keys} { // nobody waits for so many
				for range a.burst - 60 {
					a.local.Take("203.0.113.9", w.clock.Now())
				}
			}
			n := 0
			for n < 200 && !limited(ask("10.0.0.1", fmt.Sprintf("192.0.2.%d, 203.0.113.9", n%200), name(n+1))) {
				n++
			}
			if want := min(c.network, 60); n < want || n > max(want, c.network) {
				t.Errorf("%d tries from one network behind the proxy were let through, want %d", n, c.network)
			}
			if got := ask("10.0.0.1", "203.0.113.10", name(500)); limited(got) {
				t.Errorf("another client of the proxy: %d", got)
			}
		})
	}
}

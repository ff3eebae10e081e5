package api

import (
	"context"
	"net/http"
	"testing"

	"latchkey/internal/app"
)

// firstLink is a service that nobody has set up: its link has one secret.
type firstLink struct {
	secret string
	used   bool
}

func (l *firstLink) Empty(context.Context) (bool, error) { return !l.used, nil }

func (l *firstLink) ClaimInvitation(_ context.Context, token, _, _ string) (valid, setup bool, err error) {
	valid = token == l.secret && !l.used || token == "of an account"
	return valid, valid && token == l.secret, nil
}

func (l *firstLink) SettleInvitation(_ context.Context, token, _, _ string, used bool) error {
	l.used = l.used || used && token == l.secret
	return nil
}

// unused makes a world in which there is no account yet, and addresses must be proven.
func unused(t *testing.T, mode app.Mode) func(*Config) {
	return func(c *Config) {
		read, vault := c.Queries.(readModel), c.Sessions.(*memoryVault)
		link := &firstLink{secret: "the secret"}
		useCases, err := app.New(app.Config{
			Log: read.log, Sealer: vault, Passwords: vault, Cameras: vault, StreamSecrets: vault, Domains: read, Now: c.Now,
			Registration: mode, Codes: vault, Messenger: vault, ShareCodes: &memoryCodes{now: c.Now}, Invitations: link, Verification: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Accounts, c.Verification, c.Unused, c.Registration = useCases.Accounts, true, link, mode
	}
}

// TestSetUp: whoever registers, the first account is made by the link alone, once, and its
// address needs no code.
func TestSetUp(t *testing.T) {
	for _, mode := range []app.Mode{app.Open, app.Invited, app.Closed} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t, unused(t, mode))
			first := func(secret string) answer {
				return w.do("POST", "/api/v1/setup", "", map[string]any{"secret": secret, "email": "olga@example.com", "password": password, "name": "Olga"})
			}
			needed := func(want bool) {
				t.Helper()
				var s struct {
					Needed       bool
					Registration app.Mode
				}
				w.wantStatus(w.do("GET", "/api/v1/setup", "", nil), http.StatusOK).decode(t, &s)
				if s.Needed != want || s.Registration != mode {
					t.Errorf("needed: %v, registration: %s", s.Needed, s.Registration)
				}
			}
			needed(true)
			for _, wrong := range []string{"guessed", "of an account"} {
				w.wantProblem(first(wrong), http.StatusForbidden, "setup_link_invalid")
			}
			w.wantProblem(w.do("POST", "/api/v1/setup", "", map[string]any{"secret": "the secret", "password": password}), http.StatusUnprocessableEntity, "invalid_body")
			w.wantProblem(w.do("POST", "/api/v1/setup", "", map[string]any{"secret": "the secret", "email": "olga@example.com", "password": "short"}), http.StatusUnprocessableEntity, "invalid_body")
			needed(true) // nothing has changed
			w.wantStatus(first("the secret"), http.StatusCreated)
			needed(false)
			w.wantProblem(first("the secret"), http.StatusForbidden, "setup_link_invalid")
			var session struct{ Token string }
			w.wantStatus(w.do("POST", "/api/v1/sessions", "", map[string]any{"login": "olga@example.com", "password": password}), http.StatusCreated).decode(t, &session)
			var me struct{ Verified bool }
			if w.wantStatus(w.do("GET", "/api/v1/accounts/me", session.Token, nil), http.StatusOK).decode(t, &me); !me.Verified {
				t.Error("its address waits for a code")
			}
		})
	}
}

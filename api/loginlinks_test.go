package api

import (
	"context"
	"net/http"
	"testing"
)

// aLink logs in once.
type aLink struct{ session LinkSession }

func (l *aLink) Follow(_ context.Context, secret string) (LinkSession, bool, error) {
	s := l.session
	if secret != "the secret" || s.Token == "" {
		return LinkSession{}, false, nil
	}
	l.session = LinkSession{}
	return s, true, nil
}

// TestLoginLinks: a link logs in once, from this machine; a service has none.
func TestLoginLinks(t *testing.T) {
	link := &aLink{}
	w := newPortalWorld(t, func(c *Config) { c.LoginLinks = link })
	alice := w.person("alice")
	link.session = LinkSession{Token: alice.token, Account: alice.id, Expires: w.clock.now}
	from := func(remote, secret string) answer {
		r := w.request("POST", "/api/v1/sessions/by-link", "", map[string]any{"secret": secret})
		r.RemoteAddr = remote + ":4711"
		return w.send(r)
	}
	w.wantProblem(from("127.0.0.1", "guessed"), http.StatusForbidden, "login_link_invalid")
	w.wantProblem(from("192.0.2.7", "the secret"), http.StatusForbidden, "login_link_invalid")
	var s struct{ Token string }
	if w.wantStatus(from("127.0.0.1", "the secret"), http.StatusCreated).decode(t, &s); s.Token != alice.token {
		t.Errorf("%+v", s)
	}
	w.wantProblem(from("127.0.0.1", "the secret"), http.StatusForbidden, "login_link_invalid")
	for _, tag := range []string{"en", "de", "en-XA"} {
		b := w.browser().in(tag)
		b.get("/enter").submit("/enter", "secret", "guessed").want(http.StatusForbidden, "/enter")
	}
	none := newWorld(t)
	none.wantProblem(none.do("POST", "/api/v1/sessions/by-link", "", map[string]any{"secret": "x"}), http.StatusForbidden, "login_link_invalid")
}

package api

import (
	"testing"

	"latchkey/internal/app"
)

// TestPortalSaysWhoMayRegister: nobody fills in a form that is refused whatever it has.
func TestPortalSaysWhoMayRegister(t *testing.T) {
	for mode, words := range map[app.Mode]string{
		app.Open: "", app.Invited: "You need an invitation", app.Closed: "This service takes no new accounts.",
	} {
		p := newPortalWorld(t, func(c *Config) { c.Registration = mode }).browser().get("/register").want(200, "/register", words)
		if forms := len(p.all(elements("input"))) > 3; forms != (mode != app.Closed) {
			t.Errorf("%s: there is a form: %v", mode, forms)
		}
	}
}

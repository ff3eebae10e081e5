package api

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/app"
)

// TestPortalSetUp: the first account, its first camera and the first share, without
// scripts; each page can be left and come back to.
func TestPortalSetUp(t *testing.T) {
	for _, tag := range []string{"en", "de", "en-XA"} {
		t.Run(tag, func(t *testing.T) {
			w := newPortalWorld(t, unused(t, app.Closed), func(c *Config) { c.Finder = aDevice{searches: true} })
			b := w.browser().in(tag)
			says := func(p webPage, status int, path, english string) webPage {
				t.Helper()
				if tag == "en" {
					return p.want(status, path, english)
				}
				return p.want(status, path)
			}
			p := says(b.get("/"), 200, "/setup", "Latchkey printed a link when it started")
			says(b.get("/setup/camera"), 200, "/login?next=%2Fsetup%2Fcamera", "")
			says(p.submit("/setup", "secret", "", "email", "", "password", "x"), 422, "/setup", "It is required.")
			says(p.submit("/setup", "secret", "guessed", "email", "olga@example.com", "password", password), 403, "/setup", "This link no longer holds.").lacks(password)
			says(p.submit("/setup", "secret", "the secret", "email", "olga@example.com", "password", "short"), 422, "/setup", "It is shorter than 8 characters.")
			p = says(p.submit("/setup", "secret", "http://127.0.0.1:8080/setup#the secret", "name", "Olga", "email", "olga@example.com", "password", password), 200, "/setup/camera", "Your first camera")

			stranger := w.browser().in(tag)
			says(stranger.get("/"), 200, "/login", "Log in")
			says(stranger.get("/setup"), 200, "/setup", "There is an account already.").lacks("secret")

			says(b.get("/setup"), 200, "/setup/camera", "")
			says(b.get("/setup/share"), 200, "/setup/camera", "")
			found := says(b.get("/setup/camera?search=1"), 200, "/setup/camera?search=1", "Front <door>")
			if !strings.Contains(found.body, "/setup/camera?address=http%3a%2f%2f192.0.2.10%2fonvif%2fdevice_service&amp;name=Front%20%3cdoor%3e") {
				t.Errorf("what was found leads nowhere: %s", found.body)
			}
			if p := b.get("/setup/camera?address=192.0.2.10&name=Door"); p.form("/setup/camera").Get("address") != "192.0.2.10" {
				t.Errorf("%v", p.form("/setup/camera"))
			}
			says(p.submit("/setup/camera", "address", "192.0.2.10", "username", "admin", "password", "wrong"), 422, "/setup/camera", "The device refused the user name or the password.")
			says(p.submit("/setup/camera", "address", "192.0.2.9", "username", "admin", "password", "hunter2"), 422, "/setup/camera", "The device does not answer at this address.").lacks("hunter2")
			p = says(p.submit("/setup/camera", "address", "192.0.2.10", "username", "admin", "password", "hunter2"), 200, "/setup/share", "DS-2CD2042WD-I is added.")
			says(b.get("/setup"), 200, "/setup/share", "DS-2CD2042WD-I")

			says(p.submit("/setup/share", "email", ""), 422, "/setup/share", "It is required.")
			says(p.submit("/setup/share", "email", "rita@example.com", "function", "none"), 422, "/setup/share", "Choose a camera and what they may do with it.")
			says(p.submit("/setup/share", "email", "olga@example.com"), 422, "/setup/share", "")
			p = p.submit("/setup/share", "email", "rita@example.com")
			if p.status != http.StatusOK {
				t.Fatalf("%d: %s", p.status, p.main())
			}
			says(b.get("/my-shares"), 200, "/my-shares", "rita@example.com")
		})
	}
}

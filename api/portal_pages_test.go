package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/app"
)

// enter registers an account by the pages, and is logged in.
func (w *world) enter(name string) *browser {
	w.t.Helper()
	b := w.browser()
	b.get("/register").submit("/register", "email", name+"@example.com", "password", password, "name", name).want(200, "/live", "you are logged in")
	return b
}

func TestPortalLogIn(t *testing.T) {
	w := newPortalWorld(t)
	w.person("rita")
	b := w.browser()
	b.get("/").want(200, "/login")
	b.get("/account?x=1").want(200, "/login?next=%2Faccount%3Fx%3D1")

	p := b.get("/login?next=/account").submit("/login", "login", "rita@example.com", "password", "wrong")
	p.want(401, "/login", "The login or the password is wrong.").lacks(`value="wrong"`)
	if got := p.form("/login"); got.Get("login") != "rita@example.com" || got.Get("next") != "/account" {
		t.Errorf("what was typed is gone: %v", got)
	}
	if len(b.cookies) != 1 {
		t.Errorf("cookies after a wrong password: %v", b.cookies)
	}
	p = p.submit("/login", "password", password).want(200, "/account")
	if strings.Contains(p.body, b.cookies["latchkey-session"]) || b.cookies["latchkey-visitor"] != "" {
		t.Errorf("%v", b.cookies)
	}
	b.get("/login").want(200, "/live")
	b.get("/register").want(200, "/live")

	session := b.cookies["latchkey-session"]
	p.submit("/logout").want(200, "/login", "You are logged out.")
	if b.cookies["latchkey-session"] != "" {
		t.Error("the session is still in the browser")
	}
	w.wantProblem(w.do("GET", "/api/v1/accounts/me", session, nil), 401, "unauthenticated")
	b.cookies["latchkey-session"] = session // of a browser that did not forget it
	b.get("/account").want(200, "/login?next=%2Faccount")
	if b.cookies["latchkey-session"] != "" {
		t.Error("a session that has ended is still in the browser")
	}
}

// TestPortalCookies: the session is out of reach of scripts and of other sites, and with
// TLS of whoever is not the host.
func TestPortalCookies(t *testing.T) {
	w := newPortalWorld(t)
	w.person("rita")
	for _, tls := range []bool{false, true} {
		post := func(jar []*http.Cookie, method, path string, form url.Values) *http.Response {
			r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tls {
				r.Header.Set("X-Forwarded-Proto", "https")
			}
			for _, c := range jar {
				r.AddCookie(c)
			}
			a := httptest.NewRecorder()
			w.server.Handler().ServeHTTP(a, r)
			return a.Result()
		}
		b := w.browser()
		first := post(nil, "GET", "/login", nil)
		token := csrfOf(t, b, first)
		a := post(first.Cookies(), "POST", "/login", url.Values{"csrf": {token}, "login": {"rita@example.com"}, "password": {password}})
		found := 0
		for _, c := range append(a.Cookies(), first.Cookies()...) {
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != tls {
				t.Errorf("TLS %v: %s", tls, c.Raw)
			}
			if strings.HasSuffix(c.Name, "latchkey-session") && c.MaxAge >= 0 {
				found++
				if strings.HasPrefix(c.Name, "__Host-") != tls || c.Expires.IsZero() {
					t.Errorf("TLS %v: %s", tls, c.Raw)
				}
			}
		}
		if found != 1 || a.StatusCode != 303 {
			t.Errorf("TLS %v: %d with %d sessions", tls, a.StatusCode, found)
		}
		// One without the prefix may come from anybody on the network.
		if tls {
			tossed := &http.Cookie{Name: "latchkey-session", Value: a.Cookies()[0].Value}
			if to := post([]*http.Cookie{tossed}, "GET", "/account", nil).Header.Get("Location"); !strings.HasPrefix(to, "/login") {
				t.Errorf("a cookie without the prefix logs in: %q", to)
			}
		}
	}
}

func csrfOf(t *testing.T, b *browser, a *http.Response) string {
	t.Helper()
	raw := new(strings.Builder)
	if err := a.Write(raw); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(raw.String(), `name="csrf" value="`)
	token, _, _ := strings.Cut(after, `"`)
	return token
}

// TestPortalForgedForms: a form that no page of this browser made does nothing.
func TestPortalForgedForms(t *testing.T) {
	w := newPortalWorld(t)
	w.person("rita")
	b, other := w.enter("olga"), w.enter("mallory")
	page := b.get("/account")
	for name, token := range map[string]string{
		"none": "", "another": "x", "of another session": other.get("/account").form("/account").Get("csrf"),
		"of a visitor": w.browser().get("/login").form("/login").Get("csrf"),
	} {
		page.submit("/account", "name", "Forged", "csrf", token).want(403, "/account", "Nothing was changed")
		if b.get("/account").form("/account").Get("name") != "olga" {
			t.Errorf("token %s: the form was taken", name)
		}
		page.submit("/logout", "csrf", token).want(403, "/logout")
		w.browser().get("/login").submit("/login", "login", "rita@example.com", "password", password, "csrf", token).want(403, "/login")
	}
	b.origin = "https://evil.example"
	page.submit("/account", "name", "Forged").want(403, "/account")
	b.origin = "null"
	page.submit("/account", "name", "Forged").want(403, "/account")
	b.origin = "http://example.com" // the host of httptest
	page.submit("/account", "name", "Olga").want(200, "/account", "Saved.")
}

func TestPortalRegister(t *testing.T) {
	w := newPortalWorld(t)
	b := w.browser()
	p := b.get("/register").submit("/register", "email", "", "password", password).want(422, "/register", "It is required.")
	p = p.submit("/register", "email", "no address", "password", "short", "name", "Rita <b>")
	p.want(422, "/register", "This is not an e-mail address.", "It is shorter than 8 characters.").lacks("<b>", "short\"")
	if p.form("/register").Get("name") != "Rita <b>" {
		t.Errorf("what was typed is gone: %v", p.form("/register"))
	}
	p.submit("/register", "email", "rita@example.com", "password", password).want(200, "/live", "you are logged in")
	b.get("/account").want(200, "/account", "rita@example.com")

	w.browser().get("/register").submit("/register", "email", "rita@example.com", "password", password).want(409, "/register", "There is an account with this address already.")
	by := w.browser()
	by.get("/register").submit("/register", "kind", "phone", "country", "DE", "phone", "01511 2345678", "password", password).want(200, "/live")
	by.get("/account").want(200, "/account", "+4915112345678")
}

// TestPortalVerification: where addresses must be proven, registering leads to the code, and
// so does logging in until it was entered.
func TestPortalVerification(t *testing.T) {
	w := newPortalWorld(t, verifies(t))
	b := w.browser()
	p := b.get("/register").submit("/register", "email", "rita@example.com", "password", password).want(200, "/register/code", "A code was sent to rita@example.com")
	p.submit("/register/code", "code", "").want(422, "/register/code", "It is required.")
	p = p.submit("/register/code", "code", "00000000").want(403, "/register/code", "The code is wrong or no longer valid.").lacks("00000000")
	p = p.submit("/register/code/send").want(200, "/register/code", "A new code is on its way to rita@example.com")
	again := w.browser()
	again.get("/login").submit("/login", "login", "rita@example.com", "password", password).want(200, "/register/code")
	p.submit("/register/code", "code", "1234 5678").want(200, "/live", "Your address is confirmed.")
	b.get("/register/code").want(200, "/live")

	// Whoever registers with an address that has an account sees the same pages.
	other := w.browser()
	other.get("/register").submit("/register", "email", "rita@example.com", "password", "another long password").want(200, "/register/code", "A code was sent to rita@example.com")
}

// TestPortalRegistrationModes: where not everybody may register, the page says what is
// missing.
func TestPortalRegistrationModes(t *testing.T) {
	for mode, want := range map[app.Mode]string{app.Closed: "This service takes no new accounts.", app.Invited: "You need an invitation to register here"} {
		w := newPortalWorld(t, func(c *Config) {
			read, vault := c.Queries.(readModel), c.Sessions.(*memoryVault)
			useCases, err := app.New(app.Config{
				Log: read.log, Sealer: vault, Passwords: vault, Cameras: vault, StreamSecrets: vault, Domains: read, Now: c.Now,
				Registration: mode, Codes: vault, Messenger: vault, ShareCodes: &memoryCodes{now: c.Now}, Invitations: noInvitations{},
			})
			if err != nil {
				t.Fatal(err)
			}
			c.Accounts = useCases.Accounts
		})
		b := w.browser()
		p := b.get("/register").submit("/register", "email", "rita@example.com", "password", password, "invitation", "used-up")
		p.want(403, "/register", want)
		if p.form("/register").Get("email") != "rita@example.com" || len(b.cookies) != 1 {
			t.Errorf("%s: %v, %v", mode, p.form("/register"), b.cookies)
		}
	}
}

// noInvitations has no invitation that is still valid.
type noInvitations struct{}

func (noInvitations) ClaimInvitation(context.Context, string, string, string) (valid, setup bool, err error) {
	return false, false, nil
}

func (noInvitations) SettleInvitation(context.Context, string, string, string, bool) error {
	return nil
}

// verifies makes a world in which addresses must be proven.
func verifies(t *testing.T) func(*Config) {
	return func(c *Config) {
		read, vault := c.Queries.(readModel), c.Sessions.(*memoryVault)
		useCases, err := app.New(app.Config{
			Log: read.log, Sealer: vault, Passwords: vault, Cameras: vault, StreamSecrets: vault, Domains: read, Now: c.Now,
			Registration: app.Open, Codes: vault, Messenger: vault, ShareCodes: &memoryCodes{now: c.Now}, Verification: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Accounts, c.Verification = useCases.Accounts, true
	}
}

func TestPortalReset(t *testing.T) {
	w := newPortalWorld(t)
	w.person("rita")
	b := w.browser()
	b.get("/login").want(200, "/login")
	p := b.get("/reset").submit("/reset", "login", "rita@example.com").want(200, "/reset/code", "a code is on its way")
	if p.form("/reset/code").Get("login") != "rita@example.com" {
		t.Errorf("the login is to be typed again: %v", p.form("/reset/code"))
	}
	p.submit("/reset/code", "code", "000000000000", "password", "four words nobody knows").want(403, "/reset/code", "The code is wrong or no longer valid.").
		lacks("four words", "000000000000")
	p.submit("/reset/code", "code", "12345678", "password", "short").want(422, "/reset/code", "It is shorter than 8 characters.")
	// An unknown login is answered in the same way.
	w.browser().get("/reset").submit("/reset", "login", "nobody@example.com").want(200, "/reset/code", "a code is on its way")
}

func TestPortalAccount(t *testing.T) {
	w := newPortalWorld(t)
	b := w.enter("rita")
	p := b.get("/account").submit("/account", "name", "\u202eevil", "user_name", "Rita", "language", "de")
	p.want(422, "/account", "It contains a character that nobody sees.")
	p = p.submit("/account", "name", "Ré<script>", "user_name", "rita").want(200, "/account", "Saved.")
	got := p.form("/account")
	if got.Get("name") != "Ré<script>" || got.Get("language") != "de" {
		t.Errorf("%v", got)
	}
	if b.get("/account").want(200, "/account"); strings.Contains(b.get("/account").body, "Saved.") {
		t.Error("it is said again")
	}
}

func TestPortalLanguages(t *testing.T) {
	w := newPortalWorld(t)
	b := w.browser()
	b.accept = "fr, de-AT;q=0.9, en;q=0.1"
	p := b.get("/login").want(200, "/login", "Anmelden")
	if p.header.Get("Content-Language") != "de" {
		t.Error(p.header.Get("Content-Language"))
	}
	p.submit("/login", "login", "x@example.com", "password", "x").want(401, "/login", "Die Anmeldung oder das Passwort ist falsch.")
	p = p.submit("/preferences", "language", "en", "theme", "dark").want(200, "/login", "Log in")
	if !strings.Contains(p.body, `data-theme="dark"`) || !strings.Contains(p.body, `lang="en"`) {
		t.Error(p.body[:200])
	}
	p = p.submit("/preferences", "language", "klingon", "theme", "system", "back", "https://evil.example/").want(200, "/login", "Log in").lacks("data-theme")
	p.submit("/preferences", "back", "//evil.example").want(200, "/login")
}

func TestPortalErrorPages(t *testing.T) {
	w := newPortalWorld(t)
	b := w.enter("rita")
	b.get("/nowhere").want(404, "/nowhere", "There is no such page.")
	b.open("POST", "/nowhere", nil).want(404, "/nowhere", "There is no such page.")
	if to := b.request("GET", "//evil.example/x", nil).Header().Get("Location"); strings.HasPrefix(to, "//") || strings.Contains(to, ":") {
		t.Errorf("a path of two slashes leads to %s", to)
	}
	w.vault.fail = http.ErrServerClosed
	b.get("/account").want(500, "/account", "Something went wrong on our side.", "Try again").lacks("Server closed")
	w.vault.fail = nil
	a := w.do("GET", "/nowhere", "", nil)
	if a.StatusCode != 404 || strings.Contains(string(a.body), "<html") {
		t.Errorf("a program gets %d %s", a.StatusCode, a.body)
	}
	big := url.Values{"csrf": {"x"}, "name": {strings.Repeat("x", 70<<10)}}
	b.open("POST", "/account", big).want(413, "/account", "The form is too large.")
}

// TestPortalAndTheAPI: paths of the API are as they are without the portal, and the root is
// the portal's for browsers only.
func TestPortalAndTheAPI(t *testing.T) {
	plain, w := newWorld(t), newPortalWorld(t)
	for _, request := range [][2]string{
		{"GET", "/"}, {"GET", "/invite"}, {"GET", "/healthz"}, {"GET", "/api"}, {"GET", "/api/"}, {"GET", "/api/v1/accounts"}, {"POST", "/api/v1/devices/x"},
		{"GET", "/api/v1/nowhere"}, {"POST", "/api/v1/nowhere"}, {"DELETE", "/api/v1/sessions"}, {"OPTIONS", "/api/v1/sessions"},
	} {
		want, got := plain.do(request[0], request[1], "", nil), w.do(request[0], request[1], "", nil)
		if want.StatusCode != got.StatusCode || want.Header.Get("Allow") != got.Header.Get("Allow") || want.Header.Get("Content-Type") != got.Header.Get("Content-Type") {
			t.Errorf("%v: %d %q %s, and without the portal %d %q %s", request, got.StatusCode, got.Header.Get("Allow"), got.body, want.StatusCode, want.Header.Get("Allow"), want.body)
		}
	}
	if a := w.do("PUT", "/account", "", nil); a.StatusCode != 405 || a.Header.Get("Allow") == "" {
		t.Errorf("PUT of a page: %d %s", a.StatusCode, a.Header.Get("Allow"))
	}
	if a := w.do("HEAD", "/login", "", nil, "Accept", "text/html"); a.StatusCode != 200 || len(a.body) > 0 {
		t.Errorf("HEAD of a page: %d, %d bytes", a.StatusCode, len(a.body))
	}
}

func TestPortalAssets(t *testing.T) {
	w := newPortalWorld(t)
	page := w.browser().get("/login")
	count := 0
	for _, n := range page.all(elements("link", "script")) {
		at := attrValue(n, "href") + attrValue(n, "src")
		if at == "/manifest.webmanifest" { // it has no hash
			continue
		}
		a := w.do("GET", at, "", nil)
		if a.StatusCode != 200 || a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || len(a.Header.Values("Set-Cookie")) > 0 || len(a.body) > 64<<10 {
			t.Errorf("%s: %d %v, %d bytes", at, a.StatusCode, a.Header, len(a.body))
		}
		count++
	}
	if count != 4 {
		t.Errorf("%d assets", count)
	}
	if a := w.do("GET", "/favicon.ico", "", nil); a.StatusCode != 200 || a.Header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("the icon: %d", a.StatusCode)
	}
	if a := w.do("GET", "/static/x/portal.css", "", nil); a.StatusCode != 404 {
		t.Errorf("an asset of another hash: %d", a.StatusCode)
	}
}

// TestPortalLimitsAreTheBrowsers: attempts are counted for who makes them, not for the
// portal.
func TestPortalLimitsAreTheBrowsers(t *testing.T) {
	w := newPortalWorld(t, func(c *Config) { c.LoginBurst = 2 })
	w.person("rita")
	p := w.browser().get("/login")
	for range 2 {
		p = p.submit("/login", "login", "rita@example.com", "password", "wrong").want(401, "/login")
	}
	p = p.submit("/login", "login", "rita@example.com", "password", "wrong").want(429, "/login", "Too many attempts. Try again in")
	if p.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.wantStatus(w.do("POST", "/api/v1/sessions", "", map[string]string{"login": "rita@example.com", "password": "wrong"}), 429)
	from := w.request("POST", "/api/v1/sessions", "", map[string]string{"login": "rita@example.com", "password": "wrong"})
	from.RemoteAddr = "198.51.100.9:1"
	w.wantStatus(w.send(from), 401)
}

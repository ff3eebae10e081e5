package api

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestPortalPassword(t *testing.T) {
	w := newPortalWorld(t)
	rita := w.person("rita")
	b, elsewhere := w.as(rita), w.browser()
	elsewhere.get("/login").submit("/login", "login", rita.email, "password", password)
	p := b.get("/account")
	p.submit("/account/password", "current", "wrong", "new", "four words nobody knows").want(403, "/account/password", "The password is wrong.").lacks("four words")
	p.submit("/account/password", "current", password, "new", "short").want(422, "/account/password", "It is shorter than 8 characters.")
	p.submit("/account/password", "current", password, "new", "four words nobody knows", "csrf", "x").want(403, "/account/password")
	p.submit("/account/password", "current", password, "new", "four words nobody knows").want(200, "/account", "Your password is changed.")
	if b.cookies["latchkey-session"] == rita.token {
		t.Error("the browser goes on with the session from before")
	}
	elsewhere.get("/account").want(200, "/login?next=%2Faccount")
	w.browser().get("/login").submit("/login", "login", rita.email, "password", password).want(401, "/login")
	w.browser().get("/login").submit("/login", "login", rita.email, "password", "four words nobody knows").want(200, "/live")
}

func TestPortalSessions(t *testing.T) {
	w := newPortalWorld(t)
	rita, mallory := w.person("rita"), w.as(w.person("mallory"))
	b, elsewhere, third := w.as(rita), w.browser(), w.browser()
	for _, other := range []*browser{elsewhere, third} {
		other.get("/login").submit("/login", "login", rita.email, "password", password)
	}
	p := b.get("/account").want(200, "/account", "This browser", "Another browser or app", "Log out everywhere else")
	p.lacks(">" + rita.token)
	theirs := "id-" + elsewhere.cookies["latchkey-session"]
	form := p.form("/account/sessions")
	form.Set("csrf", mallory.get("/account").form("/account").Get("csrf"))
	form.Set("session", theirs)
	form.Set("sure", "yes")
	mallory.open("POST", "/account/sessions", form).want(404, "/account/sessions", "This session has ended already.")
	elsewhere.get("/account").want(200, "/account")
	p.submit("/account/sessions", "session", theirs, "csrf", "x").want(403, "/account/sessions")
	ask := p.submit("/account/sessions", "session", theirs).want(200, "/account/sessions", "Are you sure?", "logged out at once")
	elsewhere.get("/account").want(200, "/account")
	ask.submit("/account/sessions").want(200, "/account", "Logged out there.")
	elsewhere.get("/account").want(200, "/login?next=%2Faccount")
	p.submit("/account/sessions", "session", "others").want(200, "/account/sessions", "Every other browser").submit("/account/sessions").want(200, "/account").lacks("Log out everywhere else")
	third.get("/account").want(200, "/login?next=%2Faccount")
}

func TestPortalStreamKeys(t *testing.T) {
	v := portalVillage(t)
	v.accept()
	b := v.as(v.recipient)
	p := b.get("/account/keys").want(200, "/account/keys", "You have no stream key yet.", "Everything that you may watch")
	p.submit("/account/keys", "label", "TV", "expires", "2001-01-01T00:00").want(422, "/account/keys", "The end must be in the future.")
	p.submit("/account/keys", "label", "TV", "expires", "tomorrow").want(422, "/account/keys", "This is not a date and time.")
	p.submit("/account/keys", "label", "TV", "csrf", "x").want(403, "/account/keys")
	made := p.submit("/account/keys", "label", "TV <b>", "device", v.device).want(200, "/account/keys", "Your new stream key", "The secret is shown only now.", "Front door")
	var codes []string
	for _, n := range made.all(elements("code")) {
		codes = append(codes, rawText(n))
	}
	if len(codes) != 8 {
		t.Fatalf("%d texts: %q", len(codes), codes)
	}
	name, secret := codes[0], codes[1]
	address := "rtsp://" + name + ":" + secret + "@example.com:8554/" + v.device + "/1"
	camera := strings.ReplaceAll(v.device, "-", "_") + "_1"
	want := []string{
		address, "ffplay -rtsp_transport tcp '" + address + "'", "streams:\n  " + camera + ": " + address,
		"cameras:\n  " + camera + ":\n    ffmpeg:\n      inputs:\n        - path: " + address + "\n          input_args: preset-rtsp-restream\n          roles:\n            - detect\n            - record",
		address, address,
	}
	if !slices.Equal(codes[2:], want) {
		t.Errorf("%q\nwant %q", codes[2:], want)
	}
	p = b.get("/account/keys").want(200, "/account/keys", "TV <b>", name, "Front door").lacks(secret, "<b>")

	revoke := "/account/keys/" + name + "/delete"
	ask := b.get(revoke).want(200, revoke, "Revoke this stream key?", name)
	ask.submit(revoke, "csrf", "x").want(403, revoke)
	stranger := v.as(v.stranger)
	stranger.get(revoke).submit(revoke).want(404, revoke, "There is no such stream key")
	p.want(200, "/account/keys", name)
	ask.submit(revoke).want(200, "/account/keys", "The key is revoked.", "You have no stream key yet.")
	ask.submit(revoke, "key", "another").want(404, revoke)
}

// rawText is the text of an element as it is, with its lines.
func rawText(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestPortalAddresses(t *testing.T) {
	w := newPortalWorld(t, verifies(t))
	b := w.browser()
	b.get("/register").submit("/register", "email", "rita@example.com", "password", password).submit("/register/code", "code", "12345678")
	p := b.get("/account/addresses").want(200, "/account/addresses", "rita@example.com", "Confirmed", "Others see this one").lacks("Not confirmed")
	p.submit("/account/addresses", "email", "").want(422, "/account/addresses", "It is required.")
	p.submit("/account/addresses", "email", "nonsense").want(422, "/account/addresses", "This is not an e-mail address.")
	p.submit("/account/addresses", "email", "second@example.com", "csrf", "x").want(403, "/account/addresses")
	p = p.submit("/account/addresses", "email", "second@example.com").want(200, "/account/addresses", "The address is added.", "second@example.com", "Not confirmed")
	second := p.action(t, "/account/addresses/")
	p.submit(second, "do", "verify", "code", "00000000").want(403, second, "The code is wrong or no longer valid.", "second@example.com")
	p.submit(second, "do", "send").want(200, "/account/addresses", "A new code is on its way.")
	p.submit(second, "do", "dance").want(404, second)
	p = p.submit(second, "do", "verify", "code", "1234 5678").want(200, "/account/addresses", "Your address is confirmed.").lacks("Not confirmed")
	p = p.submit(second, "do", "primary").want(200, "/account/addresses", "Saved.")
	b.get("/account").want(200, "/account", "second@example.com")

	other := w.browser()
	other.get("/register").submit("/register", "email", "mallory@example.com", "password", password).submit("/register/code", "code", "12345678")
	form := p.form("/account/addresses")
	form.Set("csrf", other.get("/account").form("/account").Get("csrf"))
	form.Set("do", "primary")
	other.open("POST", second, form).want(404, second)
	other.get(second+"/delete").want(404, second+"/delete")
	other.open("POST", second+"/delete", form).want(404, second+"/delete")

	first := p.action(t, "/account/addresses/") // the one that others do not see
	ask := b.get(first+"/delete").want(200, first+"/delete", "You can no longer log in with rita@example.com")
	ask.submit(first+"/delete", "csrf", "x").want(403, first+"/delete")
	ask.submit(first+"/delete").want(200, "/account/addresses", "rita@example.com is removed.").lacks("<bdi class=\"row-name\">rita")
	b.get(second+"/delete").submit(second+"/delete").want(409, second+"/delete", "The last address of an account cannot be removed.")
}

// action is the first form of a page for something below a path.
func (p webPage) action(t *testing.T, below string) string {
	t.Helper()
	for _, f := range p.all(elements("form")) {
		if strings.HasPrefix(attrValue(f, "action"), below) {
			return attrValue(f, "action")
		}
	}
	t.Fatalf("%s has no form for something below %s", p.path, below)
	return ""
}

func TestPortalNotices(t *testing.T) {
	w := newPortalWorld(t)
	b := w.as(w.person("rita"))
	p := b.get("/account")
	before := p.form("/account/notices")
	if before.Get("enabled") != "yes" || before.Get("reminders") != "yes" {
		t.Errorf("at first: %v", before)
	}
	p.submit("/account/notices", "enabled", "no", "csrf", "x").want(403, "/account/notices")
	p = p.send("/account/notices", map[string][]string{"reminders": nil, "own_actions": {"yes"}}).want(200, "/account", "Saved.")
	after := p.form("/account/notices")
	if after.Get("enabled") != "yes" || after.Get("reminders") != "" || after.Get("own_actions") != "yes" || after.Get("invitations") != "yes" {
		t.Errorf("saved: %v", after)
	}
}

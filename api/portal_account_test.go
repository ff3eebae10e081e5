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
	w.browser().get("/login").submit("/login", "login", rita.email, "password", "four words nobody knows").want(200, "/shared-with-me")
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
	mallory.open("POST", "/account/sessions", form).want(404, "/account/sessions", "This session has ended already.")
	elsewhere.get("/account").want(200, "/account")
	p.submit("/account/sessions", "session", theirs, "csrf", "x").want(403, "/account/sessions")
	p.submit("/account/sessions", "session", theirs).want(200, "/account", "Logged out there.")
	elsewhere.get("/account").want(200, "/login?next=%2Faccount")
	p.submit("/account/sessions", "session", "others").want(200, "/account").lacks("Log out everywhere else")
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
	if len(codes) != 7 {
		t.Fatalf("%d texts: %q", len(codes), codes)
	}
	name, secret := codes[0], codes[1]
	address := "rtsp://" + name + ":" + secret + "@example.com:8554/" + v.device + "/1"
	camera := strings.ReplaceAll(v.device, "-", "_") + "_1"
	want := []string{
		address, "ffplay -rtsp_transport tcp '" + address + "'", "streams:\n  " + camera + ": " + address,
		"cameras:\n  " + camera + ":\n    ffmpeg:\n      inputs:\n        - path: " + address + "\n          input_args: preset-rtsp-restream\n          roles:\n            - detect\n            - record",
		address,
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

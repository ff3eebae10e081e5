package api

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

var portalPage = regexp.MustCompile(`p\.(?:open|private)\("GET ([^"]+)"`)

// TestPortalEveryPageInEveryLanguage walks all pages in each language, and in the one for
// tests, in which all words of the catalogue are marked: what the browser of these tests
// holds against a page holds for each.
func TestPortalEveryPageInEveryLanguage(t *testing.T) {
	source, err := os.ReadFile("portal/portal.go")
	if err != nil {
		t.Fatal(err)
	}
	routes := http.NewServeMux()
	missing := map[string]bool{}
	for _, m := range portalPage.FindAllStringSubmatch(string(source), -1) {
		routes.HandleFunc("GET "+m[1], func(http.ResponseWriter, *http.Request) {})
		missing["GET "+m[1]] = true
	}
	if len(missing) < 8 {
		t.Fatalf("%d pages", len(missing))
	}
	for _, tag := range []string{"en", "de", "en-XA"} {
		v := portalVillage(t)
		later := v.share(v.owner, v.stranger.email, grant(v.device, "live_view"))
		v.wantStatus(v.do("POST", "/api/v1/shares/"+later.ID+"/devices/"+v.device+"/dismiss", v.stranger.token, nil), 204)
		walk := func(b *browser, paths ...string) {
			t.Helper()
			b.cookies["latchkey-language"] = tag
			for _, path := range paths {
				p := b.get(path)
				if p.status >= 500 || p.header.Get("Content-Language") != tag {
					t.Errorf("%s: %d in %s", path, p.status, p.header.Get("Content-Language"))
				}
				if p.status == 200 && strings.HasPrefix(path, p.path) {
					_, pattern := routes.Handler(b.w.request("GET", path, "", nil))
					delete(missing, pattern)
				}
			}
		}
		b := v.browser()
		walk(b, "/login", "/setup", "/enter", "/register", "/reset", "/reset/code", "/invite", "/nowhere")
		b.get("/login").submit("/login", "login", "x@example.com", "password", "x")
		b.get("/register").submit("/register", "email", "x", "password", "x")
		walk(v.as(v.stranger), "/shared-with-me")
		walk(v.as(v.recipient), "/shared-with-me", "/account")
		v.accept()
		device := "/shared-with-me/" + v.id + "/" + v.device
		walk(v.as(v.recipient), "/live", "/live/"+v.device+"/1", "/shared-with-me", device, device+"/delete", "/account", "/nowhere")
		share := "/my-shares/" + v.id
		walk(v.as(v.owner), "/shared-with-me", "/account", "/my-shares", "/my-shares?query=bob", "/my-shares?query=x", "/my-shares/new", "/my-shares/new?device="+v.device, share, share+"/delete")
		walk(v.as(v.owner), "/setup/camera", "/setup/share", "/devices", "/devices/"+v.device, "/devices/"+v.device+"/delete", "/devices/"+v.device+"/transfer", "/devices/new", "/devices/new/addresses", "/devices/requests", "/my-shares/codes")
		walk(v.as(v.recipient), "/account/close", "/account/webhook")
		v.alarms.raise(t, v.owner.id, "alarm", 1)
		walk(v.as(v.owner), "/alarms", "/alarms?unseen=yes&day=2020-01-01", "/alarms/alarm", "/my-shares/access", "/my-shares/access?query=bob", "/devices/"+v.device+"/access", "/devices/"+v.device+"/access?query=x", "/devices/"+v.device+"/alarms")
		walk(v.as(v.stranger), "/alarms", "/alarms/alarm")
		walk(v.as(v.owner), "/playback/"+v.device+"/1")
		walk(v.as(v.recipient), "/account/keys", "/account/keys/x/delete")
		v.as(v.recipient).in(tag).get("/account/keys").submit("/account/keys", "label", "TV")
		walk(v.as(v.recipient), "/account/keys")
		walk(v.as(v.owner), "/live", "/live/"+v.device+"/1")
		walk(v.as(v.stranger), "/live", "/devices", "/my-shares", "/my-shares/new")
		for _, p := range v.unproven(t, tag) {
			delete(missing, "GET "+p)
		}
	}
	delete(missing, "GET /{$}") // leads elsewhere
	for page := range missing {
		t.Errorf("%s was not visited", page)
	}
}

// in makes a browser show pages in a language.
func (b *browser) in(tag string) *browser {
	b.cookies["latchkey-language"] = tag
	return b
}

// unproven walks the pages of somebody who has not proven an address.
func (v *village) unproven(t *testing.T, tag string) []string {
	t.Helper()
	b := newPortalWorld(t, verifies(t)).browser()
	b.cookies["latchkey-language"] = tag
	b.get("/register").submit("/register", "email", "rita@example.com", "password", password).want(200, "/register/code")
	b.get("/account/addresses").want(200, "/account/addresses")
	remove := b.get("/account/addresses").action(t, "/account/addresses/") + "/delete"
	b.get(remove).want(200, remove)
	return []string{"/register/code", "/account/addresses", "/account/addresses/{address}/delete"}
}

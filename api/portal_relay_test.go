package api

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// relay sends what a script of a page sends.
func (b *browser) relay(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	b.w.t.Helper()
	r := httptest.NewRequest(method, "http://latchkey.test"+path, strings.NewReader(body))
	r.Header.Set("Accept-Language", b.accept)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := httptest.NewRecorder()
	b.w.server.Handler().ServeHTTP(a, r)
	return a
}

func TestScriptsOfAPageUseItsSession(t *testing.T) {
	village := portalVillage(t)
	if a := village.as(person{}).relay(http.MethodGet, "/do/privileges", ""); a.Code != http.StatusUnauthorized {
		t.Errorf("without a session: %d, want 401", a.Code)
	}
	olga := village.as(village.owner)
	csrf := attrValue(olga.get("/devices").all(elements("html"))[0], "data-csrf")
	if csrf == "" {
		t.Fatal("the page has no token for its scripts")
	}
	if a := olga.relay(http.MethodGet, "/do/privileges", ""); a.Code != http.StatusOK {
		t.Errorf("the page's own: %d %s, want 200", a.Code, a.Body)
	}
	if a := olga.relay(http.MethodGet, "/do/accounts/me", ""); a.Code != http.StatusNotFound {
		t.Errorf("an operation that no script needs: %d, want 404", a.Code)
	}
	for name, headers := range map[string][]string{
		"another site":          {"Sec-Fetch-Site", "cross-site"},
		"another host":          {"Sec-Fetch-Site", "same-site"},
		"another origin":        {"Origin", "http://evil.test"},
		"no origin at all":      {"Origin", "null"},
		"a WebSocket of nobody": {"Upgrade", "websocket", "Connection", "Upgrade"},
	} {
		if a := olga.relay(http.MethodGet, "/do/privileges", "", headers...); a.Code != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", name, a.Code)
		}
	}
	const viewer = "/do/webrtc/unknown"
	for name, headers := range map[string][]string{
		"alone":                     nil,
		"that asks for a WebSocket": {"Upgrade", "websocket", "Connection", "Upgrade", "Origin", "http://latchkey.test"},
	} {
		if a := olga.relay(http.MethodDelete, viewer, "", headers...); a.Code != http.StatusForbidden {
			t.Errorf("a command without the page's token, %s: %d, want 403", name, a.Code)
		}
	}
	a := olga.relay(http.MethodDelete, viewer, "", "Latchkey-CSRF", csrf)
	if a.Code == http.StatusForbidden {
		t.Errorf("a command with the page's token: %d", a.Code)
	}
}

// Whoever is on the way to a browser can answer for http://latchkey.test, and browsers that
// take that for the same site send the cookie of https://latchkey.test with its WebSockets.
func TestAPageWithoutTLSUsesNoSessionOfHTTPS(t *testing.T) {
	village := portalVillage(t)
	olga := village.as(village.owner)
	for origin, want := range map[string]int{"https://latchkey.test": http.StatusOK, "http://latchkey.test": http.StatusForbidden} {
		for name, headers := range map[string][]string{"TLS here": nil, "TLS at a proxy": {"X-Forwarded-Proto", "https"}} {
			r := httptest.NewRequest(http.MethodGet, "/do/privileges", nil)
			r.Host = "latchkey.test"
			if headers == nil {
				r.TLS = &tls.ConnectionState{}
			} else {
				r.Header.Set(headers[0], headers[1])
			}
			r.Header.Set("Origin", origin)
			r.AddCookie(&http.Cookie{Name: "__Host-latchkey-session", Value: olga.cookies["latchkey-session"]})
			a := httptest.NewRecorder()
			village.server.Handler().ServeHTTP(a, r)
			if a.Code != want {
				t.Errorf("%s, from %s: %d, want %d", name, origin, a.Code, want)
			}
		}
	}
}

// A refusal keeps its status where the API flushes what it has sent of a camera.
func TestARefusalOfACameraIsRelayedWhole(t *testing.T) {
	village := portalVillage(t)
	mallory := village.as(village.stranger)
	csrf := attrValue(mallory.get("/devices").all(elements("html"))[0], "data-csrf")
	a := mallory.relay(http.MethodPost, "/do/devices/"+village.device+"/channels/1/whep?stream=main", "v=0", "Content-Type", "application/sdp", "Latchkey-CSRF", csrf)
	if a.Code != http.StatusNotFound || !strings.Contains(a.Body.String(), `"device_not_found"`) {
		t.Errorf("%d %s, want 404 device_not_found", a.Code, a.Body)
	}
}

func TestRefusalsOfScriptsAreInTheLanguageOfThePage(t *testing.T) {
	w := newPortalWorld(t)
	b := w.browser()
	b.accept = "de"
	a := b.relay(http.MethodGet, "/do/privileges", "")
	if !strings.Contains(a.Body.String(), "Ihre Sitzung ist zu Ende") {
		t.Errorf("in German: %s", a.Body)
	}
	if kind := a.Header().Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("Content-Type %q", kind)
	}
}

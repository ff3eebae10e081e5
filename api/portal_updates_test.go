package api

import (
	"net/http"
	"strings"
	"testing"
)

// TestAScriptActsForTheSessionOfItsPage: a page that was left open while somebody else
// logged in, in another tab, reads and does nothing with their session.
func TestAScriptActsForTheSessionOfItsPage(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	mark := func() string {
		t.Helper()
		m := attrValue(b.get("/devices").all(elements("html"))[0], "data-session")
		if m == "" {
			t.Fatal("the page does not say which session it is of")
		}
		return m
	}
	first := mark()
	if mark() != first {
		t.Error("two pages of a session have different marks")
	}
	if a := b.relay(http.MethodGet, "/do/privileges", "", "Latchkey-Session", first); a.Code != http.StatusOK {
		t.Errorf("the page's own session: %d %s", a.Code, a.Body)
	}
	b.cookies["latchkey-session"] = v.recipient.token
	a := b.relay(http.MethodGet, "/do/privileges", "", "Latchkey-Session", first)
	if a.Code != http.StatusConflict || !strings.Contains(a.Body.String(), `"session_changed"`) {
		t.Errorf("the session of somebody else: %d %s, want 409", a.Code, a.Body)
	}
	if mark() == first {
		t.Error("two sessions have one mark")
	}
}

// TestAPageThatLooksAgainTakesNothing: what was said belongs to the page that comes after a
// command, not to another one that happens to look for changes.
func TestAPageThatLooksAgainTakesNothing(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	form := b.get("/devices/" + v.device).form("/devices/" + v.device)
	form.Set("name", "Gate")
	b.request(http.MethodPost, "/devices/"+v.device, form)
	b.headers = map[string]string{"Latchkey-Refresh": "0"}
	b.get("/devices").lacks("Saved.")
	b.headers = nil
	b.get("/devices").want(200, "/devices", "Saved.")
	b.headers = map[string]string{"Latchkey-Refresh": "nonsense"}
	b.get("/devices").want(200, "/devices", "Gate")
}

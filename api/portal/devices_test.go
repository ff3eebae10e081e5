package portal

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// answers is an API that knows these requests, and notes them.
func answers(asked *[]string, known map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.Path)
		body, ok := known[r.Method+" "+r.URL.Path]
		switch {
		case !ok:
			refuses(http.StatusNotFound, "not_found")(w, r)
		case body == "":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
}

// post sends a form as somebody who is logged in.
func post(p *Portal, path string, form url.Values) *httptest.ResponseRecorder {
	form.Set("csrf", csrf("token"))
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	r.AddCookie(&http.Cookie{Name: cookieSession, Value: "token"})
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func get(p *Portal, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", "text/html")
	r.AddCookie(&http.Cookie{Name: cookieSession, Value: "token"})
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// TestViewersAreListedAndEnded: by name, with what they see, and one alone is ended.
func TestViewersAreListedAndEnded(t *testing.T) {
	var asked []string
	p := newPortal(t, answers(&asked, map[string]string{
		"GET /api/v1/devices/cam": `{"id":"cam","device":"cam","serial":"cam","name":"Door","added_at":"2026-01-01T00:00:00Z","proven":true,
			"online":{"state":"online","since":"2026-01-01T00:00:00Z","reason":"wrong_password"},"channels":[{"channel":1,"name":"Lens","capabilities":["live_view"]}]}`,
		"GET /api/v1/devices/cam/viewers": `{"items":[
			{"id":"a/1","own":false,"channel":1,"name":"Rita <b>","recipient":{"email":"rita@example.com"},"privileges":["live_view"],"since":"2026-01-01T00:00:00Z","transport":"rtsp-tcp","address":"192.0.2.9"},
			{"id":"b","own":true,"channel":1,"privileges":["ptz"],"since":"2026-01-01T00:00:00Z","transport":"ptz"}]}`,
		"GET /api/v1/invitations":                `{"count":0,"items":[]}`,
		"DELETE /api/v1/devices/cam/viewers/a/1": "",
	}))
	page := get(p, "/devices/cam")
	for _, want := range []string{"Rita &lt;b&gt;", "192.0.2.9", "Lens", "Live View", "You", "It refuses the user name or the password.", `name="viewer" value="a/1"`} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if body := get(p, "/devices/cam/delete").Body.String(); !strings.Contains(body, "2 viewers are watching now and are cut off at once.") {
		t.Errorf("before it is removed: %s", body)
	}
	asked = nil
	ended := post(p, "/devices/cam/viewers", url.Values{"viewer": {"a/1"}, "sure": {"yes"}})
	if ended.Code != http.StatusSeeOther || ended.Header().Get("Location") != "/devices/cam" || !slices.Contains(asked, "DELETE /api/v1/devices/cam/viewers/a/1") {
		t.Errorf("%d %s, asked %v", ended.Code, ended.Header().Get("Location"), asked)
	}
	if gone := post(p, "/devices/cam/viewers", url.Values{"viewer": {"c"}, "sure": {"yes"}}); gone.Code != http.StatusNotFound {
		t.Errorf("a viewer that is gone: %d", gone.Code)
	}
}

// TestCertificateIsConfirmed: a certificate that nobody knows is shown, and is taken only
// after the owner says so.
func TestCertificateIsConfirmed(t *testing.T) {
	p := newPortal(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"count":0,"items":[]}`))
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"x","status":422,"code":"certificate_not_trusted","certificate_sha256":"abcd","request_id":"x"}`))
	})
	w := post(p, "/devices", url.Values{"name": {"Door"}, "rtsp_url": {"rtsps://192.0.2.1/"}, "password": {"hunter2"}})
	body := w.Body.String()
	if w.Code != 422 || !strings.Contains(body, `<input type="checkbox" name="certificate_sha256" value="abcd">`) || !strings.Contains(body, "<code>abcd</code>") || strings.Contains(body, "hunter2") {
		t.Errorf("%d %s", w.Code, body)
	}
}

// TestBeforeASharingEnds: whoever asks to end it is told who is watching by it now.
func TestBeforeASharingEnds(t *testing.T) {
	var asked []string
	p := newPortal(t, answers(&asked, map[string]string{
		"GET /api/v1/shares/s": `{"id":"s","share":"s","owner":"me","recipient":{"email":"rita@example.com"},"status":"live","in_force":true,
			"devices":[{"device":"cam","name":"Door","status":"accepted","in_force":true,"channels":[]}]}`,
		"GET /api/v1/accounts/me": `{"id":"me","account":"me","name":"Olga","quotas":[]}`,
		"GET /api/v1/devices/cam/viewers": `{"items":[
			{"id":"a","own":false,"share":"s","channel":1,"privileges":["live_view"],"since":"2026-01-01T00:00:00Z","transport":"rtsp-tcp"},
			{"id":"b","own":false,"share":"other","channel":1,"privileges":["live_view"],"since":"2026-01-01T00:00:00Z","transport":"rtsp-tcp"}]}`,
		"GET /api/v1/invitations": `{"count":0,"items":[]}`,
	}))
	body := get(p, "/my-shares/s/delete").Body.String()
	if !strings.Contains(body, "1 viewer is watching now and is cut off at once.") || !strings.Contains(body, "rita@example.com can no longer use any of these devices.") {
		t.Error(body)
	}
}

package portal

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

func newPortal(t testing.TB, api http.HandlerFunc) *Portal {
	t.Helper()
	p, err := New(Config{API: api, Logger: slog.New(slog.DiscardHandler), Pseudo: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func refuses(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": "x", "status": status, "code": code, "request_id": "x"})
	}
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// TestLanguagesSayTheSame: each has the same keys, and the same values in them.
func TestLanguagesSayTheSame(t *testing.T) {
	p := newPortal(t, refuses(500, "internal"))
	english, german := p.languages[0].words, p.languages[1].words
	for key := range maps.Keys(english) {
		if _, ok := german[key]; !ok {
			t.Errorf("German lacks %s", key)
		}
	}
	for key, text := range german {
		here, there := placeholder.FindAllString(text, -1), placeholder.FindAllString(english[key], -1)
		slices.Sort(here)
		slices.Sort(there)
		if _, ok := english[key]; !ok || !slices.Equal(here, there) {
			t.Errorf("%s has %v in German, %v in English", key, here, there)
		}
		if text == "" || strings.ContainsAny(text+english[key], "!<>") || strings.TrimSpace(text) != text {
			t.Errorf("%s: %q, %q", key, text, english[key])
		}
	}
}

var asked = regexp.MustCompile(`\b(t|n) "([a-z][a-zA-Z0-9_.]*)"|\b(t|n)\("([a-z][^"]*)"[,)]`)

// TestWordsAreThereAndAreUsed: what pages ask for is in the catalogue, and nothing else.
func TestWordsAreThereAndAreUsed(t *testing.T) {
	p := newPortal(t, refuses(500, "internal"))
	used := map[string]bool{}
	var all strings.Builder
	for _, pattern := range []string{"*.go", "templates/*.html", "static/*.js"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(raw)
			for _, m := range asked.FindAllStringSubmatch(string(raw), -1) {
				kind, key := m[1]+m[3], m[2]+m[4]
				used[key], used[key+".one"], used[key+".other"] = kind == "t", kind == "n", kind == "n"
				if kind == "t" && !p.languages[0].has(key) || kind == "n" && (!p.languages[0].has(key+".one") || !p.languages[0].has(key+".other")) {
					t.Errorf("%s asks for %s", file, key)
				}
			}
		}
	}
	text := all.String()
	for key := range p.languages[0].words {
		area, last, _ := strings.Cut(key, ".")
		made := area == "reason" || area == "problem" || area == "said" && strings.Contains(text, `"`+last+`"`)
		for i, c := range key { // what is put together, of a beginning and something else
			if begin := key[:i]; c == '.' && (strings.Contains(text, `"`+begin+`."`) || strings.Contains(text, `"`+begin+`.%s"`) || strings.Contains(text, "`"+begin+".${")) {
				made = true
			}
			if begin := strings.TrimPrefix(key[:i], "said."); c == '.' && area == "said" && strings.Contains(text, `"`+begin+`."`) {
				made = true
			}
		}
		if !made && !used[key] {
			t.Errorf("nothing asks for %s", key)
		}
	}
}

// TestEveryRefusalHasWords: each code of the API is said in words.
func TestEveryRefusalHasWords(t *testing.T) {
	p := newPortal(t, refuses(500, "internal"))
	spec, err := openapi3.NewLoader().LoadFromFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, response := range spec.Components.Responses {
		codes, _ := response.Value.Extensions["x-codes"].([]any)
		for _, code := range codes {
			seen++
			if code != "unauthenticated" && !p.languages[0].has("problem."+code.(string)) {
				t.Errorf("%s: %s has no words", name, code)
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d codes", seen)
	}
}

func TestLocal(t *testing.T) {
	for path, want := range map[string]string{
		"/account": "/account", "/my-shares/a?cursor=%2Fx": "/my-shares/a?cursor=%2Fx", "/": "/",
		"": "-", "account": "-", "//evil.example": "-", "/\\evil.example": "-", "https://evil.example/": "-", "/%2Fevil.example/": "-",
		"javascript:alert(1)": "-", "/\tevil": "-", "/a\r\nSet-Cookie: x=y": "-", "/" + strings.Repeat("x", 2000): "-",
	} {
		if got := local(path, "-"); got != want {
			t.Errorf("%q leads to %q; want %q", path, got, want)
		}
	}
}

// TestPosition: what was written is seen by the next page, whichever process makes it.
func TestPosition(t *testing.T) {
	var asked []string
	p := newPortal(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Latchkey-Min-Position")+" "+r.RemoteAddr+" "+r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("Authorization"))
		if r.Method == http.MethodPut {
			w.Header().Set("Latchkey-Position", "47")
			w.WriteHeader(204)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"a","account":"a","name":"A","quotas":[],"count":0,"items":[]}`))
	})
	r := httptest.NewRequest("POST", "/account", strings.NewReader(url.Values{"csrf": {csrf("token")}, "name": {"A"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", "203.0.113.5")
	r.AddCookie(&http.Cookie{Name: cookieSession, Value: "token"})
	r.AddCookie(&http.Cookie{Name: cookiePosition, Value: "11"})
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	from := " 192.0.2.1:1234 203.0.113.5 Bearer token"
	if want := "GET /api/v1/accounts/me 11" + from; asked[0] != want {
		t.Errorf("asked %q; want %q", asked[0], want)
	}
	if want := "PUT /api/v1/accounts/me " + from; asked[len(asked)-1] != want {
		t.Errorf("asked %q at last; want %q", asked, want)
	}
	found := slices.ContainsFunc(w.Result().Cookies(), func(c *http.Cookie) bool {
		return c.Name == cookiePosition && c.Value == "47" && c.MaxAge == positionFor
	})
	if w.Code != 303 || !found {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// TestTwoCookiesOfOneName: one of them was put there by somebody else.
func TestTwoCookiesOfOneName(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieSession, Value: "a"})
	if proven(r, cookieSession) != "a" {
		t.Error("one is not read")
	}
	r.AddCookie(&http.Cookie{Name: cookieSession, Value: "b"})
	if got := proven(r, cookieSession); got != "" {
		t.Errorf("%q of two", got)
	}
}

func TestTimesAreInTheZoneOfTheBrowser(t *testing.T) {
	p := newPortal(t, refuses(500, "internal"))
	at := time.Date(2026, 7, 1, 22, 30, 0, 0, time.UTC)
	for zone, want := range map[string]string{
		"Europe%2FBerlin": "2 Jul 2026, 00:30", "": "1 Jul 2026, 22:30 UTC", "nowhere": "1 Jul 2026, 22:30 UTC", "..%2F..%2Fetc%2Fpasswd": "1 Jul 2026, 22:30 UTC", "Local": "1 Jul 2026, 22:30 UTC",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: cookieZone, Value: zone})
		if got := p.visit(httptest.NewRecorder(), r).at(at); got.Text != want || got.ISO != "2026-07-01T22:30:00Z" {
			t.Errorf("%s: %+v; want %s", zone, got, want)
		}
	}
}

func TestIsolated(t *testing.T) {
	for text, want := range map[string]string{"a": "a", "שלום": "\u2068שלום\u2069", "é\u202e\u2069": "é", "aא\u2069b": "\u2068aאb\u2069"} {
		if got := isolated(text); got != want {
			t.Errorf("%q is %q; want %q", text, got, want)
		}
	}
}

// TestRefusalsHavePages: each status of the API has its page.
func TestRefusalsHavePages(t *testing.T) {
	for code, status := range map[string]int{"share_not_found": 404, "disk_full": 503, "a_code_of_tomorrow": 422, "internal": 500} {
		p := newPortal(t, refuses(status, code))
		r := httptest.NewRequest("GET", "/account", nil)
		r.Header.Set("Accept", "text/html")
		r.AddCookie(&http.Cookie{Name: cookieSession, Value: "token"})
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != status || !strings.Contains(w.Body.String(), "<h1>That did not work</h1>") {
			t.Errorf("%s: %d %s", code, w.Code, w.Body)
		}
	}
}

// formAPI has the lists that forms are made of, and refuses everything else.
func formAPI(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		refuses(422, "invalid_body")(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"id":"a","account":"a","owner":"a","name":"A","serial":"a","count":0,"items":[],"presets":[],"quotas":[],"devices":[],"channels":[],"online":{"state":"online"}}`))
}

// FuzzForms: whatever a browser sends, a page comes back, and no fault of ours.
func FuzzForms(f *testing.F) {
	f.Add("/login", "login=a&password=b", "latchkey-said=e30", "")
	f.Add("/register", "kind=phone&country=DE&phone=0151&password=b", "latchkey-zone=Europe%2FBerlin", "token")
	f.Add("/account", "name=%ff&user_name=%00&language=xx&key=a%20b", "latchkey-position=99999999999999999999", "token")
	f.Add("/preferences", "language=de&theme=dark&back=//x", "latchkey-reset=!", "token")
	f.Add("/my-shares/new", "email=a@b&device=x&grant=x/1/live_view&grant=x//&grant=x/99999999999999999999/ptz&had=x/1&span0-day=mon&span0-start=1&zone=..%2F&until=2099-01-01T00%3A00&last_days=-1", "", "token")
	f.Add("/account/keys", "label=x&expires=2099-01-01T00:00:61", "latchkey-zone=Etc%2FGMT%2B14", "token")
	p := newPortal(f, formAPI)
	f.Fuzz(func(t *testing.T, path, form, cookie, token string) {
		u, err := url.Parse(path)
		if err != nil || !strings.HasPrefix(path, "/") || u.Host != "" {
			t.Skip()
		}
		secret := "x"
		if token == "token" {
			secret = token
		}
		r := httptest.NewRequest("POST", "/", strings.NewReader(form+"&csrf="+csrf(secret)))
		r.URL = u
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Cookie", cookie)
		r.AddCookie(&http.Cookie{Name: cookieVisitor, Value: "x"})
		if token == "token" {
			r.AddCookie(&http.Cookie{Name: cookieSession, Value: token})
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		if to := w.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.Contains(to, "://") {
			t.Errorf("sent to %s", to)
		}
	})
}

// TestNoSuchPage: what does not exist is not found, by whatever method and without a token.
func TestNoSuchPage(t *testing.T) {
	p := newPortal(t, refuses(500, "internal"))
	for _, method := range []string{"GET", "POST"} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(method, "/ISAPI/System/reboot", nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// TestLargeFormsNeedASession: a cookie that is no session's does not have a large form read.
func TestLargeFormsNeedASession(t *testing.T) {
	p := newPortal(t, refuses(401, "unauthenticated"))
	for _, length := range []int64{-1, maxForm + 1} {
		body := strings.NewReader("csrf=" + csrf("made-up") + "&remark=" + strings.Repeat("x", maxForm))
		before := body.Len()
		r := httptest.NewRequest("POST", "/my-shares/new", body)
		r.ContentLength = length
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: cookieSession, Value: "made-up"})
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login" || body.Len() != before {
			t.Errorf("%d bytes announced: %d to %q, %d bytes read", length, w.Code, w.Header().Get("Location"), before-body.Len())
		}
	}
}

// TestNoSuchPageWithoutItsSession: a session that has ended leads to the log-in from a page
// that does not exist, too, and is not logged as a fault.
func TestNoSuchPageWithoutItsSession(t *testing.T) {
	var log strings.Builder
	p, err := New(Config{API: refuses(401, "unauthenticated"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/nothing", nil)
	r.Header.Set("Accept", "text/html")
	r.AddCookie(&http.Cookie{Name: cookieSession, Value: "ended"})
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/login?next=%2Fnothing" || log.Len() > 0 {
		t.Errorf("%d to %q, logged: %s", w.Code, to, log.String())
	}
}

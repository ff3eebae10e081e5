package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzHandler sends whatever it likes to every operation: the server never
// fails, and what it answers is what the specification says.
func FuzzHandler(f *testing.F) {
	alarms := newMemoryAlarms(f)
	v := newVillage(f, func(c *Config) { c.NetworkBurst, c.LoginBurst, c.Alarms = 1<<30, 1<<30, alarms })
	var operations []string
	for key, op := range v.server.operations {
		if !op.streams { // there is no end to read to
			operations = append(operations, key)
		}
	}
	slices.Sort(operations)

	for i := range operations {
		f.Add(uint8(i), v.id, v.device, `"4"`, "4", "limit=1&cursor=1", `{}`)
	}
	for _, body := range []string{
		`{"recipient":{"email":"bob@example.com"},"devices":[{"device":"cam-0004","channels":[{"channel":1,"privileges":["ptz"]}]}]}`,
		`{"name":"New","serial":"DS-1","channels":[{"channel":511,"capabilities":[]}]}`,
		`{"channels":[{"channel":1e0,"privileges":[]}]}`, `{"domain":""}`, `{"label":"x","expires_at":"2026-02-30T00:00:00Z"}`,
		`{"email":"\u0000","password":"x"}`, `{"login":"@","password":"\ud800"}`, `[`, `null`, "\xff",
	} {
		for i := range operations {
			f.Add(uint8(i), "a/../b", "%2e%2e", "W/", "99999999999999999999", "limit=%zz&&cursor=", body)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, one, two, tag, number, query, body string) {
		method, path, _ := strings.Cut(operations[int(which)%len(operations)], " ")
		path = strings.NewReplacer(":share", url.PathEscape(one), ":device", url.PathEscape(two), ":name", url.PathEscape(one), ":key", url.PathEscape(one), ":alarm", url.PathEscape(one)).Replace(path)
		u, err := url.Parse(path)
		if err != nil {
			return
		}
		u.RawQuery = query
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL = u
		r.Header = http.Header{
			"Content-Type": {"application/json"}, "Authorization": {"Bearer " + v.owner.token},
			"If-Match": {tag}, "If-None-Match": {tag}, "Idempotency-Key": {number}, "Latchkey-Min-Position": {number},
		}
		if number == "" {
			r.Header.Del("Idempotency-Key")
			r.Header.Del("Latchkey-Min-Position")
		}
		if path == "/api/v1/sessions/current" {
			r.Header.Del("Authorization") // the session is needed for the next
		}
		if path == "/api/v1/events" {
			return // it does not end by itself, and has tests of its own
		}
		recorder := httptest.NewRecorder()
		v.server.Handler().ServeHTTP(recorder, r)
		if recorder.Code >= 500 || recorder.Code < 200 {
			t.Fatalf("%s %s?%s with %q: %d %s", method, path, query, body, recorder.Code, recorder.Body)
		}
		w := *v.world
		w.t = t
		w.holdAgainstSpecification(r, answer{Response: recorder.Result(), body: recorder.Body.Bytes()})
	})
}

// FuzzBearer: what is taken for a token is one visible word.
func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"Bearer abc", "bearer  a", "Basic x", "Bearer a b", "Bearer \x00", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := bearer([]string{header})
		if ok && (token == "" || len(token) > maxToken || strings.ContainsAny(token, " \t\r\n\x00") || !strings.HasSuffix(header, token)) {
			t.Errorf("bearer(%q) = %q", header, token)
		}
		if !ok && token != "" {
			t.Errorf("bearer(%q) refuses and answers %q", header, token)
		}
	})
}

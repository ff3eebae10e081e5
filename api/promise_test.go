package api

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/api/internal/rest"
)

// sameAnswer compares two answers less what names the request.
func sameAnswer(t *testing.T, a, b answer) {
	t.Helper()
	for _, name := range []string{"ETag", "Location", "Latchkey-Position"} {
		if a.Header.Get(name) != b.Header.Get(name) {
			t.Errorf("%s is %q, then %q", name, a.Header.Get(name), b.Header.Get(name))
		}
	}
	if a.StatusCode != b.StatusCode || !bytes.Equal(a.body, b.body) {
		t.Errorf("answered\n%d %s, then\n%d %s", a.StatusCode, a.body, b.StatusCode, b.body)
	}
}

func TestARepeatIsAnsweredAsBefore(t *testing.T) {
	v := newVillage(t)
	extend := map[string]any{"recipient": map[string]any{"email": "carol@example.com"}, "devices": []any{grant(v.spare, "live_view")}}
	for name, c := range map[string]struct {
		method, path string
		token        string
		body         any
	}{
		"share":      {"POST", "/api/v1/shares", v.owner.token, extend},
		"device":     {"POST", "/api/v1/devices", v.owner.token, map[string]any{"name": "Third", "rtsp_url": "rtsp://192.0.2.12/1"}},
		"stream key": {"POST", "/api/v1/stream-keys", v.owner.token, map[string]any{"label": "TV"}},
		"accept":     {"POST", v.path("/devices/", v.device, "/accept"), v.recipient.token, nil},
		"account":    {"POST", "/api/v1/accounts", "", map[string]any{"email": "dora@example.com", "password": password}},
	} {
		t.Run(name, func(t *testing.T) {
			key := "key-" + strings.ReplaceAll(name, " ", "-")
			first := v.do(c.method, c.path, c.token, c.body, "Idempotency-Key", key)
			if first.StatusCode >= 400 {
				t.Fatalf("%d %s", first.StatusCode, first.body)
			}
			sameAnswer(t, first, v.do(c.method, c.path, c.token, c.body, "Idempotency-Key", key))
		})
	}
}

func TestAKeyOfAnotherRequest(t *testing.T) {
	v := newVillage(t)
	path := v.path("/devices/", v.device)
	v.wantStatus(v.do("PUT", path, v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`, "Idempotency-Key", "k"), 200)
	p := v.wantProblem(v.do("PUT", path, v.owner.token, `{"channels":[{"channel":1,"privileges":["alarm"]}]}`, "Idempotency-Key", "k"), 422, "idempotency_key_reused")
	if want := "The Idempotency-Key was used for another request."; p.Detail != want {
		t.Errorf("the detail is %q, want %q", p.Detail, want)
	}
}

func TestRevisions(t *testing.T) {
	v := newVillage(t)
	a := v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200)
	tag := a.Header.Get("ETag")
	for header, want := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"999"`: 200} {
		b := v.wantStatus(v.do("GET", v.path(), v.owner.token, nil, "If-None-Match", header), want)
		if b.Header.Get("ETag") != tag || want == 304 && len(b.body) > 0 {
			t.Errorf("If-None-Match %s: ETag %s, body %s", header, b.Header.Get("ETag"), b.body)
		}
	}
	body := `{"channels":[{"channel":1,"privileges":["ptz"]}]}`
	device := v.path("/devices/", v.device)
	for _, header := range []string{`"999"`, "W/" + tag, `"0x1"`} {
		v.wantStatus(v.do("PUT", device, v.owner.token, body, "If-Match", header), 412)
		v.wantStatus(v.do("DELETE", device, v.owner.token, nil, "If-Match", header), 412)
		v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil, "If-Match", header), 412)
		v.wantStatus(v.do("PUT", v.path(), v.owner.token, `{"remark":"","devices":[]}`, "If-Match", header), 412)
	}
	b := v.wantStatus(v.do("PUT", device, v.owner.token, body, "If-Match", tag), 200)
	if b.Header.Get("ETag") == tag {
		t.Error("the revision did not change")
	}
	if c := v.do("GET", v.path(), v.owner.token, nil); c.Header.Get("ETag") != b.Header.Get("ETag") {
		t.Errorf("the command answers %s, the query %s", b.Header.Get("ETag"), c.Header.Get("ETag"))
	}
	v.wantProblem(v.do("DELETE", v.path(), v.owner.token, nil, "If-Match", tag), 412, "revision_changed")
	v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil, "If-Match", "*"), 204)
}

// TestOneTagOneBody: two answers of one address with one strong tag are the same
// byte for byte, whoever asks and whether a command or a query answers.
func TestOneTagOneBody(t *testing.T) {
	v := newVillage(t)
	bodies := map[string]string{}
	note := func(a answer) {
		t.Helper()
		v.wantStatus(a, 200)
		tag := a.Header.Get("ETag")
		if there, ok := bodies[tag]; ok && there != string(a.body) {
			t.Errorf("the tag %s is of\n%s and of\n%s", tag, there, a.body)
		}
		bodies[tag] = string(a.body)
	}
	read := func() {
		t.Helper()
		for _, who := range []person{v.owner, v.recipient} {
			note(v.do("GET", v.path(), who.token, nil))
		}
	}
	read()
	note(v.do("POST", v.path("/devices/", v.device, "/accept"), v.recipient.token, nil))
	read()
	note(v.do("PUT", v.path("/devices/", v.device, "/domain"), v.recipient.token, `{"domain":"door"}`))
	read()
	note(v.do("PUT", v.path("/devices/", v.spare), v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`))
	read()
	note(v.do("PUT", v.path(), v.owner.token, `{"remark":"Other","devices":[]}`))
	read()
	v.vault.forget("login-" + v.vault.LoginHash("email", v.recipient.email))
	read()
	if len(bodies) < 10 {
		t.Errorf("only %d tags were seen", len(bodies))
	}
}

// TestConditionsAreHeldOrRefused: no command leaves a condition out.
func TestConditionsAreHeldOrRefused(t *testing.T) {
	v := newVillage(t)
	for _, path := range []string{v.path("/devices/", v.device, "/accept"), v.path("/devices/", v.device, "/reject")} {
		v.wantProblem(v.do("POST", path, v.recipient.token, nil, "If-Match", `"999-0123456789abcdef"`), 412, "revision_changed")
	}
	fill := strings.NewReplacer(":share", v.id, ":device", v.device, ":name", "k")
	for key, op := range v.server.operations {
		method, path, _ := strings.Cut(key, " ")
		if method == "GET" {
			continue
		}
		for _, header := range []string{"If-Match", "If-None-Match"} {
			for _, tag := range []string{"*", `"4-0123456789abcdef"`} {
				if op.params.GetByInAndName("header", header) != nil {
					continue
				}
				a := v.do(method, fill.Replace(path), v.owner.token, `{}`, header, tag)
				if p := v.wantProblem(a, 412, "no_revision"); p.Errors[header] == "" {
					t.Errorf("%s: %s is not named", key, header)
				}
			}
		}
	}
}

// TestNothingIsGivenTwiceUnknownOrEmpty: a parameter is one that the operation
// has, once, with a value.
func TestNothingIsGivenTwiceUnknownOrEmpty(t *testing.T) {
	v := newVillage(t)
	for query, name := range map[string]string{
		"limit=1&limit=2": "limit", "offset=1": "offset", "Limit=1": "Limit", "cursor=": "cursor", "limit=": "limit", "limit": "limit", "expand=x&limit=1": "expand",
	} {
		p := v.wantProblem(v.do("GET", "/api/v1/devices?"+query, v.owner.token, nil), 400, "invalid_parameter")
		if len(p.Errors) != 1 || p.Errors[name] == "" {
			t.Errorf("%s: %v", query, p.Errors)
		}
	}
	v.wantProblem(v.do("GET", "/api/v1/devices?limit=1;x=2", v.owner.token, nil), 400, "invalid_parameter")
	v.wantProblem(v.do("DELETE", "/api/v1/devices/x?force=true", v.owner.token, nil), 400, "invalid_parameter")
	v.wantProblem(v.do("POST", "/api/v1/sessions?login=a", "", `{"login":"a","password":"b"}`), 400, "invalid_parameter")
	v.wantStatus(v.do("GET", "/healthz?verbose", "", nil), 200)
	for _, name := range []string{"If-Match", "Idempotency-Key"} {
		p := v.wantProblem(v.do("DELETE", v.path(), v.owner.token, nil, name, ""), 400, "invalid_header")
		if p.Errors[name] == "" {
			t.Errorf("%s: %v", name, p.Errors)
		}
	}
	v.wantProblem(v.do("GET", v.path(), v.owner.token, nil, "Latchkey-Min-Position", " "), 400, "invalid_header")
}

// TestAbsentAndEmptyAreNotTheSame: where leaving a field out means every device,
// every channel or no end, no empty value means it.
func TestAbsentAndEmptyAreNotTheSame(t *testing.T) {
	v := newVillage(t)
	for _, c := range []struct{ method, path, body, field, code string }{
		{"POST", "/api/v1/stream-keys", `{"expires_at":"0001-01-01T00:00:00Z"}`, "/expires_at", "invalid_expiry"},
		{"POST", "/api/v1/stream-keys", `{"expires_at":"0001-01-01T02:00:00+02:00"}`, "/expires_at", "invalid_expiry"},
		{"POST", "/api/v1/stream-keys", `{"expires_at":"1970-01-01T00:00:00Z"}`, "/expires_at", "invalid_expiry"},
		{"POST", "/api/v1/stream-keys", `{"expires_at":""}`, "/expires_at", "invalid_body"},
		{"POST", "/api/v1/stream-keys", `{"expires_at":null}`, "/expires_at", "invalid_body"},
		{"POST", "/api/v1/stream-keys", `{"device":""}`, "/device", "invalid_body"},
		{"POST", "/api/v1/stream-keys", `{"device":null}`, "/device", "invalid_body"},
		{"POST", "/api/v1/stream-keys", `{"label":null}`, "/label", "invalid_body"},
		{"POST", "/api/v1/devices", `{"name":"x","serial":""}`, "/serial", "invalid_body"},
		{"POST", "/api/v1/devices", `{"name":"x","channels":[]}`, "/channels", "invalid_body"},
		{"POST", "/api/v1/devices", `{"name":"x","channels":null}`, "/channels", "invalid_body"},
		{"POST", "/api/v1/devices", `{"name":"x","channels":[{"channel":0}]}`, "/channels/0/channel", "invalid_body"},
		{"POST", "/api/v1/devices", `{"name":"x","channels":[{"channel":1,"capabilities":null}]}`, "/channels/0/capabilities", "invalid_body"},
		{"POST", "/api/v1/devices", `{"name":"x","rtsp_url":""}`, "/rtsp_url", "invalid_body"},
		{"PUT", v.path("/devices/", v.device), `{"channels":[]}`, "/channels", "no_channels"},
		{"PUT", v.path("/devices/", v.device), `{"channels":[{"channel":0,"privileges":[]}]}`, "/channels/0/channel", "invalid_body"},
		{"PUT", v.path("/devices/", v.device), `{"channels":[{"channel":1,"privileges":null}]}`, "/channels/0/privileges", "invalid_body"},
		{"PUT", v.path("/devices/", v.device), `{"device":"","channels":[{"channel":1,"privileges":[]}]}`, "/device", "invalid_body"},
		{"PUT", v.path(), `{"remark":"x"}`, "/devices", "invalid_body"},
		{"PUT", v.path(), `{"remark":"x","devices":null}`, "/devices", "invalid_body"},
		{"POST", "/api/v1/shares", `{"recipient":{"email":"x@example.com"},"devices":null}`, "/devices", "invalid_body"},
		{"POST", "/api/v1/shares", `{"recipient":{"email":""}}`, "/recipient/email", "invalid_body"},
	} {
		p := v.wantProblem(v.do(c.method, c.path, v.owner.token, c.body), 422, c.code)
		if len(p.Errors) != 1 || p.Errors[c.field] == "" {
			t.Errorf("%s: %v, want %s", c.body, p.Errors, c.field)
		}
	}
	var list rest.StreamKeyList
	v.do("GET", "/api/v1/stream-keys", v.owner.token, nil).decode(t, &list)
	if len(list.Items) != 0 {
		t.Errorf("keys were made: %+v", list.Items)
	}
}

// TestPeopleReadSentences: what is told of a field is a sentence, without
// quotations of the request and without regular expressions.
func TestPeopleReadSentences(t *testing.T) {
	v := newVillage(t)
	for _, c := range []struct{ method, path, body, field, want string }{
		{"POST", "/api/v1/accounts", `{"email":"a\u200b@b.c","password":"correct horse battery"}`, "/email", "It holds an invisible character (U+200B): type it instead of pasting it."},
		{"POST", "/api/v1/accounts", `{"phone":"8618969190000","password":"correct horse battery"}`, "/phone", "It has no country code that can be told for certain: write the number like +8618969190000, with + and the country code."},
		{"POST", "/api/v1/accounts", `{"email":"a@b.c","password":"1234567"}`, "/password", "It is shorter than 8 characters."},
		{"POST", "/api/v1/accounts", `{"email":"a@b.c"}`, "/password", "It is required."},
		{"POST", "/api/v1/accounts", `{"password":"correct horse battery"}`, "/email", "Exactly one of email and phone is required."},
		{"POST", "/api/v1/accounts", `{"email":1,"password":"x"}`, "/email", "It must be text."},
		{"POST", "/api/v1/stream-keys", `{"expires_at":"2027-02-30T00:00:00Z"}`, "/expires_at", "It is not a time such as 2026-12-31T00:00:00Z."},
		{"POST", "/api/v1/stream-keys", `{"expires_at":"tomorrow"}`, "/expires_at", "It is not a time such as 2026-12-31T00:00:00Z."},
		{"POST", "/api/v1/stream-keys", `{"expires_at":"2020-01-01T00:00:00Z"}`, "/expires_at", "A stream key must expire in the future."},
		{"POST", "/api/v1/stream-keys", `{"admin":true}`, "/admin", "It is not a field of this request."},
		{"POST", "/api/v1/devices", `{"name":"x","channels":[{"channel":512,"capabilities":["root","root"]}]}`, "/channels/0/channel", "It must be at most 511."},
		{"PUT", v.path("/devices/", v.device), `{"channels":[{"channel":1,"privileges":["root"]}]}`, "/channels/0/privileges/0", "It must be one of live_view, playback, alarm, two_way_audio, ptz."},
		{"PUT", v.path("/devices/", v.device), `{"channels":[{"channel":1,"privileges":["ptz","ptz"]}]}`, "/channels/0/privileges", "It has an entry twice."},
		{"GET", "/api/v1/devices?cursor=%20", "", "cursor", "It must be the next of a page of this list."},
		{"GET", "/api/v1/devices?limit=x", "", "limit", "It must be a whole number."},
		{"GET", "/api/v1/devices?limit=201", "", "limit", "It must be at most 200."},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		a := v.do(c.method, c.path, v.owner.token, body)
		if got := a.problem(t).Errors[c.field]; got != c.want {
			t.Errorf("%s %s %s: %q, want %q", c.method, c.path, c.body, got, c.want)
		}
	}
}

func TestHeadersThatAreNone(t *testing.T) {
	v := newVillage(t)
	for _, c := range [][]string{
		{"GET", "/api/v1/devices", "Latchkey-Min-Position", "-1"},
		{"GET", "/api/v1/devices", "Latchkey-Min-Position", "1e3"},
		{"GET", "/api/v1/devices", "Latchkey-Min-Position", "99999999999999999999"},
		{"GET", v.path(), "If-None-Match", "4"},
		{"DELETE", v.path(), "If-Match", "4"},
		{"DELETE", v.path(), "If-Match", `"4", "5"`},
		{"DELETE", v.path(), "Idempotency-Key", "a b"},
		{"DELETE", v.path(), "Idempotency-Key", strings.Repeat("k", 256)},
		{"DELETE", v.path(), "Idempotency-Key", "schlüssel"},
	} {
		p := v.wantProblem(v.do(c[0], c[1], v.owner.token, nil, c[2], c[3]), 400, "invalid_header")
		if p.Errors[c[2]] == "" {
			t.Errorf("%s: %s: the header is not named: %v", c[2], c[3], p.Errors)
		}
	}
	r := v.request("DELETE", v.path(), v.owner.token, nil)
	r.Header["If-Match"] = []string{`"4"`, `"5"`}
	v.wantProblem(v.send(r), 400, "invalid_header")
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "limit=1.5", "cursor=%20", "cursor=%00", "cursor=" + strings.Repeat("c", 1025)} {
		v.wantProblem(v.do("GET", "/api/v1/devices?"+query, v.owner.token, nil), 400, "invalid_parameter")
	}
	for _, query := range []string{"alarms?device=%00", "alarms?device=a%00b", "alarms?device=%ff", "shares/form?device=%00", "privileges/check?device=a%00&channel=1&privilege=live_view"} {
		p := v.wantProblem(v.do("GET", "/api/v1/"+query, v.owner.token, nil), 400, "invalid_parameter")
		if p.Errors["device"] == "" {
			t.Errorf("%s: the parameter is not named: %v", query, p.Errors)
		}
	}
	v.wantProblem(v.do("GET", "/api/v1/devices?cursor=nonsense", v.owner.token, nil), 400, "invalid_cursor")
	for _, path := range []string{"/api/v1/shares/%00", "/api/v1/devices/%ff", "/api/v1/shares/" + strings.Repeat("s", 129), "/api/v1/devices/a%20b"} {
		v.wantProblem(v.do("GET", path, v.owner.token, nil), 404, "not_found")
	}
}

func TestCommandsWaitForTheFence(t *testing.T) {
	v := newVillage(t)
	a := v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil), 204)
	if asked := v.fence.asked(); asked[len(asked)-1] != a.Header.Get("Latchkey-Position") {
		t.Errorf("answered position %s, waited for %v", a.Header.Get("Latchkey-Position"), asked)
	}
}

func TestACommandThatIsNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.fence.set(true)
		start := time.Now()
		a := v.do("DELETE", v.path(), v.owner.token, nil, "Idempotency-Key", "k")
		v.wantProblem(a, 503, "not_confirmed")
		if took := time.Since(start); took != confirmWithin {
			t.Errorf("answered after %v, want %v", took, confirmWithin)
		}
		position := a.Header.Get("Latchkey-Position")
		if position == "" || a.Header.Get("Retry-After") == "" {
			t.Errorf("headers: %v", a.Header)
		}
		v.fence.set(false)
		b := v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil, "Idempotency-Key", "k"), 204)
		if b.Header.Get("Latchkey-Position") != position {
			t.Errorf("the repeat is at %s, the command at %s", b.Header.Get("Latchkey-Position"), position)
		}
		if received := v.shares(v.recipient, "received"); len(received) != 0 {
			t.Errorf("received: %+v", received)
		}
	})
}

func TestReadsSeeWhatWasAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		a := v.do("PUT", v.path(), v.owner.token, `{"remark":"","devices":[]}`)
		v.shares(v.recipient, "received")
		want := a.Header.Get("Latchkey-Position")
		if asked := v.progress.asked(); asked[len(asked)-1] != want {
			t.Errorf("the read waited for %v, want %s", asked, want)
		}
		v.progress.set(true)
		v.wantProblem(v.do("GET", "/api/v1/shares/received", v.recipient.token, nil), 503, "projection_behind")
	})
}

func TestReadsWaitForTheirLeastPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		routes := []string{"/devices", "/devices/" + v.device, "/shares/sent", "/shares/received", "/shares/history", "/shares/uses?shares=" + v.id, "/shares/" + v.id, "/stream-keys", "/privileges"}
		for _, route := range routes {
			v.wantStatus(v.do("GET", "/api/v1"+route, v.owner.token, nil, "Latchkey-Min-Position", "4711"), 200)
			if asked := v.progress.asked(); !slices.ContainsFunc(asked, func(s string) bool { return s == "4711" }) {
				t.Errorf("%s did not wait: %v", route, asked)
			}
		}
		v.progress.set(true)
		for _, route := range routes {
			start := time.Now()
			a := v.do("GET", "/api/v1"+route, v.owner.token, nil, "Latchkey-Min-Position", "4711")
			v.wantProblem(a, 503, "projection_behind")
			if took := time.Since(start); took != behindAfter || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: after %v, Retry-After %q", route, took, a.Header.Get("Retry-After"))
			}
		}
	})
}

func TestUnknownLoginAndWrongPasswordAreAlike(t *testing.T) {
	w := newWorld(t)
	w.person("alice")
	ask := func(login string) (problemDocument, int) {
		before := w.vault.checks()
		a := w.do("POST", "/api/v1/sessions", "", rest.Credentials{Login: login, Password: "wrong"})
		p := w.wantProblem(a, 401, "invalid_credentials")
		p.RequestID = ""
		return p, w.vault.checks() - before
	}
	wrong, work := ask("alice@example.com")
	for _, login := range []string{"nobody@example.com", "+4915112345678", "@", "no address", "\x00", strings.Repeat("a", 254)} {
		unknown, unknownWork := ask(login)
		if unknown.Detail != wrong.Detail || unknown.Code != wrong.Code || work != 1 || unknownWork != work {
			t.Errorf("%q: %+v with %d checks, a wrong password %+v with %d", login, unknown, unknownWork, wrong, work)
		}
	}
}

func TestLoggingOut(t *testing.T) {
	w := newWorld(t)
	p := w.person("alice")
	w.wantStatus(w.do("GET", "/api/v1/devices", p.token, nil), 200)
	w.wantStatus(w.do("DELETE", "/api/v1/sessions/current", p.token, nil), 204)
	w.wantProblem(w.do("GET", "/api/v1/devices", p.token, nil), 401, "unauthenticated")
}

func TestAttemptsAreLimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LoginBurst, c.NetworkBurst = 3, 12 })
	alice := w.person("alice") // two attempts of the network
	w.person("bob")
	attempt := func(login, password string) answer {
		return w.do("POST", "/api/v1/sessions", "", rest.Credentials{Login: login, Password: password})
	}
	for range 3 {
		w.wantProblem(attempt(alice.email, "wrong"), 401, "invalid_credentials")
	}
	a := attempt(" ALICE@example.com", password)
	w.wantProblem(a, 429, "rate_limited")
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || seconds != 30 {
		t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	w.wantStatus(attempt("bob@example.com", password), 201)
	w.clock.advance(30 * time.Second)
	w.wantStatus(attempt(alice.email, password), 201)
	w.wantProblem(attempt(alice.email, "wrong"), 401, "invalid_credentials") // the success gave her attempts back

	for range 12 {
		attempt("nobody@example.com", "wrong")
	}
	w.wantProblem(attempt("bob@example.com", password), 429, "rate_limited")
	w.wantProblem(w.do("POST", "/api/v1/accounts", "", rest.Registration{Email: "carol@example.com", Password: password}), 429, "rate_limited")
	w.clock.advance(time.Second)
	w.wantStatus(attempt("bob@example.com", password), 201)
}

func TestTheLogHoldsNoSecretAndNoAddress(t *testing.T) {
	v := newVillage(t)
	v.accept()
	var key rest.StreamKeySecret
	v.wantStatus(v.do("POST", "/api/v1/stream-keys", v.recipient.token, map[string]any{"label": "Living room"}), 201).decode(t, &key)
	v.do("GET", "/api/v1/devices?limit=1&cursor=hunter2", v.owner.token, nil)
	v.do("GET", "/nowhere/hunter2?token="+v.owner.token, "", nil)
	v.do("POST", "/api/v1/sessions", "", `{"login":"alice@example.com","password":"hunter2"`)
	v.vault.fail = errors.New("the vault is away")
	v.do("POST", "/api/v1/sessions", "", rest.Credentials{Login: "alice@example.com", Password: "hunter2"})

	log := v.logged.String()
	for _, secret := range []string{"alice@", "bob@", "mallory@", password, "hunter2", v.owner.token, v.recipient.token, key.Secret, "192.0.2.", "rtsp://", "neighbour", "Front door", "Living room", "cursor="} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	for _, want := range []string{"route=/api/v1/shares/:share/devices/:device/accept", "account=" + v.recipient.id, "status=400", "the vault is away"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

func TestWhatWasErasedIsEmpty(t *testing.T) {
	v := newVillage(t)
	v.vault.forget("login-" + v.vault.LoginHash("email", v.recipient.email))
	sent := v.shares(v.owner, "sent")
	if len(sent) != 1 || sent[0].Recipient != (rest.ShareRecipient{}) || sent[0].Devices[0].Name != "Front door" {
		t.Errorf("sent: %+v", sent)
	}
}

// TestTextWithoutItsKeyIsUnreadable: one text that cannot be read does not take
// the rest of a list with it.
func TestTextWithoutItsKeyIsUnreadable(t *testing.T) {
	v := newVillage(t)
	v.vault.lose("login-" + v.vault.LoginHash("email", v.recipient.email))
	sent := v.shares(v.owner, "sent")
	if len(sent) != 1 || sent[0].Recipient != (rest.ShareRecipient{Unreadable: true}) || !sent[0].Unreadable || sent[0].Devices[0].Name != "Front door" || sent[0].Devices[0].Unreadable {
		t.Errorf("sent, without the recipient's key: %+v", sent)
	}
	v.vault.lose(v.owner.id)
	if sent = v.shares(v.owner, "sent"); sent[0].Devices[0].Name != "" || !sent[0].Devices[0].Unreadable {
		t.Errorf("sent, without the owner's key: %+v", sent[0].Devices[0])
	}
	received := v.shares(v.recipient, "received")
	if len(received) != 1 || !received[0].From.Unreadable || received[0].From.Name != "" || !received[0].Recipient.Unreadable {
		t.Errorf("received: %+v", received)
	}
	a := v.do("GET", "/api/v1/devices", v.owner.token, nil)
	if a.StatusCode != 200 || !strings.Contains(string(a.body), `"unreadable":true`) {
		t.Errorf("devices: %d %s", a.StatusCode, a.body)
	}
}

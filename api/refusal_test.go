package api

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// TestRefusals reaches each refusal of the use cases over HTTP.
func TestRefusals(t *testing.T) {
	share := func(email string, devices ...any) map[string]any {
		return map[string]any{"recipient": map[string]any{"email": email}, "devices": devices}
	}
	channels := func(list ...any) map[string]any { return map[string]any{"channels": list} }
	channel := func(number int, privileges ...string) map[string]any {
		return map[string]any{"channel": number, "privileges": append([]string{}, privileges...)}
	}
	v := newVillage(t)
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, map[string]any{
		"name": "Recorder", "serial": "DS-7216-691B23",
		"channels": []any{map[string]any{"channel": 1, "rtsp_url": "rtsp://192.0.2.20/1", "capabilities": []string{"live_view"}}},
	}), 201)
	v.wantStatus(v.do("PUT", v.path("/devices/", v.spare), v.owner.token, channels(channel(1, "live_view"))), 200)
	v.accept()
	v.wantStatus(v.do("PUT", v.path("/devices/", v.device, "/domain"), v.recipient.token, `{"domain":"door"}`), 200)
	v.wantStatus(v.do("POST", v.path("/devices/", v.spare, "/accept"), v.recipient.token, nil), 200)
	rejected := v.camera(v.owner, "Cellar")
	v.wantStatus(v.do("PUT", v.path("/devices/", rejected), v.owner.token, channels(channel(1))), 200)
	v.wantStatus(v.do("POST", v.path("/devices/", rejected, "/reject"), v.recipient.token, nil), 200)

	for _, c := range []struct {
		code, method, path, token string
		body                      any
		status                    int
	}{
		{"login_taken", "POST", "/api/v1/accounts", "", map[string]any{"email": " Alice@Example.com ", "password": password}, 409},
		{"invalid_body", "POST", "/api/v1/accounts", "", map[string]any{"password": password}, 422},
		{"invalid_body", "POST", "/api/v1/accounts", "", map[string]any{"email": "e@example.com", "phone": "+4915112345678", "password": password}, 422},
		{"invalid_body", "POST", "/api/v1/accounts", "", map[string]any{"email": "nobody", "password": password}, 422},
		{"invalid_body", "POST", "/api/v1/accounts", "", map[string]any{"email": "e@example.com", "password": "short"}, 422},
		{"device_taken", "POST", "/api/v1/devices", v.stranger.token, map[string]any{"name": "Mine", "serial": "ds-7216-691b23", "rtsp_url": "rtsp://192.0.2.20/1"}, 409},
		{"invalid_body", "POST", "/api/v1/devices", v.owner.token, map[string]any{"name": "Web", "rtsp_url": "http://192.0.2.20/1"}, 422},
		{"own_login", "POST", "/api/v1/shares", v.owner.token, share("alice@example.com", grant(v.device, "live_view")), 422},
		{"device_not_found", "POST", "/api/v1/shares", v.owner.token, share("carol@example.com", grant("cam-aaaaaaaaaa", "live_view")), 404},
		{"device_not_found", "POST", "/api/v1/shares", v.stranger.token, share("carol@example.com", grant(v.device, "live_view")), 404},
		{"device_twice", "POST", "/api/v1/shares", v.owner.token, share("carol@example.com", grant(v.device, "ptz"), grant(v.device, "ptz")), 422},
		{"already_shared", "POST", "/api/v1/shares", v.owner.token, share(v.recipient.email, grant(v.device, "ptz")), 409},
		{"unknown_channel", "PUT", v.path("/devices/", v.device), v.owner.token, channels(channel(2, "live_view")), 422},
		{"channel_twice", "PUT", v.path("/devices/", v.device), v.owner.token, channels(channel(1), channel(1)), 422},
		{"beyond_capability", "PUT", v.path("/devices/ds-7216-691b23"), v.owner.token, channels(channel(1, "ptz")), 422},
		{"invalid_body", "PUT", v.path("/devices/", v.device), v.owner.token, channels(channel(1, "root")), 422},
		{"invalid_body", "PUT", v.path("/devices/", v.device), v.owner.token, channels(channel(1, "ptz", "ptz")), 422},
		{"invalid_body", "PUT", v.path("/devices/", v.device), v.owner.token, channels(channel(512)), 422},
		{"device_not_in_share", "DELETE", v.path("/devices/ds-7216-691b23"), v.owner.token, nil, 404},
		{"device_not_in_share", "POST", v.path("/devices/ds-7216-691b23/accept"), v.recipient.token, nil, 404},
		{"not_invited", "POST", v.path("/devices/", rejected, "/accept"), v.recipient.token, nil, 409},
		{"not_accepted", "PUT", v.path("/devices/", rejected, "/domain"), v.recipient.token, `{"domain":"cellar"}`, 409},
		{"invalid_domain", "PUT", v.path("/devices/", v.spare, "/domain"), v.recipient.token, `{"domain":"No Domain"}`, 422},
		{"domain_taken", "PUT", v.path("/devices/", v.spare, "/domain"), v.recipient.token, `{"domain":"door"}`, 409},
		{"invalid_expiry", "POST", "/api/v1/stream-keys", v.owner.token, `{"expires_at":"2020-01-01T00:00:00Z"}`, 422},
		{"stream_key_not_found", "DELETE", "/api/v1/stream-keys/knothing", v.owner.token, nil, 404},
	} {
		t.Run(c.code, func(t *testing.T) {
			w := *v.world
			w.t = t
			p := w.wantProblem(w.do(c.method, c.path, c.token, c.body), c.status, c.code)
			if p.Detail == "" || c.code == "invalid_body" && len(p.Errors) == 0 {
				t.Errorf("the problem does not say what is wrong: %+v", p)
			}
		})
	}
}

func TestWhenTheLogIsAway(t *testing.T) {
	v := newVillage(t)
	v.log.breakWith(errors.New("dial unix /run/node.sock: refused"))
	for _, a := range []answer{
		v.do("DELETE", v.path(), v.owner.token, nil),
		v.do("POST", "/api/v1/sessions", "", map[string]any{"login": v.owner.email, "password": password}),
	} {
		v.wantProblem(a, 503, "unavailable")
		if a.Header.Get("Retry-After") == "" {
			t.Error("the answer does not say when to try again")
		}
	}
}

// TestEveryKindHasItsStatus: a kind that this package does not know is a fault
// of the server, never a yes.
func TestEveryKindHasItsStatus(t *testing.T) {
	for kind, want := range map[app.Kind]int{
		app.Invalid: 422, app.Unauthenticated: 401, app.Forbidden: 403, app.NotFound: 404,
		app.Conflict: 409, app.Precondition: 412, app.Unavailable: 503, 0: 500, 99: 500,
	} {
		if p := translate(&app.Error{Kind: kind, Code: "code"}, nobody); p.status != want {
			t.Errorf("kind %d is answered %d, want %d", kind, p.status, want)
		}
	}
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		if p := translate(err, nobody); p.status != 503 {
			t.Errorf("%v is answered %d", err, p.status)
		}
	}
	if p := translate(errors.New("secret"), nobody); p.status != 500 || p.detail == "secret" {
		t.Errorf("an unknown error is answered %d %s", p.status, p.detail)
	}
}

func nobody(error) bool { return false }

// TestFieldsAreNamedAsInTheRequest: what a use case says of a field is told under the
// name that the field has in a request.
func TestFieldsAreNamedAsInTheRequest(t *testing.T) {
	for field, want := range map[app.Field]string{
		"email": "/email", "recipient.phone": "/recipient/phone", "expires": "/expires_at", "rtsp_url": "/rtsp_url",
		"channels[0].main_url": "/channels/0/rtsp_url", "channels[10].sub_url": "/channels/10/sub_rtsp_url", "channels[2].channel": "/channels/2/channel",
		"devices": "/devices", "devices[1].device": "/devices/1/device", "devices[2].channels[0].privileges": "/devices/2/channels/0/privileges",
		app.FieldIdempotencyKey: "Idempotency-Key",
	} {
		p := translate(&app.Error{Kind: app.Invalid, Code: "code", Fields: map[app.Field]string{field: "is wrong"}}, nobody)
		if len(p.fields) != 1 || p.fields[want] != "is wrong" {
			t.Errorf("%s is told as %v, want %s", field, p.fields, want)
		}
	}
}

// TestADatabaseThatIsAway: whichever port finds the database locked or away, the
// answer is 503 and says when to try again.
func TestADatabaseThatIsAway(t *testing.T) {
	errLocked := errors.New("database is locked")
	v := newVillage(t, func(c *Config) { c.Away = func(err error) bool { return errors.Is(err, errLocked) } })
	v.vault.fail = fmt.Errorf("reading: %w", errLocked)
	for _, a := range []answer{
		v.do("GET", "/api/v1/devices", v.owner.token, nil),
		v.do("POST", "/api/v1/sessions", "", rest.Credentials{Login: v.owner.email, Password: password}),
		v.do("DELETE", v.path(), v.owner.token, nil),
	} {
		v.wantProblem(a, 503, "database_unavailable")
		if a.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
		}
	}
	away := func(err error) bool { return errors.Is(err, errLocked) }
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"a query":      {fmt.Errorf("listing: %w", errLocked), "database_unavailable"},
		"a command":    {&app.Error{Kind: app.Unavailable, Code: "unavailable", Cause: fmt.Errorf("sealing: %w", errLocked)}, "database_unavailable"},
		"the log":      {&app.Error{Kind: app.Unavailable, Code: "unavailable", Cause: errors.New("no leader")}, "unavailable"},
		"a slow log":   {&app.Error{Kind: app.Unavailable, Code: "unavailable", Cause: errors.Join(errLocked, context.DeadlineExceeded)}, "unavailable"},
		"others":       {&app.Error{Kind: app.Unavailable, Code: "busy"}, "busy"},
		"not the away": {&app.Error{Kind: app.Conflict, Code: "login_taken", Cause: errLocked}, "login_taken"},
	} {
		if p := translate(c.err, away); p.code != c.code {
			t.Errorf("%s: %s, want %s", name, p.code, c.code)
		}
	}
}

// TestAClientThatWentAway: what fails because nobody waits for it any more is no
// fault of the server, and is counted apart.
func TestAClientThatWentAway(t *testing.T) {
	v := newVillage(t)
	v.vault.fail = errors.New("interrupted")
	r := v.request("GET", "/api/v1/devices", v.owner.token, nil)
	ctx, leave := context.WithCancel(r.Context())
	leave()
	recorder := httptest.NewRecorder()
	v.server.Handler().ServeHTTP(recorder, r.WithContext(ctx))
	if recorder.Code != statusClientGone || recorder.Body.Len() > 0 {
		t.Errorf("%d %s", recorder.Code, recorder.Body)
	}
	if log := v.logged.String(); strings.Contains(log, "request failed") || strings.Contains(log, "interrupted") {
		t.Errorf("the log of an operator holds it:\n%s", log)
	}
	metrics := string(v.asOperator("/metrics").body)
	if want := `latchkey_http_requests_total{method="GET",route="/api/v1/devices",status="client_gone"} 1`; !strings.Contains(metrics, want) {
		t.Errorf("/metrics lacks %s", want)
	}
}

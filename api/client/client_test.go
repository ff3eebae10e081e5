package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/api/client"
)

// TestTheReadmeCompiles: the README has the function of this package as it is.
func TestTheReadmeCompiles(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, function, _ := strings.Cut(string(source), ")\n\nfunc ")
	if want := "```go\nfunc " + function + "```\n"; !strings.Contains(string(readme), want) {
		t.Errorf("the README does not have\n%s", want)
	}
}

// TestWhatIsSent: a client carries its session, knows what it has written, and returns
// refusals as errors with their fields.
func TestWhatIsSent(t *testing.T) {
	var seen []http.Header
	var shared client.NewShare
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header)
		w.Header().Set("Content-Type", "application/json")
		switch r.Method + " " + r.URL.RequestURI() {
		case "POST /api/v1/sessions":
			w.WriteHeader(201)
			_, _ = w.Write([]byte(`{"token":"t","account":"a","expires_at":"2026-01-01T00:00:00Z"}`))
		case "POST /api/v1/shares":
			if err := json.NewDecoder(r.Body).Decode(&shared); err != nil {
				t.Error(err)
			}
			w.Header().Set("Latchkey-Position", "7")
			w.WriteHeader(201)
			_, _ = w.Write([]byte(`{"id":"s"}`))
		case "GET /api/v1/devices":
			_, _ = w.Write([]byte(`{"items":[]}`))
		case "GET /api/v1/devices?cursor=x&limit=3":
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(429)
			_, _ = w.Write([]byte(`{"status":429,"code":"rate_limited","detail":"Later.","errors":{"cursor":"No."},"request_id":"q"}`))
		default:
			t.Errorf("%s %s", r.Method, r.URL)
		}
	}))
	defer server.Close()
	if err := shareLiveView(t.Context(), server.URL, "olga", "p", "cam", "rita@example.com"); err != nil {
		t.Fatal(err)
	}
	if seen[0].Get("Authorization") != "" || seen[1].Get("Authorization") != "Bearer t" || seen[1].Get("Idempotency-Key") == "" || shared.Devices[0].Device != "cam" {
		t.Errorf("sent %v, %+v", seen, shared)
	}
	service, err := client.New(server.URL+"/", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	me := service.As("t")
	me.See(7)
	me.See(5)
	if _, err := me.ListDevicesWithResponse(t.Context(), &client.ListDevicesParams{}); err != nil {
		t.Fatal(err)
	}
	if last := seen[len(seen)-1]; last.Get("Latchkey-Min-Position") != "7" || service.Position() != 7 {
		t.Errorf("the position: %v, %d", last, service.Position())
	}
	_, err = me.ListDevicesWithResponse(t.Context(), &client.ListDevicesParams{Limit: 3, Cursor: "x"})
	refused, ok := errors.AsType[*client.Error](err)
	if !ok || !client.HasCode(err, "rate_limited") || refused.Errors["cursor"] != "No." || refused.RetryAfter != 2*time.Second || refused.Status != 429 {
		t.Errorf("the refusal: %+v", err)
	}
	var list client.DeviceList
	if err := me.Call(t.Context(), "GET", "/devices", nil, &list); err != nil {
		t.Error(err)
	}
}

package texthook

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/internal/outbox"
)

const secret = "a secret of both sides"

func TestSend(t *testing.T) {
	status := http.StatusNoContent
	var got body
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if want := Sign([]byte(secret), time.Unix(1700000000, 0), raw); r.Header.Get(SignatureHeader) != want || r.Method != "POST" {
			t.Errorf("%s signed %q; want %q", r.Method, r.Header.Get(SignatureHeader), want)
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Error(err)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	h, err := New(server.URL+"/hook?token=hidden", secret)
	if err != nil {
		t.Fatal(err)
	}
	h.now = func() time.Time { return time.Unix(1700000000, 0) }
	for _, sc := range []struct {
		status      int
		ok, refused bool
	}{{204, true, false}, {200, true, false}, {302, false, false}, {400, false, true}, {401, false, false}, {404, false, true}, {422, false, true}, {429, false, false}, {500, false, false}} {
		status = sc.status
		err := h.Send(t.Context(), outbox.Message{ID: "0a1b", To: "+491701234567", Text: "code"}, nil)
		if (err == nil) != sc.ok || errors.Is(err, outbox.ErrRefused) != sc.refused {
			t.Errorf("status %d: %v", sc.status, err)
		}
	}
	if want := (body{"0a1b", "+491701234567", "code"}); got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
	server.Close()
	if err := h.Send(t.Context(), outbox.Message{}, nil); err == nil || strings.Contains(err.Error(), "hidden") || errors.Is(err, outbox.ErrRefused) {
		t.Errorf("a hook that is away: %v", err)
	}
}

func TestNew(t *testing.T) {
	for address, key := range map[string]string{"ftp://h": secret, "https://": secret, "https://h": "short", "": secret} {
		if _, err := New(address, key); err == nil {
			t.Errorf("New(%q, %q)", address, key)
		}
	}
}

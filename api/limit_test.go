package api

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc": "abc"} {
		if got, ok := bearer([]string{header}); !ok || got != want {
			t.Errorf("bearer(%q) = %q, %v; want %q", header, got, ok, want)
		}
	}
	for _, headers := range [][]string{nil, {""}, {"Bearer"}, {"Bearer "}, {"Basic abc"}, {"Bearer a b"}, {"Bearer a\x00"}, {"Bearer a", "Bearer a"}, {"Bearerabc"}} {
		if got, ok := bearer(headers); ok {
			t.Errorf("bearer(%q) = %q, want none", headers, got)
		}
	}
}

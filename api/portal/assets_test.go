package portal

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"testing"
)

// TestAssetsArePacked: a browser gets what it says that it takes, and both are the same.
func TestAssetsArePacked(t *testing.T) {
	p := newPortal(t, refuses(401, "unauthenticated"))
	path, err := p.assets.path("portal.css")
	if err != nil {
		t.Fatal(err)
	}
	get := func(accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		if accept != "" {
			r.Header.Set("Accept-Encoding", accept)
		}
		a := httptest.NewRecorder()
		p.ServeHTTP(a, r)
		if a.Code != 200 || a.Header().Get("Vary") != "Accept-Encoding" || a.Header().Get("Content-Type") != "text/css; charset=utf-8" {
			t.Errorf("%q: %d %v", accept, a.Code, a.Header())
		}
		return a
	}
	plain := p.assets.files["portal.css"]
	for _, accept := range []string{"", "br", "identity", "gzip;q=0", "xgzip"} {
		if a := get(accept); a.Header().Get("Content-Encoding") != "" || !bytes.Equal(a.Body.Bytes(), plain) {
			t.Errorf("%q: it is packed", accept)
		}
	}
	for _, accept := range []string{"gzip", "gzip, deflate, br, zstd", "br,gzip"} {
		a := get(accept)
		r, err := gzip.NewReader(a.Body)
		if err != nil || a.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%q: %v", accept, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%q: %d bytes, %v", accept, len(got), err)
		}
	}
}

package push_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"latchkey/internal/push"
	"latchkey/internal/webhook"
)

// browser is a browser's side of RFC 8291.
type browser struct {
	key  *ecdh.PrivateKey
	auth []byte
}

func newBrowser(t *testing.T) browser {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth := make([]byte, 16)
	_, _ = rand.Read(auth)
	return browser{key, auth}
}

func (b browser) at(endpoint string) push.Browser {
	encode := base64.RawURLEncoding.EncodeToString
	return push.Browser{Endpoint: endpoint, P256DH: encode(b.key.PublicKey().Bytes()), Auth: encode(b.auth)}
}

// open decrypts a message of one record (RFC 8188).
func (b browser) open(t *testing.T, body []byte) string {
	t.Helper()
	salt, n := body[:16], int(body[20])
	raw, sealed := body[21:21+n], body[21+n:]
	server, err := ecdh.P256().NewPublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := b.key.ECDH(server)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		out, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	ikm := derive(shared, b.auth, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(raw), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), sealed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimRight(string(plain), "\x00"), "\x02")
}

func TestABrowserReadsWhatItIsSent(t *testing.T) {
	b, status := newBrowser(t), http.StatusCreated
	var got, authorization string
	size := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("TTL") != "60" || r.Header.Get("Content-Encoding") != "aes128gcm" {
			t.Errorf("%v, %v", err, r.Header)
		}
		got, authorization, size = b.open(t, body), r.Header.Get("Authorization"), len(body)
		w.WriteHeader(status)
	}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	c := push.New(push.Config{
		Hooks:   webhook.New(webhook.Config{Allow: func(netip.Addr) error { return nil }, Roots: roots}),
		Contact: "https://example.com",
		Key: func(context.Context) (string, string, error) {
			return encode(private.Bytes()), encode(private.PublicKey().Bytes()), nil
		},
	})
	for answer, want := range map[int]push.Outcome{201: push.Delivered, 404: push.Gone, 410: push.Gone, 429: push.Failed, 503: push.Failed, 413: push.Refused, 302: push.Refused} {
		status = answer
		outcome, err := c.Send(t.Context(), b.at(s.URL+"/x"), []byte(`{"type":"alarm"}`), time.Minute)
		if err != nil || outcome != want || got != `{"type":"alarm"}` || !strings.HasPrefix(authorization, "vapid t=") || size > 600 {
			t.Errorf("%d: %s, %v, %q, %q", answer, outcome, err, got, authorization)
		}
	}
	if outcome, err := c.Send(t.Context(), push.Browser{Endpoint: s.URL, P256DH: "x", Auth: "y"}, nil, 0); err != nil || outcome != push.Refused {
		t.Errorf("useless keys: %s, %v", outcome, err)
	}
	s.Close()
	if outcome, err := c.Send(t.Context(), b.at(s.URL), nil, 0); err != nil || outcome != push.Failed {
		t.Errorf("nobody there: %s, %v", outcome, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if outcome, err := c.Send(ended, b.at(s.URL), nil, 0); err == nil {
		t.Errorf("after its end: %s", outcome)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	c := push.New(push.Config{Hooks: webhook.New(webhook.Config{Allow: func(a netip.Addr) error {
		if a.IsLoopback() {
			return io.EOF
		}
		return nil
	}})})
	good := newBrowser(t).at("https://push.example/abc")
	for field, b := range map[string]push.Browser{
		"":         good,
		"endpoint": {Endpoint: "http://push.example/abc", P256DH: good.P256DH, Auth: good.Auth},
		"p256dh":   {Endpoint: good.Endpoint, P256DH: strings.Repeat("A", 87), Auth: good.Auth},
		"auth":     {Endpoint: good.Endpoint, P256DH: good.P256DH, Auth: "AAAA"},
	} {
		if got, why := c.Check(b); got != field || (why == "") != (field == "") {
			t.Errorf("%q: %q, %q", field, got, why)
		}
	}
	for _, endpoint := range []string{"https://127.0.0.1/x", "https://user:secret@push.example/abc", "https://user@push.example/abc"} {
		if field, _ := c.Check(push.Browser{Endpoint: endpoint, P256DH: good.P256DH, Auth: good.Auth}); field != "endpoint" {
			t.Errorf("%s: %q", endpoint, field)
		}
	}
}

// Package acmetest is a certificate authority for tests, which speaks as much of ACME
// (RFC 8555) as a client needs. It checks challenges as a real one does, but looks for
// every name at the addresses that a test gives, and no signature of a request.
package acmetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Server is an authority with one account.
type Server struct {
	*httptest.Server
	challenge string
	key       crypto.Signer
	root      *x509.Certificate

	mu            sync.Mutex
	plain, secure string
	refuses       bool
	begin, end    time.Duration
	thumbprint    string
	names         []string // of orders
	proven        map[int]bool
	leaves        map[int][]byte
	made, asked   int
}

// New starts an authority that demands one kind of challenge.
func New(t testing.TB, challenge string) *Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A test's authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{challenge: challenge, key: key, begin: -time.Hour, end: 90 * 24 * time.Hour, proven: make(map[int]bool), leaves: make(map[int][]byte)}
	if s.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /directory", s.directory)
	mux.HandleFunc("/nonce", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /account", s.account)
	mux.HandleFunc("POST /order", s.newOrder)
	mux.HandleFunc("POST /order/{n}", func(w http.ResponseWriter, r *http.Request) { s.order(w, number(r)) })
	mux.HandleFunc("POST /authorization/{n}", func(w http.ResponseWriter, r *http.Request) { s.authorization(w, number(r)) })
	mux.HandleFunc("POST /challenge/{n}", s.check)
	mux.HandleFunc("POST /finalize/{n}", s.finalize)
	mux.HandleFunc("POST /certificate/{n}", s.certificate)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		w.Header().Set("Replay-Nonce", rand.Text())
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// Directory returns the URL at which a client begins.
func (s *Server) Directory() string { return s.URL + "/directory" }

// Root returns the certificate that signs.
func (s *Server) Root() *x509.Certificate { return s.root }

// At sets the addresses, of plain HTTP and of TLS, at which every name is looked for.
func (s *Server) At(plain, secure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain, s.secure = plain, secure
}

// Lasts sets the life of certificates, from now.
func (s *Server) Lasts(begin, end time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin, s.end = begin, end
}

// Refuse makes it refuse every order.
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = true
}

// Made returns how many certificates it has made.
func (s *Server) Made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// Asked returns how many requests there were.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Server) directory(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, map[string]string{"newNonce": s.URL + "/nonce", "newAccount": s.URL + "/account", "newOrder": s.URL + "/order", "revokeCert": s.URL + "/revoke", "keyChange": s.URL + "/key"})
}

func (s *Server) account(w http.ResponseWriter, r *http.Request) {
	var key struct {
		JWK struct {
			Crv string `json:"crv"`
			Kty string `json:"kty"`
			X   string `json:"x"`
			Y   string `json:"y"`
		} `json:"jwk"`
	}
	read(r, &key, nil)
	canonical, _ := json.Marshal(key.JWK) // the fields are in their order (RFC 7638)
	sum := sha256.Sum256(canonical)
	s.thumbprint = base64.RawURLEncoding.EncodeToString(sum[:])
	w.Header().Set("Location", s.URL+"/account/1")
	answer(w, 201, map[string]string{"status": "valid"})
}

func (s *Server) newOrder(w http.ResponseWriter, r *http.Request) {
	if s.refuses {
		answer(w, 403, map[string]string{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not for you"})
		return
	}
	var order struct{ Identifiers []struct{ Value string } }
	read(r, nil, &order)
	s.names = append(s.names, order.Identifiers[0].Value)
	n := len(s.names) - 1
	w.Header().Set("Location", fmt.Sprintf("%s/order/%d", s.URL, n))
	w.WriteHeader(201)
	s.order(w, n)
}

func (s *Server) order(w http.ResponseWriter, n int) {
	status, at := "pending", func(what string) string { return fmt.Sprintf("%s/%s/%d", s.URL, what, n) }
	order := map[string]any{"identifiers": []any{map[string]string{"type": "dns", "value": s.names[n]}}, "authorizations": []string{at("authorization")}, "finalize": at("finalize")}
	if s.proven[n] {
		status = "ready"
	}
	if s.leaves[n] != nil {
		status, order["certificate"] = "valid", at("certificate")
	}
	order["status"] = status
	_ = json.NewEncoder(w).Encode(order)
}

func (s *Server) authorization(w http.ResponseWriter, n int) {
	status := "pending"
	if s.proven[n] {
		status = "valid"
	}
	answer(w, 200, map[string]any{
		"status": status, "identifier": map[string]string{"type": "dns", "value": s.names[n]},
		"challenges": []any{map[string]string{"type": s.challenge, "url": fmt.Sprintf("%s/challenge/%d", s.URL, n), "token": token(n), "status": status}},
	})
}

func token(n int) string { return fmt.Sprintf("token-%d", n) }

// check does what a real authority does when the client is ready for it.
func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	n := number(r)
	prove := s.proveTLS
	if s.challenge == "http-01" {
		prove = s.proveHTTP
	}
	if err := prove(s.names[n], token(n), token(n)+"."+s.thumbprint); err != nil {
		answer(w, 400, map[string]string{"type": "urn:ietf:params:acme:error:unauthorized", "detail": err.Error()})
		return
	}
	s.proven[n] = true
	answer(w, 200, map[string]string{"type": s.challenge, "url": fmt.Sprintf("%s/challenge/%d", s.URL, n), "token": token(n), "status": "valid"})
}

func (s *Server) proveHTTP(name, token, want string) error {
	r, err := http.NewRequest("GET", "http://"+s.plain+"/.well-known/acme-challenge/"+token, nil)
	if err != nil {
		return err
	}
	r.Host = name
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != 200 || string(got) != want) {
		err = fmt.Errorf("%d %q is not %q", res.StatusCode, got, want)
	}
	return err
}

// idPeACME is the extension of RFC 8737, 3.
var idPeACME = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

func (s *Server) proveTLS(name, _, want string) error {
	conn, err := tls.Dial("tcp", s.secure, &tls.Config{ServerName: name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	state := conn.ConnectionState()
	sum := sha256.Sum256([]byte(want))
	value, _ := asn1.Marshal(sum[:])
	for _, e := range state.PeerCertificates[0].Extensions {
		if e.Id.Equal(idPeACME) && e.Critical && string(e.Value) == string(value) && state.NegotiatedProtocol == "acme-tls/1" {
			return state.PeerCertificates[0].VerifyHostname(name)
		}
	}
	return fmt.Errorf("the certificate of %s does not prove it", name)
}

func (s *Server) finalize(w http.ResponseWriter, r *http.Request) {
	n := number(r)
	var order struct{ CSR string }
	read(r, nil, &order)
	der, _ := base64.RawURLEncoding.DecodeString(order.CSR)
	request, err := x509.ParseCertificateRequest(der)
	if err != nil || !s.proven[n] || len(request.DNSNames) != 1 || request.DNSNames[0] != s.names[n] {
		answer(w, 403, map[string]string{"type": "urn:ietf:params:acme:error:orderNotReady"})
		return
	}
	s.made++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(1 + s.made)), DNSNames: request.DNSNames, NotBefore: time.Now().Add(s.begin), NotAfter: time.Now().Add(s.end),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if s.leaves[n], err = x509.CreateCertificate(rand.Reader, template, s.root, request.PublicKey, s.key); err != nil {
		answer(w, 500, nil)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("%s/order/%d", s.URL, n))
	s.order(w, n)
}

func (s *Server) certificate(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	for _, der := range [][]byte{s.leaves[number(r)], s.root.Raw} {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
}

func number(r *http.Request) (n int) {
	_, _ = fmt.Sscan(r.PathValue("n"), &n)
	return n
}

// read reads the header and the content of a signed request.
func read(r *http.Request, header, content any) {
	var signed struct{ Protected, Payload string }
	_ = json.NewDecoder(r.Body).Decode(&signed)
	for into, text := range map[any]string{header: signed.Protected, content: signed.Payload} {
		if into != nil {
			raw, _ := base64.RawURLEncoding.DecodeString(text)
			_ = json.Unmarshal(raw, into)
		}
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

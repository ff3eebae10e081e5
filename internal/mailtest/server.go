// Package mailtest is a mail server for tests, over real sockets: go-smtp, which takes
// what a test lets it take, and counts what it took.
package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is one that the server took.
type Mail struct {
	From, To string
	Text     string // header and body, as they came
	TLS      bool
	User     string
}

// Server is a running mail server.
type Server struct {
	Addr string // host:port; the host is localhost, as in its certificate
	// CA is the certificate that signed that of the server, in PEM.
	CA []byte

	mu     sync.Mutex
	took   []Mail
	tries  int
	answer func(step string, try int) error
}

// The steps at which a test may refuse. At StepTaken the mail was taken already, and the
// answer to that is what is refused.
const (
	StepMail  = "mail"
	StepRcpt  = "rcpt"
	StepData  = "data"
	StepTaken = "taken"
)

// User and Password are what the server knows.
const User, Password = "latchkey", "mail secret"

// Option changes the server before it starts.
type Option func(*smtp.Server)

// WithoutTLS makes a server that does not know STARTTLS.
func WithoutTLS(s *smtp.Server) { s.TLSConfig, s.AllowInsecureAuth = nil, true }

// Start starts a server, which ends with the test.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{}
	certificate, ca := certificates(t)
	s.CA = ca
	server := smtp.NewServer(s)
	server.Domain = "localhost"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	server.MaxMessageBytes = 1 << 20
	server.ErrorLog = quiet{}
	for _, f := range options {
		f(server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.Addr = net.JoinHostPort("localhost", port)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Answer lets a test answer steps: nil takes it; try counts mails from 1.
func (s *Server) Answer(f func(step string, try int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Took lists the mails that were taken.
func (s *Server) Took() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.took...)
}

// To lists the mails that were taken for an address.
func (s *Server) To(address string) (list []Mail) {
	for _, m := range s.Took() {
		if m.To == address {
			list = append(list, m)
		}
	}
	return list
}

// Tries returns how often a mail was begun.
func (s *Server) Tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// Refuse is an SMTP answer.
func Refuse(code int) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: "as the test wants it"}
}

// ErrCut is an answer that never comes: the connection is cut.
var ErrCut = errors.New("cut")

func (s *Server) asked(step string) error {
	s.mu.Lock()
	f, try := s.answer, s.tries
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(step, try)
}

// NewSession implements smtp.Backend.
func (s *Server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c}, nil
}

type session struct {
	server *Server
	conn   *smtp.Conn
	mail   Mail
}

func (c *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != User || password != Password {
			return smtp.ErrAuthFailed
		}
		c.mail.User = user
		return nil
	}), nil
}

func (c *session) cut(err error) error {
	if errors.Is(err, ErrCut) {
		_ = c.conn.Conn().Close()
	}
	return err
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	c.server.mu.Lock()
	c.server.tries++
	c.server.mu.Unlock()
	_, secure := c.conn.TLSConnectionState()
	c.mail = Mail{From: from, TLS: secure, User: c.mail.User}
	return c.cut(c.server.asked(StepMail))
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.mail.To = to
	return c.cut(c.server.asked(StepRcpt))
}

func (c *session) Data(r io.Reader) error {
	if err := c.server.asked(StepData); err != nil {
		return c.cut(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.mail.Text = strings.ReplaceAll(string(raw), "\r\n", "\n")
	c.server.mu.Lock()
	c.server.took = append(c.server.took, c.mail)
	c.server.mu.Unlock()
	return c.cut(c.server.asked(StepTaken))
}

func (c *session) Reset()        {}
func (c *session) Logout() error { return nil }

// certificates makes a certificate for localhost and returns it with the one to trust.
func certificates(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

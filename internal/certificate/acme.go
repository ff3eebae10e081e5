package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"latchkey/internal/pause"
)

// ACMEConfig configures ACME. Every field but Client is required.
type ACMEConfig struct {
	Names     []string // domain names, each of which gets a certificate
	Directory string   // URL of the authority
	Folder    string   // for the account's key and the certificates, for this user only
	Client    *http.Client
	Now       func() time.Time
	Logger    *slog.Logger
}

const (
	// acmeEvery is how often it is looked whether a certificate was renewed.
	acmeEvery = time.Hour
	// acmeFirst is the pause after the first failure, which doubles up to acmeMost:
	// authorities count failures by the hour.
	acmeFirst = 5 * time.Minute
	acmeMost  = 6 * time.Hour

	acmeTimeout = 30 * time.Second // of a request
	acmeAnswer  = 1 << 20          // bytes of an answer
)

// ACME gets certificates from an authority by ACME (RFC 8555), and renews them. A
// handshake never waits for that. It is safe for concurrent use.
type ACME struct {
	ACMEConfig
	manager      *autocert.Manager
	every, first time.Duration

	mu      sync.Mutex
	current map[string]*tls.Certificate // by name
	public  bool
}

// NewACME returns a source that has no certificate until Run has got one.
func NewACME(cfg ACMEConfig) *ACME {
	client := &http.Client{Timeout: acmeTimeout, Transport: http.DefaultTransport}
	if cfg.Client != nil {
		client.Transport = cfg.Client.Transport
	}
	client.Transport = bounded{client.Transport}
	return &ACME{
		ACMEConfig: cfg, every: acmeEvery, first: acmeFirst, current: make(map[string]*tls.Certificate),
		manager: &autocert.Manager{
			Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(cfg.Folder), HostPolicy: autocert.HostWhitelist(cfg.Names...),
			Client: &acme.Client{DirectoryURL: cfg.Directory, HTTPClient: client, UserAgent: "Latchkey"},
		},
	}
}

// errNoCertificate fails a handshake.
var errNoCertificate = errors.New("there is no certificate yet")

// Get returns the certificate for a handshake: that of the name which the client asks
// for, or of the first name; or what the authority checks (TLS-ALPN-01, RFC 8737).
func (a *ACME) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
		return a.manager.GetCertificate(hello)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if c := a.current[name]; c != nil {
		return c, nil
	}
	if c := a.current[a.Names[0]]; c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// Challenge answers what the authority checks over plain HTTP (HTTP-01), and passes other
// requests on.
func (a *ACME) Challenge(next http.Handler) http.Handler { return a.manager.HTTPHandler(next) }

// Public reports whether the certificates lead to an authority that this machine trusts.
func (a *ACME) Public() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.public
}

// Run gets the certificates and looks after them until the context ends.
func (a *ACME) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, name := range a.Names {
		all.Go(func() { a.lookAfter(ctx, name) })
	}
	all.Wait()
	return nil
}

func (a *ACME) lookAfter(ctx context.Context, name string) {
	wait := a.first
	for {
		cert, err := a.fetch(ctx, name)
		if ctx.Err() != nil {
			return
		}
		next := a.every
		if err != nil {
			next = wait
			wait = min(2*wait, acmeMost)
			a.Logger.Error("no TLS certificate was got by ACME; it is tried again", "name", name, "err", err, "in", next)
		} else {
			wait = a.first
			a.use(name, cert)
		}
		if !pause.For(ctx, next) {
			return
		}
	}
}

// fetch returns the certificate of a name: the one that there is, or a new one. The
// library renews it once a third of its life, or 30 days, are left.
func (a *ACME) fetch(ctx context.Context, name string) (*tls.Certificate, error) {
	type result struct {
		cert *tls.Certificate
		err  error
	}
	got := make(chan result, 1)
	go func() { // it knows no context, and ends within five minutes
		cert, err := a.manager.GetCertificate(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
		got <- result{cert, err}
	}()
	select {
	case r := <-got:
		return r.cert, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *ACME) use(name string, cert *tls.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, leaf := a.Now(), cert.Leaf
	if before := a.current[name]; before == nil || !before.Leaf.Equal(leaf) {
		a.Logger.Info("a new TLS certificate is used", "name", name, "expires", leaf.NotAfter)
	} else if leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/5 {
		a.Logger.Warn("the TLS certificate expires soon and could not be renewed by ACME; it is tried again", "name", name, "expires", leaf.NotAfter)
	}
	a.current[name], a.public = cert, trusted(cert, now)
}

// bounded bounds the answers of an authority.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, acmeAnswer), res.Body}
	}
	return res, err
}

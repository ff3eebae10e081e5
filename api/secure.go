package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/internal/accept"
)

// RootPath is where the certificate of the service's own authority is offered.
const RootPath = "/root.crt"

// hstsLife is how long browsers come back by HTTPS only.
const hstsLife = "max-age=15552000" // 180 days

// http2Bounds are what HTTP/2 adds to the bounds of a server.
var http2Bounds = &http.HTTP2Config{
	MaxConcurrentStreams: 64,               // as many as an account may have requests
	WriteByteTimeout:     10 * time.Second, // without a byte taken by the client
	SendPingTimeout:      time.Minute,
	PingTimeout:          15 * time.Second,
}

// Secure configures RunSecure.
type Secure struct {
	TLS *tls.Config // with a certificate
	// Public reports whether browsers trust the certificate by themselves. They are then
	// told to come back by HTTPS only.
	Public func() bool
}

// RunSecure is Run within TLS, with HTTP/1.1 and HTTP/2. Both may run at once; they have
// their connections' limits together.
func (s *Server) RunSecure(ctx context.Context, l net.Listener, c Secure) error {
	handler := s.atOnce(s.handler)
	return s.run(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.Public() {
			w.Header().Set("Strict-Transport-Security", hstsLife)
		}
		handler.ServeHTTP(w, r)
	}), c.TLS, s.bounds())
}

// atOnce bounds the requests over HTTP/2 that a network has at once by the number of its
// connections: within one of them it gets no more than it would with many over HTTP/1.1.
// Those beyond are reset.
func (s *Server) atOnce(next http.Handler) http.Handler {
	var mu sync.Mutex
	count := make(map[netip.Prefix]int)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if r.ProtoMajor < 2 || err != nil || isTrusted(s.cfg.TrustedProxies, plain(peer.Addr())) {
			next.ServeHTTP(w, r)
			return
		}
		of := accept.Network(peer.Addr())
		mu.Lock()
		full := count[of] >= s.cfg.MaxConnectionsOfNetwork
		if !full {
			count[of]++
		}
		mu.Unlock()
		if full {
			s.metrics.refused.Inc()
			panic(http.ErrAbortHandler)
		}
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			if count[of]--; count[of] == 0 {
				delete(count, of)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) getRootCertificate(c echo.Context) error {
	c.Response().Header().Set("Content-Disposition", `attachment; filename="latchkey-root.crt"`)
	return c.Blob(http.StatusOK, "application/x-x509-ca-cert", s.cfg.Root)
}

// Redirect configures RunRedirect.
type Redirect struct {
	Port string // of HTTPS
	// Challenge answers what a certificate authority asks, and passes on other requests;
	// nil: nobody asks.
	Challenge func(next http.Handler) http.Handler
}

// RunRedirect serves plain HTTP as Run does, but redirects to HTTPS.
func (s *Server) RunRedirect(ctx context.Context, l net.Listener, c Redirect) error {
	handler := s.redirect(c.Port)
	if c.Challenge != nil {
		handler = c.Challenge(handler)
	}
	return s.run(ctx, l, handler, nil, s.bounds())
}

// redirect sends browsers to HTTPS, and refuses whatever must not be sent in clear again.
// What needs no secret is served.
func (s *Server) redirect(port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if reads && (r.URL.Path == "/healthz" || r.URL.Path == RootPath && s.cfg.Root != nil) {
			s.handler.ServeHTTP(w, r)
			return
		}
		setHeaders(w.Header(), rand.Text())
		host, ok := hostOf(r.Host)
		if !ok {
			plainProblem(w, invalidHeader("Host", "must name a host"))
			return
		}
		if port != "443" {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		if !reads || r.Header.Get("Authorization") != "" {
			plainProblem(w, &problem{
				status: http.StatusForbidden, code: "https_required",
				detail: "Send this to https://" + host + " instead. It came without encryption: a password, token or code in it may have been read by others, and should be replaced.",
			})
			return
		}
		// Of the target only the path and the query: it may be of any form (RFC 9112, 3.2).
		to := url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), http.StatusPermanentRedirect)
	})
}

// hostName matches names, and addresses of IPv4.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,253})$`)

// hostOf returns the host of a Host header, as it is written in a URL.
func hostOf(header string) (string, bool) {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() && addr.Zone() == "" {
		return "[" + host + "]", true
	}
	return host, hostName.MatchString(host)
}

// plainProblem sends a problem, and closes the connection: its body is not read.
func plainProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Connection", "close")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p.document(w.Header().Get("X-Request-Id"))) // the connection is gone
}

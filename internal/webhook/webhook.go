// Package webhook calls the HTTP servers that accounts name, as the Standard Webhooks say
// (https://www.standardwebhooks.com, specification 1.0.0). What an account names is
// hostile: it may be a server of our own network, resolve to another address each time,
// redirect, never answer or answer without an end.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The headers of a delivery.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp" // Unix seconds
	HeaderSignature = "webhook-signature" // "v1," and base64, for each secret, with spaces between
)

// SecretPrefix marks a secret; base64 follows.
const SecretPrefix = "whsec_"

// The outcomes of a call. They are part of the API.
const (
	Delivered    = ""                  // 2xx
	Forbidden    = "address_forbidden" // the policy does not allow the address
	NotReachable = "not_reachable"     // no connection, or it broke
	Untrusted    = "certificate"       // its certificate is not trusted
	TimedOut     = "timeout"           // it did not answer in time
	Redirected   = "redirect"          // 3xx, which is not followed
	Gone         = "gone"              // 410: it wants no more
	BadStatus    = "unsuccessful"      // any other status
	BadAnswer    = "answer_not_readable"
)

const (
	callWithin  = 15 * time.Second
	dialWithin  = 5 * time.Second
	maxHeader   = 32 << 10 // bytes of an answer's header
	maxAnswer   = 64 << 10 // bytes that are read of its body
	maxInFlight = 64
)

// Config is what a Client needs.
type Config struct {
	// Allow refuses addresses; it gets the resolved one at the moment of connecting.
	Allow func(netip.Addr) error
	// Resolver looks names up; nil: that of the system.
	Resolver *net.Resolver
	// Roots are the certificates that are trusted; nil: those of the system.
	Roots *x509.CertPool
	// Connected wraps each connection; nil: it stays as it is. For tests.
	Connected func(net.Conn) net.Conn
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Client calls webhooks. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
}

// errForbidden is returned for an address that the policy refuses.
var errForbidden = errors.New("the address is not allowed for webhooks")

// New makes a client. It uses no proxy, which would resolve names by itself, and no
// connection twice: the address is checked each time.
func New(cfg Config) *Client {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg}
	dialer := &net.Dialer{Timeout: dialWithin, Resolver: cfg.Resolver, Control: c.control}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if of, ok := ctx.Value(cutKey{}).(*cut); ok {
			of.add(conn)
		}
		if cfg.Connected != nil {
			conn = cfg.Connected(conn)
		}
		return conn, nil
	}
	c.http = &http.Client{
		Timeout:       callWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, DialContext: dial, DisableKeepAlives: true, DisableCompression: true,
			TLSHandshakeTimeout: dialWithin, ResponseHeaderTimeout: callWithin, MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots}, MaxConnsPerHost: maxInFlight,
		},
	}
	return c
}

// control refuses a connection to an address that is not allowed.
func (c *Client) control(network, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return errForbidden
	}
	if err := c.cfg.Allow(addr.Addr().Unmap().WithZone("")); err != nil {
		return errForbidden
	}
	return nil
}

// MayCall returns why a URL is surely refused; "" if it may be called. A name is looked up
// when it is called.
func (c *Client) MayCall(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "is not an https:// URL with a host"
	}
	if u.User != nil {
		return "must not hold a user name or password"
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	if err == nil && c.cfg.Allow(addr.Unmap().WithZone("")) != nil {
		return "is an address that webhooks may not have on this server"
	}
	return ""
}

// Delivery is one call.
type Delivery struct {
	URL     string
	ID      string   // the same for each try
	Secrets []string // that it is signed with, at least one
	Body    []byte
}

// Call makes a call and returns its outcome, and the status that was answered, 0 for none.
// An error: the call could not be made for a reason of our own.
func (c *Client) Call(ctx context.Context, d Delivery) (outcome string, status int, err error) {
	at := c.cfg.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		return "", 0, errors.New("the URL of a webhook cannot be read") // it may be secret
	}
	signature, err := signatures(d, at)
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Latchkey")
	r.Header.Set(HeaderID, d.ID)
	r.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(HeaderSignature, signature)
	return c.Do(r)
}

// Do makes a request under the same bounds, and returns how it went as Call does. When its
// context is cancelled, nothing more of it is sent: what the kernel has not sent yet is
// dropped.
func (c *Client) Do(r *http.Request) (outcome string, status int, err error) {
	of := &cut{}
	ctx := context.WithValue(r.Context(), cutKey{}, of)
	defer context.AfterFunc(ctx, of.end)()
	answer, err := c.http.Do(r.WithContext(ctx))
	if ctx.Err() != nil {
		of.end() // it may not have begun to
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) { // err may be that of the connection that was ended
			return "", 0, ctx.Err()
		}
		return outcomeOf(err), 0, nil
	}
	of.answered()
	defer answer.Body.Close()
	_, err = io.CopyN(io.Discard, answer.Body, maxAnswer)
	status = answer.StatusCode
	switch {
	case status == http.StatusGone:
		return Gone, status, nil
	case status >= 300 && status < 400:
		return Redirected, status, nil
	case status < 200 || status > 299:
		return BadStatus, status, nil
	case err != nil && !errors.Is(err, io.EOF):
		return outcomeOf(err), status, nil
	}
	return Delivered, status, nil
}

// cutKey is the key of the connections of a request in its context.
type cutKey struct{}

// cut ends the connections of a request.
type cut struct {
	mu    sync.Mutex
	conns []net.Conn
	ended bool
}

// add takes a connection in. Whoever closes it before there is an answer drops what it has
// not sent.
func (c *cut) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	linger(conn, 0)
	if c.ended {
		_ = conn.Close()
	}
}

// answered lets the connections end as others do.
func (c *cut) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		linger(conn, -1)
	}
}

func (c *cut) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

func linger(conn net.Conn, seconds int) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(seconds) // it may be closed
	}
}

func outcomeOf(err error) string {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errForbidden):
		return Forbidden
	case errors.As(err, &certificate):
		return Untrusted
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return TimedOut
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "server response headers exceeded"):
		return BadAnswer
	}
	return NotReachable
}

// signatures signs a delivery with each of its secrets.
func signatures(d Delivery, at time.Time) (string, error) {
	var list []string
	for _, secret := range d.Secrets {
		s, err := Sign(secret, d.ID, at, d.Body)
		if err != nil {
			return "", err
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return "", errors.New("a webhook has no secret")
	}
	return strings.Join(list, " "), nil
}

// Sign returns the signature of a body: "v1," and the base64 of the HMAC-SHA256 of the id,
// the seconds and the body, with dots between.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, SecretPrefix))
	if err != nil || len(key) < 24 {
		return "", errors.New("the secret of a webhook is damaged")
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

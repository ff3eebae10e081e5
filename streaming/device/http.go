package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/icholy/digest"

	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// httpSession is a conversation with the HTTP side of a device.
type httpSession struct {
	proof   *proof
	service Service
	base    *url.URL
	query   string // of every request
	client  *http.Client

	addr      netip.Addr // of the last connection
	challenge *digest.Challenge
	basic     bool
	sent      int      // how often credentials were sent with the challenge
	tried     *attempt // with them
	good      bool     // they were accepted
	renewed   bool     // a stale nonce was replaced, once

	// lasting is set for a conversation without an end: each part of it has its own time
	// and its own bounds (see part). streams is set while an answer of 200 is returned
	// with its body.
	lasting bool
	streams bool
	conn    atomic.Pointer[boundedConn] // the last one
	within  atomic.Int64                // the time of the part, ns
}

// newHTTPSession returns a session that ends with the context.
func newHTTPSession(ctx context.Context, p *proof, service Service, address string) (*httpSession, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fail(Unsupported, service)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	s := &httpSession{proof: p, service: service, base: u}
	s.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(dialing context.Context, network, address string) (net.Conn, error) { // that one has no deadline
				ctx := ctx
				if s.lasting { // and its farewell comes after its end
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(dialing, p.client.cfg.Within)
					defer cancel()
				}
				conn, err := p.client.dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				conn.left.Store(p.mostRead())
				s.addr = conn.address()
				if s.conn.Store(conn); s.lasting {
					_ = conn.SetDeadline(time.Now().Add(time.Duration(s.within.Load()))) // one that is closed fails at once
				}
				return conn, nil
			},
			TLSClientConfig:        rtspclient.TLS(u.Hostname(), p.target.Certificate),
			DisableCompression:     true,
			MaxConnsPerHost:        1,
			MaxResponseHeaderBytes: 32 << 10,
		},
	}
	return s, nil
}

func (s *httpSession) close() { s.client.CloseIdleConnections() }

// part begins the next part of a lasting conversation, which may take so long.
func (s *httpSession) part(within time.Duration) {
	s.renewed = false
	s.within.Store(int64(within))
	if conn := s.conn.Load(); conn != nil {
		_ = conn.SetDeadline(time.Now().Add(within)) // a closed one is replaced
		conn.left.Store(maxAnswers)
	}
}

// answer is a device's response over HTTP.
type answer struct {
	status    int
	kind      string // Content-Type
	body      []byte
	xml       *element // nil if it is not XML
	challenge *digest.Challenge
	basic     bool
	stream    *http.Response // with its body, if that was asked for
}

// call sends a request, with credentials if the device requires them. Those are sent
// once; after a refusal nothing more is sent.
func (s *httpSession) call(ctx context.Context, method, path string, body []byte, header http.Header) (answer, error) {
	a, err := s.once(ctx, method, path, body, header)
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	stale := s.good && !s.renewed && a.challenge != nil && (a.challenge.Stale || s.lasting && s.challenge != nil && a.challenge.Nonce != s.challenge.Nonce)
	if s.sent > 0 && !stale {
		s.proof.client.guard.note(s.addr, s.proof.client.cfg.Now())
		s.proof.distrust(s.addr)
		return a, fail(WrongPassword, s.service)
	}
	if a.challenge == nil && !a.basic {
		return a, nil // it does not require them here
	}
	if s.proof.target.Username == "" {
		return a, fail(WrongPassword, s.service)
	}
	if s.tried, err = s.proof.mayTry(ctx, s.addr, s.service); err != nil {
		return a, err
	}
	s.renewed, s.challenge, s.basic, s.sent = s.sent > 0, a.challenge, a.basic, 0
	if a, err = s.once(ctx, method, path, body, header); err != nil {
		return a, err
	}
	if a.status == http.StatusUnauthorized {
		s.tried.refused(s.proof.client.cfg.Now())
		return a, fail(WrongPassword, s.service)
	}
	s.tried.accepted()
	s.good = true
	return a, nil
}

func (s *httpSession) once(ctx context.Context, method, path string, body []byte, header http.Header) (answer, error) {
	u := *s.base
	u.Path, u.RawPath, u.RawQuery = path, "", s.query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, fail(Unsupported, s.service)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", upstream.Agent)
	if err := s.authorise(req); err != nil {
		return answer{}, fail(Unsupported, s.service)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return answer{}, failed(err, Unsupported, s.service)
	}
	if s.streams && res.StatusCode == http.StatusOK {
		return answer{status: res.StatusCode, stream: res}, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, s.proof.mostRead()+1))
	if err != nil {
		return answer{}, failed(err, Unsupported, s.service)
	}
	a := answer{status: res.StatusCode, kind: res.Header.Get("Content-Type"), body: text}
	if a.status == http.StatusUnauthorized {
		a.challenge, a.basic = challengeOf(res.Header)
	}
	if strings.HasPrefix(a.kind, "image/") {
		return a, nil
	}
	if root, err := parseXML(text); err == nil {
		a.xml = root
	} else if errors.Is(err, errTooLong) && s.proof.most == 0 {
		return answer{}, fail(Unsupported, s.service)
	}
	return a, nil
}

// authorise adds our credentials, if the device has requested some.
func (s *httpSession) authorise(req *http.Request) error {
	t := s.proof.target
	switch {
	case s.challenge != nil:
		s.sent++
		c, err := digest.Digest(s.challenge, digest.Options{
			Method: req.Method, URI: req.URL.RequestURI(), Count: s.sent, GetBody: req.GetBody,
			Username: t.Username, Password: t.Password,
		})
		if err != nil {
			return fmt.Errorf("answering a challenge: %w", err)
		}
		req.Header.Set("Authorization", c.String())
	case s.basic:
		s.sent++
		req.SetBasicAuth(t.Username, t.Password)
	}
	return nil
}

// challengeOf returns the device's authentication scheme: digest if it offers that.
func challengeOf(header http.Header) (challenge *digest.Challenge, basic bool) {
	for _, value := range header.Values("WWW-Authenticate") {
		if scheme, _, _ := strings.Cut(strings.TrimSpace(value), " "); strings.EqualFold(scheme, "Basic") {
			basic = true
			continue
		}
		if c, err := digest.ParseChallenge(value); err == nil && challenge == nil && digest.CanDigest(c) {
			challenge = c
		}
	}
	return challenge, basic && challenge == nil
}

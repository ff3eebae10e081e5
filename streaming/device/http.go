package device

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

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

	addr    netip.Addr         // of the last connection
	signer  *rtspclient.Signer // nil: the device has requested no credentials
	sent    int                // how often credentials were sent with its challenge
	tried   *attempt           // with them
	good    bool               // they were accepted
	renewed bool               // a stale nonce was replaced, once

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
	challenge *rtspclient.Challenge
	stream    *http.Response // with its body, if that was asked for
}

// call sends a request, with credentials if the device requires them. Those are sent
// once; after a refusal nothing more is sent.
func (s *httpSession) call(ctx context.Context, method, path string, body []byte, header http.Header) (answer, error) {
	a, err := s.once(ctx, method, path, body, header)
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	stale := s.good && !s.renewed && a.challenge != nil && !a.challenge.Basic && (a.challenge.Stale || s.lasting && s.signer != nil && a.challenge.Nonce != s.signer.Nonce)
	if s.sent > 0 && !stale {
		s.proof.client.guard.note(s.addr, s.proof.client.cfg.Now())
		s.proof.distrust(s.addr)
		return a, fail(WrongPassword, s.service)
	}
	if a.challenge == nil {
		return a, nil // it does not require them here
	}
	if s.proof.target.Username == "" {
		return a, fail(WrongPassword, s.service)
	}
	if s.tried, err = s.proof.mayTry(ctx, s.addr, s.service); err != nil {
		return a, err
	}
	s.renewed = s.sent > 0
	s.answer(a.challenge)
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
	s.authorise(req)
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
		a.challenge = challengeOf(res.Header)
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

// answer makes the requests that follow answer a challenge.
func (s *httpSession) answer(c *rtspclient.Challenge) {
	s.signer, s.sent = rtspclient.NewSigner(*c, s.proof.target.Username, s.proof.target.Password), 0
}

// authorise adds our credentials, if the device has requested some.
func (s *httpSession) authorise(req *http.Request) {
	if s.signer != nil {
		s.sent++
		req.Header.Set("Authorization", s.signer.Sign(req.Method, req.URL.RequestURI()))
	}
}

func challengeOf(header http.Header) *rtspclient.Challenge {
	return rtspclient.StrongestChallenge(header.Values("WWW-Authenticate"))
}

package portal

import (
	"bytes"
	"io"
	"net/http"
	"strconv"

	"latchkey/api/client"
)

// cookiePosition carries the position of the last command to the next page, which may be
// asked of another process. It lives for the seconds that this takes: a position that no
// process ever reaches must not keep anybody out.
const cookiePosition = "latchkey-position"

const positionFor = 20 // seconds

// refreshHeader marks a request of a page that looks for what has changed, with the
// position that it has heard of; 0 for none.
const refreshHeader = "Latchkey-Refresh"

// direct is an http.RoundTripper that calls the API in this process, as the browser that
// sent a request: limits and records are the browser's.
type direct struct {
	api     http.Handler
	browser *http.Request
	accept  string // the languages that the page is for
}

// passedOn are the headers of a browser's request that say where it is.
var passedOn = []string{"X-Forwarded-For", "Forwarded"}

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	inner := r.Clone(r.Context())
	inner.RemoteAddr, inner.Host, inner.TLS = d.browser.RemoteAddr, d.browser.Host, d.browser.TLS
	inner.RequestURI = inner.URL.RequestURI()
	for _, name := range passedOn {
		if values, ok := d.browser.Header[name]; ok {
			inner.Header[name] = values
		}
	}
	inner.Header.Set("Accept-Language", d.accept)
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	a := &answer{header: http.Header{}}
	d.api.ServeHTTP(a, inner)
	if r.Body != nil {
		_ = r.Body.Close() // as RoundTrippers do
	}
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer is an http.ResponseWriter that keeps a response.
type answer struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// service returns a client of the API for a browser's request.
func (p *Portal) service(r *http.Request, accept string) *client.Service {
	s, err := client.New("http://portal", client.Options{HTTP: &http.Client{
		Transport:     direct{p.cfg.API, r, accept},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
	if err != nil {
		panic(err) // of a constant address
	}
	if c, err := r.Cookie(cookiePosition); err == nil {
		if at, err := strconv.ParseUint(c.Value, 10, 64); err == nil {
			s.See(at)
		}
	}
	if at, err := strconv.ParseUint(r.Header.Get(refreshHeader), 10, 64); err == nil {
		s.See(at)
	}
	return s
}

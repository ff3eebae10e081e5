package portal

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"latchkey/api/client"
)

// Scripts of a page cannot read the cookie of the session. What they need of the API they
// ask for under RelayPath, where the portal puts the session's token to the request and
// leaves everything else to the API: /do/devices is /api/v1/devices.
const (
	// RelayPath is what the paths of scripts' requests begin with.
	RelayPath = "/do"
	apiPath   = "/api/v1"
	// csrfHeader proves that a request that changes something comes from a page.
	csrfHeader = "Latchkey-CSRF"
	// sessionHeader has the mark of the page's session: somebody else may have logged in
	// since in another tab, whose session the request would use.
	sessionHeader = "Latchkey-Session"
)

// relayed are the headers of a script's request that the API gets. Bodies are the API's to
// bound.
var relayed = []string{
	"Accept", "Content-Type", "Content-Length", "Idempotency-Key", "If-Match", "Last-Event-ID", "Latchkey-Min-Position",
	"X-Forwarded-For", "Forwarded",
	"Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
}

// relay lets scripts of pages call an operation of the API, such as "GET /devices".
func (p *Portal) relay(pattern string) {
	method, path, _ := strings.Cut(pattern, " ")
	p.mux.HandleFunc(method+" "+RelayPath+path, func(w http.ResponseWriter, r *http.Request) {
		v := p.visit(w, r)
		if !v.fromPage() {
			refuse(w, http.StatusForbidden, "forged", v.problem(nil, "forged"))
			return
		}
		if v.token == "" {
			refuse(w, http.StatusUnauthorized, "unauthenticated", v.problem(nil, "unauthenticated"))
			return
		}
		if mark := r.Header.Get(sessionHeader); mark != "" && mark != markOf(v.token) {
			refuse(w, http.StatusConflict, "session_changed", v.problem(nil, "session_changed"))
			return
		}
		inner := r.Clone(r.Context())
		inner.URL = &url.URL{Path: apiPath + strings.TrimPrefix(r.URL.Path, RelayPath), RawQuery: r.URL.RawQuery}
		if r.URL.RawPath != "" {
			inner.URL.RawPath = apiPath + strings.TrimPrefix(r.URL.RawPath, RelayPath)
		}
		inner.RequestURI = inner.URL.RequestURI()
		inner.Header = http.Header{"Authorization": {"Bearer " + v.token}, "Accept-Language": {v.tag}}
		for _, name := range relayed {
			if values := r.Header.Values(name); len(values) > 0 {
				inner.Header[http.CanonicalHeaderKey(name)] = values
			}
		}
		w.Header().Del("Vary")
		answer := &relayAnswer{ResponseWriter: w, visit: v}
		p.cfg.API.ServeHTTP(answer, inner)
		answer.end()
	})
}

// fromPage reports whether a script's request comes from a page of the portal. Browsers
// let other sites open WebSockets and send simple requests with the cookie, and say so, and
// some take the same name without TLS, for which anybody on the way can answer, for the same
// site. A request that changes something must have the page's token as well.
func (v *visit) fromPage() bool {
	site := v.r.Header.Get("Sec-Fetch-Site")
	if site != "" && site != "same-origin" {
		return false
	}
	origin := v.r.Header.Get("Origin")
	if u, err := url.Parse(origin); origin != "" && (err != nil || u.Host != v.r.Host || secure(v.r) && u.Scheme != "https") {
		return false
	}
	if v.r.Method != http.MethodGet {
		return v.genuine(v.r.Header.Get(csrfHeader))
	}
	return origin != "" || v.r.Header.Get("Upgrade") == "" // no browser lets a script set a header of a WebSocket
}

// relayAnswer passes the answer of the API on. Of a refusal the detail is put in the words
// of the portal, in the language of the page.
type relayAnswer struct {
	http.ResponseWriter
	visit  *visit
	status int // of a refusal, whose body is kept until its end
	body   bytes.Buffer
}

// Unwrap lets http.ResponseController find what streams and upgrades need.
func (a *relayAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *relayAnswer) WriteHeader(status int) {
	if status >= http.StatusBadRequest && a.Header().Get("Content-Type") == "application/problem+json" {
		a.status = status
		return
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *relayAnswer) Write(p []byte) (int, error) {
	if a.status != 0 {
		return a.body.Write(p)
	}
	return a.ResponseWriter.Write(p)
}

// FlushError sends what was written of an answer; a refusal is sent as a whole, at its end.
func (a *relayAnswer) FlushError() error {
	if a.status != 0 {
		return nil
	}
	return http.NewResponseController(a.ResponseWriter).Flush() //nolint:wrapcheck // as the ResponseWriter says it
}

// end sends a refusal that was kept.
func (a *relayAnswer) end() {
	if a.status == 0 {
		return
	}
	var said map[string]any
	raw := a.body.Bytes()
	if json.Unmarshal(raw, &said) == nil {
		code, _ := said["code"].(string)
		said["detail"] = a.visit.problem(&client.Error{RetryAfter: seconds(a.Header().Get("Retry-After"))}, code)
		if changed, err := json.Marshal(said); err == nil {
			raw = changed
		}
	}
	a.Header().Del("Content-Length")
	a.ResponseWriter.WriteHeader(a.status)
	_, _ = a.ResponseWriter.Write(raw) // the browser may be gone
}

// seconds reads a header that has a number of seconds, 0 for none.
func seconds(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// refuse answers a script as the API would.
func refuse(w http.ResponseWriter, status int, code, detail string) {
	raw, _ := json.Marshal(map[string]any{"status": status, "code": code, "detail": detail}) // strings and a number
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the browser may be gone
}

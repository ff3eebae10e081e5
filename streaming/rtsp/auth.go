package rtsp

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"golang.org/x/time/rate"

	"latchkey/domain/ids"
	"latchkey/internal/accept"
	"latchkey/projections/access"
)

const (
	realm            = "latchkey"
	maxAuthorization = 2048 // bytes; no player sends that many
	maxKeyName       = 128
)

// credentials are the contents of an Authorization header.
type credentials struct {
	username string
	basic    bool
	password string // basic

	// Digest, RFC 2617 with MD5, the only one that every player knows.
	realm, nonce, uri, response, qop, nc, cnonce string
}

// parseAuthorization reads an Authorization header, Basic or Digest.
func parseAuthorization(value string) (credentials, bool) {
	if len(value) > maxAuthorization {
		return credentials{}, false
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		return parseBasic(strings.TrimSpace(rest))
	case strings.EqualFold(scheme, "Digest"):
		return parseDigest(rest)
	default:
		return credentials{}, false
	}
}

func parseBasic(s string) (credentials, bool) {
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return credentials{}, false
	}
	user, password, ok := strings.Cut(string(text), ":")
	return credentials{username: user, basic: true, password: password}, ok && user != "" && len(user) <= maxKeyName
}

func parseDigest(s string) (credentials, bool) {
	var c credentials
	fields := map[string]*string{
		"username": &c.username, "realm": &c.realm, "nonce": &c.nonce, "uri": &c.uri,
		"response": &c.response, "qop": &c.qop, "nc": &c.nc, "cnonce": &c.cnonce,
	}
	for {
		name, value, rest, ok := nextParameter(s)
		if !ok {
			return credentials{}, false
		}
		name = strings.ToLower(name)
		if name == "algorithm" && !strings.EqualFold(value, "MD5") {
			return credentials{}, false
		}
		if field := fields[name]; field != nil {
			if *field != "" {
				return credentials{}, false // duplicate
			}
			*field = value
		}
		if rest == "" {
			break
		}
		s = rest
	}
	complete := c.username != "" && c.nonce != "" && c.uri != "" && c.response != "" && (c.qop == "" || c.qop == "auth")
	return c, complete && len(c.username) <= maxKeyName
}

// nextParameter cuts `name="value"` or `name=value` off a list with commas.
func nextParameter(s string) (name, value, rest string, ok bool) {
	name, s, ok = strings.Cut(strings.TrimLeft(s, " \t,"), "=")
	name = strings.TrimSpace(name)
	if !ok || name == "" {
		return "", "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return name, strings.TrimSpace(value), strings.TrimLeft(rest, " \t,"), true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return name, b.String(), strings.TrimLeft(s[i+1:], " \t,"), true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", "", false // unterminated quote
}

// proves reports whether the credentials prove knowledge of the secret, for this request.
// It takes the same time in either case.
func (c credentials) proves(secret string, method base.Method, u *base.URL) bool {
	if c.basic {
		got, want := sha256.Sum256([]byte(c.password)), sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
	parts := []string{md5Hex(c.username, c.realm, secret), c.nonce}
	if c.qop != "" {
		parts = append(parts, c.nc, c.cnonce, c.qop)
	}
	want := md5Hex(append(parts, md5Hex(string(method), c.uri))...)
	right := subtle.ConstantTimeCompare([]byte(strings.ToLower(c.response)), []byte(want))
	return right == 1 && c.realm == realm && sameResource(c.uri, u)
}

func md5Hex(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(sum[:])
}

// sameResource reports whether the URI of a digest identifies the requested resource.
// Players differ: VLC omits the track from the URI of SETUP, some omit scheme and host,
// or add a trailing slash.
func sameResource(claimed string, u *base.URL) bool {
	return u != nil && stripTrack(claimed) == stripTrack(u.String())
}

// stripTrack returns a URL without scheme, host, track and trailing slashes, also of the
// path before a query.
func stripTrack(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		_, s, _ = strings.Cut(rest, "/")
	}
	if i := strings.LastIndex(s, "/trackID="); i >= 0 {
		s = s[:i]
	}
	return strings.Trim(strings.Replace(s, "/?", "?", 1), "/")
}

func newNonce() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// challenge returns the value of WWW-Authenticate. It names no algorithm, as MD5 is the
// default and some players read no further than the nonce.
func challenge(nonce string, stale bool) base.HeaderValue {
	digest := `Digest realm="` + realm + `", nonce="` + nonce + `"`
	if stale {
		digest += ", stale=TRUE"
	}
	return base.HeaderValue{digest, `Basic realm="` + realm + `"`}
}

// refusal is a response other than 200.
type refusal struct {
	status base.StatusCode
	reason string // the label of the metric
	header base.Header
	close  bool // end the connection after the response
}

func (r *refusal) Error() string { return r.reason }

var errUnavailable = &refusal{
	status: base.StatusServiceUnavailable, reason: "unavailable",
	header: base.Header{"Retry-After": base.HeaderValue{"1"}},
}

// authenticate returns the key that the request proves to have.
func (d *Door) authenticate(ctx context.Context, w *wire, req *base.Request) (access.Key, *refusal) {
	unauthorized := &refusal{
		status: base.StatusUnauthorized, reason: "no key",
		header: base.Header{"WWW-Authenticate": challenge(w.nonce, false)},
	}
	if w.isDoor {
		return access.Key{}, errLoop
	}
	values := req.Header["Authorization"]
	if len(values) == 0 {
		return access.Key{}, unauthorized
	}
	now := d.cfg.Now()
	unauthorized.reason = "wrong key"
	c, ok := parseAuthorization(values[0])
	if !ok || len(values) > 1 {
		return access.Key{}, d.failed(ctx, w, "", unauthorized)
	}
	if d.failures.locked(w.peer, c.username, now) {
		unauthorized.reason = "too many wrong keys"
		return access.Key{}, hold(ctx, unauthorized)
	}
	name := ids.Key(c.username)
	key, live := d.cfg.Access.Key(name)
	live = live && !key.Expired(now) && key.Account != ""
	if !live && !d.cfg.Access.Live(now) {
		return access.Key{}, errUnavailable
	}
	secret, err := d.secret(ctx, name, live)
	if err != nil {
		d.log.Warn("reading the secret of a stream key failed", "key", key.Name, "err", err)
		return access.Key{}, errUnavailable
	}
	if !c.proves(secret, req.Method, req.URL) || !live || secret == "" {
		return access.Key{}, d.failed(ctx, w, c.username, unauthorized)
	}
	if !c.basic && c.nonce != w.nonce { // right, but computed for another connection
		unauthorized.reason = "stale nonce"
		unauthorized.header = base.Header{"WWW-Authenticate": challenge(w.nonce, true)}
		return access.Key{}, unauthorized
	}
	w.authenticated.Store(true)
	return key, nil
}

// failed counts a failure; an address that fails too often waits for the answer.
func (d *Door) failed(ctx context.Context, w *wire, name string, unauthorized *refusal) *refusal {
	if d.failures.add(w.peer, name, d.cfg.Now()) {
		return hold(ctx, unauthorized)
	}
	return unauthorized
}

// hold ends the connection, with an answer after a while. Only wrong keys are held: nobody
// else behind the address waits.
func hold(ctx context.Context, r *refusal) *refusal {
	r.close = true
	timer := time.NewTimer(failureHold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return r
}

// live reports whether it is known now what is permitted. While it is not, nothing is
// permitted, and nothing more is sent.
func (d *Door) live() bool { return d.cfg.Access.Live(d.cfg.Now()) }

const (
	maxFailures = 16384 // addresses and names remembered
	// A name may be tried wrongly ten times in a row from one address, then every six
	// seconds. This does not affect other names from that address, so nobody can lock out
	// others on the same address.
	nameBurst, nameEvery = 10, 6 * time.Second
	// An address may fail this often before each further failure ends its connection,
	// after a while.
	addrBurst, addrEvery = 60, time.Second
	failureHold          = 2 * time.Second
)

// failures counts wrong keys by address and name.
type failures struct {
	mu      sync.Mutex
	buckets map[failureOf]*rate.Limiter
}

type failureOf struct {
	addr netip.Prefix
	name string // "" for the address itself
}

// locked reports whether the name was tried too often from the address.
func (f *failures) locked(addr netip.Addr, name string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.buckets[failureOf{accept.Network(addr), name}]
	return b != nil && b.TokensAt(now) < 1
}

// add counts a failure and reports whether there were too many.
func (f *failures) add(addr netip.Addr, name string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	inTime := f.bucket(failureOf{addr: accept.Network(addr)}, addrBurst, addrEvery, now).AllowN(now, 1)
	if name != "" {
		inTime = f.bucket(failureOf{accept.Network(addr), name}, nameBurst, nameEvery, now).AllowN(now, 1) && inTime
	}
	return !inTime
}

func (f *failures) bucket(of failureOf, burst int, every time.Duration, now time.Time) *rate.Limiter {
	b := f.buckets[of]
	if b == nil {
		f.makeRoom(now)
		b = rate.NewLimiter(rate.Every(every), burst)
		f.buckets[of] = b
	}
	return b
}

// makeRoom drops entries that have not failed for a while, or an eighth of all, so that
// it is rarely needed.
func (f *failures) makeRoom(now time.Time) {
	if len(f.buckets) < maxFailures {
		return
	}
	for of, b := range f.buckets {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(f.buckets, of)
		}
	}
	for of := range f.buckets {
		if len(f.buckets) <= maxFailures-maxFailures/8 {
			return
		}
		delete(f.buckets, of)
	}
}

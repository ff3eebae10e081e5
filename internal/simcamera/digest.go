package simcamera

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	digestRealm   = "IP Camera"
	nonceLifetime = 5 * time.Minute
)

// digestGuard requires HTTP digest authentication (RFC 7616 with MD5, which devices of
// this kind use). Nonces carry their own proof, so none are stored.
type digestGuard struct {
	secret [32]byte
	camera *Camera
}

func newDigestGuard(c *Camera) *digestGuard {
	g := &digestGuard{camera: c}
	_, _ = rand.Read(g.secret[:]) // cannot fail: it ends the program instead
	return g
}

// wrap lets requests with the right credentials through to next.
func (g *digestGuard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password := g.camera.credentials()
		if user == "" {
			next.ServeHTTP(w, r)
			return
		}
		given := parseDigest(r.Header.Get("Authorization"))
		from := remote(r)
		right := g.right(given, r, user, password) && !g.camera.lock.on(from)
		if r.Header.Get("Authorization") != "" && !right {
			g.camera.lock.refused(from)
		}
		fresh := g.fresh(given["nonce"], time.Now())
		if right && fresh {
			next.ServeHTTP(w, r)
			return
		}
		challenge := fmt.Sprintf(`Digest realm="%s", qop="auth", nonce="%s", algorithm=MD5`, digestRealm, g.nonce(time.Now()))
		if right {
			challenge += ", stale=true"
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.Header().Set("Connection", "close")
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	})
}

// right checks everything except the age of the nonce.
func (g *digestGuard) right(given map[string]string, r *http.Request, user, password string) bool {
	if given["username"] != user || given["realm"] != digestRealm || given["uri"] != r.RequestURI {
		return false
	}
	ha1 := md5Hex(user, digestRealm, password)
	ha2 := md5Hex(r.Method, given["uri"])
	want := md5Hex(ha1, given["nonce"], ha2)
	if given["qop"] != "" {
		want = md5Hex(ha1, given["nonce"], given["nc"], given["cnonce"], given["qop"], ha2)
	}
	return subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(given["response"]))) == 1
}

func (g *digestGuard) nonce(now time.Time) string {
	stamp := strconv.FormatInt(now.Unix(), 16)
	return stamp + "." + g.proof(stamp)
}

func (g *digestGuard) fresh(nonce string, now time.Time) bool {
	stamp, proof, _ := strings.Cut(nonce, ".")
	if !hmac.Equal([]byte(proof), []byte(g.proof(stamp))) {
		return false
	}
	at, err := strconv.ParseInt(stamp, 16, 64)
	return err == nil && now.Sub(time.Unix(at, 0)) < nonceLifetime
}

func (g *digestGuard) proof(stamp string) string {
	mac := hmac.New(sha256.New, g.secret[:])
	mac.Write([]byte(stamp))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func md5Hex(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(sum[:])
}

// parseDigest reads an Authorization header; what it does not understand is left out.
func parseDigest(header string) map[string]string {
	out := map[string]string{}
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Digest") {
		return out
	}
	for rest != "" {
		var key, value string
		key, rest, _ = strings.Cut(rest, "=")
		rest = strings.TrimLeft(rest, " ")
		if strings.HasPrefix(rest, `"`) {
			value, rest, _ = strings.Cut(rest[1:], `"`)
			_, rest, _ = strings.Cut(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		out[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	return out
}

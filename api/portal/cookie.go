package portal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// Cookies. Those that prove something have the prefix __Host- where there is TLS: then
// another host of the domain, or plain HTTP, cannot set them.
const (
	cookieSession  = "latchkey-session" // the API's token
	cookieVisitor  = "latchkey-visitor" // random, before a log-in
	cookieLanguage = "latchkey-language"
	cookieTheme    = "latchkey-theme"
	cookieZone     = "latchkey-zone" // set by zone.js
	cookieSaid     = "latchkey-said" // what the next page says
)

const (
	preferencesFor = 365 * 24 * time.Hour
	maxCookie      = 128 // bytes of a value that proves something
)

// secure reports whether a browser's request came by TLS, to this process or to a proxy.
// The header is not proven: forging it only makes the cookie stricter.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func proof(r *http.Request, name string) string {
	if secure(r) {
		return "__Host-" + name
	}
	return name
}

// proven returns the value of a cookie that proves something, "" for none. Of two with
// one name, one was put there by somebody else: then there is none.
func proven(r *http.Request, name string) string {
	found := r.CookiesNamed(proof(r, name))
	if len(found) != 1 || len(found[0].Value) > maxCookie {
		return ""
	}
	return found[0].Value
}

// setProof sets a cookie that proves something; expires may be zero.
func (v *visit) setProof(name, value string, expires time.Time) {
	http.SetCookie(v.w, &http.Cookie{
		Name: proof(v.r, name), Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: secure(v.r), SameSite: http.SameSiteLaxMode,
	})
}

func (v *visit) dropProof(name string) {
	http.SetCookie(v.w, &http.Cookie{
		Name: proof(v.r, name), Path: "/", MaxAge: -1,
		HttpOnly: true, Secure: secure(v.r), SameSite: http.SameSiteLaxMode,
	})
}

// set sets a cookie that proves nothing; 0 seconds removes it.
func (v *visit) set(name, value string, seconds int) {
	if seconds == 0 {
		seconds = -1
	}
	http.SetCookie(v.w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: secure(v.r), SameSite: http.SameSiteLaxMode,
	})
}

func cookieValue(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// csrf returns the token of forms that are bound to a secret: that of the session or,
// before a log-in, of the visitor. It reveals nothing about the secret.
func csrf(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("latchkey portal forms 1"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// markOf returns what tells a session of a browser from another. It reveals nothing about
// the session's token.
func markOf(token string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("latchkey portal session 1"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}

// formSecret returns the secret that forms of this visit are bound to. A visitor without
// one gets it with the page.
func (v *visit) formSecret() string {
	if v.token != "" {
		return v.token
	}
	if v.visitor == "" {
		v.visitor = rand.Text()
		v.setProof(cookieVisitor, v.visitor, time.Time{})
	}
	return v.visitor
}

// genuine reports whether a form was made by a page of this browser.
func (v *visit) genuine(token string) bool {
	secret := v.token
	if secret == "" {
		secret = v.visitor
	}
	return secret != "" && hmac.Equal([]byte(token), []byte(csrf(secret)))
}

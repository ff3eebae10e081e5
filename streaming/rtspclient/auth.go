package rtspclient

import (
	"crypto/md5" //nolint:gosec // the cameras' choice
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// Challenge is one way in which a device accepts credentials (RFC 7616, RFC 7617), over
// RTSP or HTTP.
type Challenge struct {
	Basic bool // the password is sent as it is
	Nonce string
	Stale bool // the nonce has run out, the credentials may be right

	realm     string
	opaque    string
	algorithm string // as the device writes it, "" if it does not
	qop       bool   // qop=auth
	strength  int    // the higher the better; 0: unknown here
	sessioned bool
	hash      func() hash.Hash
}

// maxChallenges limits how many are read of a response.
const maxChallenges = 16

// challenges reads the WWW-Authenticate headers of a response, in their order. One header
// may contain several, and the names of schemes may be in any case.
func challenges(values []string) []Challenge {
	var list []Challenge
	for _, v := range values {
		for _, text := range splitChallenges(v) {
			if c, ok := parseChallenge(text); ok && len(list) < maxChallenges {
				list = append(list, c)
			}
		}
	}
	return list
}

// splitChallenges separates the challenges of one header: each begins with a scheme.
func splitChallenges(v string) []string {
	var list []string
	start := 0
	for i := range len(v) {
		if i > 0 && !strings.ContainsRune(", \t", rune(v[i-1])) || quoted(v[start:i]) {
			continue
		}
		if i > start && (hasScheme(v[i:], "digest") || hasScheme(v[i:], "basic")) {
			list = append(list, v[start:i])
			start = i
		}
	}
	return append(list, v[start:])
}

func quoted(v string) bool { return strings.Count(v, `"`)%2 == 1 }

func hasScheme(v, scheme string) bool {
	return len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) && (v[len(scheme)] == ' ' || v[len(scheme)] == '\t')
}

func parseChallenge(v string) (Challenge, bool) {
	v = strings.Trim(v, ", \t")
	scheme, rest, _ := strings.Cut(v, " ")
	p := parameters(rest)
	c := Challenge{realm: p["realm"], Nonce: p["nonce"], opaque: p["opaque"], algorithm: p["algorithm"]}
	switch strings.ToLower(strings.TrimSpace(scheme)) {
	case "basic":
		c.Basic, c.strength = true, 1
		return c, true
	case "digest":
	default:
		return c, false
	}
	c.Stale = strings.EqualFold(p["stale"], "true")
	name, session := strings.CutSuffix(strings.ToUpper(c.algorithm), "-SESS")
	c.sessioned = session
	switch name {
	case "", "MD5":
		c.hash, c.strength = md5.New, 2
	case "SHA-256", "SHA256":
		c.hash, c.strength = sha256.New, 3
	case "SHA-512-256":
		c.hash, c.strength = sha512.New512_256, 4
	}
	if qop := p["qop"]; strings.TrimSpace(qop) != "" {
		c.qop = slices.ContainsFunc(strings.FieldsFunc(qop, func(r rune) bool { return r == ',' || r == ' ' }), func(q string) bool {
			return strings.EqualFold(q, "auth")
		})
		if !c.qop {
			c.strength = 0
		}
	}
	return c, true
}

// parameters reads name=value pairs, quoted or not, separated by commas.
func parameters(v string) map[string]string {
	p := map[string]string{}
	for v != "" {
		v = strings.TrimLeft(v, ", \t;")
		name, rest, ok := strings.Cut(v, "=")
		if !ok {
			break
		}
		rest = strings.TrimLeft(rest, " \t")
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, rest = untilQuote(rest[1:])
		} else if i := strings.IndexAny(rest, ",;"); i >= 0 {
			value, rest = strings.TrimSpace(rest[:i]), rest[i:]
		} else {
			value, rest = strings.TrimSpace(rest), ""
		}
		if name = strings.ToLower(strings.TrimSpace(name)); len(p) < 32 {
			if _, twice := p[name]; !twice {
				p[name] = value
			}
		}
		v = rest
	}
	return p
}

// untilQuote returns the text before the closing quote as it stands, escapes included: it
// is sent back the same way.
func untilQuote(v string) (value, rest string) {
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return v[:i], v[i+1:]
		}
	}
	return v, ""
}

// StrongestChallenge returns the best challenge of a response's WWW-Authenticate headers,
// nil if none can be answered. Basic, which reveals the password, is never chosen next to a
// Digest.
func StrongestChallenge(headers []string) *Challenge {
	var best Challenge
	digest := false
	for _, c := range challenges(headers) {
		digest = digest || !c.Basic
		if c.strength > best.strength {
			best = c
		}
	}
	if best.strength == 0 || best.Basic && digest {
		return nil
	}
	return &best
}

// Signer proves the credentials to a device, request by request.
type Signer struct {
	Challenge
	user, password string
	cnonce         string
	count          uint32 // requests signed with this nonce
}

// NewSigner returns a signer that answers the challenge.
func NewSigner(c Challenge, user, password string) *Signer {
	var random [8]byte
	_, _ = rand.Read(random[:])
	return &Signer{Challenge: c, user: user, password: password, cnonce: hex.EncodeToString(random[:])}
}

// Sign returns the Authorization header of a request.
func (s *Signer) Sign(method, uri string) string {
	if s.Basic {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.user+":"+s.password))
	}
	s.count++
	digest := func(text string) string {
		h := s.hash()
		_, _ = h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	// Quoted texts are hashed without their escapes.
	realm, nonce := strings.ReplaceAll(s.realm, `\"`, `"`), strings.ReplaceAll(s.Nonce, `\"`, `"`)
	a1 := digest(s.user + ":" + realm + ":" + s.password)
	if s.sessioned {
		a1 = digest(a1 + ":" + nonce + ":" + s.cnonce)
	}
	a2 := digest(method + ":" + uri)
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s", `, escaped(s.user), s.realm, s.Nonce, uri)
	if s.qop {
		count := fmt.Sprintf("%08x", s.count)
		fmt.Fprintf(&b, `response="%s", qop=auth, nc=%s, cnonce="%s"`, digest(a1+":"+nonce+":"+count+":"+s.cnonce+":auth:"+a2), count, s.cnonce)
	} else {
		fmt.Fprintf(&b, `response="%s"`, digest(a1+":"+nonce+":"+a2))
		if s.sessioned {
			fmt.Fprintf(&b, `, cnonce="%s"`, s.cnonce)
		}
	}
	if s.opaque != "" {
		fmt.Fprintf(&b, `, opaque="%s"`, s.opaque)
	}
	if s.algorithm != "" {
		fmt.Fprintf(&b, `, algorithm=%s`, s.algorithm)
	}
	return b.String()
}

func escaped(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`)
}

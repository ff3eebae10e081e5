package rtspclient

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// guarded is a camera's login: it checks what it is sent, as strictly as the strictest do.
type guarded struct {
	mu       sync.Mutex
	offers   []string // WWW-Authenticate; %s is the nonce
	nonce    int
	life     int // requests for which a nonce is good; 0: any
	used     int
	stale    bool // it says so
	password string
	wrong    int // refused credentials
	basic    int // passwords in clear
	noQOP    bool
}

func (g *guarded) say(_ net.Conn, _ int, r asked) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.method == "OPTIONS" && r.header.Get("Session") == "" {
		return ""
	}
	a := r.header.Get("Authorization")
	stale := ""
	if a != "" {
		switch g.check(a, r) {
		case "":
			return ""
		case "old":
			if g.stale {
				stale = ", stale=true"
			}
		default:
			g.wrong++
		}
	}
	g.nonce++
	g.used = 0
	var lines []string
	for _, offer := range g.offers {
		lines = append(lines, "WWW-Authenticate: "+strings.ReplaceAll(offer, "%s", fmt.Sprint("nonce", g.nonce))+stale)
	}
	return reply(r, "401 Unauthorized", lines...)
}

// check returns "" for good credentials, "old" for an old nonce.
func (g *guarded) check(a string, r asked) string {
	if text, ok := strings.CutPrefix(a, "Basic "); ok {
		g.basic++
		plain, _ := base64.StdEncoding.DecodeString(text)
		if string(plain) == "admin:"+g.password {
			return ""
		}
		return "wrong"
	}
	p := parameters(strings.TrimPrefix(a, "Digest "))
	h := func(text string) string {
		sum := md5.New()
		if strings.HasPrefix(strings.ToUpper(p["algorithm"]), "SHA-256") {
			sum = sha256.New()
		}
		sum.Write([]byte(text))
		return hex.EncodeToString(sum.Sum(nil))
	}
	a1 := h("admin:" + p["realm"] + ":" + g.password)
	if strings.HasSuffix(strings.ToLower(p["algorithm"]), "-sess") {
		a1 = h(a1 + ":" + p["nonce"] + ":" + p["cnonce"])
	}
	want := h(a1 + ":" + p["nonce"] + ":" + h(r.method+":"+r.uri))
	if p["qop"] != "" {
		want = h(a1 + ":" + p["nonce"] + ":" + p["nc"] + ":" + p["cnonce"] + ":" + p["qop"] + ":" + h(r.method+":"+r.uri))
	}
	asksQOP := strings.Contains(strings.Join(g.offers, ""), "qop") && !g.noQOP
	if p["response"] != want || p["uri"] != r.uri || asksQOP && p["qop"] != "auth" {
		return "wrong"
	}
	g.used++
	if p["nonce"] != fmt.Sprint("nonce", g.nonce) || g.life > 0 && g.used > g.life {
		return "old"
	}
	return ""
}

func TestAuthentication(t *testing.T) {
	digest := `Digest realm="IP Camera(1)", nonce="%s"`
	for name, g := range map[string]*guarded{
		"MD5":                     {offers: []string{digest}},
		"MD5 with qop":            {offers: []string{digest + `, qop="auth", opaque="x", algorithm=MD5`}},
		"qop of several":          {offers: []string{digest + `, qop="auth-int,auth"`}},
		"SHA-256":                 {offers: []string{digest + `, algorithm="SHA-256", stale="FALSE"`}},
		"SHA-256 with qop":        {offers: []string{digest + `, algorithm=SHA-256, qop="auth"`}},
		"MD5-sess":                {offers: []string{digest + `, algorithm=MD5-sess, qop="auth"`}},
		"both, the weaker first":  {offers: []string{digest, digest + `, algorithm=SHA-256`}},
		"one that is unknown":     {offers: []string{digest + `, algorithm=SHA-3`, digest}},
		"two in one header":       {offers: []string{`Basic realm="r", ` + digest}},
		"lower case":              {offers: []string{`digest REALM="r",NONCE="%s"`}},
		"without quotes":          {offers: []string{`Digest realm=r, nonce=%s`}},
		"Basic after Digest":      {offers: []string{digest, `Basic realm="r"`}},
		"Basic before Digest":     {offers: []string{`Basic realm="r"`, digest}},
		"Negotiate and Digest":    {offers: []string{`Negotiate`, digest}},
		"a comma in the realm":    {offers: []string{`Digest realm="a, b", nonce="%s"`}},
		"a scheme in the realm":   {offers: []string{`Digest realm="x, basic y", nonce="%s"`}},
		"a nonce for one request": {offers: []string{digest}, life: 1},
		"a nonce for two, stale":  {offers: []string{digest}, life: 2, stale: true},
		"stale at once, with qop": {offers: []string{digest + `, qop="auth"`}, life: 1, stale: true},
		"Basic alone":             {offers: []string{`BASIC realm="r"`}},
	} {
		t.Run(name, func(t *testing.T) {
			g.password = `p"a:ss`
			f := newFake(t, g.say)
			f.sdp = head + video + audio
			var k taken
			o := k.options()
			o.Username, o.Password = "admin", g.password
			c, _, err := playing(t, f.url(), o)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				c.ping()
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.wrong != 0 {
				t.Errorf("%d wrong", g.wrong)
			}
			if g.basic > 0 && !strings.Contains(name, "alone") {
				t.Error("the password was sent in clear")
			}
		})
	}
}

// TestWrongPasswords are sent once: several would lock the camera.
func TestWrongPasswords(t *testing.T) {
	digest := `Digest realm="r", nonce="%s"`
	for name, sc := range map[string]struct {
		offers []string
		user   string
		want   error
		wrong  int
	}{
		"Digest":                    {[]string{digest}, "admin", ErrWrongPassword, 1},
		"both":                      {[]string{digest + ", algorithm=SHA-256", digest}, "admin", ErrWrongPassword, 1},
		"Basic":                     {[]string{`Basic realm="r"`}, "admin", ErrWrongPassword, 1},
		"Digest, always stale":      {[]string{digest + `, stale=true`}, "admin", ErrWrongPassword, 2},
		"none is known":             {[]string{digest}, "", ErrNoCredentials, 0},
		"an unknown scheme":         {[]string{`Negotiate`}, "admin", ErrScheme, 0},
		"auth-int alone":            {[]string{digest + `, qop="auth-int"`}, "admin", ErrScheme, 0},
		"Basic and a broken Digest": {[]string{`Basic realm="r"`, digest + `, algorithm=X`}, "admin", ErrScheme, 0},
		"no challenge":              {nil, "admin", ErrScheme, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := &guarded{offers: sc.offers, password: "right"}
			f := newFake(t, g.say)
			var k taken
			o := k.options()
			tries := 0
			o.MayTry = func(context.Context, netip.Addr) (func(), error) { tries++; return nil, nil }
			if o.Username = sc.user; sc.user != "" {
				o.Password = "wrong"
			}
			_, _, err := playing(t, f.url(), o)
			var status *StatusError
			if !errors.Is(err, sc.want) || !errors.As(err, &status) || status.Code != 401 {
				t.Errorf("%v, want %v", err, sc.want)
			}
			if g.wrong != sc.wrong || tries != sc.wrong {
				t.Errorf("%d wrong, %d tries", g.wrong, tries)
			}
		})
	}
}

// TestThePasswordChangesWhilePlaying: keepalives do not send the old one for ever.
func TestThePasswordChangesWhilePlaying(t *testing.T) {
	for name, offer := range map[string]string{"Digest": `Digest realm="r", nonce="%s"`, "Basic": `Basic realm="r"`} {
		t.Run(name, func(t *testing.T) {
			g := &guarded{offers: []string{offer}, password: "old"}
			f := newFake(t, g.say)
			var k taken
			o := k.options()
			o.Username, o.Password = "admin", "old"
			c, _, err := playing(t, f.url(), o)
			if err != nil {
				t.Fatal(err)
			}
			g.mu.Lock()
			g.password = "new"
			g.mu.Unlock()
			for range 5 {
				c.ping()
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.wrong > 2 { // the second proves that it is not the nonce
				t.Errorf("the old password was sent %d times", g.wrong)
			}
			if err := c.Err(); err != nil {
				t.Errorf("the stream has ended: %v", err)
			}
		})
	}
}

// TestMayTry: credentials are not sent without leave, and what is accepted is told.
func TestMayTry(t *testing.T) {
	g := &guarded{offers: []string{`Digest realm="r", nonce="%s"`}, password: "right"}
	f := newFake(t, g.say)
	var k taken
	o := k.options()
	o.Username, o.Password = "admin", "right"
	no := errors.New("no")
	o.MayTry = func(context.Context, netip.Addr) (func(), error) { return nil, no }
	if _, _, err := playing(t, f.url(), o); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	accepted := 0
	o.MayTry = func(_ context.Context, peer netip.Addr) (func(), error) {
		if !peer.IsLoopback() {
			t.Errorf("peer %v", peer)
		}
		return func() { accepted++ }, nil
	}
	if _, _, err := playing(t, f.url(), o); err != nil || accepted != 1 {
		t.Errorf("%v, accepted %d times", err, accepted)
	}
}

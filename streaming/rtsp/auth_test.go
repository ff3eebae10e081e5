package rtsp

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"golang.org/x/time/rate"

	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
)

func digestFor(user, secret, nonce, method, uri string) string {
	ha1 := fmt.Sprintf("%x", md5.Sum([]byte(user+":"+realm+":"+secret)))
	ha2 := fmt.Sprintf("%x", md5.Sum([]byte(method+":"+uri)))
	return fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri=%q, response="%x"`,
		user, realm, nonce, uri, md5.Sum([]byte(ha1+":"+nonce+":"+ha2)))
}

func TestDigestAsPlayersSendIt(t *testing.T) {
	setup, _ := base.ParseURL("rtsp://door:8554/dev-1/1?transportmode=unicast/trackID=0")
	for name, c := range map[string]struct {
		uri  string
		want bool
	}{
		"the whole URL":     {"rtsp://door:8554/dev-1/1?transportmode=unicast/trackID=0", true},
		"VLC, no track":     {"rtsp://door:8554/dev-1/1?transportmode=unicast", true},
		"a slash at end":    {"rtsp://door:8554/dev-1/1?transportmode=unicast/", true},
		"the path only":     {"/dev-1/1?transportmode=unicast", true},
		"another host name": {"rtsp://10.0.0.1/dev-1/1?transportmode=unicast", true},
		"another channel":   {"rtsp://door:8554/dev-1/2?transportmode=unicast/trackID=0", false},
		"a star":            {"*", false},
		"no path":           {"rtsp://door:8554", false},
	} {
		cred, ok := parseAuthorization(digestFor("k", "s", "n", "SETUP", c.uri))
		if !ok {
			t.Errorf("%s: not parsed", name)
		}
		if got := cred.proves("s", base.Setup, setup); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if cred.proves("t", base.Setup, setup) || cred.proves("s", base.Play, setup) {
			t.Errorf("%s: a wrong secret or method passes", name)
		}
	}
}

func TestDigestWithQop(t *testing.T) {
	u, _ := base.ParseURL("rtsp://door/dev-1/1")
	ha1, ha2 := md5Hex("k", realm, "s"), md5Hex("DESCRIBE", "/dev-1/1")
	response := md5Hex(ha1, "n", "00000001", "c", "auth", ha2)
	c, ok := parseAuthorization(`digest response=` + strings.ToUpper(response) + `,qop=auth , nc=00000001,cnonce="c",uri="/dev-1/1",
		nonce="n",realm="` + realm + `",username="k",algorithm=md5,opaque="x"`)
	if !ok || !c.proves("s", base.Describe, u) || c.proves("", base.Describe, u) {
		t.Errorf("%v %+v", ok, c)
	}
}

func TestParseAuthorizationRefuses(t *testing.T) {
	good := digestFor("k", "s", "n", "SETUP", "/a/1")
	for _, s := range []string{
		"", "Basic", "Basic !", "Basic " + base64.StdEncoding.EncodeToString([]byte("nocolon")), "Basic " + base64.StdEncoding.EncodeToString([]byte(":x")),
		"Bearer x", "Digest", "Digest username", `Digest username="k`, good + `, username="other"`, good + ", algorithm=SHA-256",
		good + `, qop="auth-int"`, strings.Replace(good, "nonce", "once", 1), good + strings.Repeat(" ", maxAuthorization),
	} {
		if _, ok := parseAuthorization(s); ok {
			t.Errorf("%q is accepted", s)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add(digestFor("k", "s", "n", "SETUP", "rtsp://h/a/1/trackID=0"))
	f.Add("Basic " + base64.StdEncoding.EncodeToString([]byte("k:s")))
	f.Add(`Digest username="a\"b", nonce=n , uri=u,response=r,qop=auth`)
	u, _ := base.ParseURL("rtsp://h/a/1")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseAuthorization(s)
		if !ok {
			return
		}
		if c.username == "" || len(c.username) > maxKeyName {
			t.Errorf("%q has the user %q", s, c.username)
		}
		if c.proves("a secret that nobody knows", base.Setup, u) {
			t.Errorf("%q proves it", s)
		}
	})
}

// TestFailuresOfOneNameTouchNoOther: whoever guesses keys behind an address
// locks out nobody who has another one.
func TestFailuresOfOneNameTouchNoOther(t *testing.T) {
	f := failures{buckets: map[failureOf]*rate.Limiter{}}
	now, addr := time.Unix(1e9, 0), netip.MustParseAddr("192.0.2.1")
	for n := 1; n <= nameBurst; n++ {
		if f.locked(addr, "guessed", now) {
			t.Fatalf("locked before failure %d", n)
		}
		f.add(addr, "guessed", now)
	}
	if !f.locked(addr, "guessed", now) {
		t.Error("not locked after so many failures")
	}
	if f.locked(addr, "other", now) || f.locked(netip.MustParseAddr("192.0.2.2"), "guessed", now) {
		t.Error("another name or address is locked")
	}
	if f.locked(addr, "guessed", now.Add(nameEvery)) {
		t.Error("still locked after a while")
	}
	for n := range 3 * maxFailures {
		f.add(addr, fmt.Sprint(n), now)
	}
	if len(f.buckets) > maxFailures {
		t.Errorf("%d remembered", len(f.buckets))
	}
}

func TestAuthentication(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	h.grants.key(access.Key{Name: "old", Account: "ann", Expires: time.Now().Add(-time.Second)}, "secret")
	h.grants.key(access.Key{Name: "empty", Account: "ann"}, "")
	for key, want := range map[string]int{
		"": 401, annKey: 200, "kann:wrong": 401, "nobody:secret": 401, "old:secret": 401, "empty:": 503,
	} {
		p := h.player(t, "/dev-1/1", key)
		r, err := p.describe()
		if err != nil || r.status != want {
			t.Errorf("key %q: %v, %v; want %d", key, r, err, want)
			continue
		}
		offers := strings.Join(r.header["Www-Authenticate"], "\n")
		if want == 401 && (!strings.Contains(offers, "Digest realm=") || !strings.Contains(offers, "Basic realm=")) {
			t.Errorf("key %q: offered %q", key, offers)
		}
	}
	p := h.player(t, "/dev-1/1", annKey)
	p.digest, p.nonce = true, "of another connection"
	r, err := p.describe()
	if err != nil || r.status != 401 || !strings.Contains(strings.Join(r.header["Www-Authenticate"], ""), "stale=TRUE") {
		t.Fatalf("a stale nonce: %v, %v", r, err)
	}
	_, p.nonce, _ = strings.Cut(strings.Join(r.header["Www-Authenticate"], ""), `nonce="`)
	p.nonce, _, _ = strings.Cut(p.nonce, `"`)
	if status, err := p.watch("tcp"); status != 200 {
		t.Errorf("digest: %d, %v", status, err)
	}
}

// TestGuessesWait: an address that tries many names waits for its answers, and a right key
// from there is answered meanwhile.
func TestGuessesWait(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	guess := func(n int) (status int) {
		r, err := h.player(t, "/dev-1/1", fmt.Sprintf("guess%d:secret", n)).describe()
		if err != nil {
			t.Fatal(err)
		}
		return r.status
	}
	for n := range addrBurst {
		guess(n)
	}
	began := time.Now()
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			if status := guess(addrBurst + n); status != 401 {
				t.Errorf("guess %d: %d", n, status)
			}
		})
	}
	if r, err := h.player(t, "/dev-1/1", annKey).describe(); err != nil || r.status != 200 {
		t.Errorf("a right key behind the same address: %v, %v", r, err)
	}
	all.Wait()
	if waited := time.Since(began); waited < failureHold {
		t.Errorf("30 guesses were answered within %v", waited)
	}
}

package certificate

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// machine is a machine of a test: what can change about it.
type machine struct {
	OwnConfig
	now       time.Time
	addresses []string
	unknown   error
	logged    bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	m := &machine{now: time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC), addresses: []string{"192.168.1.5", "fe80::1", "203.0.113.9"}}
	m.OwnConfig = OwnConfig{
		File: filepath.Join(t.TempDir(), "https", "authority.pem"), Host: "NAS", Now: func() time.Time { return m.now },
		Addresses: func() (list []netip.Addr, err error) {
			for _, text := range m.addresses {
				list = append(list, netip.MustParseAddr(text))
			}
			return list, m.unknown
		},
		Logger: slog.New(slog.NewTextHandler(&m.logged, nil)),
	}
	return m
}

func (m *machine) open(t *testing.T) *Own {
	t.Helper()
	o, err := OpenOwn(m.OwnConfig)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// leaf returns the certificate for a handshake at the machine's time.
func (m *machine) leaf(t *testing.T, o *Own) *x509.Certificate {
	t.Helper()
	c, err := o.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// valid returns why a browser that trusts the root would refuse a name.
func (m *machine) valid(o *Own, leaf *x509.Certificate, name string) error {
	roots := x509.NewCertPool()
	roots.AddCert(o.Authority().Root())
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: m.now})
	return err
}

func TestOwnCertificates(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	o := m.open(t)
	leaf := m.leaf(t, o)
	for name, want := range map[string]bool{
		"nas.local": true, "nas.home.arpa": true, "localhost": true, "127.0.0.1": true, "::1": true, "192.168.1.5": true,
		"nas": false, "203.0.113.9": false, "nas.example.com": false, "other.local": false, "192.168.1.6": false,
	} {
		if err := m.valid(o, leaf, name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 397*24*time.Hour {
		t.Errorf("it lasts %v", life)
	}
	root := o.Authority().Root()
	if life := root.NotAfter.Sub(m.now); life != rootLife || !root.IsCA || !root.MaxPathLenZero || !o.Made() || o.Public() {
		t.Errorf("the root lasts %v; %+v", life, root.Subject)
	}
	for path, want := range map[string]os.FileMode{m.File: 0o600, filepath.Dir(m.File): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if bytes.Contains(o.Authority().PEM(), []byte("PRIVATE")) {
		t.Error("the root is offered with its key")
	}
	if list, _ := os.ReadDir(filepath.Dir(m.File)); len(list) != 1 {
		t.Errorf("something was left: %v", list)
	}
}

// TestTheRootIsConstrained: even its key makes no certificate for others.
func TestTheRootIsConstrained(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	o := m.open(t)
	for _, name := range []string{"example.com", "local.example.com", "8.8.8.8"} {
		if o.authority.vouches(name) {
			t.Errorf("it vouches for %s", name)
		}
		stolen := &Own{OwnConfig: m.OwnConfig, authority: &Authority{cert: permitting(o.authority.cert, name), key: o.authority.key}}
		stolen.Names = []string{name}
		cert, err := stolen.issue(m.now)
		if err != nil {
			t.Fatal(err)
		}
		var constraint x509.CertificateInvalidError
		if err := m.valid(o, cert.Leaf, name); !errors.As(err, &constraint) || constraint.Reason != x509.CANotAuthorizedForThisName {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// permitting is how whoever has the key may see the root: with one name more.
func permitting(root *x509.Certificate, name string) *x509.Certificate {
	c := *root
	c.PermittedDNSDomains = append(slices.Clone(c.PermittedDNSDomains), name)
	return &c
}

func TestOwnCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	o := m.open(t)
	first := m.leaf(t, o)
	again := func(after time.Duration, want bool, why string) {
		t.Helper()
		before := m.leaf(t, o)
		m.now = m.now.Add(after)
		if got := !m.leaf(t, o).Equal(before); got != want {
			t.Errorf("%s: a new one: %v", why, got)
		}
	}
	m.addresses = append(m.addresses, "192.168.1.77")
	again(time.Second, false, "looked a second ago")
	again(ownEvery, true, "a new address")
	if err := m.valid(o, m.leaf(t, o), "192.168.1.77"); err != nil {
		t.Error(err)
	}
	m.addresses = m.addresses[:1]
	again(ownEvery, false, "an address has gone")
	m.addresses = append(m.addresses, "198.51.100.7")
	again(ownEvery, false, "an address for which it cannot vouch")
	m.unknown = errors.New("no network")
	again(ownEvery, false, "no addresses")
	m.unknown = nil
	again(59*24*time.Hour, false, "more than a month is left")
	again(2*24*time.Hour, true, "less than a month is left")
	again(-70*24*time.Hour, true, "the clock was set back")
	if o.Authority().Root().NotAfter.Before(first.NotAfter) {
		t.Error("the root ends first")
	}
}

func TestTheAuthorityIsKept(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	first := m.open(t)
	second := m.open(t)
	if second.Made() || !second.Authority().Root().Equal(first.Authority().Root()) {
		t.Error("another one was made")
	}
	if _, err := MakeAuthority(m.File, "x", nil, m.now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("it was replaced: %v", err)
	}
	if got := first.Authority().Fingerprint(); len(got) != 32*3-1 || strings.Count(got, ":") != 31 {
		t.Errorf("fingerprint %s", got)
	}

	m.Names = []string{"door.example.com"}
	if _, err := OpenOwn(m.OwnConfig); err == nil || !strings.Contains(err.Error(), "door.example.com") {
		t.Errorf("a name that it cannot vouch for: %v", err)
	}
	m.Names = nil
	m.now = m.now.Add(rootLife - 30*24*time.Hour)
	late := m.open(t)
	leaf := m.leaf(t, late)
	if !leaf.NotAfter.Equal(late.Authority().Root().NotAfter) || !strings.Contains(m.logged.String(), "expires within a year") {
		t.Errorf("until %v: %s", leaf.NotAfter, &m.logged)
	}
	m.now = m.now.Add(10 * 24 * time.Hour)
	if !m.leaf(t, late).Equal(leaf) {
		t.Error("it is made again for nothing")
	}
	m.now = m.now.Add(20 * 24 * time.Hour)
	if _, err := OpenOwn(m.OwnConfig); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired: %v", err)
	}
}

func TestNamesThatAreGiven(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Host, m.Names = "door.example.com", []string{"cams.example.net", "203.0.113.9"}
	o := m.open(t)
	for _, name := range []string{"door.example.com", "door.local", "cams.example.net", "203.0.113.9"} {
		if err := m.valid(o, m.leaf(t, o), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, host := range []string{"", "localhost", "my host", "-x"} {
		if got := hostNames(host); got != nil {
			t.Errorf("%q is known as %v", host, got)
		}
	}
}

func TestAuthoritiesThatAreRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.open(t)
	good, err := os.ReadFile(m.File)
	if err != nil {
		t.Fatal(err)
	}
	other := newMachine(t)
	other.open(t)
	foreign, err := os.ReadFile(other.File)
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Index(good, []byte("-----BEGIN PRIVATE"))
	foreignKey := bytes.Index(foreign, []byte("-----BEGIN PRIVATE"))
	for name, text := range map[string][]byte{
		"empty": nil, "no key": good[:key], "no certificate": good[key:], "another key": append(bytes.Clone(good[:key]), foreign[foreignKey:]...),
		"damaged": bytes.Replace(good, []byte("MI"), []byte("XX"), 1),
	} {
		if _, err := parseAuthority(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := os.Chmod(m.File, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenOwn(m.OwnConfig); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("readable by the group: %v", err)
	}
	if _, err := MakeAuthority(filepath.Join(t.TempDir(), "a.pem"), "nas", nil, time.Unix(100, 0)); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a clock that was never set: %v", err)
	}
}

// FuzzAuthority: whatever is in the file, reading it ends, and what is accepted works.
func FuzzAuthority(f *testing.F) {
	file := filepath.Join(f.TempDir(), "authority.pem")
	a, err := MakeAuthority(file, "nas", nil, time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC))
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(a.PEM())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := parseAuthority(raw)
		if err == nil && (a.cert == nil || a.key == nil || a.Fingerprint() == "") {
			t.Error("accepted without a certificate or a key")
		}
	})
}

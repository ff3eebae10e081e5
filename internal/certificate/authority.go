package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"latchkey/internal/regular"
)

// rootLife is how long an authority lasts.
const rootLife = 10 * 365 * 24 * time.Hour

// earliest is before this code was written: a clock that says less was never set.
var earliest = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// localDomains are those for which an authority vouches besides names that it is made
// for: none of them can belong to anybody on the Internet.
var localDomains = []string{"localhost", "local", "lan", "home", "home.arpa", "internal"}

// localNetworks are the same of addresses.
var localNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), // also what overlay networks give to their hosts
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("::1/128"),
}

// Authority is a certificate authority for one local network. What it can vouch for is
// constrained: its key is worth little to a thief.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// OpenAuthority reads an authority; the error wraps fs.ErrNotExist if there is none.
func OpenAuthority(file string) (*Authority, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("reading the certificate authority: others may read or change %s, which holds its key (mode %v): make it 0600", file, mode)
	}
	raw, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	a, err := parseAuthority(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority %s: %w", file, err)
	}
	return a, nil
}

func parseAuthority(raw []byte) (*Authority, error) {
	a := &Authority{}
	for {
		block, rest := pem.Decode(raw)
		if block == nil {
			break
		}
		raw = rest
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			a.cert = cert
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			a.key, _ = key.(crypto.Signer)
		}
	}
	if a.cert == nil || a.key == nil {
		return nil, errors.New("it lacks a certificate or a key")
	}
	public, ok := a.cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !a.cert.IsCA || !ok || !public.Equal(a.key.Public()) {
		return nil, errors.New("the certificate is not of an authority with this key")
	}
	return a, nil
}

// MakeAuthority makes an authority for a host and for further names or addresses of it,
// and keeps it in a file, which must not exist.
func MakeAuthority(file, host string, names []string, now time.Time) (*Authority, error) {
	if now.Before(earliest) {
		return nil, fmt.Errorf("making a certificate authority: the clock of this machine says %s: set it first", now.Format(time.DateOnly))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	template, err := rootTemplate(host, names, now)
	if err != nil {
		return nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := keep(file, text); err != nil {
		return nil, fmt.Errorf("keeping the certificate authority: %w", err)
	}
	return parseAuthority(text)
}

func rootTemplate(host string, names []string, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	domains, networks := slices.Clone(localDomains), slices.Clone(localNetworks)
	for _, name := range append(hostNames(host), names...) {
		if addr, err := netip.ParseAddr(name); err == nil {
			networks = append(networks, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		} else if !within(name, domains) {
			domains = append(domains, name)
		}
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// Several of these may be in one list of a device.
		Subject:   pkix.Name{Organization: []string{"Latchkey"}, CommonName: fmt.Sprintf("Latchkey on %s (%s)", orUnnamed(host), now.UTC().Format(time.DateOnly))},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(rootLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: domains,
	}
	for _, n := range networks {
		bits := 32
		if n.Addr().Is6() {
			bits = 128
		}
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: n.Addr().AsSlice(), Mask: net.CIDRMask(n.Bits(), bits)})
	}
	return template, nil
}

// keep writes a file that only this user may read. It appears whole or not at all, and
// never replaces another one.
func keep(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file)
}

// Root returns the authority's own certificate.
func (a *Authority) Root() *x509.Certificate { return a.cert }

// PEM returns the authority's own certificate as text.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Fingerprint returns the SHA-256 of the authority's own certificate, as browsers show it.
func (a *Authority) Fingerprint() string {
	return strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(a.cert.Raw)), " ", ":"), ":")
}

// vouches reports whether the authority can vouch for a name or an address.
func (a *Authority) vouches(name string) bool {
	if addr, err := netip.ParseAddr(name); err == nil {
		ip := net.IP(addr.Unmap().AsSlice())
		return slices.ContainsFunc(a.cert.PermittedIPRanges, func(n *net.IPNet) bool { return len(n.IP) == len(ip) && n.Contains(ip) })
	}
	return within(name, a.cert.PermittedDNSDomains)
}

func within(name string, domains []string) bool {
	return slices.ContainsFunc(domains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) })
}

// hostNames returns the names under which a host is probably known in its network. A bare
// name is not among them: it may be a domain of the Internet, for all of which the
// authority could then vouch.
func hostNames(host string) []string {
	host = strings.Trim(strings.ToLower(host), ".")
	if !isName(host) || host == "localhost" {
		return nil
	}
	first, _, _ := strings.Cut(host, ".")
	var names []string
	if first != host {
		names = append(names, host)
	}
	for _, domain := range localDomains[1:] {
		if n := first + "." + domain; n != host {
			names = append(names, n)
		}
	}
	return names
}

// isName reports whether a text is a name of the DNS.
func isName(text string) bool {
	if text == "" || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func orUnnamed(host string) string {
	if len(hostNames(host)) == 0 {
		return "this machine"
	}
	return strings.ToLower(host)
}

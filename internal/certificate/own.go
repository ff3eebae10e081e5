package certificate

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	leafLife  = 90 * 24 * time.Hour // of a certificate by the own authority
	leafLeast = 30 * 24 * time.Hour // of its life, when the next one is made
	rootLeast = 365 * 24 * time.Hour

	// ownEvery is how often it is looked whether the addresses have changed.
	ownEvery = 10 * time.Second
	// mostNames bounds the names and addresses of a certificate.
	mostNames = 100
)

// OwnConfig configures Own. Every field but Names is required.
type OwnConfig struct {
	File  string   // of the authority, which is made if it is missing
	Host  string   // the name of this machine
	Names []string // further names, and addresses, in their usual spelling
	// Addresses returns the addresses of this machine.
	Addresses func() ([]netip.Addr, error)
	Now       func() time.Time
	Logger    *slog.Logger
}

// Own makes certificates for this machine under an authority of its own. They are in
// memory only, and made again in time and when an address is new. It is safe for
// concurrent use.
type Own struct {
	OwnConfig
	authority *Authority
	made      bool

	mu      sync.Mutex
	current *tls.Certificate
	looked  time.Time
}

// OpenOwn opens the authority, or makes it, and makes the first certificate.
func OpenOwn(cfg OwnConfig) (*Own, error) {
	o := &Own{OwnConfig: cfg, looked: cfg.Now()}
	var err error
	if o.authority, err = OpenAuthority(cfg.File); errors.Is(err, fs.ErrNotExist) {
		o.made = true
		o.authority, err = MakeAuthority(cfg.File, cfg.Host, cfg.Names, cfg.Now())
	}
	if err != nil {
		return nil, err
	}
	root := o.authority.Root()
	if !cfg.Now().Before(root.NotAfter) {
		return nil, fmt.Errorf("the certificate authority %s has expired: move it away, start again, and install the new one where the old one was", cfg.File)
	}
	if root.NotAfter.Sub(cfg.Now()) < rootLeast {
		cfg.Logger.Warn("the certificate authority expires within a year: move it away, start again, and install the new one where the old one was", "file", cfg.File, "expires", root.NotAfter)
	}
	for _, name := range cfg.Names {
		if !o.authority.vouches(name) {
			return nil, fmt.Errorf("the certificate authority %s was made without %q and cannot vouch for it: move it away, start again, and install the new one where the old one was", cfg.File, name)
		}
	}
	o.current, err = o.issue(cfg.Now())
	return o, err
}

// Authority returns the authority that signs.
func (o *Own) Authority() *Authority { return o.authority }

// Made reports whether the authority was made by OpenOwn.
func (o *Own) Made() bool { return o.made }

// Public reports that no browser trusts it by itself.
func (o *Own) Public() bool { return false }

// Get returns the certificate for a handshake.
func (o *Own) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.Now(); now.Sub(o.looked).Abs() >= ownEvery {
		o.looked = now
		o.renew(now)
	}
	return o.current, nil
}

// Leaf returns the certificate that is used now.
func (o *Own) Leaf() *x509.Certificate {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current.Leaf
}

// renew makes another certificate if it is time, the clock was set back, or this machine
// has a new address.
func (o *Own) renew(now time.Time) {
	leaf := o.current.Leaf
	_, addresses, err := o.subjects()
	if err != nil {
		o.Logger.Warn("the addresses of this machine cannot be read; its certificate keeps those it has", "err", err)
	}
	known := !slices.ContainsFunc(addresses, func(a netip.Addr) bool {
		return !slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool { b, _ := netip.AddrFromSlice(ip); return b.Unmap() == a })
	})
	if known && !now.Before(leaf.NotBefore) && (leaf.NotAfter.Sub(now) > leafLeast || leaf.NotAfter.Equal(o.authority.cert.NotAfter)) {
		return
	}
	next, err := o.issue(now)
	if err != nil {
		o.Logger.Error("no new TLS certificate can be made, and the old one is used", "err", err)
		return
	}
	o.current = next
	o.Logger.Info("a new TLS certificate is used", "expires", next.Leaf.NotAfter)
}

// subjects returns the names and addresses of this machine for which the authority can
// vouch. The error is that of reading the addresses: the others are there all the same.
func (o *Own) subjects() (names []string, addresses []netip.Addr, err error) {
	found, err := o.Addresses()
	addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	all := append([]string{"localhost"}, append(o.Names, hostNames(o.Host)...)...)
	for _, name := range all {
		if addr, err := netip.ParseAddr(name); err == nil {
			addresses = append(addresses, addr.Unmap())
		} else if o.authority.vouches(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	for _, addr := range found {
		addr = addr.Unmap().WithZone("")
		if o.authority.vouches(addr.String()) && !slices.Contains(addresses, addr) {
			addresses = append(addresses, addr)
		}
	}
	return names[:min(len(names), mostNames)], addresses[:min(len(addresses), mostNames)], err
}

// issue makes a certificate with a new key.
func (o *Own) issue(now time.Time) (*tls.Certificate, error) {
	names, addresses, err := o.subjects()
	if err != nil {
		o.Logger.Warn("the addresses of this machine cannot be read; its certificate has its names only", "err", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a TLS certificate: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("making a TLS certificate: %w", err)
	}
	root := o.authority.cert
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Latchkey"}, CommonName: cmp.Or(strings.ToLower(o.Host), "localhost")},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names,
	}
	if template.NotAfter.After(root.NotAfter) {
		template.NotAfter = root.NotAfter
	}
	for _, a := range addresses {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), o.authority.key)
	if err != nil {
		return nil, fmt.Errorf("making a TLS certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making a TLS certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, root.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

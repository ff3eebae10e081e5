package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/net/idna"
	"golang.org/x/sync/errgroup"

	"latchkey/api"
	"latchkey/internal/certificate"
)

// Secure are the flags of the REST API over TLS.
type Secure struct {
	HTTPS         string `name:"https" placeholder:"ADDR" help:"Address of the portal and the REST API over TLS, such as 0.0.0.0:443. --http then only redirects to it, unless it is on loopback. The certificate is from files, from --acme, or from an authority of this service's own, which devices have to trust (latchkey root). Without it: none."`
	HTTPSCert     string `name:"https-cert" placeholder:"FILE" help:"TLS certificate of --https, with its chain, as PEM. It is read again when it changes."`
	HTTPSKey      string `name:"https-key" placeholder:"FILE" help:"Key of that certificate, as PEM, which only this user and group may read."`
	HTTPSNames    string `name:"https-names" placeholder:"NAME,..." help:"Names and addresses of this machine, besides those that it knows itself, for the certificate of the service's own authority."`
	ACME          string `name:"acme" placeholder:"NAME,..." help:"Domain names for which certificates of --https are got by ACME; port 443 of them must lead to --https, or port 80 to --http. You accept the terms of the authority."`
	ACMEDirectory string `name:"acme-directory" placeholder:"URL" help:"Directory of the ACME authority. Without it: Let's Encrypt's."`
}

// Files in the data folder.
const (
	authorityFile = "https/authority.pem"
	acmeFolder    = "https/acme"
)

const mostACMENames = 20

// secureOptions are validated flags of HTTPS.
type secureOptions struct {
	names, acme []string
	directory   string
}

func (s Secure) checkHTTPS(fault func(flag, format string, args ...any)) secureOptions {
	o := secureOptions{directory: cmp.Or(s.ACMEDirectory, acme.LetsEncryptURL)}
	for _, f := range [][2]string{{"https-cert", s.HTTPSCert}, {"https-key", s.HTTPSKey}, {"https-names", s.HTTPSNames}, {"acme", s.ACME}} {
		if f[1] != "" && s.HTTPS == "" {
			fault(f[0], "it goes together with --https")
		}
	}
	if (s.HTTPSCert == "") != (s.HTTPSKey == "") {
		fault("https-cert", "it goes together with --https-key")
	}
	if s.HTTPSCert != "" && s.ACME != "" {
		fault("acme", "it does not go together with --https-cert: the certificate is from files or by ACME")
	}
	if s.HTTPSNames != "" && (s.HTTPSCert != "" || s.ACME != "") {
		fault("https-names", "it is for the certificate of the service's own authority, and does not go together with --https-cert or --acme")
	}
	if s.ACMEDirectory != "" && s.ACME == "" {
		fault("acme-directory", "it goes together with --acme")
	}
	if u, err := url.Parse(o.directory); err != nil || u.Scheme != "https" || u.Host == "" {
		fault("acme-directory", "%q is not an https address", s.ACMEDirectory)
	}
	for _, text := range commaList(s.HTTPSNames) {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" && !addr.IsUnspecified() && !addr.IsMulticast() {
			o.names = append(o.names, addr.Unmap().String())
		} else if name, err := domainName(text); err == nil {
			o.names = append(o.names, name)
		} else {
			fault("https-names", "%q is not a name such as nas.example.com, nor an address", text)
		}
	}
	for _, text := range commaList(s.ACME) {
		name, err := domainName(text)
		if err != nil || !strings.Contains(name, ".") {
			fault("acme", "%q is not a domain name such as latchkey.example.com", text)
		}
		if !slices.Contains(o.acme, name) {
			o.acme = append(o.acme, name)
		}
	}
	if len(o.acme) > mostACMENames || len(o.names) > mostACMENames {
		fault("https", "at most %d names", mostACMENames)
	}
	return o
}

func commaList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// domainName returns the usual spelling of a name of the DNS.
func domainName(text string) (string, error) {
	name, err := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true), idna.VerifyDNSLength(true)).ToASCII(strings.TrimSuffix(text, "."))
	if _, ip := netip.ParseAddr(name); ip == nil {
		return "", errors.New("an address")
	}
	return name, err
}

// certificates is where the certificate of HTTPS comes from: one of the three.
type certificates struct {
	files *certificate.Files
	acme  *certificate.ACME
	own   *certificate.Own
}

// openCertificates returns nil without --https.
func (o options) openCertificates(logger *slog.Logger) (_ *certificates, err error) {
	c := &certificates{}
	switch {
	case o.HTTPS == "":
		return nil, nil
	case o.HTTPSCert != "":
		c.files, err = certificate.OpenFiles(o.HTTPSCert, o.HTTPSKey, time.Now, logger)
	case len(o.secure.acme) > 0:
		c.acme = certificate.NewACME(certificate.ACMEConfig{Names: o.secure.acme, Directory: o.secure.directory, Folder: filepath.Join(o.Data, acmeFolder), Now: time.Now, Logger: logger})
	default:
		host, herr := os.Hostname()
		if herr != nil {
			logger.Warn("this machine does not tell its name; its certificate has only addresses", "err", herr)
		}
		c.own, err = certificate.OpenOwn(certificate.OwnConfig{
			File: filepath.Join(o.Data, authorityFile), Host: host, Names: o.secure.names, Addresses: o.ownAddresses, Now: time.Now, Logger: logger,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("opening HTTPS: %w", err)
	}
	return c, nil
}

// get returns the certificate for a handshake.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	switch {
	case c.files != nil:
		return c.files.Get(hello)
	case c.acme != nil:
		return c.acme.Get(hello)
	}
	return c.own.Get(hello)
}

// public reports whether browsers trust the certificate by themselves.
func (c *certificates) public() bool {
	switch {
	case c.files != nil:
		return c.files.Public()
	case c.acme != nil:
		return c.acme.Public()
	}
	return false
}

func (c *certificates) config() *tls.Config {
	cfg := &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.acme != nil {
		cfg.NextProtos = append(cfg.NextProtos, acme.ALPNProto)
	}
	return cfg
}

// root returns the certificate of the service's own authority; nil if it has none.
func (c *certificates) root() []byte {
	if c == nil || c.own == nil {
		return nil
	}
	return c.own.Authority().Root().Raw
}

// doorCertificate is that of RTSPS: from files of its own, or that of HTTPS.
func (o options) doorCertificate(c *certificates, logger *slog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	switch {
	case o.RTSPS == "":
		return nil, nil
	case o.RTSPSCert == "":
		return c.get, nil
	}
	files, err := certificate.OpenFiles(o.RTSPSCert, o.RTSPSKey, time.Now, logger)
	if err != nil {
		return nil, fmt.Errorf("opening RTSPS: %w", err)
	}
	return files.Get, nil
}

// listen opens the addresses of the REST API.
func (s *runningService) listen(o options) (err error) {
	if s.http, err = net.Listen("tcp", o.HTTP); err != nil {
		return fmt.Errorf("opening the REST API: %w", err)
	}
	s.upstreams.NeverDial(s.http.Addr())
	if s.certificates == nil {
		return nil
	}
	if s.https, err = net.Listen("tcp", o.HTTPS); err != nil {
		return fmt.Errorf("opening HTTPS: %w", err)
	}
	s.upstreams.NeverDial(s.https.Addr())
	return nil
}

// redirects reports whether plain HTTP only leads to HTTPS.
func (s *runningService) redirects() bool { return s.https != nil && !onLoopback(s.http) }

// portalAddress returns where a browser opens the portal, as a URL: by HTTPS if it is served
// to others, or there is nothing else to reach from where others are.
func (s *runningService) portalAddress(o options) string {
	if s.https != nil && (!onLoopback(s.https) || onLoopback(s.http)) {
		return address("https", s.hosts(o)[0], portOf(s.https))
	}
	host := "localhost"
	if hosts := reachable(s.http.Addr()); len(hosts) > 0 {
		host = hosts[0]
	}
	return address("http", host, portOf(s.http))
}

// hosts returns the names and addresses under which browsers open the service by HTTPS,
// at least one.
func (s *runningService) hosts(o options) []string {
	hosts := reachable(s.https.Addr())
	switch c := s.certificates; {
	case c.acme != nil:
		return o.secure.acme
	case c.files != nil:
		hosts = namesOf(c.files.Leaf(), hosts)
	default:
		hosts = covered(c.own, hosts)
	}
	if len(hosts) > 0 {
		return hosts
	}
	if tcp, ok := s.https.Addr().(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() { // nothing listens elsewhere
		return []string{tcp.IP.String()}
	}
	return []string{"localhost"}
}

// serveAPI serves the REST API until the context ends or an address of it fails.
func (s *runningService) serveAPI(ctx context.Context, server *api.Server) error {
	if s.https == nil {
		return server.Run(ctx, s.http)
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return server.RunSecure(ctx, s.https, api.Secure{TLS: s.certificates.config(), Public: s.certificates.public})
	})
	all.Go(func() error {
		if !s.redirects() {
			return server.Run(ctx, s.http)
		}
		to := api.Redirect{Port: portOf(s.https)}
		if s.certificates.acme != nil {
			to.Challenge = s.certificates.acme.Challenge
		}
		return server.RunRedirect(ctx, s.http, to)
	})
	return all.Wait()
}

func portOf(l net.Listener) string {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return ""
	}
	return port
}

// tellHTTPS says where browsers open the service, and why they may complain.
func (s *runningService) tellHTTPS(o options, to io.Writer) {
	if s.https == nil {
		return
	}
	c, hosts := s.certificates, s.hosts(o)
	fmt.Fprintf(to, "Open %s in a browser.\n", addresses("https", hosts, portOf(s.https)))
	switch {
	case c.acme != nil:
		fmt.Fprintf(to, "Its certificate comes from %s. Until the first one has come, browsers cannot connect; if it does not come, the log says why.\n", hostOfURL(o.secure.directory))
	case c.files != nil:
		if !c.files.Public() {
			fmt.Fprintf(to, "This machine does not trust the certificate in %s, so browsers may warn of it.\n", o.HTTPSCert)
		}
	default:
		fmt.Fprintf(to, "It will warn until its device trusts this service's own certificate authority, which is at\n  %s\n"+
			"Compare its SHA-256 fingerprint before you trust it: latchkey root shows it, and a QR code of that address.\n  %s\n",
			rootAddress(s.http.Addr(), s.https.Addr()), c.own.Authority().Fingerprint())
		if !onLoopback(s.https) && len(covered(c.own, reachable(s.https.Addr()))) == 0 {
			fmt.Fprintln(to, "This machine has no address of a private network, and the authority vouches for no other: see --acme, or name this machine with --https-names before the first start.")
		}
	}
}

func hostOfURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Host
}

// localAddresses returns the addresses of this machine.
func localAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of this machine: %w", err)
	}
	var list []netip.Addr
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, addr.Unmap())
			}
		}
	}
	return list, nil
}

// ownAddresses returns the addresses of this machine, and those that TLS is served on: all
// of 127.0.0.0/8 is this machine, but its interfaces name one.
func (o options) ownAddresses() ([]netip.Addr, error) {
	list, err := localAddresses()
	for _, text := range []string{o.HTTPS, o.RTSPS} {
		if at, err := netip.ParseAddrPort(text); err == nil && !at.Addr().IsUnspecified() {
			list = append(list, at.Addr())
		}
	}
	return list, err
}

// reachable returns the hosts under which others reach a listener, without those that
// change or mean something only here.
func reachable(at net.Addr) []string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return nil
	}
	if !tcp.IP.IsUnspecified() {
		return []string{tcp.IP.String()}
	}
	var hosts []string
	list, _ := localAddresses() // without them only the name is told
	slices.SortStableFunc(list, func(a, b netip.Addr) int { return remote(a) - remote(b) })
	for _, a := range list {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			hosts = append(hosts, a.String())
		}
	}
	return hosts
}

// remote sorts addresses: those of the own network first, and IPv4 first.
func remote(a netip.Addr) int {
	if a.IsPrivate() {
		return a.BitLen()
	}
	return 128 + a.BitLen()
}

// covered returns the hosts for which the certificate is good, and the name of this machine
// if others reach it.
func covered(own *certificate.Own, hosts []string) []string {
	leaf := own.Leaf()
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return leaf.VerifyHostname(h) != nil })
	others := slices.ContainsFunc(hosts, func(h string) bool { ip := net.ParseIP(h); return ip == nil || !ip.IsLoopback() })
	for _, name := range leaf.DNSNames {
		if strings.HasSuffix(name, ".local") && others {
			hosts = append(hosts, name)
		}
	}
	return hosts
}

// namesOf returns the names of a certificate, or the hosts if it has none.
func namesOf(leaf *x509.Certificate, hosts []string) []string {
	names := slices.DeleteFunc(slices.Clone(leaf.DNSNames), func(n string) bool { return strings.HasPrefix(n, "*") })
	if len(names) == 0 {
		return hosts
	}
	return names
}

// addresses names at most three.
func addresses(scheme string, hosts []string, port string) string {
	var list []string
	for _, host := range hosts[:min(len(hosts), 3)] {
		list = append(list, address(scheme, host, port))
	}
	return strings.Join(list, " or ")
}

func address(scheme, host, port string) string {
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// rootAddress returns where the authority's certificate can be downloaded: over plain
// HTTP if others reach that, as their browsers warn of HTTPS until they have it.
func rootAddress(plain, secure net.Addr) string {
	scheme, at := "http", plain
	if tcp, ok := plain.(*net.TCPAddr); !ok || tcp.IP.IsLoopback() {
		scheme, at = "https", secure
	}
	host := "localhost"
	if hosts := reachable(at); len(hosts) > 0 {
		host = hosts[0]
	}
	_, port, _ := net.SplitHostPort(at.String())
	return address(scheme, host, port) + api.RootPath
}

package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"latchkey/internal/regular"
)

// filesEvery is how often it is looked whether the files have changed.
const filesEvery = time.Second

// Files is a certificate and its key in two files. They are read again when they have
// changed; until the new ones fit together, the old ones serve. It is safe for concurrent
// use.
type Files struct {
	certFile, keyFile string
	now               func() time.Time
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	public  bool     // browsers trust it by themselves
	read    [2]stamp // of the files that were read last
	looked  time.Time
}

// stamp tells one version of a file from another.
type stamp struct {
	size     int64
	modified time.Time
	file     os.FileInfo
}

func (s stamp) same(other stamp) bool {
	return s.size == other.size && s.modified.Equal(other.modified) && s.file != nil && other.file != nil && os.SameFile(s.file, other.file)
}

// OpenFiles reads the files for the first time.
func OpenFiles(certFile, keyFile string, now func() time.Time, log *slog.Logger) (*Files, error) {
	c := &Files{certFile: certFile, keyFile: keyFile, now: now, log: log, looked: now()}
	var err error
	if c.read, err = c.stamps(); err != nil {
		return nil, err
	}
	if c.current, err = c.load(); err != nil {
		return nil, err
	}
	c.public = trusted(c.current, now())
	return c, nil
}

// Get returns the certificate for a handshake.
func (c *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked).Abs() >= filesEvery {
		c.looked = now
		c.renew()
	}
	return c.current, nil
}

// renew reads the files if they have changed. It reports a version that cannot be used
// once.
func (c *Files) renew() {
	stamps, err := c.stamps()
	if err != nil {
		if c.read != ([2]stamp{}) {
			c.log.Error("the TLS certificate cannot be read again, and the old one is used", "err", err)
		}
		c.read = [2]stamp{}
		return
	}
	if stamps[0].same(c.read[0]) && stamps[1].same(c.read[1]) {
		return
	}
	c.read = stamps
	next, err := c.load()
	if err != nil {
		c.log.Error("the new TLS certificate cannot be used, and the old one is", "err", err)
		return
	}
	c.current, c.public = next, trusted(next, c.now())
	c.log.Info("a new TLS certificate is used", "expires", next.Leaf.NotAfter)
}

func (c *Files) stamps() (s [2]stamp, err error) {
	for n, name := range [2]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, fmt.Errorf("reading the TLS certificate: %w", err)
		}
		if !info.Mode().IsRegular() { // a pipe would be waited for, and cannot be read again
			return s, fmt.Errorf("reading the TLS certificate: %s: %w", name, regular.ErrNot)
		}
		s[n] = stamp{info.Size(), info.ModTime(), info}
	}
	if mode := s[1].file.Mode().Perm(); mode&0o007 != 0 {
		return s, fmt.Errorf("reading the TLS key: everybody may read or change %s (mode %v): make it 0600", c.keyFile, mode)
	}
	return s, nil
}

func (c *Files) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("reading the TLS certificate: %w", err)
		}
	}
	return &pair, nil
}

// Public reports whether the certificate leads to an authority that this machine trusts.
func (c *Files) Public() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.public
}

// Leaf returns the certificate that is used now.
func (c *Files) Leaf() *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf
}

// trusted reports whether a certificate with its chain leads to an authority that this
// machine trusts.
func trusted(c *tls.Certificate, now time.Time) bool {
	options := x509.VerifyOptions{Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, der := range c.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			options.Intermediates.AddCert(cert)
		}
	}
	_, err := c.Leaf.Verify(options)
	return err == nil
}

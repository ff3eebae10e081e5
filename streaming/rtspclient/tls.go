package rtspclient

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

// secured starts TLS. The certificate must be the confirmed one, or if none was confirmed,
// valid for the name by the system's authorities.
func (c *Client) secured(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ResponseTimeout)
	defer cancel()
	secured := tls.Client(conn, &tls.Config{
		ServerName: name, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection:   func(state tls.ConnectionState) error { return c.trust(state, name) },
	})
	err := secured.HandshakeContext(ctx)
	var certificate *CertificateError
	switch {
	case err == nil:
		return secured, nil
	case errors.As(err, &certificate):
		return nil, certificate
	case ctx.Err() != nil:
		return nil, ErrMute
	default:
		return nil, ErrNoTLS
	}
}

// trust reports what is wrong with a certificate. Credentials go to the host of the
// address only, and so does the confirmed certificate.
func (c *Client) trust(state tls.ConnectionState, name string) error {
	if len(state.PeerCertificates) == 0 {
		return ErrNoTLS
	}
	leaf := state.PeerCertificates[0]
	found := Fingerprint(sha256.Sum256(leaf.Raw))
	home, _ := c.home.split()
	pinned := c.opts.Certificate != Fingerprint{} && name == home
	if pinned {
		if found != c.opts.Certificate {
			return &CertificateError{Fingerprint: found, Pinned: true}
		}
		return nil
	}
	options := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	for _, other := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(other)
	}
	if _, err := leaf.Verify(options); err != nil {
		return &CertificateError{Fingerprint: found}
	}
	return nil
}

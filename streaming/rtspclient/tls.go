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
	home, _ := c.home.split()
	var pin Fingerprint
	if name == home { // the confirmed certificate belongs to the host of the address
		pin = c.opts.Certificate
	}
	secured := tls.Client(conn, TLS(name, pin))
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

// TLS returns how a device is spoken to over TLS: its certificate must be the confirmed
// one, or if none was confirmed, valid for the host by the system's authorities. Otherwise
// the handshake fails with a *CertificateError.
func TLS(host string, confirmed Fingerprint) *tls.Config {
	return &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection: func(state tls.ConnectionState) error {
			return trust(state, host, confirmed)
		},
	}
}

func trust(state tls.ConnectionState, host string, confirmed Fingerprint) error {
	if len(state.PeerCertificates) == 0 {
		return ErrNoTLS
	}
	leaf := state.PeerCertificates[0]
	found := Fingerprint(sha256.Sum256(leaf.Raw))
	if confirmed != (Fingerprint{}) {
		if found != confirmed {
			return &CertificateError{Fingerprint: found, Pinned: true}
		}
		return nil
	}
	options := x509.VerifyOptions{DNSName: host, Intermediates: x509.NewCertPool()}
	for _, other := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(other)
	}
	if _, err := leaf.Verify(options); err != nil || host == "" {
		return &CertificateError{Fingerprint: found}
	}
	return nil
}

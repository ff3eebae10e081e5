package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"latchkey/streaming/rtspclient"
)

const (
	// maxAnswers limits what is read from one connection, in bytes.
	maxAnswers = 1 << 20
	// dialWithin limits the dial of one name, with all of its addresses.
	dialWithin = 4 * time.Second
)

var (
	errDenied  = errors.New("the address is not allowed for cameras")
	errTooLong = errors.New("the device's response is too large")
)

// dialError is a failure to connect, as opposed to one of the conversation.
type dialError struct{ cause error }

func (e *dialError) Error() string { return "connecting: " + e.cause.Error() }
func (e *dialError) Unwrap() error { return e.cause }

// dial connects to an address if the policy allows it. The policy sees the resolved
// address at the moment of connecting. The connection ends with the context's deadline,
// and when too much was read from it.
func (c *Client) dial(ctx context.Context, network, address string) (*boundedConn, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, errors.New("dialing requires a deadline")
	}
	dialer := net.Dialer{
		Timeout:       dialWithin,
		FallbackDelay: -1, // one address after the other
		Control: func(_, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return errDenied
			}
			addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
			if c.cfg.Allow(addr) != nil {
				return errDenied
			}
			return nil
		},
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, &dialError{err}
	}
	b := &boundedConn{Conn: conn}
	b.left.Store(maxAnswers)
	return b, nil
}

// boundedConn reads a limited number of bytes.
type boundedConn struct {
	net.Conn
	left atomic.Int64
}

func (b *boundedConn) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooLong
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}

// address returns the IP address of the device; the zero Addr if it has none.
func (b *boundedConn) address() netip.Addr {
	addr, err := netip.ParseAddrPort(b.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap().WithZone("")
}

// over speaks TLS with the host, whose certificate was confirmed or is valid.
func (b *boundedConn) over(ctx context.Context, host string, confirmed rtspclient.Fingerprint) (net.Conn, error) {
	conn := tls.Client(b, rtspclient.TLS(host, confirmed))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("starting TLS: %w", err)
	}
	return conn, nil
}

// failed returns the failure of a conversation; other is the kind of an invalid response.
func failed(err error, other Kind, service Service) *Failure {
	f := fail(kindOf(err, other), service)
	var certificate *rtspclient.CertificateError
	if errors.As(err, &certificate) {
		f.Kind, f.Certificate = CertificateNotTrusted, certificate.Fingerprint
	}
	return f
}

// kindOf classifies the error of a conversation; other is the kind of an invalid
// response.
func kindOf(err error, other Kind) Kind {
	var dial *dialError
	var network net.Error
	switch {
	case errors.Is(err, errDenied):
		return AddressForbidden
	case errors.As(err, &dial):
		return NotReachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Timeout
	case errors.As(err, &network) && network.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return other
	default:
		return other
	}
}

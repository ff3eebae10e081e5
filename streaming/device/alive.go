package device

import (
	"context"
	"errors"
	"time"

	"latchkey/streaming/rtspclient"
)

// aliveWithin limits how long a device may take to respond to Alive.
const aliveWithin = 4 * time.Second

// Alive returns nil if an RTSP server responds at the address: it connects and sends
// OPTIONS, without credentials, so that nothing is counted as a guess. Otherwise the error
// is a *Failure.
func (c *Client) Alive(ctx context.Context, address string) error {
	stream, _, err := parseStream(address)
	if err != nil {
		return fail(Unsupported, RTSP)
	}
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	p := &proof{client: c}
	client, err := p.dialRTSP(ctx, stream)
	if err == nil {
		defer client.Close()
		_, err = client.Options(ctx)
	}
	var status *rtspclient.StatusError
	var certificate *rtspclient.CertificateError
	if err == nil || errors.As(err, &status) || errors.As(err, &certificate) { // it responds
		return nil
	}
	return rtspFailure(err)
}

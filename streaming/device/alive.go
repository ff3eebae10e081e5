package device

import (
	"context"
	"errors"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// aliveWithin limits how long a device may take to respond to Alive.
const aliveWithin = 4 * time.Second

// Alive returns nil if an RTSP server responds at the address: it connects and sends
// OPTIONS, without credentials, so that nothing is counted as a guess. Otherwise the error
// is a *Failure.
func (c *Client) Alive(ctx context.Context, address string) error {
	u, err := parseStream(address)
	if err != nil {
		return fail(Unsupported, RTSP)
	}
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	s := &rtspSession{proof: &proof{client: c}, root: u}
	defer s.close()
	_, err = s.exchange(ctx, &base.Request{Method: base.Options, URL: u, Header: base.Header{}})
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	return err
}

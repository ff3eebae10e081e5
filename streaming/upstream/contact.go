package upstream

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"latchkey/domain/ids"
	"latchkey/streaming/rtspclient"
)

// DialFunc connects to an address, if the policy allows it.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Contact calls talk, which connects to a device at an address for another use than a
// stream of the pool, such as a recording. It waits for a slot of the device and for its
// owner's turn, as streams do, and both share what is known of the device: one that
// refuses the password, or does not respond, is left alone for a while. The context of
// talk ends with the dial timeout; what it connected may last longer.
//
// It fails with an AwayError, or with the error of talk.
func (p *Pool) Contact(ctx context.Context, device ids.Device, address string, talk func(context.Context, DialFunc) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	u := &upstream{of: Stream{Device: device}}
	p.mu.Lock()
	wait := p.camera(cameraAt{device: device, host: hostOf(address)}).retry.until.Sub(p.cfg.Now())
	p.mu.Unlock()
	if wait > 0 {
		return &AwayError{Wait: wait, cause: errBusy}
	}
	leave, err := p.enter(ctx, u, Source{URL: address})
	if err != nil {
		return &AwayError{Wait: firstBackoff, cause: err}
	}
	defer leave()
	permit, err := p.dials.begin(ctx, p.cfg.Privileges.Owner(device))
	var spent *spentError
	if errors.As(err, &spent) {
		return &AwayError{Wait: spent.wait, cause: err}
	}
	if err != nil {
		return &AwayError{Wait: firstBackoff, cause: err}
	}
	defer permit.end()
	p.metrics.dials.Inc()
	err = talk(ctx, permit.dialAs(p))
	p.contacted(u, ctx, err)
	switch fault := faultOf(err); {
	case err == nil:
		p.cfg.Reached(device, "")
	case fault.ofCamera && ctx.Err() == nil:
		p.cfg.Reached(device, fault.label)
	}
	return err
}

// dialAs returns the pool's dialer for a permit.
func (p *permit) dialAs(pool *Pool) DialFunc {
	var connected atomic.Bool
	return DialFunc(pool.dialer(p, &connected))
}

// contacted notes what a contact tells of the device: whether it can be reached, and
// accepts the password.
func (p *Pool) contacted(u *upstream, ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		u.camera.retry, u.camera.good = backoff{}, true
	case errors.Is(ctx.Err(), context.Canceled): // nobody waits for it any more
	case errors.Is(err, rtspclient.ErrWrongPassword):
		u.camera.retry.refused(p.cfg.Now())
		u.camera.good = false
	case faultOf(err).ofCamera, errors.Is(err, rtspclient.ErrMute):
		u.camera.retry.failed(p.cfg.Now())
		u.camera.good = false
	}
}

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"

	"latchkey/domain/ids"
	"latchkey/streaming/rtspclient"
)

// camera is shared by the upstreams of one device whose addresses have the same host and
// port. The result of dialing one of them has no effect on those elsewhere: the owner
// must not learn from their responses why it failed.
type camera struct {
	slots chan struct{} // has a token per dial
	first chan struct{} // has a token while the last dial failed, or none was made
	good  bool          // the last dial succeeded
	retry backoff
}

// cameraAt names a camera: a device at one host and port.
type cameraAt struct {
	device ids.Device
	host   string
}

// dialsOfCamera is how many channels of a camera are requested at the same time: one
// until the camera is known to accept our credentials, as it may lock out a client that
// is wrong several times.
const dialsOfCamera = 4

func (p *Pool) camera(at cameraAt) *camera {
	cam := p.cameras[at]
	if cam == nil {
		cam = &camera{slots: make(chan struct{}, dialsOfCamera), first: make(chan struct{}, 1)}
		p.cameras[at] = cam
	}
	return cam
}

// errPanic is returned for a bug while dialing a camera.
var errPanic = errors.New("a panic")

// dial waits for a slot of the camera and for its owner's turn, and connects. Both are
// limited by the dial timeout. A panic in it must not end everybody's streams.
func (p *Pool) dial(ctx context.Context, u *upstream) (_ *pull, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.log.Error("dialing a camera panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	waiting, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	source, err := p.source(waiting, u.of)
	if err == nil {
		err = waiting.Err()
	}
	if err != nil {
		return nil, err
	}
	leave, err := p.enter(waiting, u, source)
	if err != nil {
		return nil, err
	}
	defer leave()
	permit, err := p.dials.begin(waiting, p.cfg.Privileges.Owner(u.of.Device))
	if err != nil {
		return nil, err
	}
	defer permit.end()
	connecting, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	p.metrics.dials.Inc()
	p.mu.Lock()
	udp := u.mute
	p.mu.Unlock()
	return p.connect(connecting, source, permit, u.space, udp)
}

// enter waits for a slot of the camera at the source's address; errBusy if there is none
// in time, or a dial of another channel has just failed.
func (p *Pool) enter(ctx context.Context, u *upstream, source Source) (leave func(), err error) {
	p.mu.Lock()
	u.camera = p.camera(cameraAt{device: u.of.Device, host: hostOf(source.URL)})
	cam, good := u.camera, u.camera.good
	p.mu.Unlock()
	leave = func() {}
	if !good {
		select {
		case cam.first <- struct{}{}:
			leave = func() { <-cam.first }
		case <-ctx.Done():
			return nil, errBusy
		}
	}
	select {
	case cam.slots <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, errBusy
	}
	p.mu.Lock()
	wait := u.wait(p.cfg.Now())
	if cam.good && !good { // the previous one was accepted: the others need not wait for each other
		leave()
		leave = func() {}
	}
	p.mu.Unlock()
	alone := leave
	leave = func() { <-cam.slots; alone() }
	if wait > 0 {
		leave()
		return nil, errBusy
	}
	return leave, nil
}

// hostOf returns the host and the port of an address.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// errBusy is returned if a camera was not dialed, because another dial of it took too
// long or failed.
var errBusy = errors.New("another dial of the camera is in progress or has failed")

func (p *Pool) dialFailed(u *upstream, err error) {
	reason := faultOf(err)
	p.mu.Lock()
	now := p.cfg.Now()
	u.err = err
	var spent *spentError
	switch {
	case errors.As(err, &spent): // not the camera's fault
		u.retry.until = now.Add(max(spent.wait, firstBackoff))
	case errors.Is(err, ErrNoStream), errors.Is(err, ErrNoCamera), errors.Is(err, errBusy), errors.Is(err, ErrLeft):
	default:
		u.retry.failed(now)
		switch {
		case errors.Is(err, rtspclient.ErrWrongPassword):
			u.camera.retry.refused(now)
		case reason.ofCamera:
			u.camera.retry.failed(now)
		}
		if reason.ofCamera {
			u.camera.good = false
		}
		if errors.Is(err, errMute) { // it may be busy with the unanswered request
			u.camera.good = false
			if soon := now.Add(firstBackoff); soon.After(u.camera.retry.until) {
				u.camera.retry.until = soon
			}
		}
	}
	close(u.dialing)
	u.dialing = nil
	p.mu.Unlock()
	if reason.ofCamera || reason.told || errors.Is(err, errMute) {
		p.cfg.Reached(u.of.Device, reason.label)
	}
	if errors.Is(err, ErrNoStream) || errors.Is(err, ErrLeft) { // common: of sub streams, of a removal
		return
	}
	p.report("a camera was not reached", u.of, reason)
}

// report counts and logs why a camera does not play.
func (p *Pool) report(what string, of Stream, reason fault) {
	p.metrics.dialErrors.WithLabelValues(reason.label).Inc()
	p.log.Warn(what, "device", of.Device, "channel", of.Channel, "quality", of.Quality.String(), "reason", reason.label)
}

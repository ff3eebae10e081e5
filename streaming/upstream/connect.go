package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"latchkey/streaming/rtspclient"
)

const (
	maxSDP        = 64 << 10
	cameraTimeout = 10 * time.Second // each response of a camera
)

// connect dials a camera and makes it play, over TCP, or over UDP if it refuses TCP. If it
// ends the connection instead of refusing, it is dialed again; udp is to begin with that.
func (p *Pool) connect(ctx context.Context, source Source, permit *permit, s *space, udp bool) (*pull, error) {
	pl, err := p.connectOver(ctx, source, permit, s, udp)
	if !udp && errors.Is(err, errSetup) && errors.Is(err, rtspclient.ErrEnded) {
		if other, err := p.connectOver(ctx, source, permit, s, true); err == nil {
			return other, nil
		}
	}
	return pl, err
}

// errSetup is returned if SETUP has failed.
var errSetup = errors.New("setting up a track")

func (p *Pool) connectOver(ctx context.Context, source Source, permit *permit, s *space, udp bool) (*pull, error) {
	pin, err := rtspclient.ParseFingerprint(source.Certificate)
	if err != nil {
		return nil, errSource
	}
	var connected atomic.Bool
	pl := &pull{pool: p, space: s}
	client, err := rtspclient.Dial(ctx, source.URL, rtspclient.Options{
		Dial:     p.dialer(permit, &connected),
		Username: source.Username, Password: source.Password, Certificate: pin,
		UserAgent: Agent, Check: refuseDoors, UDP: udp,
		ResponseTimeout: cameraTimeout, WriteTimeout: p.cfg.WriteTimeout,
		Packet: pl.packet, Report: pl.report,
		Lost: func(n int) { p.metrics.dropped.WithLabelValues(droppedLost).Add(float64(n)) },
		Odd:  func() { p.Dropped(droppedBroken) },
	})
	if err == nil {
		pl.client = client
		err = pl.play(ctx)
	}
	if err == nil {
		return pl, nil
	}
	pl.close(err)
	switch {
	case connected.Load() && (timedOut(err) || errors.Is(err, rtspclient.ErrMute)):
		return nil, fmt.Errorf("%w: %w", errMute, err)
	case errors.Is(err, rtspclient.ErrAddress):
		return nil, errSource
	default:
		return nil, err
	}
}

// errDoor is returned for a door, which never serves a door.
var errDoor = &rtspclient.StatusError{Code: base.StatusForbidden}

func refuseDoors(header base.Header) error {
	if IsAgent(header["Server"]) {
		return errDoor
	}
	return nil
}

// errMute is returned if the camera is there, but did not respond for this stream. Its
// other streams may be fine.
var errMute = errors.New("the camera does not respond")

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

var errSource = errors.New("the camera's address is not an RTSP URL")

// play goes through DESCRIBE, SETUP and PLAY. Sound that the camera refuses to set up does
// not take the picture away.
func (pl *pull) play(ctx context.Context) error {
	theirs, err := pl.client.Describe(ctx, nil)
	if err != nil {
		return err
	}
	pairs, err := describeAnew(theirs)
	if err != nil {
		return err
	}
	desc := &description.Session{}
	var tracks []pulled
	var refused error
	for _, pair := range pairs {
		err := pl.client.Setup(ctx, pair.theirs, nil)
		if err != nil && (pair.ours.Type == description.MediaTypeVideo || !isRefusal(err)) {
			return fmt.Errorf("%w: %w", errSetup, err)
		}
		if err != nil {
			refused = err
			continue
		}
		tracks = append(tracks, pulled{pair.theirs, newTrack(len(desc.Medias), pair.ours)})
		desc.Medias = append(desc.Medias, pair.ours)
	}
	if len(desc.Medias) == 0 {
		return refused
	}
	pl.flow = newFlow(desc, pl.space)
	pl.last.Store(time.Now().UnixNano())
	pl.tracks.Store(&tracks)
	_, err = pl.client.Play(ctx, nil)
	return err
}

// isRefusal reports whether a camera responds that it does not do something, other than
// for who asks.
func isRefusal(err error) bool {
	var status *rtspclient.StatusError
	if errors.As(err, &status) {
		return status.Code != base.StatusUnauthorized && status.Code != base.StatusForbidden
	}
	return errors.Is(err, rtspclient.ErrTransport)
}

// dialFunc connects to an address.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer connects to the address of a camera if the policy allows it, it is not a
// listener of ours, and the permit is not used up. All three checks use the resolved
// address at the moment of connecting.
func (p *Pool) dialer(permit *permit, connected *atomic.Bool) dialFunc {
	dialer := net.Dialer{
		FallbackDelay: -1, // one address after the other
		Control: func(_, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return errDenied
			}
			if err := p.MayDial(addr); err != nil {
				return err
			}
			return permit.connect()
		},
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			connected.Store(true)
		}
		return conn, err
	}
}

// MayDial refuses an address that the policy does not allow for cameras, or where this
// process itself listens. Whatever connects to devices asks it, with the resolved address.
func (p *Pool) MayDial(addr netip.AddrPort) error {
	if p.own.has(addr) || p.cfg.Allow(addr.Addr().Unmap().WithZone("")) != nil {
		return errDenied
	}
	return nil
}

var errDenied = errors.New("the address is not allowed for cameras")

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"
)

const (
	maxSDP        = 64 << 10
	cameraTimeout = 10 * time.Second // each response of a camera
	// Limits on what a camera may report as its session timeout. The library counts in
	// seconds of any size, and would spin on huge ones.
	minSessionTimeout, maxSessionTimeout = 5, 120
)

// connect dials a camera and makes it play, over TCP, or over UDP if it refuses TCP.
func (p *Pool) connect(ctx context.Context, source Source, permit *permit) (*pull, error) {
	u, err := base.ParseURL(source.URL)
	if err != nil {
		return nil, errSource // the error would contain the URL
	}
	if source.Username != "" {
		u.User = url.UserPassword(source.Username, source.Password)
	}
	var connected atomic.Bool
	dial := p.dialer(permit, &connected)
	pull, err := p.connectOver(ctx, u, gortsplib.TransportTCP, dial)
	if refusesTCP(err) && ctx.Err() == nil {
		pull, err = p.connectOver(ctx, u, gortsplib.TransportUDP, dial)
	}
	if err != nil && connected.Load() && timedOut(err) {
		err = fmt.Errorf("%w: %w", errMute, err)
	}
	return pull, err
}

// errMute is returned if the camera is there, but did not respond for this stream. Its
// other streams may be fine.
var errMute = errors.New("the camera does not respond")

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

var errSource = errors.New("the camera's address is not an RTSP URL")

func refusesTCP(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	var udp liberrors.ErrClientServerRequestedUDP
	return errors.As(err, &udp) || errors.As(err, &status) && status.Code == base.StatusUnsupportedTransport
}

// dialFunc connects to an address.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (p *Pool) connectOver(ctx context.Context, u *base.URL, transport gortsplib.Transport, dial dialFunc) (*pull, error) {
	pl := &pull{pool: p}
	pl.client = &gortsplib.Client{
		Scheme:            u.Scheme,
		Host:              u.Host,
		ReadTimeout:       cameraTimeout,
		WriteTimeout:      p.cfg.WriteTimeout,
		Transport:         &transport,
		UserAgent:         Agent,
		DialContext:       dial,
		OnResponse:        tame,
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     func(n uint64) { p.metrics.dropped.WithLabelValues(droppedLost).Add(float64(n)) },
		OnDecodeError:     func(error) { p.Dropped(droppedBroken) },
	}
	if u.Scheme == "rtsps" {
		pl.client.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if err := pl.client.Start2(); err != nil {
		return nil, fmt.Errorf("starting the RTSP client: %w", err)
	}
	stop := context.AfterFunc(ctx, pl.client.Close)
	err := pl.play(u)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		pl.close(err)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return pl, nil
}

// play goes through DESCRIBE, SETUP and PLAY.
func (pl *pull) play(u *base.URL) error {
	theirs, _, err := pl.client.Describe(u)
	if err != nil {
		return err
	}
	ours, pairs, err := describeAnew(theirs)
	if err != nil {
		return err
	}
	pl.flow = &Flow{desc: ours}
	for track, pair := range pairs {
		if _, err := pl.client.Setup(theirs.BaseURL, pair.theirs, 0, 0); err != nil {
			return err
		}
		for _, f := range pair.ours.Formats {
			sizes := newResizer(f)
			pl.client.OnPacketRTP(pair.theirs, f, func(pkt *rtp.Packet) { pl.forward(track, pair.ours, sizes, pkt) })
		}
	}
	pl.last.Store(time.Now().UnixNano())
	_, err = pl.client.Play(nil)
	return err
}

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

// tame removes from a camera's response what would make the library do more than pull:
// follow it elsewhere (with the camera's password), send reports to an address of its
// choice, or ping it without pause. It refuses a door, as that would refuse us.
func tame(res *base.Response) {
	if IsAgent(res.Header["Server"]) {
		res.StatusCode, res.Body = base.StatusForbidden, nil
	}
	delete(res.Header, "Location")
	if len(res.Body) > maxSDP {
		res.Body = nil
	}
	if v, ok := res.Header["Transport"]; ok {
		var t headers.Transport
		if t.Unmarshal(v) == nil && t.Source != nil {
			t.Source = nil
			res.Header["Transport"] = t.Marshal()
		}
	}
	if v, ok := res.Header["Session"]; ok {
		var s headers.Session
		if s.Unmarshal(v) == nil && s.Timeout != nil {
			bounded := min(max(*s.Timeout, minSessionTimeout), maxSessionTimeout)
			s.Timeout = &bounded
			res.Header["Session"] = s.Marshal()
		}
	}
}

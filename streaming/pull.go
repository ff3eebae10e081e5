package streaming

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"
)

const (
	maxSDP        = 64 << 10
	cameraTimeout = 10 * time.Second // each answer of a camera
	// What a camera may say about how long a session lives without a request.
	// The library counts in seconds of any size, and would spin on huge ones.
	minSessionTimeout, maxSessionTimeout = 5, 120
)

// pull is the connection to a camera, from its answer to PLAY to its end.
type pull struct {
	door   *Door
	of     upstreamOf
	client *gortsplib.Client
	stream *gortsplib.ServerStream
	once   sync.Once

	last atomic.Int64 // when the last packet came, in Unix nanoseconds
}

// connect dials a camera and makes it play, over TCP, or over UDP where it
// refuses TCP.
func (d *Door) connect(ctx context.Context, of upstreamOf, source Source, p *permit) (*pull, error) {
	u, err := base.ParseURL(source.URL)
	if err != nil {
		return nil, errSource // the error would hold the URL
	}
	if source.Username != "" {
		u.User = url.UserPassword(source.Username, source.Password)
	}
	var connected atomic.Bool
	dial := d.dialer(p, &connected)
	pull, err := d.connectOver(ctx, of, u, gortsplib.TransportTCP, dial)
	if refusesTCP(err) && ctx.Err() == nil {
		pull, err = d.connectOver(ctx, of, u, gortsplib.TransportUDP, dial)
	}
	if err != nil && connected.Load() && timedOut(err) {
		err = fmt.Errorf("%w: %w", errMute, err)
	}
	return pull, err
}

// errMute says that the camera is there, and gave no answer for this stream. Others of
// it may be well.
var errMute = errors.New("the camera does not answer")

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

var errSource = errors.New("the camera's address is no RTSP URL")

func refusesTCP(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	var udp liberrors.ErrClientServerRequestedUDP
	return errors.As(err, &udp) || errors.As(err, &status) && status.Code == base.StatusUnsupportedTransport
}

// dialFunc connects to an address.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (d *Door) connectOver(ctx context.Context, of upstreamOf, u *base.URL, transport gortsplib.Transport, dial dialFunc) (*pull, error) {
	p := &pull{door: d, of: of}
	p.client = &gortsplib.Client{
		Scheme:            u.Scheme,
		Host:              u.Host,
		ReadTimeout:       cameraTimeout,
		WriteTimeout:      d.cfg.WriteTimeout,
		Transport:         &transport,
		UserAgent:         agent,
		DialContext:       dial,
		OnResponse:        tame,
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     func(n uint64) { d.metrics.dropped.WithLabelValues("lost by camera").Add(float64(n)) },
		OnDecodeError:     func(error) { d.metrics.dropped.WithLabelValues("broken by camera").Inc() },
	}
	if u.Scheme == "rtsps" {
		p.client.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if err := p.client.Start2(); err != nil {
		return nil, fmt.Errorf("starting the RTSP client: %w", err)
	}
	stop := context.AfterFunc(ctx, p.client.Close)
	err := p.play(u)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		p.close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return p, nil
}

// play goes through DESCRIBE, SETUP and PLAY.
func (p *pull) play(u *base.URL) error {
	theirs, _, err := p.client.Describe(u)
	if err != nil {
		return err
	}
	ours, pairs, err := describeAnew(theirs)
	if err != nil {
		return err
	}
	p.stream = &gortsplib.ServerStream{Server: p.door.server, Desc: ours}
	if err := p.stream.Initialize(); err != nil {
		p.stream = nil
		return err
	}
	for _, pair := range pairs {
		if _, err := p.client.Setup(theirs.BaseURL, pair.theirs, 0, 0); err != nil {
			return err
		}
		for _, f := range pair.ours.Formats {
			sizes := newResizer(f)
			p.client.OnPacketRTP(pair.theirs, f, func(pkt *rtp.Packet) { p.forward(pair.ours, sizes, pkt) })
		}
	}
	p.last.Store(time.Now().UnixNano())
	_, err = p.client.Play(nil)
	return err
}

// forward hands a packet to the viewers. It is a boundary: nothing that a
// camera sends may end more than its own packet.
func (p *pull) forward(m *description.Media, sizes *resizer, pkt *rtp.Packet) {
	defer func() {
		if recover() != nil {
			p.door.metrics.dropped.WithLabelValues("broken by camera").Inc()
		}
	}()
	now := time.Now()
	p.last.Store(now.UnixNano())
	p.door.metrics.packetsIn.Inc()
	if !p.door.live() {
		p.door.metrics.dropped.WithLabelValues(droppedNotLive).Inc()
		return
	}
	packets := sizes.fit(pkt)
	if len(packets) == 0 {
		p.door.metrics.dropped.WithLabelValues("too big").Inc()
	}
	for _, pkt := range packets {
		if p.stream.WritePacketRTPWithNTP(m, pkt, now) != nil {
			p.door.metrics.dropped.WithLabelValues("too big").Inc()
		}
	}
}

// errSilent says that a camera sends nothing, though it is connected.
var errSilent = errors.New("the camera sends nothing")

// wait returns when the upstream is over: nil when ctx ended it.
func (p *pull) wait(ctx context.Context) error {
	gone := make(chan error, 1)
	go func() { gone <- p.client.Wait() }()
	tick := time.NewTicker(max(p.door.cfg.SilenceLimit/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-gone:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-tick.C:
			if time.Since(time.Unix(0, p.last.Load())) > p.door.cfg.SilenceLimit {
				return errSilent
			}
		}
	}
}

// close ends the viewers and the connection.
func (p *pull) close() {
	p.once.Do(func() {
		if p.stream != nil {
			p.stream.Close()
		}
		p.client.Close()
	})
}

// dialer connects to the address of a camera where the policy allows it, no
// listener of ours is, and the permit is not used up. All three see what the name
// was resolved to, at the moment of connecting.
func (d *Door) dialer(p *permit, connected *atomic.Bool) dialFunc {
	dialer := net.Dialer{
		FallbackDelay: -1, // one address after the other
		Control: func(_, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return errDenied
			}
			if d.isOwn(addr) || d.cfg.Allow(addr.Addr().Unmap().WithZone("")) != nil {
				return errDenied
			}
			return p.connect()
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

var errDenied = errors.New("the address is not one that cameras may have")

// tame takes out of a camera's response what would make the library do more
// than pull: follow it elsewhere (with the camera's password), send reports to
// an address of its choice, or ping it without pause. A door is refused, as it
// would refuse us.
func tame(res *base.Response) {
	if isAgent(res.Header["Server"]) {
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

const (
	maxMedias  = 8
	maxFormats = 8 // of one media
)

// mediaPair is a media of a camera and what viewers see of it.
type mediaPair struct{ theirs, ours *description.Media }

var errNothingToSee = errors.New("the camera offers neither video nor audio")

// describeAnew makes the description that viewers get of what a camera says:
// the kind and formats of its video and audio, and nothing else. Back channels
// are not in it, so they cannot be set up. Metadata is not in it either: it
// carries alarms, which are a privilege of their own.
func describeAnew(theirs *description.Session) (*description.Session, []mediaPair, error) {
	ours := &description.Session{}
	var pairs []mediaPair
	for _, m := range theirs.Medias {
		if m.IsBackChannel || m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio || len(pairs) == maxMedias {
			continue
		}
		media := &description.Media{Type: m.Type, Formats: distinct(m.Formats)}
		if len(media.Formats) == 0 {
			continue
		}
		ours.Medias = append(ours.Medias, media)
		pairs = append(pairs, mediaPair{m, media})
	}
	if len(pairs) == 0 {
		return nil, nil, errNothingToSee
	}
	text, err := ours.Marshal(false)
	if err != nil {
		return nil, nil, fmt.Errorf("describing a camera's stream: %w", err)
	}
	if len(text) > maxSDP {
		return nil, nil, errors.New("the description of a camera's stream is too long")
	}
	return ours, pairs, nil
}

// distinct lists the formats that have a payload type of their own: the library
// would leak a second one of the same.
func distinct(formats []format.Format) []format.Format {
	var list []format.Format
	seen := map[uint8]int{}
	for _, f := range formats {
		if len(list) == maxFormats && !contains(seen, f.PayloadType()) {
			continue
		}
		if g, ok := f.(*format.Generic); ok {
			f = withoutAddresses(g)
		}
		if i, ok := seen[f.PayloadType()]; ok {
			list[i] = f // the client, too, reads the last one
			continue
		}
		seen[f.PayloadType()] = len(list)
		list = append(list, f)
	}
	return list
}

func contains(seen map[uint8]int, pt uint8) bool { _, ok := seen[pt]; return ok }

// withoutAddresses takes parameters out of a format that nobody here knows,
// where they hold something like an address.
func withoutAddresses(g *format.Generic) *format.Generic {
	for name, value := range g.FMT {
		if strings.Contains(value, "://") || strings.Contains(value, "@") {
			delete(g.FMT, name)
		}
	}
	return g
}

// fault is what may be said about why a camera cannot be pulled: the errors
// themselves hold addresses.
type fault struct {
	label    string
	ofCamera bool // every stream of the device would fail so
}

func faultOf(err error) fault {
	var status liberrors.ErrClientBadStatusCode
	var network net.Error
	var spent *spentError
	switch {
	case errors.As(err, &spent):
		return fault{label: "budget"}
	case errors.Is(err, ErrNoStream), errors.Is(err, ErrNoCamera):
		return fault{label: "no stream"}
	case errors.Is(err, errBusy):
		return fault{label: "busy"}
	case errors.Is(err, errDenied):
		return fault{label: "denied address", ofCamera: true}
	case errors.Is(err, errSource):
		return fault{label: "bad URL"}
	case errors.Is(err, errMute):
		return fault{label: "timeout"}
	case errors.Is(err, errSilent):
		return fault{label: "silent"}
	case errors.Is(err, errNothingToSee):
		return fault{label: "no media"}
	case errors.As(err, &status):
		return fault{label: "status " + statusClass(status.Code), ofCamera: status.Code == base.StatusUnauthorized}
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault{label: "refused", ofCamera: true}
	case timedOut(err):
		return fault{label: "timeout", ofCamera: true}
	case errors.As(err, &network):
		return fault{label: "network", ofCamera: true}
	default:
		return fault{label: "protocol"}
	}
}

// statusClass keeps the statuses that help, and bounds the others.
func statusClass(code base.StatusCode) string {
	switch code {
	case base.StatusUnauthorized, base.StatusForbidden, base.StatusNotFound, base.StatusUnsupportedTransport, base.StatusServiceUnavailable:
		return strconv.Itoa(int(code))
	default:
		return strconv.Itoa(int(code)/100%10) + "xx"
	}
}

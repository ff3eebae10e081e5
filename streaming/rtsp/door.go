package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"latchkey/internal/sealed"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/playback"
	"latchkey/streaming/talk"
	"latchkey/streaming/upstream"
)

// Config configures a Door. Address, Access, Secrets and Upstreams are required.
type Config struct {
	Address    string // of RTSP over TCP, such as 127.0.0.1:8554
	UDPAddress string // of RTP over UDP; an even port, RTCP uses the next. "": two free ports on the host of Address
	TLSAddress string // of RTSP over TLS (RTSPS); "": none
	// Certificate returns the certificate of RTSPS for a handshake. It must not block.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Multicast   netip.Prefix // of groups for owners of devices, on the interface of the UDP address; zero: none
	Access      Access
	Secrets     Secrets
	Upstreams   *upstream.Pool
	Recorders   *playback.Recorders // nil: recordings are not played
	Uses        Uses                // nil: uses are not recorded

	// PlaybackDelay is the minimum age of a recording for viewers who may not view live.
	PlaybackDelay time.Duration

	Lines *backchannel.Lines // to cameras, for viewers who talk; closed with the door; nil: nobody can talk
	Floor *talk.Floor        // who talks; required with Lines

	Now     func() time.Time // time.Now
	Logger  *slog.Logger     // discards
	Metrics prometheus.Registerer

	WriteTimeout time.Duration // a viewer that accepts nothing for this long is dropped: 3.5 s
	IdleTimeout  time.Duration // to the first complete request, and between requests without a session: 15 s

	MaxConnections           int // 8192
	MaxConnectionsPerAddress int // 1024: a household or office behind one address, and tests
}

// withDefaults sets defaults and reports all errors.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		faults = append(faults, fmt.Errorf("address: %w", err))
	}
	if c.UDPAddress != "" {
		_, port, err := net.SplitHostPort(c.UDPAddress)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 2 || n > 65534 || n%2 != 0 {
			faults = append(faults, errors.New("UDP address: want a host and an even port"))
		}
	}
	if c.TLSAddress != "" {
		if _, _, err := net.SplitHostPort(c.TLSAddress); err != nil {
			faults = append(faults, fmt.Errorf("TLS address: %w", err))
		}
		if c.Certificate == nil {
			faults = append(faults, errors.New("TLS needs a certificate"))
		}
	}
	if c.Multicast.IsValid() {
		if err := CheckMulticast(c.Multicast); err != nil {
			faults = append(faults, fmt.Errorf("multicast: %w", err))
		}
	}
	if c.Access == nil {
		faults = append(faults, errors.New("Access is required"))
	}
	if c.Secrets == nil {
		faults = append(faults, errors.New("Secrets is required"))
	}
	if c.Upstreams == nil {
		faults = append(faults, errors.New("the Upstreams are required"))
	}
	if c.Lines != nil && c.Floor == nil {
		faults = append(faults, errors.New("the Lines need a Floor"))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value   *time.Duration
		missing time.Duration
	}{
		{&c.WriteTimeout, 3500 * time.Millisecond}, {&c.IdleTimeout, 15 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.missing
		}
	}
	for _, n := range []struct {
		value   *int
		missing int
	}{
		{&c.MaxConnections, 8192}, {&c.MaxConnectionsPerAddress, 1024},
	} {
		if *n.value == 0 {
			*n.value = n.missing
		}
	}
	return c, errors.Join(faults...)
}

// Door is the RTSP server. Use New.
type Door struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	failures failures
	viewers  registry
	groups   groups
	streams  streams
	secrets  *sealed.Memory // of stream keys
	floor    *talk.Floor
	speeches speeches
	alone    *stream // of those who only talk
	maxLag   time.Duration

	publishers publishers
	deaf       deafness

	// setups is held from a successful SETUP to its response: the server then reads the
	// medias of other sessions, without locking.
	setups sync.Mutex

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	server   *gortsplib.Server
	udp      *udpPorts
	batches  batches
	listener *listener
	secure   *listener // nil: none
	sweep    sync.WaitGroup
	closing  sync.Once
	closed   chan struct{}
	err      error // why the server ended, before Close
}

// New returns a closed door. It reports all configuration errors together.
func New(cfg Config) (*Door, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring the RTSP door: %w", err)
	}
	d := &Door{cfg: cfg, log: cfg.Logger, floor: cfg.Floor, closed: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.failures.buckets = map[failureOf]*rate.Limiter{}
	d.viewers.all = map[*viewer]struct{}{}
	d.groups = newGroups(cfg.Multicast)
	d.streams.all = map[*upstream.Flow]*stream{}
	d.secrets, d.maxLag = sealed.New(MaxSecrets), maxLag
	if d.metrics, err = newMetrics(d, cfg.Metrics); err != nil {
		return nil, fmt.Errorf("registering the RTSP door's metrics: %w", err)
	}
	return d, nil
}

// Start listens and serves. Call it once.
func (d *Door) Start() error {
	ln, err := net.Listen("tcp", d.cfg.Address)
	if err != nil {
		return fmt.Errorf("listening for RTSP: %w", err)
	}
	d.listener = newListener(d, ln.(*net.TCPListener))
	d.cfg.Upstreams.NeverDial(ln.Addr())
	if err := d.listenSecurely(); err != nil {
		ln.Close()
		return err
	}
	if err := d.serve(); err != nil {
		ln.Close()
		if d.secure != nil {
			d.secure.Close()
		}
		return err
	}
	d.sweep.Go(d.sweepLoop)
	d.log.Info("the RTSP door is open", "address", ln.Addr().String(), "rtsps", d.SecureAddr(), "rtp", d.udp.rtp.LocalAddr().String())
	return nil
}

// serve opens the ports of RTP and starts the server.
func (d *Door) serve() error {
	udp, err := listenUDP(d.cfg.UDPAddress, d.listener.Addr().(*net.TCPAddr))
	if err != nil {
		return fmt.Errorf("listening for RTP: %w", err)
	}
	d.udp, d.batches = &udpPorts{rtp: udp[0], rtcp: udp[1]}, newBatches()
	if err = d.udp.open(); err == nil {
		err = d.openForMulticast()
	}
	if err != nil {
		udp[0].Close()
		udp[1].Close()
		return fmt.Errorf("preparing the ports of RTP: %w", err)
	}
	d.server = &gortsplib.Server{
		RTSPAddress:    d.cfg.Address,
		UDPRTPAddress:  udp[0].LocalAddr().String(),
		UDPRTCPAddress: udp[1].LocalAddr().String(),
		ReadTimeout:    d.cfg.IdleTimeout,
		WriteTimeout:   d.cfg.WriteTimeout,
		WriteQueueSize: 1, // nothing is written by the library but responses
		Handler:        &handler{d},

		DisableRTCPSenderReports: true,
		Listen:                   func(string, string) (net.Listener, error) { return d.accepting(), nil },
		ListenPacket: func(_, address string) (net.PacketConn, error) {
			if address == udp[0].LocalAddr().String() {
				return udp[0], nil
			}
			return udp[1], nil
		},
	}
	if err := d.server.Start(); err != nil {
		udp[0].Close()
		udp[1].Close()
		return fmt.Errorf("starting the RTSP server: %w", err)
	}
	return d.openForTalk()
}

// accepting returns what the server accepts connections from.
func (d *Door) accepting() net.Listener {
	if d.secure == nil {
		return d.listener
	}
	return acceptBoth(d.listener, d.secure, d.ctx)
}

// Addr returns the address of RTSP. Call it after Start.
func (d *Door) Addr() net.Addr { return d.listener.Addr() }

// closeTimeout limits Close: it is longer than any deadline within.
const closeTimeout = 15 * time.Second

// Close ends every viewer and waits for them, up to 15 s. It may be called more than
// once.
func (d *Door) Close() error {
	d.closing.Do(func() {
		d.cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if d.server != nil {
				d.cutAll(cutClosing)
				d.server.Close()
			}
			if d.cfg.Lines != nil {
				d.cfg.Lines.Close()
			}
			d.streams.close()
			d.batches.close()
			if d.alone != nil {
				d.alone.ServerStream.Close()
			}
			d.sweep.Wait()
		}()
		select {
		case <-ended:
		case <-time.After(closeTimeout):
			d.err = errors.New("closing the RTSP door: timed out")
		}
		close(d.closed)
	})
	<-d.closed
	return d.err
}

// Wait returns when the door is closed: nil after Close, else why the server ended by
// itself.
func (d *Door) Wait() error {
	err := d.server.Wait()
	if d.ctx.Err() != nil {
		<-d.closed
		return d.err
	}
	return fmt.Errorf("serving RTSP: %w", err)
}

// useEvery is how often it is recorded that viewers watch.
const useEvery = 30 * time.Second

// sweepLoop drops the secrets of expired stream keys, and records who watches.
func (d *Door) sweepLoop() {
	forget, use := time.NewTicker(forgetEvery), time.NewTicker(useEvery)
	defer forget.Stop()
	defer use.Stop()
	for {
		select {
		case <-use.C:
			for _, v := range d.viewers.list() {
				if v.playing.Load() && v.cutFor.Load() == nil {
					d.noteUse(v)
				}
			}
			d.noteTalks()
		case <-forget.C:
			d.forgetDead(d.cfg.Now())
		case <-d.ctx.Done():
			return
		}
	}
}

// listenUDP binds the ports of RTP and RTCP: an even one and the next
// (RFC 3550, section 11).
func listenUDP(address string, rtsp *net.TCPAddr) ([2]*net.UDPConn, error) {
	if address != "" {
		addr, err := net.ResolveUDPAddr("udp", address)
		if err != nil {
			return [2]*net.UDPConn{}, err
		}
		return listenPair(*addr)
	}
	var last error
	for range 64 {
		probe, err := net.ListenUDP("udp", &net.UDPAddr{IP: rtsp.IP, Zone: rtsp.Zone})
		if err != nil {
			return [2]*net.UDPConn{}, err
		}
		addr := *probe.LocalAddr().(*net.UDPAddr)
		probe.Close()
		addr.IP, addr.Port = rtsp.IP, addr.Port&^1
		pair, err := listenPair(addr)
		if err == nil {
			return pair, nil
		}
		last = err
	}
	return [2]*net.UDPConn{}, fmt.Errorf("no two free ports: %w", last)
}

func listenPair(addr net.UDPAddr) (pair [2]*net.UDPConn, err error) {
	if pair[0], err = net.ListenUDP("udp", &addr); err != nil {
		return pair, err
	}
	addr.Port++
	if pair[1], err = net.ListenUDP("udp", &addr); err != nil {
		pair[0].Close()
	}
	return pair, err
}

package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/api/internal/rest"
	"latchkey/internal/accept"
)

const (
	requestTimeout = 30 * time.Second // for a handler; less than writeTimeout

	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 45 * time.Second
	idleTimeout       = 2 * time.Minute
	strangerIdle      = 10 * time.Second // of a connection without a session
	maxHeaderBytes    = 64 << 10

	limiterNames = 50_000 // in each of two generations
)

// Server answers the HTTP interface. It is safe for concurrent use.
type Server struct {
	cfg        Config
	log        *slog.Logger
	echo       *echo.Echo
	handler    http.Handler
	operations map[string]*operation
	routes     map[string]bool // "METHOD /template/:of", for logs and metrics
	metrics    *metrics
	networks   *allowance    // of a network
	logins     *allowance    // of a login from one network
	everywhere *allowance    // of a login
	codes      *allowance    // sent to an address
	redeems    *allowance    // attempts at codes of shares, of an account and of a network
	codesFrom  *allowance    // asked for from a network
	asking     *allowance    // for access, from a network
	inviting   *allowance    // from a network
	keys       *allowance    // of streams, made from a network
	hookTests  *allowance    // of webhooks, of an account
	ptzOrders  *allowance    // of an account, except those that stop
	receiving  *allowance    // alarms that are posted, from a network
	strangers  *allowance    // keys for alarms that nobody has, from a network
	resets     chan struct{} // requests for codes that are being followed
	bodies     *budget
	lists      *turns
	commands   *commands
	answers    *budget
	uses       uses // of cameras, that were cut
	sockets    sockets
	crowd      crowd // of viewers in browsers, other than by WebRTC
	hls        hlsViewers
	kept       *keptPages
	large      *turns         // of large bodies
	places     *accept.Places // of connections, with and without TLS
	stopping   chan struct{}  // closed when Run is told to end
	stop       func()
}

// New makes a server. The error names every fault of the configuration.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	operations, err := loadOperations()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, operations: operations, metrics: m, bodies: newBudget(bodiesInFlight, bodiesOfOne),
		lists: heavyTurns(runtime.GOMAXPROCS(0)), commands: newCommands(runtime.GOMAXPROCS(0)), answers: newBudget(answersInFlight, answersOfOne),
		kept:       newKeptPages(),
		large:      heavyTurns(runtime.GOMAXPROCS(0)),
		networks:   newAllowance("network", cfg.NetworkEvery, cfg.NetworkBurst),
		logins:     newAllowance("login from network", cfg.LoginEvery, cfg.LoginBurst),
		everywhere: newAllowance("login", cfg.EverywhereEvery, cfg.EverywhereBurst),
		resets:     make(chan struct{}, resetsAtOnce),
		codes:      newAllowance("codes to", cfg.CodeEvery, cfg.CodeBurst),
		redeems:    newAllowance("codes of shares", redeemEvery, redeemBurst),
		asking:     newAllowance("access requests from network", 3*time.Minute, 20),
		inviting:   newAllowance("invitations from network", invitesEvery, invitesBurst),
		keys:       newAllowance("stream keys from network", keysEvery, keysBurst),
		hookTests:  newAllowance("tests of webhooks", hookTestEvery, hookTestBurst),
		ptzOrders:  newAllowance("PTZ orders", ptzEvery, ptzBurst),
		receiving:  newAllowance("alarms from network", receiveEvery, receiveBurst),
		strangers:  newAllowance("unknown keys from network", strangerEvery, strangerBurst),
		codesFrom:  newAllowance("codes from network", cfg.CodeEvery/10, 10*cfg.CodeBurst),
		places:     accept.NewPlaces(cfg.MaxConnections, cfg.MaxConnectionsOfNetwork, cfg.TrustedProxies),
	}
	s.stopping = make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	s.echo = s.newEcho()
	s.routes = make(map[string]bool)
	for _, r := range s.echo.Routes() {
		s.routes[r.Method+" "+r.Path] = true
	}
	s.handler = headAsGet(s.withPortal(s.echo))
	return s, nil
}

func (s *Server) newEcho() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.writeProblem
	e.Logger.SetOutput(io.Discard)
	e.Use(s.observe, s.guard, allowHead)

	rest.RegisterHandlers(e, rest.NewStrictHandler(handlers{Server: s}, nil))
	e.GET(eventsPath, s.streamEvents)
	e.GET(echoPath(playbackPath), s.playRecordings)
	e.GET(echoPath(msePath), s.watchByMSE)
	e.POST(echoPath(receiverPath), s.receiveAlarm)
	e.GET("/api/v1/openapi.yaml", s.getSpecification)
	e.GET("/healthz", s.getHealth)
	e.GET("/readyz", s.getReadiness)
	e.GET("/metrics", s.getMetrics)
	e.GET("/", s.getRoot)
	e.GET("/invite", s.getInvitePage)
	if s.cfg.Root != nil {
		e.GET(RootPath, s.getRootCertificate)
	}
	return e
}

// Handler returns the whole HTTP interface.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on the listener until ctx ends, then lets running requests finish within
// Config.ShutdownWithin and closes the others. The listener is always closed. It returns
// nil if it ended because ctx did.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	return s.run(ctx, l, s.handler, nil, s.bounds())
}

// bounds are those of connections to the API.
func (s *Server) bounds() accept.Config {
	return accept.Config{Places: s.places, IdleWithin: strangerIdle, Refused: s.metrics.refused.Inc}
}

// run serves plain HTTP, or within TLS if secure is set.
func (s *Server) run(ctx context.Context, l net.Listener, handler http.Handler, secure *tls.Config, bounds accept.Config) error {
	server := &http.Server{
		TLSConfig: secure, HTTP2: http2Bounds,
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(serverLog{s.log}, "", 0),
		ConnState:         accept.State,
		ConnContext:       accept.Context,
		BaseContext:       withListener,
	}
	ended := make(chan error, 1)
	draining := &drainingListener{Listener: accept.NewListener(l, bounds)}
	go func() {
		if secure == nil {
			ended <- server.Serve(draining)
		} else {
			ended <- server.ServeTLS(draining, "", "")
		}
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	s.stop()
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownWithin)
	defer cancel()
	draining.drain(within)
	s.sockets.await(within) // it does not wait for them
	err := server.Shutdown(within)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("closing HTTP requests that did not finish in time", "within", s.cfg.ShutdownWithin)
		err = server.Close()
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stopping HTTP: %w", err)
	}
	return nil
}

// drainingListener records when it accepted the last connection.
type drainingListener struct {
	net.Listener
	accepted atomic.Int64 // connections
}

func (l *drainingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

const (
	drainQuiet = 50 * time.Millisecond // without a new connection: none is waiting to be accepted
	drainMost  = time.Second           // however many arrive
)

// drain waits until no connection is waiting to be accepted. The kernel resets those when
// the listener is closed, although their clients believe that they are connected and may
// have sent their requests.
func (l *drainingListener) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainMost)
	defer cancel()
	for before := int64(-1); before != l.accepted.Load(); {
		before = l.accepted.Load()
		select {
		case <-time.After(drainQuiet):
		case <-ctx.Done():
			return
		}
	}
}

// serverLog receives net/http's own log lines, without the caller's address, which
// follows " from ".
type serverLog struct{ log *slog.Logger }

func (w serverLog) Write(line []byte) (int, error) {
	what, _, _ := strings.Cut(strings.TrimSpace(string(line)), " from ")
	level := slog.LevelWarn
	if strings.Contains(what, "TLS handshake error") { // anybody can cause as many as they like
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, "HTTP server", "what", what)
	return len(line), nil
}

// headAsGet serves HEAD as GET without the body (RFC 9110, 9.3.2), for every route.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		get := r.WithContext(r.Context())
		get.Method = http.MethodGet
		next.ServeHTTP(withoutBody{w}, get)
	})
}

// allowHead adds HEAD to the methods of a path that supports GET.
func allowHead(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Before(func() {
			header := c.Response().Header()
			methods := strings.Split(header.Get(echo.HeaderAllow), ", ")
			if slices.Contains(methods, http.MethodGet) && !slices.Contains(methods, http.MethodHead) {
				header.Set(echo.HeaderAllow, strings.Join(append(methods, http.MethodHead), ", "))
			}
		})
		return next(c)
	}
}

type withoutBody struct{ http.ResponseWriter }

func (w withoutBody) Write(p []byte) (int, error) { return len(p), nil }

package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/accept"
)

// request is what is known about the current request.
type request struct {
	id      string
	account string     // "" before authentication and for public operations
	address netip.Addr // of the caller; the zero value if unknown
	network string     // of the caller, for the limits
	token   string     // of the session
	read    bool       // the body was read
	answer  *outgoing

	// What a rendered answer depends on besides its rows.
	unreadable bool  // it lacks text that may be readable later
	until      int64 // nanoseconds since 1970: it would be another by the clock; 0: never
}

// owner is the account or network to which the request's resources are charged.
func (r *request) owner() string {
	if r.account != "" {
		return r.account
	}
	return r.network
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return &request{}
	}
	return r
}

func requestID(ctx context.Context) string { return requestOf(ctx).id }

// caller returns the account of the request's session.
func caller(ctx context.Context) string { return requestOf(ctx).account }

// unmatched is the route of requests that match none, so that labels stay bounded.
const unmatched = "unmatched"

// metrics have bounded labels: route templates, methods that have a route, and
// classes of status.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	unshared prometheus.Counter
	refused  prometheus.Counter
	busy     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_http_requests_total", Help: "Requests served.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "latchkey_http_request_duration_seconds", Help: "Time from the request's header to the end of the response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "latchkey_http_requests_in_flight", Help: "Requests in progress.",
		}),
		unshared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_limits_unshared_total", Help: "Attempts counted by this process only, because the database did not respond.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_http_connections_refused_total", Help: "Connections closed because of the connection limits.",
		}),
		busy: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_passwords_busy_total", Help: "Log-ins and registrations refused because too many passwords were waiting to be hashed.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.inFlight, m.unshared, m.refused, m.busy} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the HTTP metrics: %w", err)
		}
	}
	return m, nil
}

// observe is the outermost middleware: it names the request, limits its time, converts
// its error or panic to a response, and logs and measures it.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()

		from := client(c.Request(), s.cfg.TrustedProxies)
		req := &request{id: rand.Text(), address: from, network: network(from)}
		gone := c.Request().Context()                       // ends when the client goes away, or closes its side
		op := s.operations[c.Request().Method+" "+c.Path()] // nil if not in the specification
		if c.Request().ContentLength != 0 && (op == nil || op.body == nil && !op.raw) {
			c.Response().Header().Set("Connection", "close") // nothing waits for a body that is not read
		}
		if op != nil && !op.public && c.Request().Method != http.MethodGet {
			// Commands run to completion. A log-in or a registration that the client has
			// abandoned needs no place in its queue.
			gone = context.WithoutCancel(gone)
		}
		ctx, cancel := context.WithCancel(context.WithValue(gone, requestKey{}, req))
		if op == nil || !op.streams {
			ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		}
		defer cancel()
		c.SetRequest(c.Request().WithContext(ctx))
		setHeaders(c.Response().Header(), req.id)
		req.answer = &outgoing{ResponseWriter: c.Response().Writer, server: s, req: req, conn: accept.Of(gone)}
		c.Response().Writer = req.answer
		defer req.answer.end()

		err := s.recovered(next)(c)
		switch {
		case err == nil:
		case gone.Err() != nil && !errors.Is(err, errPanic) && !timedOut(err):
			s.clientGone(c, err)
		default:
			s.writeProblem(err, c)
		}
		s.record(c, req, time.Since(start))
		return nil
	}
}

// timedOut reports whether the client is still there to be notified that its body arrived
// too slowly.
func timedOut(err error) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.status == http.StatusRequestTimeout
}

func setHeaders(h http.Header, id string) {
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Authorization")
}

// statusClientGone is the logged and measured status of a request whose client did not
// wait for the response. It is never sent.
const statusClientGone = 499

// clientGone ends a request that failed because its client disconnected, or after that:
// no response can be sent, and it is not an error of the server.
func (s *Server) clientGone(c echo.Context, err error) {
	if !c.Response().Committed {
		c.Response().WriteHeader(statusClientGone)
	}
	s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "client went away",
		slog.String("request", requestID(c.Request().Context())), slog.Any("error", err))
}

var errPanic = errors.New("panic")

// recovered converts a panic to an error. Only the text of a runtime error is logged: any
// other value might contain anything.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			what := fmt.Sprintf("a %T", v)
			switch e := v.(type) {
			case runtime.Error:
				what = e.Error()
			case error:
				if errors.Is(e, http.ErrAbortHandler) {
					panic(v)
				}
			}
			s.log.Error("request panicked", "request", requestID(c.Request().Context()), "panic", what, "stack", string(debug.Stack()))
			err = internal(fmt.Errorf("%w: %s", errPanic, what))
		}()
		return next(c)
	}
}

func (s *Server) record(c echo.Context, req *request, took time.Duration) {
	route, method := c.Path(), c.Request().Method
	if !s.routes[method+" "+route] {
		route, method = unmatched, "other"
	}
	status := c.Response().Status
	s.metrics.requests.WithLabelValues(route, method, class(status)).Inc()
	s.metrics.duration.WithLabelValues(route, method).Observe(took.Seconds())

	level := slog.LevelInfo
	if quietRoutes[route] || status == statusClientGone {
		level = slog.LevelDebug
	}
	s.log.LogAttrs(c.Request().Context(), level, "request",
		slog.String("method", method), slog.String("route", route), slog.Int("status", status),
		slog.Duration("duration", took), slog.String("request", req.id), slog.String("account", req.account))
}

// class is the label of a status: 2xx, 4xx, 5xx, or client_gone.
func class(status int) string {
	if status == statusClientGone {
		return "client_gone"
	}
	return strconv.Itoa(status/100) + "xx"
}

// quietRoutes are requested every few seconds by machines.
var quietRoutes = map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true}

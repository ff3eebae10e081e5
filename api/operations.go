package api

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"latchkey/internal/accept"
)

// Operators have a separate address with every metric, and which component is not ready
// and why. On the API's address, metrics and the states of components are only for
// programs on the same machine, and do not reveal why a camera was not reached.

// operatorConnections limits the connections to the operators' address, and
// operatorConnectionsOfNetwork those of one network.
const (
	operatorConnections          = 32
	operatorConnectionsOfNetwork = 16
)

// OperatorHandler serves the operators' address.
func (s *Server) OperatorHandler() http.Handler {
	metrics := promhttp.HandlerFor(prometheus.Gatherers{s.cfg.Metrics, s.cfg.PrivateMetrics}, promhttp.HandlerOpts{})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		status, answer := s.readiness(r.Context())
		writeJSON(w, status, answer)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, alive) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, _ := r.Context().Value(onLoopback{}).(bool); local && !namesLoopback(r.Host) {
			http.NotFound(w, r) // a web page may have caused a local browser to request it
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the connection is gone
}

// RunForOperators serves OperatorHandler on the listener, as Run does the API.
func (s *Server) RunForOperators(ctx context.Context, l net.Listener) error {
	return s.run(ctx, l, s.OperatorHandler(), nil, accept.Config{
		Most: operatorConnections, MostOfNetwork: operatorConnectionsOfNetwork,
		IdleWithin: idleTimeout, Refused: s.metrics.refused.Inc, // scrapers have no session
	})
}

var alive = map[string]string{"status": "ok"}

func (s *Server) getHealth(c echo.Context) error { return c.JSON(http.StatusOK, alive) }

// getReadiness reports whether the service is ready; the states of components only to
// programs on this machine, and the reasons only to operators.
func (s *Server) getReadiness(c echo.Context) error {
	status, answer := s.readiness(c.Request().Context())
	if !s.isLocal(c.Request()) {
		answer.Components = nil
	}
	for name, component := range answer.Components {
		component.Reason = ""
		answer.Components[name] = component
	}
	return c.JSON(status, answer)
}

// getMetrics is for programs on this machine; for others it does not exist.
func (s *Server) getMetrics(c echo.Context) error {
	if !s.isLocal(c.Request()) {
		return echo.ErrNotFound
	}
	promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}).ServeHTTP(c.Response(), c.Request())
	return nil
}

// onLoopback is the key for whether a request came to a listener that only this machine
// can reach.
type onLoopback struct{}

func withListener(l net.Listener) context.Context {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return context.WithValue(context.Background(), onLoopback{}, ok && tcp.IP.IsLoopback())
}

// passedOn reports whether a header is one of those with which proxies name the original
// client.
func passedOn(name string) bool {
	switch name {
	case "Forwarded", "Via", "X-Real-Ip", "Forwarded-For", "X-Original-Url", "X-Originating-Ip":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "X-Envoy-") ||
		strings.HasSuffix(name, "Client-Ip") || strings.HasSuffix(name, "Connecting-Ip")
}

// isLocal reports whether the request comes from a program on this machine, on its own
// behalf: over loopback, at a listener that others cannot reach, through no proxy, and by
// the name of this machine, which a foreign web page cannot make its browser use.
func (s *Server) isLocal(r *http.Request) bool {
	if local, _ := r.Context().Value(onLoopback{}).(bool); !local || len(s.cfg.TrustedProxies) > 0 {
		return false
	}
	for name := range r.Header {
		if passedOn(name) {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && plain(peer.Addr()).IsLoopback() && namesLoopback(r.Host)
}

func namesLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	addr, ok := parseHop(host)
	return ok && addr.IsLoopback()
}

// Component is a part of the process whose readiness is reported at /readyz.
type Component struct {
	// Name is its key in the response: log, database, projections, index, door.
	Name string
	// State returns its state in one word and whether it can do its work. It is shown to
	// programs on this machine and operators, and must not reveal secrets; it obeys the
	// context, which ends after 2 seconds. It is called from many goroutines.
	State func(ctx context.Context) (state string, ready bool)
	// Reason, if set, returns why it is not ready; "" if it is. It is shown to operators;
	// otherwise like State.
	Reason func() string
	// Notice, if set, returns what a ready component refuses; "" for nothing. It is shown
	// to operators, too.
	Notice func() string
}

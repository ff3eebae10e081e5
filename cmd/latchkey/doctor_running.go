package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
)

// running is what a running service of the same configuration says.
type running struct {
	there      bool
	ready      bool
	components map[string]string // that are not ready, and why
}

// findRunning asks for readiness where operators do, and then where everybody does. The
// embedded log's socket also shows that a process has the data folder.
func (d *doctor) findRunning(ctx context.Context) (r running) {
	if d.o.Eventstore == "embedded" {
		r.there = answers(filepath.Join(d.o.Data, "eventstore.sock"))
	}
	operators := d.o.Metrics
	if operators == "" {
		operators = usualMetrics
	}
	for _, at := range []string{operators, d.o.HTTP} {
		if at == metricsOff {
			continue
		}
		if said, ok := readiness(ctx, at); ok {
			said.there = true
			return said
		}
	}
	return r
}

// readiness asks a service whether it is ready; false if none answers as ours do.
func readiness(ctx context.Context, at string) (r running, found bool) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin/2)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+dialable(at)+"/readyz", nil)
	if err != nil {
		return r, false
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return r, false
	}
	defer res.Body.Close()
	var said struct {
		Status     string
		Components map[string]struct {
			State, Reason string
			Ready         bool
		}
	}
	const mostRead = 1 << 20
	if json.NewDecoder(io.LimitReader(res.Body, mostRead)).Decode(&said) != nil || said.Status != "ready" && said.Status != "not_ready" {
		return r, false
	}
	r.ready, r.components = said.Status == "ready", map[string]string{}
	for name, c := range said.Components {
		if !c.Ready {
			r.components[name] = strings.TrimSpace(c.State + ". " + c.Reason)
		}
	}
	return r, true
}

// dialable returns an address at which this machine reaches a listener.
func dialable(at string) string {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return at
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// service reports what a running service says of itself.
func (d *doctor) service(context.Context) []finding {
	switch {
	case !d.running.there:
		return []finding{ok("service", "it does not run")}
	case d.running.ready:
		return []finding{ok("service", "it runs and is ready")}
	case len(d.running.components) == 0:
		return []finding{ok("service", "it runs, and does not say that it is ready").but(warning, "Its log says why; /readyz at the address of --metrics has the details.")}
	}
	var list []finding
	for _, name := range slices.Sorted(maps.Keys(d.running.components)) {
		list = append(list, ok("service", "it runs and is not ready: %s: %s", name, d.running.components[name]).but(problem, "See \"When it is not ready\" in docs/operations.md."))
	}
	return list
}

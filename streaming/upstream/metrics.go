package upstream

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counters with few labels, none of which identifies anybody.
type metrics struct {
	dropped, dialErrors *prometheus.CounterVec
	dials, packetsIn    prometheus.Counter
}

// Reasons for dropping packets, shared with doors: labels of the metric.
const (
	DroppedNotLive = "not live" // unknown what is permitted
	DroppedTooBig  = "too big"  // for a datagram
)

// Other reasons for dropping packets here.
const (
	droppedLost   = "lost by camera"
	droppedBroken = "broken by camera"
)

// newMetrics registers public metrics with r, and with private those that reveal why
// cameras were not reached; both may be nil. The names have the same prefix as the RTSP
// door's, as dashboards expect.
func newMetrics(p *Pool, r, private prometheus.Registerer) (*metrics, error) {
	const ns, sub = "latchkey", "rtsp"
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{"reason"})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	m := &metrics{
		dropped:    vec("dropped_packets_total", "Packets that did not reach a viewer."),
		dialErrors: vec("camera_errors_total", "Cameras that were not reached, and streams that dropped."),
		dials:      counter("camera_dials_total", "Cameras that were dialled."),
		packetsIn:  counter("camera_packets_total", "Packets of cameras that were handed on."),
	}
	upstreams := func(state string, pick func(flowing, dialing, away int) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "upstreams", Help: "Camera streams.", ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return float64(pick(p.states())) })
	}
	var errs []error
	if private != nil {
		errs = append(errs, private.Register(m.dialErrors))
	}
	if r == nil {
		return m, errors.Join(errs...)
	}
	for _, c := range []prometheus.Collector{
		m.dropped, m.dials, m.packetsIn,
		upstreams("flowing", func(f, _, _ int) int { return f }),
		upstreams("dialing", func(_, d, _ int) int { return d }),
		upstreams("away", func(_, _, a int) int { return a }),
	} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// Dropped counts a packet that did not reach a viewer. Readers call it, too, with their
// own reasons: a few constant words.
func (p *Pool) Dropped(reason string) { p.metrics.dropped.WithLabelValues(reason).Inc() }

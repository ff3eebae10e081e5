package upstream

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counters with few labels, none of which says who or what.
type metrics struct {
	dropped, dialErrors *prometheus.CounterVec
	dials, packetsIn    prometheus.Counter
}

// Reasons for dropping packets that doors have too: labels of the metric.
const (
	DroppedNotLive = "not live" // it was not known what is permitted
	DroppedTooBig  = "too big"  // for a datagram
)

// Why else packets are dropped here.
const (
	droppedLost   = "lost by camera"
	droppedBroken = "broken by camera"
)

// newMetrics registers with r what anybody may read, and with private what tells
// why cameras were not reached; both may be nil. The names begin as those of the
// RTSP door do: dashboards know them so.
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

// Dropped counts a packet that did not reach a viewer. Readers call it, too, with
// reasons of their own: a few words that are the same for each packet.
func (p *Pool) Dropped(reason string) { p.metrics.dropped.WithLabelValues(reason).Inc() }

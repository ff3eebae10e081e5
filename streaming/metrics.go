package streaming

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counters with few labels, none of which says who or what.
type metrics struct {
	refused, cut, dropped, dialErrors *prometheus.CounterVec
	plays, dials, packetsIn           prometheus.Counter

	packets, bytes uint64 // delivered by upstreams that are over; the pool's mutex guards them
}

// droppedNotLive labels packets that came while it was not known what is
// permitted.
const droppedNotLive = "not live"

// newMetrics registers with r what anybody may read, and with private what tells
// why cameras were not reached; both may be nil.
func newMetrics(d *Door, r, private prometheus.Registerer) (*metrics, error) {
	const ns, sub = "latchkey", "rtsp"
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{label})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	m := &metrics{
		refused:    vec("refused_total", "Requests and connections that were refused.", "reason"),
		cut:        vec("cut_total", "Viewers that were cut.", "reason"),
		dropped:    vec("dropped_packets_total", "Packets that did not reach a viewer.", "reason"),
		dialErrors: vec("camera_errors_total", "Cameras that were not reached, and streams that dropped.", "reason"),
		plays:      counter("plays_total", "Viewers that began to watch."),
		dials:      counter("camera_dials_total", "Cameras that were dialled."),
		packetsIn:  counter("camera_packets_total", "Packets of cameras that were handed on."),
	}
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help, ConstLabels: labels}, f)
	}
	upstreams := func(state string, pick func(flowing, dialing, away int) int) prometheus.Collector {
		return gauge("upstreams", "Streams of cameras.", prometheus.Labels{"state": state}, func() float64 {
			return float64(pick(d.pool.states()))
		})
	}
	out := func(name, help string, pick func(packets, bytes uint64) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, func() float64 {
			return float64(pick(d.pool.delivered()))
		})
	}
	var errs []error
	if private != nil {
		errs = append(errs, private.Register(m.dialErrors))
	}
	if r == nil {
		return m, errors.Join(errs...)
	}
	for _, c := range []prometheus.Collector{
		m.refused, m.cut, m.dropped, m.plays, m.dials, m.packetsIn,
		gauge("viewers", "RTSP sessions that are set up.", nil, func() float64 { return float64(d.viewers.count()) }),
		upstreams("flowing", func(f, _, _ int) int { return f }),
		upstreams("dialing", func(_, d, _ int) int { return d }),
		upstreams("away", func(_, _, a int) int { return a }),
		out("viewer_packets_total", "Packets queued for viewers.", func(p, _ uint64) uint64 { return p }),
		out("viewer_bytes_total", "Bytes queued for viewers.", func(_, b uint64) uint64 { return b }),
	} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// ended keeps what an upstream that is over has delivered. The pool's mutex is held.
func (m *metrics) ended(s *gortsplib.ServerStream) {
	stats := s.Stats()
	m.packets += stats.RTPPacketsSent
	m.bytes += stats.BytesSent
}

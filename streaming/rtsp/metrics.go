package rtsp

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counters with few labels, none of which identifies anybody.
type metrics struct {
	refused, cut                      *prometheus.CounterVec
	plays, losses, stalled, publishes prometheus.Counter
	talks                             prometheus.Counter
}

// Reasons for dropping packets here, in addition to those of package upstream.
const (
	droppedQueue = "viewer queue" // a viewer did not keep up
	droppedSent  = "viewer sent"  // it came from a viewer and is not RTCP
	droppedTalk  = "viewer talk"  // it was said without the privilege or the floor, or too fast
)

// newMetrics registers the metrics with r, which may be nil.
func newMetrics(d *Door, r prometheus.Registerer) (*metrics, error) {
	const ns, sub = "latchkey", "rtsp"
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{"reason"})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	m := &metrics{
		refused:   vec("refused_total", "Requests and connections that were refused."),
		cut:       vec("cut_total", "Viewers that were cut."),
		plays:     counter("plays_total", "Viewers that started watching."),
		publishes: counter("publishes_total", "Streams that cameras began to publish."),
		talks:     counter("talks_total", "Viewers that began to talk."),
		losses:    counter("viewer_losses_total", "Times that a viewer did not keep up and lost pictures up to a key frame."),
		stalled:   counter("viewers_stalled_total", "Viewers that were dropped because they accepted nothing."),
	}
	if r == nil {
		return m, nil
	}
	viewers := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "viewers", Help: "RTSP sessions that are set up."},
		func() float64 { return float64(d.viewers.count()) })
	out := func(name, help string, pick func(packets, bytes uint64) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, func() float64 {
			return float64(pick(d.streams.delivered()))
		})
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.refused, m.cut, m.plays, m.losses, m.stalled, m.publishes, m.talks, viewers,
		out("viewer_packets_total", "Packets given to viewers.", func(p, _ uint64) uint64 { return p }),
		out("viewer_bytes_total", "Bytes given to viewers.", func(_, b uint64) uint64 { return b }),
	} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// dropped counts packets that did not reach a viewer.
func (d *Door) dropped(reason string, packets int) {
	for range packets {
		d.cfg.Upstreams.Dropped(reason)
	}
}

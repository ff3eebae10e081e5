package webrtc

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	started, resent, pli, broken, refused, packets, bytes prometheus.Counter

	talks, spoken, unspoken prometheus.Counter

	ended *prometheus.CounterVec
}

func newMetrics(d *Door, r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "latchkey_webrtc_" + name, Help: help})
	}
	m := &metrics{
		started:  counter("viewers_started_total", "Viewers by WebRTC that were connected."),
		resent:   counter("packets_resent_total", "Packets that viewers by WebRTC had lost and were sent again."),
		pli:      counter("picture_loss_total", "Times that viewers by WebRTC asked for a key frame."),
		broken:   counter("broken_reports_total", "Reports of viewers by WebRTC that are not RTCP."),
		refused:  counter("datagrams_refused_total", "Datagrams of viewers by WebRTC that no player has to send."),
		packets:  counter("packets_total", "Packets given to viewers by WebRTC."),
		bytes:    counter("bytes_total", "Bytes of their payloads."),
		talks:    counter("talks_started_total", "Viewers by WebRTC that have begun to talk to a camera."),
		spoken:   counter("sound_packets_total", "Packets of sound of viewers by WebRTC that were passed on."),
		unspoken: counter("sound_packets_dropped_total", "Those that were not: not permitted, somebody else talks, or too many."),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_webrtc_viewers_ended_total", Help: "Ends of viewers by WebRTC, by reason.",
		}, []string{"reason"}),
	}
	if r == nil {
		return m, nil
	}
	var faults []error
	for _, c := range []prometheus.Collector{
		m.started, m.resent, m.pli, m.broken, m.refused, m.packets, m.bytes, m.ended, m.talks, m.spoken, m.unspoken,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_webrtc_viewers", Help: "Viewers by WebRTC now, also those that are being connected."},
			func() float64 { return float64(d.viewers.count()) }),
	} {
		faults = append(faults, r.Register(c))
	}
	return m, errors.Join(faults...)
}

// count counts what was given to a viewer.
func (d *Door) count(b *burst) {
	d.metrics.packets.Add(float64(len(b.pieces)))
	d.metrics.bytes.Add(float64(b.bytes))
}

package mse

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	viewers        prometheus.Gauge
	started, drops prometheus.Counter
	bytes          prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		viewers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "latchkey_mse_viewers", Help: "Viewers of fragmented MP4 now."}),
		started: prometheus.NewCounter(prometheus.CounterOpts{Name: "latchkey_mse_viewers_started_total", Help: "Viewers of fragmented MP4 that began."}),
		drops: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_mse_drops_total", Help: "Times that a viewer of fragmented MP4 was too slow, and lost pictures up to the next key frame.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "latchkey_mse_bytes_total", Help: "Bytes given to viewers of fragmented MP4."}),
	}
	if r == nil {
		return m, nil
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.viewers, m.started, m.drops, m.bytes} {
		faults = append(faults, r.Register(c))
	}
	return m, errors.Join(faults...)
}

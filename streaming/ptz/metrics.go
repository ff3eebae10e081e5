package ptz

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	orders *prometheus.CounterVec
	stops  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_ptz_orders_total", Help: "PTZ orders given to cameras, by result.",
		}, []string{"result"}),
		stops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_ptz_stops_total", Help: "Attempts to stop cameras that somebody left moving, by reason and result.",
		}, []string{"reason", "result"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.orders, m.stops} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the PTZ metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) ordered(err error) { m.orders.WithLabelValues(result(err)).Inc() }

func (m *metrics) stopped(why string, err error) { m.stops.WithLabelValues(why, result(err)).Inc() }

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrUnreachable):
		return "unreachable"
	case errors.Is(err, ErrRefused), errors.Is(err, ErrNoSuchPreset):
		return "refused"
	case errors.Is(err, ErrNoHead):
		return "no_address"
	case errors.Is(err, ErrNoAnswer):
		return "no_answer"
	}
	return "failed"
}

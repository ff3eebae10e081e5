package main

import (
	"fmt"
	"log/slog"
	"net"
)

const (
	// usualMetrics is the default address for operators.
	usualMetrics = "127.0.0.1:9464"
	// metricsOff is the value of --metrics that disables the address.
	metricsOff = "off"
)

// listenForMetrics opens the address for operators; nil if disabled. An explicit address
// must be free. The default one may be taken by another service of this machine, which
// must not prevent the start.
func (o options) listenForMetrics(logger *slog.Logger) (net.Listener, error) {
	switch o.Metrics {
	case metricsOff:
		return nil, nil
	case "":
	default:
		l, err := net.Listen("tcp", o.Metrics)
		if err != nil {
			return nil, fmt.Errorf("opening the metrics address: %w", err)
		}
		return l, nil
	}
	l, err := net.Listen("tcp", usualMetrics)
	if err == nil {
		return l, nil
	}
	l, other := net.Listen("tcp", "127.0.0.1:0")
	if other != nil {
		logger.Warn("no metrics address can be opened; metrics are not served", "error", other)
		return nil, nil
	}
	logger.Warn("the default metrics address cannot be opened, using another port; choose one with --metrics", "error", err, "metrics", l.Addr().String())
	return l, nil
}

// onLoopback reports whether only this machine can reach a listener.
func onLoopback(l interface{ Addr() net.Addr }) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

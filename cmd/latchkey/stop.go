package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// The service stops in the reverse order of its start: first the entry points (REST API,
// door), then what serves them (cameras' streams, read models, privilege index), and
// finally the stores (databases, journal, log).

// part is something that runs until it is stopped.
type part struct {
	name string
	stop context.CancelFunc
	done chan struct{}
}

// stopWithin limits the whole ordered stop.
const stopWithin = 12 * time.Second

// run starts a part. A part that ends before it is stopped ends the service.
func (s *runningService) run(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := part{name: name, stop: cancel, done: make(chan struct{})}
	s.parts = append(s.parts, p)
	go func() {
		defer close(p.done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			s.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// wait returns when the context ends or a part fails.
func (s *runningService) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		s.logger.Info("latchkey is stopping")
		return s.stop()
	case err := <-s.failed:
		return errors.Join(err, s.stop())
	}
}

// stop ends the parts in the reverse order of their start, and then closes the stores.
// Stopping again returns the first result.
func (s *runningService) stop() error {
	s.stopping.Do(func() { s.stopped = s.stopAll() })
	return s.stopped
}

func (s *runningService) stopAll() error {
	deadline := time.After(stopWithin)
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		p.stop()
		select {
		case <-p.done:
		case <-deadline:
			return fmt.Errorf("stopping: %s did not end in time", p.name)
		}
	}
	for _, l := range []net.Listener{s.http, s.https, s.metrics} {
		if l != nil {
			_ = l.Close() // the API has closed it if it ran
		}
	}
	if s.opened == nil {
		return nil
	}
	return s.opened.close()
}

package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"latchkey/domain/ids"
)

const (
	// maxSources is the number of streams whose addresses are remembered for when the
	// database is unavailable.
	maxSources = 4096
	// sourceWithin is how long reading the address of a camera may take before the
	// remembered one is used.
	sourceWithin = 2 * time.Second
)

// source returns the address of a camera's stream. It is read at each dial, as it may
// have changed; if it cannot be read, the last known one is used.
func (p *Pool) source(ctx context.Context, of Stream) (Source, error) {
	within, cancel := context.WithTimeout(ctx, sourceWithin)
	defer cancel()
	source, err := p.cfg.Cameras.Camera(within, of.Device, of.Channel, of.Quality)
	switch {
	case err == nil:
		if text, err := json.Marshal(source); err == nil {
			p.sources.Put(of.name(), text)
		}
		if ctx.Err() != nil { // the camera may just have been removed, and its address dropped
			p.sources.Forget(of.name())
		}
		return source, nil
	case errors.Is(err, ErrNoCamera), errors.Is(err, ErrNoStream):
		p.sources.Forget(of.name())
		return Source{}, err
	}
	text, ok := p.sources.Get(of.name())
	if !ok || json.Unmarshal(text, &source) != nil {
		return Source{}, err
	}
	p.log.Warn("the camera's address could not be read; using the last known one", "device", of.Device, "channel", of.Channel)
	return source, nil
}

// forgetSources drops the addresses of a device's streams, and what they were seen to be.
func (p *Pool) forgetSources(device ids.Device) {
	p.mu.Lock()
	maps.DeleteFunc(p.seen, func(of Stream, _ *observer) bool { return of.Device == device })
	p.mu.Unlock()
	p.sources.Retain(func(name string) bool { return !strings.HasPrefix(name, string(device)+"/") })
}

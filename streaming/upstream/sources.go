package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

const (
	// maxSources is of how many streams it is remembered where they are, for the
	// time that the database is away.
	maxSources = 4096
	// sourceWithin is how long reading where a camera is may take before what is
	// remembered is used.
	sourceWithin = 2 * time.Second
)

// source is where a camera's stream is. It is read at each dial, as it may have
// changed, and is what it was when it cannot be read.
func (p *Pool) source(ctx context.Context, of Stream) (Source, error) {
	within, cancel := context.WithTimeout(ctx, sourceWithin)
	defer cancel()
	source, err := p.cfg.Cameras.Camera(within, of.Device, of.Channel, of.Quality)
	switch {
	case err == nil:
		if text, err := json.Marshal(source); err == nil {
			p.sources.Put(of.name(), text)
		}
		if ctx.Err() != nil { // the camera may have been left, and what is known of it dropped, just before
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

// forgetSources drops where the streams of a device are.
func (p *Pool) forgetSources(device string) {
	p.sources.Retain(func(name string) bool { return !strings.HasPrefix(name, device+"/") })
}

package mse

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/streaming/fmp4"
	"latchkey/streaming/upstream"
)

// Upstreams are where streams come from; *upstream.Pool implements it.
type Upstreams interface {
	// Acquire returns the stream, pulled if permitted.
	Acquire(ctx context.Context, of upstream.Stream, permitted func() bool) (*upstream.Lease, error)
}

// Pool has the streams that somebody watches. Use New; it is safe for concurrent use.
type Pool struct {
	upstreams Upstreams
	metrics   *metrics

	mu      sync.Mutex
	streams map[*upstream.Flow]*stream
}

// New returns a pool. metrics may be nil: there are none.
func New(u Upstreams, registerer prometheus.Registerer) (*Pool, error) {
	p := &Pool{upstreams: u, streams: map[*upstream.Flow]*stream{}}
	var err error
	if p.metrics, err = newMetrics(registerer); err != nil {
		return nil, fmt.Errorf("registering the metrics of fragmented MP4: %w", err)
	}
	return p, nil
}

// UnplayableError is why a stream cannot be packed.
type UnplayableError struct{ Codec string } // of the video: JPEG, ...; "": there is none

// Error names the codec.
func (e *UnplayableError) Error() string {
	return fmt.Sprintf("the stream has no place in MP4: codec %q", e.Codec)
}

// acquire joins the stream. A channel without a sub stream uses its main one. The caller
// must leave the stream and release the lease.
func (p *Pool) acquire(ctx context.Context, of upstream.Stream, permitted func() bool) (*stream, *upstream.Lease, error) {
	lease, err := p.upstreams.Acquire(ctx, of, permitted)
	if of.Quality == upstream.Sub && errors.Is(err, upstream.ErrNoStream) {
		of.Quality = upstream.Main
		lease, err = p.upstreams.Acquire(ctx, of, permitted)
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := p.of(lease.Flow())
	if err != nil {
		lease.Release()
		return nil, nil, err
	}
	return st, lease, nil
}

// of returns the stream of a flow for a user, who must leave it.
func (p *Pool) of(flow *upstream.Flow) (*stream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.streams[flow]
	if st == nil {
		var err error
		if st, err = newStream(flow, p.metrics); err != nil {
			if no, ok := errors.AsType[*fmp4.UnsupportedError](err); ok {
				err = &UnplayableError{Codec: no.Codec}
			}
			return nil, err
		}
		p.streams[flow] = st
	}
	st.users++
	return st, nil
}

// leave ends the use of a stream.
func (p *Pool) leave(st *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st.users--; st.users == 0 {
		delete(p.streams, st.flow)
		st.detach()
	}
}

package mse

import (
	"context"
	"errors"
	"sync"
	"time"

	"latchkey/streaming/fmp4"
	"latchkey/streaming/upstream"
)

// How much may wait for a viewer, in bytes that others share, and for how long: a small stream
// would be a minute late before it is much. One that is slower loses pictures up to the next
// key frame.
const (
	maxQueue = 4 << 20
	maxWait  = 5 * time.Second
)

// ErrEnded is returned when the camera's stream has ended.
var ErrEnded = errors.New("the camera's stream has ended")

// Part is what a viewer gets next.
type Part struct {
	// Init is what the player must have before the fragment; nil: it has it.
	Init *fmp4.Init
	// Fragment is one sample as moof and mdat. It must not be modified.
	Fragment []byte
}

// Viewer gets what a stream plays: first what was played since the last key frame, squeezed
// into a moment, and then what the camera plays. Close it.
type Viewer struct {
	pool   *Pool
	stream *stream
	lease  *upstream.Lease
	wake   chan struct{} // of one: something came
	init   *fmp4.Init    // the player has it
	close  sync.Once

	mu      sync.Mutex
	queue   []waiting
	bytes   int
	waiting bool // for a picture that a decoder can start with
	ended   bool
}

// waiting is a part that a viewer has not taken.
type waiting struct {
	part
	since time.Time
}

// Watch returns a viewer of a stream. It fails as upstream.Pool.Acquire does, or with an
// *UnplayableError. permitted is asked before a camera is dialed.
func (p *Pool) Watch(ctx context.Context, of upstream.Stream, permitted func() bool) (*Viewer, error) {
	st, lease, err := p.acquire(ctx, of, permitted)
	if err != nil {
		return nil, err
	}
	v := &Viewer{pool: p, stream: st, lease: lease, wake: make(chan struct{}, 1), waiting: true}
	st.join(v, v.begin)
	p.metrics.viewers.Inc()
	p.metrics.started.Inc()
	return v, nil
}

// begin queues what was kept.
func (v *Viewer) begin(kept []fmp4.Sample) {
	for _, s := range squeezed(kept) {
		v.take(part{sample: s})
	}
}

// take queues a part, or drops it.
func (v *Viewer) take(p part) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if len(v.queue) > 0 && (v.bytes+len(p.data) > maxQueue || now.Sub(v.queue[0].since) > maxWait) {
		v.queue, v.bytes, v.waiting = nil, 0, true
		v.pool.metrics.drops.Inc()
	}
	if v.waiting {
		if p.sample.Track != fmp4.VideoTrack || !p.sample.Key {
			return
		}
		v.waiting = false
	}
	v.queue = append(v.queue, waiting{p, now})
	v.bytes += len(p.data)
	v.signal()
}

func (v *Viewer) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	v.signal()
}

func (v *Viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Next waits for the next part. When the stream has ended it returns ErrEnded, at once; when
// the context ends, its error.
func (v *Viewer) Next(ctx context.Context) (Part, error) {
	for {
		if ctx.Err() != nil {
			return Part{}, ctx.Err()
		}
		p, ok, ended := v.pop()
		switch {
		case ended:
			return Part{}, ErrEnded
		case ok:
			out := Part{Fragment: p.data}
			if p.data == nil { // of those that were kept
				out.Fragment = p.sample.AppendFragment(nil, 0)
			}
			if p.sample.Init != v.init {
				v.init = p.sample.Init
				out.Init = v.init
			}
			v.pool.metrics.bytes.Add(float64(len(out.Fragment)))
			return out, nil
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
		}
	}
}

func (v *Viewer) pop() (p part, ok, ended bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 || v.ended {
		return part{}, false, v.ended
	}
	p, v.queue[0] = v.queue[0].part, waiting{}
	v.queue = v.queue[1:]
	v.bytes -= len(p.data)
	return p, true, false
}

// Close ends the viewer. Closing it again does nothing.
func (v *Viewer) Close() {
	v.close.Do(func() {
		v.stream.part(v)
		v.pool.leave(v.stream)
		v.lease.Release()
		v.pool.metrics.viewers.Dec()
	})
}

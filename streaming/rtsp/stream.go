package rtsp

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/streaming/upstream"
)

// lease is a viewer's share in an upstream, and the stream that serves the viewer.
type lease struct {
	*upstream.Lease
	stream *gortsplib.ServerStream
}

// lease joins the upstream. A channel without a sub stream uses its main one.
func (d *Door) lease(ctx context.Context, v *viewer, t target) (*lease, *refusal) {
	of := upstream.Stream{Device: v.device, Channel: v.channel, Quality: t.quality}
	permitted := func() bool { return d.verdict(v) == nil }
	l, err := d.acquire(ctx, of, permitted)
	if of.Quality == upstream.Sub && errors.Is(err, upstream.ErrNoStream) {
		of.Quality = upstream.Main
		l, err = d.acquire(ctx, of, permitted)
	}
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, upstream.ErrLeft), errors.Is(err, upstream.ErrEnded):
		if refused := d.verdict(v); refused != nil {
			return nil, refused
		}
		return nil, errUnavailable
	case errors.Is(err, upstream.ErrNoStream), errors.Is(err, upstream.ErrNoCamera):
		return nil, errNotFound
	default:
		return nil, &refusal{
			status: base.StatusServiceUnavailable, reason: "camera away",
			header: base.Header{"Retry-After": base.HeaderValue{retryAfter(err)}},
		}
	}
}

func (d *Door) acquire(ctx context.Context, of upstream.Stream, permitted func() bool) (*lease, error) {
	l, err := d.cfg.Upstreams.Acquire(ctx, of, permitted)
	if err != nil {
		return nil, err
	}
	stream, err := d.streams.of(l.Flow(), d.server)
	if err != nil {
		l.Release()
		return nil, err
	}
	return &lease{l, stream}, nil
}

// retryAfter returns the value of that header: whole seconds, at least one.
func retryAfter(err error) string {
	var away *upstream.AwayError
	seconds := 1
	if errors.As(err, &away) {
		seconds = max(seconds, int((away.Wait+time.Second-1)/time.Second))
	}
	return strconv.Itoa(seconds)
}

// streams are the server's streams for viewers, one for each requested flow.
type streams struct {
	dropped func(reason string)

	mu     sync.Mutex
	all    map[*upstream.Flow]*stream
	closed bool

	packets, bytes uint64 // queued for viewers by ended streams
}

// stream is the reader of a flow, for as long as that lasts, and serves all viewers of
// it: the server encodes each packet once.
type stream struct {
	*gortsplib.ServerStream
	streams *streams
	flow    *upstream.Flow
	detach  func()
	once    sync.Once
}

// of returns the stream of the flow, creating it if needed.
func (s *streams) of(flow *upstream.Flow, server *gortsplib.Server) (*gortsplib.ServerStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.all[flow]; st != nil {
		return st.ServerStream, nil
	}
	if s.closed {
		return nil, net.ErrClosed
	}
	st := &stream{
		ServerStream: &gortsplib.ServerStream{Server: server, Desc: flow.Description()},
		streams:      s, flow: flow,
	}
	err := st.Initialize()
	if err != nil {
		return nil, err
	}
	if st.detach, err = flow.Attach(st); err != nil {
		st.ServerStream.Close()
		return nil, err
	}
	s.all[flow] = st
	return st.ServerStream, nil
}

// Take queues a packet for every viewer.
func (st *stream) Take(p upstream.Packet) {
	own := *p.RTP // the server changes its SSRC
	if st.WritePacketRTPWithNTP(p.Media, &own, p.NTP) != nil {
		st.streams.dropped(upstream.DroppedTooBig)
	}
}

// End ends every viewer.
func (st *stream) End(error) { st.end() }

func (st *stream) end() {
	st.once.Do(func() {
		st.ServerStream.Close()
		s := st.streams
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, st.flow)
		stats := st.Stats()
		s.packets += stats.RTPPacketsSent
		s.bytes += stats.BytesSent
	})
}

// close ends every stream. The flows continue for other readers.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	list := slices.Collect(maps.Values(s.all))
	s.mu.Unlock()
	for _, st := range list {
		st.detach()
		st.end()
	}
}

// delivered returns what was queued for viewers since the door opened.
func (s *streams) delivered() (packets, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	packets, bytes = s.packets, s.bytes
	for _, st := range s.all {
		stats := st.Stats()
		packets += stats.RTPPacketsSent
		bytes += stats.BytesSent
	}
	return packets, bytes
}

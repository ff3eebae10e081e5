package rtsp

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/streaming/upstream"
)

// lease is a viewer's share in an upstream, and the stream that serves the viewer.
type lease struct {
	*upstream.Lease
	stream *stream
}

// release returns the share. A viewer who only talks has none.
func (l *lease) release() {
	if l.Lease != nil {
		l.Release()
	}
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
		return nil, refusalOfAway(err)
	}
}

// refusalOfAway returns the refusal for a camera that cannot be reached now.
func refusalOfAway(err error) *refusal {
	return &refusal{
		status: base.StatusServiceUnavailable, reason: "camera away",
		header: base.Header{"Retry-After": base.HeaderValue{retryAfter(err)}},
	}
}

func (d *Door) acquire(ctx context.Context, of upstream.Stream, permitted func() bool) (*lease, error) {
	l, err := d.cfg.Upstreams.Acquire(ctx, of, permitted)
	if err != nil {
		return nil, err
	}
	stream, err := d.streams.of(l.Flow(), d)
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

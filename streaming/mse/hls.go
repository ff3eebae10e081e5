package mse

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"latchkey/streaming/upstream"
)

// Playlist is the name of the playlist of a viewer by HLS.
const Playlist = "index.m3u8"

// Segmented is a stream as a viewer by HLS gets it: a playlist and its files. Close it. It is
// safe for concurrent use.
type Segmented struct {
	pool   *Pool
	stream *stream
	lease  *upstream.Lease
	of     *segments
	close  sync.Once

	mu    sync.Mutex
	begun bool
	first int64 // the number of the segment it began with
}

// Segments returns a stream for a viewer by HLS. It fails as Watch does.
func (p *Pool) Segments(ctx context.Context, of upstream.Stream, permitted func() bool) (*Segmented, error) {
	st, lease, err := p.acquire(ctx, of, permitted)
	if err != nil {
		return nil, err
	}
	p.metrics.viewers.Inc()
	p.metrics.started.Inc()
	return &Segmented{pool: p, stream: st, lease: lease, of: p.cut(st)}, nil
}

// cut returns the segments of a stream, which all of its viewers by HLS share, for one more.
func (p *Pool) cut(st *stream) *segments {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st.byHLS == 0 {
		st.segments = newSegments(time.Now)
		st.join(st.segments, st.segments.begin)
	}
	st.byHLS++
	return st.segments
}

// uncut undoes cut.
func (p *Pool) uncut(st *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st.byHLS--; st.byHLS == 0 {
		st.part(st.segments)
		st.segments = nil
	}
}

// Playlist returns the playlist as it is now. It waits for the first segments, until the
// context ends. When the stream has ended it returns ErrEnded.
func (s *Segmented) Playlist(ctx context.Context) ([]byte, error) {
	for {
		list, changed, err := s.playlist()
		if list != nil || err != nil {
			return list, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the first segments: %w", ctx.Err())
		}
	}
}

// playlist returns nil, and what to wait for, if there are too few segments yet.
func (s *Segmented) playlist() ([]byte, <-chan struct{}, error) {
	g := s.of
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil, nil, ErrEnded
	}
	if len(g.list) < fewest {
		return nil, g.changed, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		s.begun, s.first = true, g.first()
	}
	list := g.list[g.oldest():]
	for len(list) > 1 && list[0].number < s.first {
		list = list[1:]
	}
	return playlistOf(list, g.target), nil, nil
}

// playlistOf writes a live playlist (RFC 8216, section 4.3), whose addresses are relative to
// its own.
func playlistOf(list []*segment, target time.Duration) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n", target/time.Second, list[0].number)
	breaks := list[0].breaks // before the first one
	if list[0].breaking {
		breaks--
	}
	fmt.Fprintf(&b, "#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", breaks)
	for n, s := range list {
		if s.breaking {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if n == 0 || s.breaking {
			fmt.Fprintf(&b, "#EXT-X-MAP:URI=\"%s\"\n", initName(s.mapped))
		}
		fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:%s\n#EXTINF:%.5f,\n%s\n", s.at.UTC().Format("2006-01-02T15:04:05.000Z"), s.duration.Seconds(), segmentName(s.number))
	}
	return b.Bytes()
}

func initName(n int) string      { return fmt.Sprintf("init-%d.mp4", n) }
func segmentName(n int64) string { return fmt.Sprintf("%d.m4s", n) }

// File returns a file that a playlist names; ok is false if it is not kept, or never was.
// It must not be modified.
func (s *Segmented) File(name string) (data []byte, ok bool) {
	g := s.of
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.list {
		switch {
		case strings.HasSuffix(name, ".m4s") && name == segmentName(one.number):
			data = one.data
		case name == initName(one.mapped):
			data = one.init.Segment
		default:
			continue
		}
		s.pool.metrics.bytes.Add(float64(len(data)))
		return data, true
	}
	return nil, false
}

// Close ends the viewer. Closing it again does nothing.
func (s *Segmented) Close() {
	s.close.Do(func() {
		s.pool.uncut(s.stream)
		s.pool.leave(s.stream)
		s.lease.Release()
		s.pool.metrics.viewers.Dec()
	})
}

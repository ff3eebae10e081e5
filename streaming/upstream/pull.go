package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/streaming/rtspclient"
)

// pull is the connection to a camera, from its response to PLAY to its end.
type pull struct {
	pool   *Pool
	client *rtspclient.Client // nil: the camera publishes
	space  *space             // of its channel
	flow   *Flow              // nil until the camera has described it
	once   sync.Once

	tracks atomic.Pointer[[]pulled] // nil until all are set up
	last   atomic.Int64             // arrival of the last packet, in Unix nanoseconds
	heard  atomic.Bool              // any packet came
}

// pulled is a track of a camera, and the one that it is handed on as.
type pulled struct {
	from *rtspclient.Track
	to   *track
}

// of returns the track that a camera's is handed on as; nil if it is not, or not yet.
func (pl *pull) of(t *rtspclient.Track) *track {
	if tracks := pl.tracks.Load(); tracks != nil {
		for _, p := range *tracks {
			if p.from == t {
				return p.to
			}
		}
	}
	return nil
}

// packet passes a packet to the readers. It is a boundary: nothing that a camera sends may
// affect more than its own packet.
func (pl *pull) packet(from *rtspclient.Track, data []byte, now time.Time) {
	p := pl.pool
	defer func() {
		if recover() != nil {
			p.Dropped(droppedBroken)
		}
	}()
	t := pl.of(from)
	if t == nil {
		return
	}
	pl.last.Store(now.UnixNano())
	pl.heard.Store(true)
	p.metrics.packetsIn.Inc()
	// Without knowledge of what is permitted, packets are dropped. Those that arrived
	// together are asked for once.
	if !now.Equal(t.asked) {
		t.asked, t.live = now, p.cfg.Privileges.Live(p.cfg.Now())
	}
	if !t.live {
		p.Dropped(DroppedNotLive)
		return
	}
	packets, err := t.packets(data)
	switch {
	case errors.Is(err, errBig):
		p.Dropped(DroppedTooBig)
		return
	case err != nil:
		p.Dropped(droppedBroken)
		return
	}
	pl.flow.times.packet(t.number, Timestamp(packets[0].Data), now)
	for _, packet := range packets {
		packet.NTP = now
		pl.flow.hand(packet)
	}
}

// report notes what the camera says of its clock.
func (pl *pull) report(from *rtspclient.Track, r rtspclient.SenderReport) {
	if t := pl.of(from); t != nil {
		pl.flow.times.report(t.number, r)
	}
}

// errSilent is returned if a connected camera sends nothing.
var errSilent = errors.New("the camera sends nothing")

// wait returns when the upstream is over: nil when ctx ended it.
func (pl *pull) wait(ctx context.Context) error {
	limit := pl.pool.cfg.SilenceLimit
	tick := time.NewTicker(max(limit/8, time.Millisecond))
	defer tick.Stop()
	var done <-chan struct{}
	if pl.client != nil {
		done = pl.client.Done()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			if ctx.Err() != nil {
				return nil
			}
			return pl.client.Err()
		case <-tick.C:
			if time.Since(time.Unix(0, pl.last.Load())) > limit {
				return errSilent
			}
		}
	}
}

// close ends the readers and the connection.
func (pl *pull) close(reason error) {
	pl.once.Do(func() {
		if pl.flow != nil {
			pl.flow.end(reason)
		}
		if pl.client != nil {
			pl.client.Close()
		}
	})
}

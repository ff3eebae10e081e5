package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/pion/rtp"
)

// pull is the connection to a camera, from its response to PLAY to its end.
type pull struct {
	pool   *Pool
	client *gortsplib.Client
	flow   *Flow // nil until the camera has described it
	once   sync.Once

	last atomic.Int64 // arrival of the last packet, in Unix nanoseconds
}

// forward passes a packet to the readers. It is a boundary: nothing that a camera sends
// may affect more than its own packet.
func (pl *pull) forward(track int, m *description.Media, sizes *resizer, pkt *rtp.Packet) {
	p := pl.pool
	defer func() {
		if recover() != nil {
			p.Dropped(droppedBroken)
		}
	}()
	now := time.Now()
	pl.last.Store(now.UnixNano())
	p.metrics.packetsIn.Inc()
	// Without knowledge of what is permitted, packets are dropped.
	if !p.cfg.Privileges.Live(p.cfg.Now()) {
		p.Dropped(DroppedNotLive)
		return
	}
	packets := sizes.fit(pkt)
	if len(packets) == 0 {
		p.Dropped(DroppedTooBig)
	}
	for _, pkt := range packets {
		data, err := pkt.Marshal()
		if err != nil {
			p.Dropped(droppedBroken)
			continue
		}
		pl.flow.hand(Packet{Track: track, Media: m, Data: data, RTP: pkt, NTP: now})
	}
}

// errSilent is returned if a connected camera sends nothing.
var errSilent = errors.New("the camera sends nothing")

// wait returns when the upstream is over: nil when ctx ended it.
func (pl *pull) wait(ctx context.Context) error {
	gone := make(chan error, 1)
	go func() { gone <- pl.client.Wait() }()
	limit := pl.pool.cfg.SilenceLimit
	tick := time.NewTicker(max(limit/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-gone:
			if ctx.Err() != nil {
				return nil
			}
			return err
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
		pl.client.Close()
	})
}

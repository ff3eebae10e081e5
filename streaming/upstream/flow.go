package upstream

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/pion/rtp"
)

// Packet is one RTP packet of a camera. It is the same for every reader: it may be
// kept, and must not be changed.
type Packet struct {
	Media *description.Media // one of the flow's Description
	RTP   *rtp.Packet
	NTP   time.Time // when it came
}

// Reader takes what a camera plays. Neither method may block: everybody else's
// packets wait meanwhile.
type Reader interface {
	// Take takes the next packet. Packets of one media come one after the other,
	// those of different media may come at the same time.
	Take(p Packet)
	// End reports, once, that no packet comes any more. The reason is nil if the
	// stream was ended from here: nobody leases it, its device is gone, or the pool
	// ends. Else it is what the camera did; it may hold the camera's address, and is
	// not for viewers.
	End(reason error)
}

// Flow is a stream that a camera plays, until it ends. When the stream is pulled
// again, that is another flow.
type Flow struct {
	desc *description.Session

	mu      sync.RWMutex
	readers []*attached
	ended   bool
}

// attached is a reader of a flow, each time that it is attached.
type attached struct{ Reader }

// ErrEnded says that a flow has ended.
var ErrEnded = errors.New("the camera's stream has ended")

// Description is what readers get to see: the kind and formats of the camera's video
// and audio. It must not be changed.
func (f *Flow) Description() *description.Session { return f.desc }

// Attach lets the reader have the packets from now on, until the flow ends or detach
// is called. No packet comes after detach has returned; an end that came before may
// still be reported. Take must not call detach.
func (f *Flow) Attach(r Reader) (detach func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, ErrEnded
	}
	a := &attached{r}
	f.readers = append(f.readers, a)
	return func() { f.detach(a) }, nil
}

func (f *Flow) detach(a *attached) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = slices.DeleteFunc(f.readers, func(other *attached) bool { return other == a })
}

// hand gives a packet to every reader.
func (f *Flow) hand(p Packet) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, r := range f.readers {
		r.Take(p)
	}
}

// end ends every reader, once.
func (f *Flow) end(reason error) {
	f.mu.Lock()
	readers := f.readers
	f.readers, f.ended = nil, true
	f.mu.Unlock()
	for _, r := range readers {
		r.End(reason)
	}
}

package upstream

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
)

// Packet is one RTP packet of a camera. All readers share it: it may be kept, but must
// not be modified.
type Packet struct {
	Track int                // of the flow's Description
	Media *description.Media // that track
	Data  []byte             // the whole RTP packet, which fits a datagram
	NTP   time.Time          // arrival time
	Key   bool               // video: a decoder can start with its picture, as far as is known
}

// Reader receives what a camera plays. Neither method may block: all other packets wait
// meanwhile.
type Reader interface {
	// Take receives the next packet. Packets of one media arrive sequentially, those of
	// different media may arrive concurrently.
	Take(p Packet)
	// End reports, once, that no more packets follow. The reason is nil if the stream was
	// ended from here: it has no leases, its device was removed, or the pool has ended.
	// Otherwise it is the camera's failure; it may contain the camera's address, and is
	// not for viewers.
	End(reason error)
}

// Flow is a stream that a camera plays, until it ends. When the stream is pulled again,
// that is another flow.
type Flow struct {
	desc   *description.Session
	caches []*cache // of each track
	times  *times
	facts  *observer

	mu      sync.RWMutex
	readers []*attached
	ended   bool
}

// newFlow returns a flow whose GOPs are cached in the space of its channel.
func newFlow(desc *description.Session, s *space) *Flow {
	f := &Flow{desc: desc, times: newTimes(desc), facts: newObserver(desc)}
	for _, m := range desc.Medias {
		f.caches = append(f.caches, newCache(m, s))
	}
	return f
}

// attached is one attachment of a reader to a flow.
type attached struct{ Reader }

// ErrEnded is returned for a flow that has ended.
var ErrEnded = errors.New("the camera's stream has ended")

// Description is the description for readers: the kind and formats of the camera's video
// and audio. It must not be modified.
func (f *Flow) Description() *description.Session { return f.desc }

// Facts returns what the flow was seen to be so far. It is safe within Take.
func (f *Flow) Facts() Facts { return f.facts.seen() }

// GOP returns what the track has played since its last key frame: nothing for sound, for
// codecs whose key frames are not known, and for a GOP that is too long. It holds at least
// every packet that a reader has taken.
func (f *Flow) GOP(track int) GOP { return f.caches[track].gop() }

// Attach passes packets to the reader from now on, until the flow ends or detach is
// called. No packet follows after detach has returned; an earlier end may still be
// reported. Take must not call detach. The packets that were passed on before are those of
// each track's GOP, as far as that is known.
func (f *Flow) Attach(r Reader) (before []GOP, detach func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, nil, ErrEnded
	}
	for _, c := range f.caches {
		before = append(before, c.gop())
	}
	a := &attached{r}
	f.readers = append(f.readers, a)
	return before, func() { f.detach(a) }, nil
}

func (f *Flow) detach(a *attached) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = slices.DeleteFunc(f.readers, func(other *attached) bool { return other == a })
}

// hand passes a packet to every reader.
func (f *Flow) hand(p Packet) {
	if len(p.Data) < 12 {
		return
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.ended {
		return
	}
	has := f.caches[p.Track].add(p)
	p.Key = has.key
	for _, r := range f.readers {
		r.Take(p)
	}
	f.facts.add(p, has)
}

// end ends every reader, once.
func (f *Flow) end(reason error) {
	f.mu.Lock()
	readers := f.readers
	f.readers, f.ended = nil, true
	f.mu.Unlock()
	for _, c := range f.caches {
		c.close()
	}
	for _, r := range readers {
		r.End(reason)
	}
	f.facts.end()
}

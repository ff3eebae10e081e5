package mse

import (
	"slices"
	"sync"
	"time"

	"latchkey/streaming/fmp4"
	"latchkey/streaming/upstream"
)

const (
	// maxKept is how much is kept for viewers that join, in bytes of samples. A GOP that is
	// longer is not kept: they wait for the next key frame.
	maxKept = 8 << 20
	// syncEvery is how often it is looked how the clocks of picture and sound lie.
	syncEvery = 500 * time.Millisecond
)

// stream is the reader of a flow: it packs what the camera plays, and gives it to each
// viewer.
type stream struct {
	flow    *upstream.Flow
	metrics *metrics
	detach  func()

	// Guarded by the pool's mutex.
	users    int
	byHLS    int       // viewers by HLS
	segments *segments // which they share; nil: there are none

	mu      sync.Mutex
	mux     *fmp4.Muxer
	synced  time.Time
	number  uint32
	kept    []fmp4.Sample // since the last key frame, with that
	bytes   int           // of kept
	whole   bool          // kept begins with a key frame
	ended   bool
	viewers []taker
}

// taker takes what a stream plays. It must not block.
type taker interface {
	take(p part)
	end()
}

// part is a sample as viewers get it.
type part struct {
	sample fmp4.Sample
	data   []byte // the fragment; nil: it is made when it is sent
}

// newStream reads a flow, from its last key frame on.
func newStream(flow *upstream.Flow, m *metrics) (*stream, error) {
	mux, err := fmp4.New(flow.Description())
	if err != nil {
		return nil, err
	}
	st := &stream{flow: flow, metrics: m, mux: mux}
	st.mu.Lock()
	defer st.mu.Unlock()
	before, detach, err := flow.Attach(st)
	if err != nil {
		return nil, err
	}
	st.detach = detach
	for _, p := range before[mux.Video()].Packets {
		st.write(p)
	}
	return st, nil
}

// Take packs a packet.
func (st *stream) Take(p upstream.Packet) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.sync(time.Now())
	st.write(p)
}

// sync puts sound where it belongs, by the clock of the flow.
func (st *stream) sync(now time.Time) {
	if st.mux.Sound() < 0 || st.mux.Synced() && now.Sub(st.synced) < syncEvery {
		return
	}
	_, picture, ok := st.flow.Report(st.mux.Video(), now)
	_, sound, also := st.flow.Report(st.mux.Sound(), now)
	if ok && also {
		st.mux.Sync(picture, sound)
		st.synced = now
	}
}

// write packs a packet. The caller holds mu.
func (st *stream) write(p upstream.Packet) {
	packet, ok := st.mux.Read(p.Track, p.Data)
	if !ok {
		return
	}
	for _, s := range st.mux.Write(packet) {
		st.keep(s)
		st.number++
		out := part{s, s.AppendFragment(nil, st.number)}
		for _, v := range st.viewers {
			v.take(out)
		}
	}
}

// keep keeps a sample for viewers that join.
func (st *stream) keep(s fmp4.Sample) {
	if s.Track == fmp4.VideoTrack && s.Key {
		before := st.kept
		st.kept, st.bytes, st.whole = []fmp4.Sample{s}, len(s.Data), true
		for _, old := range before { // sound that belongs to the picture
			if old.Track == fmp4.SoundTrack && seconds(old, old.DTS+int64(old.Duration)) > seconds(s, s.DTS)-lead.Seconds() {
				st.kept = append(st.kept, old)
				st.bytes += len(old.Data)
			}
		}
		return
	}
	if !st.whole {
		return
	}
	if st.bytes+len(s.Data) > maxKept {
		st.kept, st.bytes, st.whole = nil, 0, false
		return
	}
	st.kept = append(st.kept, s)
	st.bytes += len(s.Data)
}

// End ends every viewer.
func (st *stream) End(error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ended = true
	for _, v := range st.viewers {
		v.end()
	}
}

// join gives a taker what the stream plays from now on; begin takes what was kept.
func (st *stream) join(v taker, begin func(kept []fmp4.Sample)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		v.end()
		return
	}
	if st.whole {
		begin(slices.Clone(st.kept))
	}
	st.viewers = append(st.viewers, v)
}

func (st *stream) part(v taker) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.viewers = slices.DeleteFunc(st.viewers, func(other taker) bool { return other == v })
}

// seconds is a time of a sample's track.
func seconds(s fmp4.Sample, ticks int64) float64 {
	if s.Track == fmp4.SoundTrack {
		return float64(ticks) / float64(s.Init.SoundScale)
	}
	return float64(ticks) / fmp4.VideoScale
}

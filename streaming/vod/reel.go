package vod

import (
	"encoding/binary"
	"math"
	"time"

	"latchkey/streaming/fmp4"
	"latchkey/streaming/playback"
)

// headerSize is that of what is before the fragments in a binary message.
const headerSize = 16

// reel packs what a session passes on, and shows it. A binary message is an initialization
// segment, which a message with its type precedes, or fragments after two numbers (IEEE 754,
// big-endian): when what the first picture of them shows was recorded, in milliseconds since
// 1970, and when that is on the timeline of the fragments, in seconds. Both are 0 if there is
// no picture.
type reel struct {
	player  *player
	session *playback.Session
	muxer   *fmp4.Muxer
	speed   float64 // of the run

	starts   []playback.Start // of the run, by track
	init     *fmp4.Init       // that the screen has for it
	number   uint32           // of the last fragment
	now, was shown            // the picture that is being received, and the one before
}

// shown is what the picture with a timestamp shows.
type shown struct {
	timestamp uint32
	at        time.Time
}

// begin begins a run. Nothing is passed on meanwhile.
func (r *reel) begin(starts []playback.Start, speed float64) {
	r.muxer.Reset(-1)
	r.starts, r.speed, r.init = starts, speed, nil
	r.now, r.was = shown{}, shown{}
}

// Permitted implements playback.Viewer.
func (r *reel) Permitted() bool { return r.player.screen.Permitted() }

// Send implements playback.Viewer.
func (r *reel) Send(track int, data []byte) error {
	p, ok := r.muxer.Read(track, data)
	if !ok {
		return nil
	}
	if track == r.muxer.Video() && (r.now.at.IsZero() || p.Timestamp != r.now.timestamp) {
		r.was, r.now = r.now, shown{p.Timestamp, r.session.Shows()}
	}
	samples := r.muxer.Write(p)
	if sound := r.muxer.Sound(); track == r.muxer.Video() && sound >= 0 && !r.muxer.Synced() {
		r.muxer.Sync(r.starts[r.muxer.Video()].Timestamp, r.starts[sound].Timestamp)
	}
	return r.show(samples, r.was)
}

// show sends samples; of is what the picture in them shows.
func (r *reel) show(samples []fmp4.Sample, of shown) error {
	var out []byte
	for i := range samples {
		s := &samples[i]
		if s.Init != r.init {
			if err := r.flush(out); err != nil {
				return err
			}
			out = nil
			if err := r.introduce(s.Init); err != nil {
				return err
			}
		}
		if out == nil {
			out = make([]byte, headerSize, headerSize+256+len(s.Data))
		}
		if s.Track == fmp4.VideoTrack && binary.BigEndian.Uint64(out) == 0 && !of.at.IsZero() {
			binary.BigEndian.PutUint64(out, math.Float64bits(float64(of.at.UnixMicro())/1000))
			binary.BigEndian.PutUint64(out[8:], math.Float64bits(float64(s.PTS)/fmp4.VideoScale))
		}
		r.number++
		out = s.AppendFragment(out, r.number)
	}
	return r.flush(out)
}

// introduce sends what the screen must have before the samples.
func (r *reel) introduce(i *fmp4.Init) error {
	r.init = i
	ctx := r.player.ctx
	err := r.player.screen.Say(ctx, message{MIME: i.MIME()})
	if err == nil {
		err = r.player.screen.Show(ctx, i.Segment)
	}
	return r.ended(err)
}

func (r *reel) flush(out []byte) error {
	if out == nil {
		return nil
	}
	return r.ended(r.player.screen.Show(r.player.ctx, out))
}

// ended ends the player with its screen.
func (r *reel) ended(err error) error {
	if err != nil {
		r.player.end(err)
	}
	return err
}

// Report implements playback.Viewer: each picture says what it shows.
func (r *reel) Report(int, uint64, uint32) {}

// End implements playback.Viewer.
func (r *reel) End() {
	if r.show(r.muxer.Flush(), r.now) == nil {
		r.player.say(message{End: endOver})
	}
}

package upstream

import (
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"latchkey/streaming/rtspclient"
)

const (
	// reportHold is how long the first report of several tracks waits for the camera's
	// own: until it has come, it is unknown which instants of the tracks belong together.
	reportHold = 500 * time.Millisecond
	// maxSlew is how far a mapping that viewers know is moved in one second, if the
	// camera's first report comes later and says otherwise.
	maxSlew = 100 * time.Millisecond
	// maxApart is how far apart the tracks may be by the camera's reports, and how far a
	// report may be from the packets. Beyond it, the report is nonsense.
	maxApart = 5 * time.Second
	// discontinuity is how far a timestamp may be from its arrival before it counts as
	// the beginning of another timeline.
	discontinuity = 10 * time.Second
	// A camera's clock that runs faster or slower than ours is followed: by at most
	// maxDrift each driftEvery.
	driftEvery = 10 * time.Second
	maxDrift   = 5 * time.Millisecond
	// clockSet is how far a camera's reports may disagree before its clock was set.
	clockSet = time.Second
)

// times relate the timestamps of a flow's tracks to the wall clock of this machine, such
// that the tracks belong together as the camera's own reports say. A track that the camera
// reports nothing of is as its packets arrive.
//
// The mapping of a track never jumps once somebody was told: what the camera's clock says
// is used for how the tracks lie to each other, and where one of them lies stays as it was
// when its first packet arrived.
type times struct {
	mu     sync.Mutex
	tracks []timeline
	began  time.Time     // the first packet
	drift  time.Duration // of all tracks
	told   bool          // of any track

	synced bool          // offset is known
	offset time.Duration // from the camera's clock to ours, as nanoseconds since 1970
}

// timeline is the mapping of one track: at base, in ticks, plus the correction.
type timeline struct {
	rate  int64
	known bool
	last  uint32 // the newest timestamp
	ticks int64  // the same, without wrapping

	base int64 // of the first packet
	at   time.Time

	pending  rtspclient.SenderReport // came before the first packet; zero: none
	reported bool
	camera   time.Duration // the camera's clock at the report, since 1900
	reportAt int64         // in ticks

	correction time.Duration
	corrected  time.Time
	told       bool

	window   time.Time // begin of the measurement of delays; zero: none
	least    time.Duration
	baseline time.Duration // the least delay of the first window
	measured bool          // baseline is known
}

func newTimes(desc *description.Session) *times {
	t := &times{tracks: make([]timeline, len(desc.Medias))}
	for i, m := range desc.Medias {
		if len(m.Formats) > 0 {
			t.tracks[i].rate = int64(m.Formats[0].ClockRate())
		}
	}
	return t
}

// duration is how long ticks last.
func (t *timeline) duration(ticks int64) time.Duration {
	return time.Duration(ticks/t.rate)*time.Second + time.Duration(ticks%t.rate)*time.Second/time.Duration(t.rate)
}

// ticksIn is duration the other way round.
func (t *timeline) ticksIn(d time.Duration) int64 {
	return int64(d/time.Second)*t.rate + int64(d%time.Second)*t.rate/int64(time.Second)
}

// packet notes a packet's timestamp and arrival.
func (s *times) packet(track int, ts uint32, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.tracks[track]
	if t.rate <= 0 {
		return
	}
	if s.began.IsZero() {
		s.began = now
	}
	if !t.known {
		t.begin(ts, now)
		if t.pending.NTP != 0 {
			s.learn(t, t.pending)
		}
		return
	}
	ahead := int64(int32(ts - t.last))
	late := now.Sub(t.at) - t.duration(t.ticks+ahead-t.base)
	if late > discontinuity || late < -discontinuity {
		t.begin(ts, now)
		return
	}
	if ahead > 0 {
		t.last, t.ticks = ts, t.ticks+ahead
	}
	if track == 0 {
		s.follow(t, late-t.correction-s.drift, now)
	}
}

// begin begins a timeline with a packet.
func (t *timeline) begin(ts uint32, now time.Time) {
	t.known, t.last, t.ticks, t.base, t.at = true, ts, int64(ts), int64(ts), now
	t.reported, t.correction, t.window, t.measured = false, 0, time.Time{}, false
}

// follow moves all tracks a little if the packets of one come later and later, or earlier
// and earlier: its clock and ours differ.
func (s *times) follow(t *timeline, late time.Duration, now time.Time) {
	switch {
	case t.window.IsZero():
		t.window, t.least = now, late
		return
	case now.Sub(t.window) < driftEvery:
		t.least = min(t.least, late)
		return
	case t.measured:
		s.drift += min(max(t.least-t.baseline, -maxDrift), maxDrift)
	default:
		t.measured, t.baseline = true, t.least
	}
	t.window, t.least = now, late
}

// report notes a sender report of the camera.
func (s *times) report(track int, r rtspclient.SenderReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.tracks[track]
	switch {
	case t.rate <= 0 || r.NTP>>32 == 0:
	case !t.known:
		t.pending = r
	default:
		s.learn(t, r)
	}
}

func (s *times) learn(t *timeline, r rtspclient.SenderReport) {
	t.pending = rtspclient.SenderReport{}
	at := t.ticks + int64(int32(r.RTP-t.last))
	camera := sinceEpoch(r.NTP)
	if off := t.duration(at - t.ticks); off > maxApart || off < -maxApart {
		return
	}
	if t.reported {
		if off := camera - t.camera - t.duration(at-t.reportAt); off > clockSet || off < -clockSet {
			for i := range s.tracks {
				s.tracks[i].reported = false
			}
			s.synced = false
		}
	}
	t.reported, t.camera, t.reportAt = true, camera, at
	// The track that arrives first after its instant is where the others are measured.
	offset := time.Duration(t.at.UnixNano()) + t.correction + t.duration(at-t.base) - camera
	if !s.synced || !s.told && offset < s.offset {
		s.synced, s.offset = true, offset
	}
}

// target is the correction of a track by the camera's reports.
func (s *times) target(t *timeline) time.Duration {
	if !s.synced || !t.reported {
		return t.correction
	}
	to := t.camera + t.duration(t.base-t.reportAt) + s.offset - time.Duration(t.at.UnixNano())
	if to > maxApart || to < -maxApart {
		return t.correction
	}
	return to
}

// Report returns what a sender report of a track says at this time: the wall clock as an
// NTP timestamp (32.32 bits), and the RTP timestamp of the same instant. The instants of
// the tracks belong together as the camera's own reports say. It returns false while
// nothing is known.
func (f *Flow) Report(track int, now time.Time) (ntp uint64, rtp uint32, ok bool) {
	return f.times.at(track, now)
}

func (s *times) at(track int, now time.Time) (ntp uint64, rtp uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.tracks[track]
	if !t.known || len(s.tracks) > 1 && !t.reported && now.Sub(s.began) < reportHold {
		return 0, 0, false
	}
	to := s.target(t)
	if t.told {
		most := time.Duration(max(now.Sub(t.corrected), 0).Seconds() * float64(maxSlew))
		to = min(max(to, t.correction-most), t.correction+most)
	}
	if off := to - t.correction; off > maxDrift || off < -maxDrift {
		t.window, t.measured = time.Time{}, false
	}
	t.correction, t.corrected, t.told, s.told = to, now, true, true
	ticks := t.base + t.ticksIn(now.Sub(t.at)-t.correction-s.drift)
	return NTP(now), uint32(ticks), true
}

// sinceEpoch returns an NTP timestamp as the time since 1900, of which it covers 136 years.
func sinceEpoch(ntp uint64) time.Duration {
	return time.Duration(ntp>>32)*time.Second + time.Duration((ntp&0xffffffff)*uint64(time.Second)>>32)
}

// NTP returns a time as an NTP timestamp: seconds since 1900 and a fraction of 2^-32 s.
func NTP(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

package playback

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/streaming/upstream"
)

// run is what the recorder plays from one response to PLAY to the next.
type run struct {
	start time.Time // what it shows at the base of each track
	end   time.Time // as requested; zero: open
	speed float64   // in recorded seconds per second of its timestamps
	// hard are all the speeds that it may have, for what decides about what may be seen:
	// recorders differ in what their timestamps count, and do not always say whether they
	// do as they are asked.
	hard []float64
	out  time.Duration // where it begins on the viewer's timeline
	cseq byte

	// unsure is set if the recorder did not say what it plays: then only packets that
	// say what they show are passed on.
	unsure bool

	places []place // by track
	passed bool    // anything was passed on
}

// place is a run on one track.
type place struct {
	base  uint32 // timestamp at the start
	based bool
	info  bool // base is what the recorder said, and was not compared with a packet yet

	ref   uint32 // timestamp of the last packet that says what it shows
	shows time.Time
	refd  bool

	shift   uint16 // from the recorder's sequence numbers to ours
	shifted bool
	waits   bool // for a key frame
	over    bool // nothing more is wanted of it
}

// speeds sets the speed of a run, given what was requested and what the recorder said; 0:
// nothing.
func (r *run) speeds(requested, said float64) {
	if requested == 0 {
		requested = 1
	}
	hard := func(f float64) float64 { // timestamps may count what is recorded
		switch {
		case f > 0 && f < 1:
			return 1
		case f < 0 && f > -1:
			return -1
		}
		return f
	}
	switch {
	case said != 0:
		r.speed, r.hard = said, []float64{hard(said)}
	case requested == 1:
		r.speed, r.hard = 1, []float64{1}
	default:
		r.speed, r.hard = requested, []float64{hard(requested), 1}
	}
}

// tooFar is by how much the first packet may differ from where the recorder says that a
// run begins: more than a key frame before. Otherwise what it says is wrong.
const tooFar = 20 * time.Second

// begin notes a packet of a track: what its timestamps mean. shows is what it shows, if it
// says so.
func (r *run) begin(n, clock int, data []byte, shows time.Time) {
	at := &r.places[n]
	ts := upstream.Timestamp(data)
	if !shows.IsZero() {
		if !at.refd && r.speed != 0 {
			off := shows.Sub(r.start)
			if off < -time.Hour || off > time.Hour { // its clock, or a gap in the recording
				r.start, off = shows, 0
			}
			at.base, at.based, at.info = ts-ticks(time.Duration(float64(off)/r.speed), clock), true, false
		}
		at.ref, at.shows, at.refd = ts, shows, true
		return
	}
	if !at.based {
		at.base, at.based = ts, true
	}
	if at.info {
		at.info = false
		if d := elapsed(ts, at.base, clock); d > tooFar || d < -tooFar {
			at.base = ts
		}
	}
}

// shows returns what a packet of a track shows, at a speed.
func (r *run) shows(n, clock int, ts uint32, speed float64) time.Time {
	at := &r.places[n]
	if at.refd {
		return at.shows.Add(scaled(elapsed(ts, at.ref, clock), speed))
	}
	return r.start.Add(scaled(elapsed(ts, at.base, clock), speed))
}

// beyond reports whether a time is after what was requested, in the direction of the run.
func (r *run) beyond(t time.Time) bool {
	switch {
	case r.end.IsZero():
		return false
	case r.speed < 0:
		return t.Before(r.end)
	}
	return !t.Before(r.end)
}

func scaled(d time.Duration, f float64) time.Duration { return time.Duration(float64(d) * f) }

// elapsed is the time from one timestamp to another one, which may be before.
func elapsed(to, from uint32, clock int) time.Duration {
	return time.Duration(int64(int32(to-from)) * int64(time.Second) / int64(clock))
}

// ticks is a time in units of an RTP clock.
func ticks(d time.Duration, clock int) uint32 {
	seconds, rest := int64(d/time.Second), int64(d%time.Second)
	return uint32(seconds*int64(clock) + rest*int64(clock)/int64(time.Second))
}

// said is what a recorder says in its response to PLAY.
type said struct {
	start       time.Time // zero if it does not say
	scale       float64   // 0: it does not say
	speed       float64
	rateControl string
}

// errContradicts is returned if a recorder says several things of what it plays: any of them
// may be true.
var errContradicts = errors.New("the recorder contradicts itself")

// heard reads a response to PLAY. Relative times count from origin. It fails if the response
// contradicts itself in what decides about what may be seen.
func heard(res *base.Response, source Source, origin time.Time) (s said, err error) {
	s.start, err = agreed(res.Header["Range"], func(v string) time.Time {
		r, err := ParseRange(v, source.theirs(origin))
		if err != nil || r.Start.IsZero() {
			return time.Time{}
		}
		return source.ours(r.Start).UTC()
	})
	if err != nil {
		return said{}, err
	}
	speed := func(v string) float64 {
		f, _ := ParseSpeed(v)
		return f
	}
	if s.scale, err = agreed(res.Header["Scale"], speed); err != nil {
		return said{}, err
	}
	s.speed = speed(first(res.Header["Speed"]))
	if v := first(res.Header["Rate-Control"]); strings.EqualFold(v, "yes") || strings.EqualFold(v, "no") {
		s.rateControl = strings.ToLower(v)
	}
	return s, nil
}

// agreed reads a header that may be given several times, or have several values in one (RFC
// 2326, section 4.2, by RFC 2068): all must mean the same. It returns zero if it is not given,
// or cannot be read.
func agreed[T comparable](values base.HeaderValue, read func(string) T) (means T, err error) {
	n := 0
	for _, value := range values {
		for v := range strings.SplitSeq(value, ",") {
			if v = strings.TrimSpace(v); v == "" {
				continue
			}
			this := read(v)
			if n++; n > 1 && this != means {
				return *new(T), errContradicts
			}
			means = this
		}
	}
	return means, nil
}

// rtpInfo is where a track begins, as RTP-Info says (RFC 2326, section 12.33).
type rtpInfo struct {
	url     string
	time    uint32
	hasTime bool
}

const maxInfos = 16

// parseRTPInfo reads RTP-Info, as far as it can.
func parseRTPInfo(v string) []rtpInfo {
	var list []rtpInfo
	for part := range strings.SplitSeq(v, ",") {
		var i rtpInfo
		for field := range strings.SplitSeq(part, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			switch strings.ToLower(name) {
			case "url":
				i.url = strings.Trim(value, `"`)
			case "rtptime":
				n, err := strconv.ParseUint(value, 10, 32)
				i.time, i.hasTime = uint32(n), err == nil
			}
		}
		if list = append(list, i); len(list) == maxInfos {
			break
		}
	}
	return list
}

func first(values base.HeaderValue) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

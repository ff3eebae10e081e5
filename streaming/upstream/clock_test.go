package upstream

import (
	"math"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/rtspclient"
)

// player is somebody who asks for the reports of a flow with picture and sound, and
// compares.
type player struct {
	flow *Flow
	zero time.Time // the instant that video 100000 and audio 5000 show
}

func newPlayer() *player {
	return &player{
		flow: newFlow(&description.Session{Medias: []*description.Media{
			{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}},
			{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{SampleRate: 8000, ChannelCount: 1}}},
		}}, &space{}),
		zero: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (p *player) video(at, arrived time.Duration) {
	p.flow.times.packet(0, 100000+uint32(at*90/time.Millisecond), p.zero.Add(arrived))
}

func (p *player) audio(at, arrived time.Duration) {
	p.flow.times.packet(1, 5000+uint32(at*8/time.Millisecond), p.zero.Add(arrived))
}

// reports notes the camera's reports of the tracks: its clock is ahead of ours.
func (p *player) reports(at, ahead time.Duration) {
	ntp := NTP(p.zero.Add(at + ahead))
	p.flow.times.report(0, rtspclient.SenderReport{NTP: ntp, RTP: 100000 + uint32(at*90/time.Millisecond)})
	p.flow.times.report(1, rtspclient.SenderReport{NTP: ntp, RTP: 5000 + uint32(at*8/time.Millisecond)})
}

// shown returns when the instant zero of a track is shown, by the report at a time.
func (p *player) shown(t *testing.T, track int, now time.Duration) (time.Duration, bool) {
	t.Helper()
	ntp, rtp, ok := p.flow.Report(track, p.zero.Add(now))
	if !ok {
		return 0, false
	}
	wall := sinceEpoch(ntp) - sinceEpoch(NTP(p.zero))
	if off := wall - now; off > time.Microsecond || off < -time.Microsecond {
		t.Errorf("at %v the report is of %v", now, wall)
	}
	first, rate := uint32(100000), 90000.0
	if track == 1 {
		first, rate = 5000, 8000
	}
	return wall - time.Duration(float64(int32(rtp-first))/rate*float64(time.Second)), true
}

func near(a, b time.Duration) bool { return math.Abs(float64(a-b)) < float64(2*time.Millisecond) }

// TestLipSync: sound that comes 0.8 s late stays with its picture, as the camera's reports
// say, whatever its clock shows and whenever they come; and what a viewer was told moves
// slowly.
func TestLipSync(t *testing.T) {
	const late = 800 * time.Millisecond
	for name, sc := range map[string]struct {
		first, ahead time.Duration // of the camera's reports
		soon         time.Duration // when the tracks are together
	}{
		"a report at once":               {0, 0, reportHold},
		"a clock that is years off":      {0, -20 * 365 * 24 * time.Hour, reportHold},
		"a report before the audio":      {120 * time.Millisecond, time.Hour, reportHold},
		"a report when somebody watches": {3 * time.Second, time.Minute, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer()
			var last [2]time.Duration
			var told [2]bool
			var apart time.Duration
			for now := time.Duration(0); now < 20*time.Second; now += 40 * time.Millisecond {
				p.video(now, now)
				if now >= late {
					p.audio(now-late, now)
				}
				if now >= sc.first && (now-sc.first)%(2*time.Second) == 0 {
					p.reports(now, sc.ahead)
				}
				for track := range 2 {
					at, ok := p.shown(t, track, now)
					if ok && told[track] {
						if step := at - last[track]; step > 5*time.Millisecond || step < -5*time.Millisecond {
							t.Fatalf("at %v track %d jumps by %v", now, track, step)
						}
					}
					last[track], told[track] = at, ok || told[track]
				}
				apart = last[1] - last[0]
				if now > max(sc.soon, late+40*time.Millisecond) && !near(apart, 0) {
					t.Fatalf("at %v the tracks are %v apart", now, apart)
				}
			}
			if !told[0] || !told[1] {
				t.Error("there is no report")
			}
		})
	}
}

// TestNoReports: a camera without reports gets steady ones, from the arrival of its first
// packets.
func TestNoReports(t *testing.T) {
	p := newPlayer()
	var first time.Duration
	for now := time.Duration(0); now < time.Minute; now += 40 * time.Millisecond {
		p.video(now, now+now%7*time.Millisecond)
		p.audio(now, now)
		for track := range 2 {
			at, ok := p.shown(t, track, now)
			if ok != (now >= reportHold) {
				t.Fatalf("a report at %v: %v", now, ok)
			}
			if ok && !near(at, 0) {
				t.Fatalf("at %v track %d is shown at %v", now, track, at)
			}
			first = max(first, at)
		}
	}
}

// TestTimelines: timestamps that wrap, stand, go back and begin anew.
func TestTimelines(t *testing.T) {
	p := newPlayer()
	p.flow.times.packet(0, math.MaxUint32-90000, p.zero)
	p.flow.times.packet(0, 90000, p.zero.Add(2*time.Second))
	if _, rtp, ok := p.flow.Report(0, p.zero.Add(3*time.Second)); !ok || rtp != 2*90000-1 {
		t.Errorf("after the wrap: %d, %v", rtp, ok)
	}
	for n := range 300 { // for a minute and a half
		p.flow.times.packet(0, 90000, p.zero.Add(2*time.Second+time.Duration(n)*300*time.Millisecond))
	}
	p.flow.times.packet(0, 7, p.zero.Add(100*time.Second))
	if _, rtp, ok := p.flow.Report(0, p.zero.Add(101*time.Second)); !ok || rtp != 90007 {
		t.Errorf("after another beginning: %d, %v", rtp, ok)
	}
	p.flow.times.report(0, rtspclient.SenderReport{NTP: 1 << 63, RTP: 1 << 31}) // far from the packets
	p.flow.times.report(0, rtspclient.SenderReport{})
	if _, rtp, ok := p.flow.Report(0, p.zero.Add(102*time.Second)); !ok || rtp != 180007 {
		t.Errorf("after a report of nonsense: %d, %v", rtp, ok)
	}
}

// TestDrift: a camera whose clock runs slower is followed, all tracks alike.
func TestDrift(t *testing.T) {
	p := newPlayer()
	for now := time.Duration(0); now < 20*time.Minute; now += 40 * time.Millisecond {
		media := now - now/10000 // 100 ppm
		p.video(media, now)
		p.audio(media, now)
	}
	const end = 20 * time.Minute
	for track := range 2 {
		ntp, rtp, ok := p.flow.Report(track, p.zero.Add(end))
		first, rate := uint32(100000), 90.0
		if track == 1 {
			first, rate = 5000, 8
		}
		at := time.Duration(float64(rtp-first)/rate) * time.Millisecond
		if want := end - end/10000; !ok || (at-want).Abs() > 30*time.Millisecond {
			t.Errorf("track %d is at %v, want %v (%d)", track, at, want, ntp)
		}
	}
}

// TestFractions of NTP timestamps are 2^-32 s.
func TestFractions(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 750_000_000, time.UTC)
	if got := NTP(at); got&0xffffffff != 3<<30 || got>>32 != uint64(at.Unix())+2208988800 {
		t.Errorf("%x", got)
	}
	if got := sinceEpoch(7<<32 | 1<<31); got != 7500*time.Millisecond {
		t.Errorf("%v", got)
	}
}

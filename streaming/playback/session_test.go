package playback

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// within checks that nothing outside of an interval was seen, and that what was is in
// order, without a gap.
func within(t testing.TB, list []got, from, to time.Time) {
	t.Helper()
	for i, g := range list {
		if g.shows.Before(from) || !g.shows.Before(to) {
			t.Fatalf("packet %d shows %v, outside of %v to %v", i, g.shows, from, to)
		}
		if i == 0 {
			continue
		}
		if before := list[i-1]; g.seq != before.seq+1 || !g.shows.Equal(before.shows.Add(frame)) || g.timestamp-before.timestamp != 3600 {
			t.Fatalf("packet %d follows %+v: %+v", i, before, g)
		}
	}
}

func TestPlaysWhatIsAsked(t *testing.T) {
	for name, r := range map[string]*recorder{
		"as it should be":     {},
		"the end is ignored":  {ignoreEnd: true},
		"nothing is said":     {ignoreEnd: true, mute: true},
		"by ONVIF replay":     {ignoreEnd: true, replay: true},
		"nothing, but replay": {ignoreEnd: true, replay: true, mute: true},
		"with key frames":     {ignoreEnd: true, gop: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := r.start(t).opened(t, at(0), at(4), everything())
			p := plays(t, s, Request{Range: "npt=0.000-", CSeq: 42})
			eventually(t, "the end", func() bool { return e.ended() == 1 })
			list := e.saw()
			if len(list) != 100 || p.Range != "npt=0.000-4.000" {
				t.Fatalf("%d packets, Range %q", len(list), p.Range)
			}
			within(t, list, at(0), at(4))
			if p.Starts[0].Sequence != list[0].seq || p.Starts[0].Timestamp != list[0].timestamp {
				t.Errorf("it begins with %+v, not %+v", list[0], p.Starts[0])
			}
			if r.replay && list[0].extension[9] != 42 {
				t.Errorf("the packets are of request %d", list[0].extension[9])
			}
			eventually(t, "leaving the recorder", func() bool { return r.open.Load() == 0 })
		})
	}
}

// TestNothingElseIsSeen: a recorder that begins before what may be seen, and does not end.
func TestNothingElseIsSeen(t *testing.T) {
	for name, r := range map[string]*recorder{
		"it says where it is": {}, "it says nothing": {mute: true}, "each packet says it": {replay: true},
	} {
		r.gop, r.ignoreEnd = time.Second, true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			may := &rule{Interval: privilege.Interval{From: at(10.5), To: at(12.5)}}
			s, e := r.start(t).opened(t, at(0), at(60), may)
			p := plays(t, s, Request{Range: "clock=20260101T100000Z-"})
			eventually(t, "the end", func() bool { return e.ended() == 1 })
			list := e.saw()
			within(t, list, at(10.5), at(12.5))
			if len(list) < 30 || !list[0].key {
				t.Errorf("%d packets, the first is a key frame: %v", len(list), list[0].key)
			}
			if !r.mute && p.Range != "clock=20260101T100011.000Z-20260101T100100.000Z" && !r.replay {
				t.Errorf("Range %q", p.Range)
			}
		})
	}
}

// TestWhatMayBeSeenMoves: the last days pass, and what is too new becomes old enough.
func TestWhatMayBeSeenMoves(t *testing.T) {
	t.Parallel()
	r := (&recorder{pace: frame / 4}).start(t) // four times as fast as it was
	may := &rule{Interval: privilege.Interval{From: at(0), To: at(0.5)}, moves: time.Now()}
	s, e := r.opened(t, at(-60), at(60), may)
	plays(t, s, Request{})
	eventually(t, "the first second", func() bool { return e.last().After(at(1)) })
	for _, g := range e.saw() {
		if g.shows.Before(at(0)) {
			t.Fatalf("it shows %v", g.shows)
		}
	}
	if d := time.Since(may.moves); d < 450*time.Millisecond {
		t.Errorf("after %v it shows what is half a second newer", d)
	}
	may.set(at(0), at(0)) // nothing any more
	eventually(t, "the end", func() bool { return e.ended() == 1 })
}

// TestNoPermitNoPacket: while it is not permitted nothing is passed on, and after a while
// it ends.
func TestNoPermitNoPacket(t *testing.T) {
	t.Parallel()
	s, e := (&recorder{}).start(t).opened(t, at(0), time.Time{}, everything())
	plays(t, s, Request{})
	eventually(t, "packets", func() bool { return len(e.saw()) > 10 })
	e.mu.Lock()
	e.denied = true
	e.list = nil
	e.mu.Unlock()
	eventually(t, "the end", func() bool { return e.ended() == 1 })
	if n := len(e.saw()); n > 1 {
		t.Errorf("%d packets without a permit", n)
	}
}

func TestSeeks(t *testing.T) {
	for name, r := range map[string]*recorder{
		"a recorder that pauses":     {ignoreEnd: true},
		"one that cannot pause":      {ignoreEnd: true, noPause: true},
		"one that says nothing":      {ignoreEnd: true, mute: true},
		"one that is ONVIF's":        {ignoreEnd: true, replay: true, mute: true},
		"one with large key frames":  {ignoreEnd: true, gop: 2 * time.Second},
		"one that waits for nothing": {ignoreEnd: true, pace: time.Microsecond, size: 1200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, e := r.start(t).opened(t, at(0), at(3600), everything())
			plays(t, s, Request{Range: "npt=0.000-"})
			for n := range 20 {
				time.Sleep(10 * time.Millisecond)
				r := Range{Start: at(float64(100*n + 100)), NPT: n%2 == 0}
				p := plays(t, s, Request{Range: r.text(at(0))})
				if want := (Range{Start: r.Start, End: at(3600), NPT: r.NPT}).text(at(0)); p.Range != want {
					t.Errorf("Range %q, want %q", p.Range, want)
				}
			}
			e.forget()
			eventually(t, "packets", func() bool { return len(e.saw()) > 60 })
			list := e.saw()
			within(t, list[1:], at(2000), at(2000+600)) // the first may have been on its way
			if n := r.most.Load(); n != 1 && !r.mute {  // else it may see the end of the last one late
				t.Errorf("%d connections at a time", n)
			}
			eventually(t, "one connection", func() bool { return r.open.Load() == 1 })
		})
	}
}

func TestPauses(t *testing.T) {
	for name, r := range map[string]*recorder{
		"a recorder that pauses": {}, "one with few key frames": {gop: time.Minute}, "one that cannot pause": {noPause: true},
		"one that says nothing": {gop: time.Minute, mute: true}, "one that is ahead": {pace: time.Microsecond, size: 8000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, e := r.start(t).opened(t, at(0), time.Time{}, everything())
			if r.size > 0 {
				e.slow = time.Millisecond
			}
			plays(t, s, Request{})
			eventually(t, "packets", func() bool { return len(e.saw()) > 10 })
			s.Pause(t.Context())
			eventually(t, "what is on its way", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return !s.busy
			})
			before := e.saw()
			time.Sleep(30 * time.Millisecond)
			if n := len(e.saw()); n != len(before) {
				t.Errorf("%d packets while it is paused", n-len(before))
			}
			plays(t, s, Request{})
			eventually(t, "packets", func() bool { return len(e.saw()) > len(before)+60 })
			for i, g := range e.saw()[1:] {
				// Addresses have whole seconds, and a key frame may be before.
				gap, again := g.shows.Sub(e.saw()[i].shows), i+1 == len(before) && (r.noPause || r.size > 0)
				if g.seq != e.saw()[i].seq+1 || gap != frame && !(again && gap <= frame && gap > -time.Second) {
					t.Fatalf("packet %d is %d, %v after the one before (paused after %d)", i+1, g.seq, gap, len(before))
				}
			}
		})
	}
}

func TestScales(t *testing.T) {
	// What may be seen ends after two seconds, and the recorder ignores the end.
	for name, c := range map[string]struct {
		*recorder
		scale    float64
		said     string
		from, to float64
	}{
		"twice as fast":                       {&recorder{}, 2, "2", 0, 2},
		"as it is recorded":                   {&recorder{media: true}, 2, "2", 0, 2},
		"ignored":                             {&recorder{noScale: true}, 2, "", 0, 2},
		"half as fast":                        {&recorder{}, 0.5, "0.5", 0, 2},
		"half as fast, as it is recorded":     {&recorder{media: true}, 0.5, "0.5", 0, 2},
		"backwards":                           {&recorder{}, -1, "-1", 0, 1.5},
		"backwards, each packet says it":      {&recorder{replay: true}, -4, "-4", 0, 1.5},
		"four times, and each packet says it": {&recorder{replay: true}, 4, "4", 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.recorder.ignoreEnd = true
			s, e := c.recorder.start(t).opened(t, at(-60), at(60), &rule{Interval: privilege.Interval{From: at(0), To: at(2)}})
			r := Request{Scale: c.scale, Range: Range{Start: at(0)}.text(at(0))}
			if c.scale < 0 {
				r.Range = Range{Start: at(1.5)}.text(at(0))
			}
			p := plays(t, s, r)
			if p.Scale != c.said {
				t.Errorf("Scale %q", p.Scale)
			}
			eventually(t, "the end", func() bool { return e.ended() == 1 })
			list := e.saw()
			if len(list) < 5 {
				t.Errorf("%d packets", len(list))
			}
			for _, g := range list {
				if g.shows.Before(at(c.from)) || !g.shows.Before(at(c.to)) && !(c.scale < 0 && g.shows.Equal(at(c.to))) {
					t.Fatalf("it shows %v", g.shows)
				}
			}
		})
	}
}

// TestTheRecorderWaits: a viewer that is slow loses nothing, and little waits for it.
func TestTheRecorderWaits(t *testing.T) {
	t.Parallel()
	r := (&recorder{pace: time.Microsecond, size: 8000}).start(t)
	s, e := r.opened(t, at(0), time.Time{}, everything())
	e.slow = 5 * time.Millisecond
	plays(t, s, Request{})
	eventually(t, "packets", func() bool { return len(e.saw()) >= 100 })
	within(t, e.saw(), at(0), at(3600))
	s.mu.Lock()
	queued := s.queued
	s.mu.Unlock()
	if queued > maxQueue+8100 {
		t.Errorf("%d bytes wait", queued)
	}
	p := plays(t, s, Request{Range: Range{Start: at(5000)}.text(at(0))}) // it can be asked nevertheless
	if p.Range == "" {
		t.Error("no Range")
	}
}

func TestRefusals(t *testing.T) {
	r := (&recorder{}).start(t)
	for name, c := range map[string]struct {
		r    Request
		want error
	}{
		"frame numbers": {Request{Range: "smpte=0:10:20-"}, ErrRange},
		"no range":      {Request{Range: "npt=-"}, ErrRange},
		"backwards":     {Request{Range: "npt=20-10"}, ErrRange},
		"not allowed":   {Request{Range: "clock=20260101T090000Z-20260101T091000Z"}, ErrNothing},
		"the future":    {Request{Range: "clock=21000101T090000Z-"}, ErrNothing},
	} {
		s, _ := r.opened(t, at(0), time.Time{}, &rule{Interval: privilege.Interval{From: at(0), To: time.Now()}})
		if _, err := s.Play(t.Context(), c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
	none := &rule{}
	if _, err := r.recorders().Open(t.Context(), Use{From: at(0), Playable: none.playable}); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing may be seen: %v", err)
	}
	for status, want := range map[int]error{404: ErrNothing, 457: ErrRange, 453: ErrRecorder, 500: ErrRecorder} {
		refusing := (&recorder{refuse: status}).start(t)
		s, _ := refusing.opened(t, at(0), time.Time{}, everything())
		if _, err := s.Play(t.Context(), Request{}); !errors.Is(err, want) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

// TestContradictions: a recorder that says several things of what it plays is not believed in any
// of them; one that says the same more than once is.
func TestContradictions(t *testing.T) {
	t.Parallel()
	same, before := "Range: clock=20260101T100000Z-", "Range: clock=20260101T090000Z-"
	for name, c := range map[string]struct {
		says []string
		want error
	}{
		"the same in other words":    {[]string{same, "Range: clock=20260101T100000.000Z-20260101T100100Z, npt=0-", "Scale: 1", "Scale: 1.0"}, nil},
		"an hour before":             {[]string{same, before}, ErrRecorder},
		"in one header":              {[]string{same + ", clock=20260101T090000Z-"}, ErrRecorder},
		"the other way round":        {[]string{before, same}, ErrRecorder},
		"one cannot be read":         {[]string{same, "Range: clock=x-"}, ErrRecorder},
		"two scales":                 {[]string{same, "Scale: 1", "Scale: 2"}, ErrRecorder},
		"the same start of a track":  {[]string{same, "RTP-Info: url=rtsp://%s/one;rtptime=90122", "RTP-Info: url=rtsp://%s/one;seq=1000;rtptime=90122"}, nil},
		"two starts of a track":      {[]string{same, "RTP-Info: url=rtsp://%s/one;rtptime=90122", "RTP-Info: url=rtsp://%s/one;rtptime=180122"}, ErrRecorder},
		"two starts, in one header":  {[]string{same, "RTP-Info: url=one;rtptime=90122,url=rtsp://%s/one;rtptime=180122"}, ErrRecorder},
		"of a track that is nowhere": {[]string{same, "RTP-Info: url=two;rtptime=90122,url=two;rtptime=180122"}, nil},
	} {
		r := (&recorder{mute: true, says: c.says}).start(t)
		s, e := r.opened(t, at(0), at(60), everything())
		_, err := s.Play(t.Context(), Request{})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && (s.Plays() || len(e.saw()) != 0) {
			t.Errorf("%s: it plays", name)
		}
		s.Close()
	}
}

// TestARefusalChangesNothing: what played goes on where the viewer is, and what is paused
// stays paused.
func TestARefusalChangesNothing(t *testing.T) {
	t.Parallel()
	for _, paused := range []bool{false, true} {
		r := (&recorder{onward: true}).start(t)
		s, e := r.opened(t, at(0), time.Time{}, everything())
		plays(t, s, Request{})
		eventually(t, "packets", func() bool { return len(e.saw()) > 60 })
		if paused {
			s.Pause(t.Context())
		}
		_, err := s.Play(t.Context(), Request{Range: Range{Start: at(50)}.text(at(0)), Scale: -1})
		if !errors.Is(err, ErrRange) || s.Plays() == paused {
			t.Fatalf("paused: %v, plays: %v, %v", paused, s.Plays(), err)
		}
		before := len(e.saw())
		if paused {
			time.Sleep(10 * time.Millisecond)
			if n := len(e.saw()); n > before+1 {
				t.Errorf("%d packets while it is paused", n-before)
			}
			plays(t, s, Request{})
		}
		eventually(t, "packets", func() bool { return len(e.saw()) > before+60 })
		list := e.saw()
		for i, g := range list[1:] {
			gap := g.shows.Sub(list[i].shows)
			if g.seq != list[i].seq+1 || gap < -time.Second || gap > time.Second {
				t.Fatalf("packet %d is %v after the one before", i+1, gap)
			}
		}
		s.Close()
	}
}

func TestBounds(t *testing.T) {
	r := (&recorder{}).start(t)
	all := r.recorders(func(c *Config) { c.PerAccount, c.PerDevice = 2, 3 })
	open := func(account string) error {
		s, err := all.Open(t.Context(), Use{Account: ids.Account(account), Device: "dev", From: at(0), Playable: everything().playable})
		if err == nil {
			t.Cleanup(s.Close)
		}
		return err
	}
	for i, c := range []struct {
		account string
		want    error
	}{{"ann", nil}, {"ann", nil}, {"ann", ErrBusy}, {"bob", nil}, {"bob", ErrBusy}} {
		if err := open(c.account); !errors.Is(err, c.want) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestDoubt: if it is not certain what a recorder means by its times, all that it may mean
// must be allowed: also an hour more, of another season.
func TestDoubt(t *testing.T) {
	t.Parallel()
	r := (&recorder{ignoreEnd: true}).start(t)
	s := r.source()
	s.Zone = 2 * time.Hour
	may := &rule{Interval: privilege.Interval{From: at(0), To: at(4 * 3600)}}
	session, e := r.opened(t, at(0), time.Time{}, may, func(c *Config) { c.Sources = fixed{s} })
	p := plays(t, session, Request{})
	if p.Range != "clock=20260101T130000.000Z-" {
		t.Errorf("Range %q", p.Range)
	}
	plays(t, session, Request{Range: Range{Start: at(4*3600 - 2)}.text(at(0))})
	eventually(t, "the end", func() bool { return e.ended() == 1 })
	for _, g := range e.saw() {
		if g.shows.Before(at(3*3600)) || !g.shows.Before(at(4*3600)) {
			t.Fatalf("it shows %v", g.shows)
		}
	}
}

func TestTheRecordingEnds(t *testing.T) {
	t.Parallel()
	r := (&recorder{until: at(2)}).start(t)
	s, e := r.opened(t, at(0), time.Time{}, everything())
	plays(t, s, Request{})
	eventually(t, "the end", func() bool { return e.ended() == 1 })
	within(t, e.saw(), at(0), at(2))
	if n := len(e.saw()); n != 50 {
		t.Errorf("%d packets", n)
	}
	plays(t, s, Request{Range: "npt=0-"}) // again
	eventually(t, "the end", func() bool { return e.ended() == 2 })
}

func TestCloseEndsEverything(t *testing.T) {
	r := (&recorder{}).start(t)
	s, e := r.opened(t, at(0), time.Time{}, everything())
	plays(t, s, Request{})
	eventually(t, "packets", func() bool { return len(e.saw()) > 10 })
	s.Close()
	n := len(e.saw())
	time.Sleep(10 * time.Millisecond)
	if len(e.saw()) != n {
		t.Error("packets after the end")
	}
	eventually(t, "leaving the recorder", func() bool { return r.open.Load() == 0 })
	if _, err := s.Play(context.Background(), Request{}); err == nil {
		t.Error("a closed session plays")
	}
}

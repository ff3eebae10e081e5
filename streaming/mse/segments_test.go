package mse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/streaming/fmp4"
)

// camera plays pictures of 40 ms into segments.
type camera struct {
	g    *segments
	init *fmp4.Init
	now  time.Time
	dts  int64
}

func newCamera() *camera {
	c := &camera{init: &fmp4.Init{Segment: []byte("init")}, now: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), dts: 90000}
	c.g = newSegments(func() time.Time { return c.now })
	return c
}

// plays plays a group of so many pictures, each of so many bytes.
func (c *camera) plays(pictures, size int) {
	for n := range pictures {
		c.now = c.now.Add(40 * time.Millisecond)
		c.g.take(part{fmp4.Sample{Init: c.init, Track: fmp4.VideoTrack, DTS: c.dts, PTS: c.dts, Duration: 3600, Key: n == 0, Data: make([]byte, size)}, make([]byte, size)})
		c.dts += 3600
		c.g.take(part{fmp4.Sample{Init: c.init, Track: fmp4.SoundTrack, Duration: 320}, make([]byte, 10)})
	}
}

func (c *camera) is() (out string) {
	for _, s := range c.g.list {
		out += fmt.Sprintf(" %d:%v", s.number, s.duration)
		if !s.key {
			out += "-"
		}
	}
	return strings.TrimSpace(out)
}

// TestSegments: a segment is a group of pictures, or several short ones; a group that is longer
// than the target duration, which never changes, is cut at whole pictures.
func TestSegments(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []int // pictures
		target time.Duration
		want   string
	}{
		{"nothing before the next key frame", []int{50}, 0, ""},
		{"a group", []int{50, 50, 50}, 2 * time.Second, "0:2s 1:2s"},
		{"short groups", []int{10, 10, 10, 10, 10, 10, 1}, 2 * time.Second, "0:1.2s 1:1.2s"},
		{"a little longer than the first", []int{49, 52, 1}, 2 * time.Second, "0:1.96s 1:2.08s"},
		{"a group that is longer than the first", []int{25, 50, 25, 1}, time.Second, "0:1s 1:1.48s 2:520ms- 3:1s"},
		{"a first group that is too long", []int{125, 25, 1}, 2 * time.Second, "0:2s 1:2.48s- 2:520ms- 3:1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := newCamera()
			for _, n := range c.groups {
				cam.plays(n, 1000)
			}
			if got := cam.is(); got != c.want || cam.g.target != c.target {
				t.Errorf("%s, target %v; want %s, %v", got, cam.g.target, c.want, c.target)
			}
		})
	}
}

// TestSegmentsThatAreKept: six are listed, or all since the last key frame, and as many
// are kept for players with an older playlist; their bytes are bounded.
func TestSegmentsThatAreKept(t *testing.T) {
	cam := newCamera()
	for range 30 {
		cam.plays(50, 1000)
	}
	if n, at := len(cam.g.list), cam.g.oldest(); n != 12 || at != 6 || cam.g.list[n-1].number != 28 {
		t.Errorf("%d are kept, %d not listed: %s", n, at, cam.is())
	}
	if first := cam.g.first(); first != 26 {
		t.Errorf("a player begins with %d, want 26: three target durations before the end", first)
	}
	cam = newCamera()
	cam.plays(50, 1000)
	cam.plays(500, 1000) // of 20 s
	if n, at := len(cam.g.list), cam.g.oldest(); at != 1 || !cam.g.list[at].key {
		t.Errorf("%d of %d are not listed, want all since the key frame: %s", at, n, cam.is())
	}
	cam = newCamera()
	for range 30 {
		cam.plays(50, 60<<10) // 3 MB
	}
	if n := len(cam.g.list); n != 5 || cam.g.bytes > maxSegments {
		t.Errorf("%d are kept, of %d bytes", n, cam.g.bytes)
	}
	cam = newCamera()
	cam.plays(50, 200<<10) // 10 MB
	cam.plays(1, 1)
	if cam.is() != "0:800ms 1:800ms- 2:400ms-" {
		t.Errorf("a group of 10 MB: %s", cam.is())
	}
	long := newCamera()
	for range 6 {
		long.plays(500, 1000) // of 20 s
	}
	first := long.g.first()
	for _, s := range long.g.list {
		if s.number == first && !s.key {
			t.Errorf("a player begins with %d, which it cannot decode: %s", first, long.is())
		}
	}
}

// TestPlaylist: as RFC 8216 has it; numbers go on, and another stream of the camera is a
// discontinuity with an initialization segment of its own.
func TestPlaylist(t *testing.T) {
	cam := newCamera()
	s := &Segmented{of: cam.g}
	if list, _, err := s.playlist(); list != nil || err != nil {
		t.Errorf("before the first segment: %s, %v", list, err)
	}
	cam.plays(50, 10)
	cam.plays(50, 10)
	cam.init = &fmp4.Init{Segment: []byte("other")}
	cam.plays(50, 10)
	if list, _, err := s.playlist(); list != nil || err != nil {
		t.Errorf("with two segments: %s, %v", list, err)
	}
	cam.plays(1, 10)
	wants := func(want string) {
		t.Helper()
		if list, _, err := s.playlist(); string(list) != want || err != nil {
			t.Errorf("%v\n%s\nwant\n%s", err, list, want)
		}
	}
	wants(`#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.000Z
#EXTINF:2.00000,
0.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:02.000Z
#EXTINF:2.00000,
1.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:04.000Z
#EXTINF:2.00000,
2.m4s
`)
	for range 7 {
		cam.plays(50, 10)
	}
	list, _, _ := s.playlist()
	for _, want := range []string{"MEDIA-SEQUENCE:3\n", "DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"init-1.mp4\"\n", "\n8.m4s\n"} {
		if !strings.Contains(string(list), want) {
			t.Errorf("%s\nhas no %q", list, want)
		}
	}
	cam.g.end()
	if _, _, err := s.playlist(); err != ErrEnded { //nolint:errorlint // as it is
		t.Errorf("of a stream that has ended: %v", err)
	}
}

// TestSegmentsBeginWithWhatWasKept: a viewer need not wait for the next key frame to come
// twice, and the times are those at which it was shown.
func TestSegmentsBeginWithWhatWasKept(t *testing.T) {
	cam := newCamera()
	var kept []fmp4.Sample
	for n := range int64(40) {
		kept = append(kept, fmp4.Sample{Init: cam.init, Track: fmp4.VideoTrack, DTS: 90000 + 3600*n, Duration: 3600, Key: n == 0, Data: []byte{1}})
	}
	cam.g.begin(kept)
	cam.dts += 40 * 3600
	cam.plays(1, 10)
	if at := cam.g.list[0].at; cam.is() != "0:1.6s" || !at.Equal(cam.now.Add(-40*time.Millisecond-1600*time.Millisecond)) {
		t.Errorf("%s, at %v", cam.is(), at)
	}
}

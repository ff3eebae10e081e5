package mse

import (
	"testing"

	"latchkey/streaming/fmp4"
)

// TestSqueezed: what was kept takes 40 ms, in the same order, without gaps, and ends where
// the camera is.
func TestSqueezed(t *testing.T) {
	init := &fmp4.Init{SoundScale: 8000}
	var kept []fmp4.Sample
	for n := range int64(100) { // four seconds, each picture shown two after it is decoded
		kept = append(kept, fmp4.Sample{Init: init, Track: fmp4.VideoTrack, DTS: 90000 + 3600*n, PTS: 90000 + 3600*(n+2), Duration: 3600, Key: n == 0})
		kept = append(kept, fmp4.Sample{Init: init, Track: fmp4.SoundTrack, DTS: 8000 + 320*n, PTS: 8000 + 320*n, Duration: 320, Key: true})
	}
	const live = 90000 + 3600*100
	end, shown, sounds := int64(0), int64(0), 0
	for n, s := range squeezed(kept) {
		if s.Track == fmp4.SoundTrack {
			sounds++
			continue
		}
		if n == 0 && s.DTS != live-3600 {
			t.Errorf("it begins at %d, want %d", s.DTS, live-3600)
		}
		if n > 0 && s.DTS != end || s.Duration == 0 || s.PTS <= shown {
			t.Fatalf("picture %d: decoded at %d, after %d; shown at %d, after %d", n, s.DTS, end, s.PTS, shown)
		}
		end, shown = s.DTS+int64(s.Duration), s.PTS
	}
	if end != live || shown != live+3600 {
		t.Errorf("it ends at %d and shows until %d", end, shown)
	}
	if sounds != 1 {
		t.Errorf("%d pieces of sound that are over, or missing", sounds)
	}
	if got := squeezed(kept[:2]); got[0].Duration != 3600 {
		t.Errorf("a single picture is squeezed: %+v", got[0])
	}
}

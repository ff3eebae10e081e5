package mse

import (
	"time"

	"latchkey/streaming/fmp4"
)

// lead is the media time in which what was kept is shown to a viewer that joins.
const lead = 40 * time.Millisecond

// squeezed returns what was kept such that a player decodes all of it and is then where the
// camera is: the pictures since the last key frame take 40 ms instead of their time, in the
// same order. What is still due keeps its time, and sound that is over is left out.
func squeezed(kept []fmp4.Sample) []fmp4.Sample {
	first, last, pictures := int64(-1), int64(0), int64(0)
	for _, s := range kept {
		if s.Track != fmp4.VideoTrack {
			continue
		}
		if first < 0 {
			first = s.DTS
		}
		pictures++
		last = s.DTS + int64(s.Duration)
	}
	span, into := last-first, max(int64(fmp4.VideoScale*lead/time.Second), pictures)
	at := func(ticks int64) int64 {
		if ticks >= last || span <= into {
			return ticks
		}
		return last - (last-ticks)*into/span
	}
	out := make([]fmp4.Sample, 0, len(kept))
	for _, s := range kept {
		if s.Track == fmp4.SoundTrack {
			if seconds(s, s.DTS+int64(s.Duration)) > float64(at(first))/fmp4.VideoScale {
				out = append(out, s)
			}
			continue
		}
		end := at(s.DTS + int64(s.Duration))
		s.DTS, s.PTS = at(s.DTS), at(s.PTS)
		s.Duration = uint32(end - s.DTS)
		out = append(out, s)
	}
	return out
}

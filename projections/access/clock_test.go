package access

import (
	"testing"
	"time"
)

// While a machine is suspended only the wall clock goes on, and only the wall
// clock may be set: each of both alone makes the index stale, none makes it live.
func TestLiveByBothClocks(t *testing.T) {
	const bound = 5 * time.Second
	p := newPulse(time.Time{}, bound)
	p.state.Store(stateLive)
	fresh, wall := 100*time.Second, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p.fresh.Store(int64(fresh))
	p.wall.Store(wall.UnixNano())
	for _, c := range []struct {
		name           string
		passed, onWall time.Duration // since the measurement
		want           bool
		behind         time.Duration // what readiness and the metrics say
	}{
		{"both within the bound", bound, bound, true, bound},
		{"stopped", bound + 1, bound + 1, false, bound + 1},
		{"suspended", time.Millisecond, time.Hour, false, time.Hour},
		{"wall clock set back", time.Second, -time.Hour, true, time.Second},
		{"stopped, and the wall clock set back", time.Minute, -time.Hour, false, time.Minute},
	} {
		if got := p.behindAt(int64(fresh+c.passed), wall.Add(c.onWall).UnixNano()); got != c.behind {
			t.Errorf("%s: behind by %v, want %v", c.name, got, c.behind)
		}
		if got := p.liveAt(int64(fresh+c.passed), wall.Add(c.onWall).UnixNano()); got != c.want {
			t.Errorf("%s: live is %v, want %v", c.name, got, c.want)
		}
	}
}

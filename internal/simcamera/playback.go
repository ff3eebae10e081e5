package simcamera

import (
	"context"
	"fmt"
	"time"

	"latchkey/internal/simcamera/picture"
)

// closeAfterBye is how long a player may take to leave after the end of a recording.
const closeAfterBye = 2 * time.Second

// replay sends a part of the recording at the given speed (negative is backwards), as it
// was at that time, and then says goodbye.
func (v *viewer) replay(ctx context.Context, part span, scale float64) {
	text := picture.Text{Name: cameraName(v.target.channel), Note: "Playback"}
	if scale != 1 {
		text.Note = fmt.Sprintf("Playback %gx", scale)
	}
	source, err := v.camera.newFootage(v.target.quality,
		func() picture.View { return home(v.target.channel) },
		func() picture.Text { return text })
	if err != nil {
		v.camera.cfg.Logger.Error("camera: opening the recording", "error", err)
		return
	}

	var (
		step  = source.step()
		began = time.Now()
		first = v.sent
		gaps  time.Duration // that were left out
		timer = time.NewTimer(0)
	)
	defer timer.Stop()
	for n := time.Duration(0); ; n++ {
		timer.Reset(time.Until(began.Add(n * step)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		at := part.start.Add(time.Duration(scale*float64(n*step)) + gaps)
		after := v.camera.afterGap(at)
		jumps := scale > 0 && after.After(at)
		if jumps {
			gaps += after.Sub(at)
			at = after
		}
		if v.over(at, part, scale) {
			break
		}
		v.setPosition(at)
		if v.camera.faults.stalled() {
			continue
		}
		nalus, key, err := source.next(at, n == 0 || jumps)
		if err != nil {
			return
		}
		u := unit{at: at, pts: first + n*step + gaps, length: step, key: key, nalus: nalus}
		v.send(u)
	}

	v.bye()
	select {
	case <-ctx.Done():
	case <-time.After(closeAfterBye):
		v.session.Close()
	}
}

// over reports whether nothing is recorded or wanted at an instant.
func (v *viewer) over(at time.Time, part span, scale float64) bool {
	if scale < 0 {
		return at.Before(v.target.start)
	}
	return !part.end.IsZero() && !at.Before(part.end) || at.After(v.camera.cfg.Now())
}

// setPosition keeps where a PLAY after a PAUSE goes on.
func (v *viewer) setPosition(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.part.start = at
}

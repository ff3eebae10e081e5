package api

import (
	"context"
	"net/http"
	"sort"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/privilege"
	"latchkey/projections"
)

// mostListed limits the time of which recordings are listed.
const mostListed = 31 * 24 * time.Hour

// Recorded is what a device has recorded of a channel, in order.
type Recorded struct {
	List []privilege.Interval
	// Zone is the offset from UTC by which the times may be wrong: see privilege.DoubtOf.
	Zone time.Duration
	// Clock is the offset of the device's local time from UTC now; nil if it does not tell.
	Clock *time.Duration
}

var recordingList = projections.NewList("recordings", func(i privilege.Interval) int64 { return i.From.UnixMicro() })

// ListDeviceRecordings lists what is recorded of a channel and may be played back by the
// caller: nothing else is listed.
func (h handlers) ListDeviceRecordings(ctx context.Context, r rest.ListDeviceRecordingsRequestObject) (rest.ListDeviceRecordingsResponseObject, error) {
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	ctx, u, err := h.use(ctx, r.Device, r.Channel, privilege.Playback)
	if err != nil {
		return nil, err
	}
	within, err := askedTime(r.Params)
	if err != nil {
		return nil, err
	}
	var list []privilege.Interval
	out := rest.RecordingList{From: utc(within.From), To: utc(within.To)}
	if len(h.playable(u, within, privilege.Doubt{}, h.cfg.Now())) > 0 { // otherwise the device need not be asked
		recorded, err := h.recorded(ctx, u, within)
		if refused := h.stillPermitted(ctx, u); refused != nil {
			return nil, refused
		}
		if err != nil {
			return nil, h.notGiven(ctx, u, err, &problem{code: "recordings_not_available", detail: "What is recorded of this channel is not known now."})
		}
		list = h.mayPlay(u, recorded, within)
		out.Uncertain = recorded.Zone != 0
		if recorded.Clock != nil {
			out.Zone = time.Time{}.In(time.FixedZone("", int(recorded.Clock.Seconds()))).Format("-07:00")
		}
	}
	rows, next, err := recordingList.Page(page(r.Params.Limit, r.Params.Cursor), func(after, n int64) ([]privilege.Interval, error) {
		from := sort.Search(len(list), func(i int) bool { return list[i].From.UnixMicro() > after })
		return list[from:min(int64(len(list)), int64(from)+n)], nil
	})
	if err != nil {
		return nil, err
	}
	out.Next, out.Items = next, make([]rest.Recording, len(rows))
	for i, row := range rows {
		out.Items[i] = rest.Recording{From: utc(row.From), To: utc(row.To)}
	}
	return rest.ListDeviceRecordings200JSONResponse(out), nil
}

func (h handlers) recorded(ctx context.Context, u *using, within privilege.Interval) (Recorded, error) {
	if h.cfg.Cameras == nil {
		return Recorded{}, &DeviceFault{Reason: "unsupported"}
	}
	return h.cfg.Cameras.Recordings(ctx, u.of.Device, u.of.Channel, within)
}

// playable lists the intervals within one, in times of a device, that may be played back
// now. Weekly hours have at most some hundreds in the time that may be asked for.
func (h handlers) playable(u *using, within privilege.Interval, doubt privilege.Doubt, now time.Time) (list []privilege.Interval) {
	rule := func(within privilege.Interval, now time.Time) (privilege.Interval, bool) {
		return h.cfg.Access.Playable(u.of.Account, u.of.Device, u.of.Channel, within, now, h.cfg.PlaybackDelay)
	}
	for !within.Empty() {
		first, ok := doubt.Playable(within, now, rule)
		if !ok {
			break
		}
		list = append(list, first)
		within.From = first.To
	}
	return list
}

// mayPlay returns what of the recordings may be played back now. If it is not certain what
// the device means by its times, only what may be played back whichever it means.
func (h handlers) mayPlay(u *using, recorded Recorded, within privilege.Interval) (list []privilege.Interval) {
	for _, p := range h.playable(u, within, privilege.DoubtOf(recorded.Zone), h.cfg.Now()) {
		for _, r := range recorded.List {
			if i := r.Within(p); !i.Empty() {
				list = append(list, i)
			}
		}
	}
	return list
}

// askedTime reads a day in a time zone, or from when until when.
func askedTime(p rest.ListDeviceRecordingsParams) (privilege.Interval, error) {
	bad := func(name, reason string) (privilege.Interval, error) {
		return privilege.Interval{}, &problem{
			status: http.StatusBadRequest, code: "invalid_parameter", detail: "The parameter " + name + " is not valid.", fields: map[string]string{name: reason},
		}
	}
	switch {
	case p.Date == "" && p.From.IsZero() && p.To.IsZero():
		return bad("date", "is required, or from and to")
	case p.Date != "" && (!p.From.IsZero() || !p.To.IsZero()):
		return bad("date", "cannot be given with from and to")
	case p.Date == "":
		switch {
		case p.From.IsZero(): // also if it is given so
			return bad("from", "is needed with to, and must be in 1970 or later")
		case p.To.IsZero():
			return bad("to", "is needed with from, and must be after it")
		case p.Zone != "":
			return bad("zone", "can only be given with date")
		case !p.From.Before(p.To):
			return bad("to", "must be after from")
		case p.From.Year() < 1970:
			return bad("from", "must be in 1970 or later")
		case p.To.Year() > 2199:
			return bad("to", "must be before the year 2200")
		case p.To.Sub(p.From) > mostListed:
			return bad("to", "must be at most 31 days after from")
		}
		return privilege.Interval{From: p.From, To: p.To}, nil
	}
	zone := time.UTC
	if p.Zone != "" {
		var err error
		if zone, err = privilege.Zone(p.Zone); err != nil {
			return bad("zone", "must be a time zone such as Europe/Berlin")
		}
	}
	day, err := time.Parse(time.DateOnly, p.Date)
	if err != nil || day.Year() < 1970 || day.Year() > 2199 {
		return bad("date", "must be a day such as 2026-01-31")
	}
	return privilege.Interval{From: beginOf(day, zone), To: beginOf(day.AddDate(0, 0, 1), zone)}, nil
}

// beginOf returns the first instant of a day, given in UTC, by the clocks of a zone: days
// have 23 or 25 hours, begin at one o'clock, or are left out where clocks are changed.
func beginOf(day time.Time, zone *time.Location) time.Time {
	const farthest = 26 * time.Hour // no zone is farther from UTC
	first := day.Add(-farthest)
	n := sort.Search(int(2*farthest/time.Second), func(i int) bool {
		y, m, d := first.Add(time.Duration(i) * time.Second).In(zone).Date()
		return !time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(day)
	})
	return first.Add(time.Duration(n) * time.Second)
}

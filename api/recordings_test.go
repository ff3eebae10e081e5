package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// TestBeginOfDays: days are as long as the clocks make them.
func TestBeginOfDays(t *testing.T) {
	for _, c := range []struct {
		zone, day, begin string
		length           time.Duration
	}{
		{"UTC", "2026-01-31", "2026-01-31T00:00:00Z", 24 * time.Hour},
		{"Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", 23 * time.Hour},
		{"Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", 25 * time.Hour},
		{"America/New_York", "2026-03-08", "2026-03-08T05:00:00Z", 23 * time.Hour},
		{"Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24*time.Hour + 30*time.Minute},
		{"America/Sao_Paulo", "2017-10-15", "2017-10-15T03:00:00Z", 23 * time.Hour}, // it begins at one o'clock
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0},                   // there was none
		{"Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00:00Z", 24 * time.Hour},
		{"Pacific/Pago_Pago", "2026-01-01", "2026-01-01T11:00:00Z", 24 * time.Hour},
	} {
		got, err := askedTime(rest.ListDeviceRecordingsParams{Date: c.day, Zone: c.zone})
		if err != nil || got.From.Format(time.RFC3339) != c.begin || got.To.Sub(got.From) != c.length {
			t.Errorf("%s in %s: from %v to %v, %v", c.day, c.zone, got.From, got.To, err)
		}
	}
}

// playing is an index that lets some times be played back.
type playing struct {
	index
	conditions []privilege.Condition
	delay      bool
}

func (p *playing) Playable(_ ids.Account, _ ids.Device, channel int, within privilege.Interval, now time.Time, delay time.Duration) (privilege.Interval, bool) {
	if !p.delay {
		delay = 0
	}
	return privilege.Ready(p.conditions).Playable(channel, within, now, delay)
}

func (p *playing) PlaybackWindow(a ids.Account, d ids.Device, channel int, now time.Time, delay time.Duration) (from, to time.Time, ok bool) {
	from, to, ok = p.index.PlaybackWindow(a, d, channel, now, delay)
	for _, c := range p.conditions {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
	}
	return from, to, ok
}

// TestRecordingsOfADay: only what may be played back is listed, page by page, and nothing
// that may be so only by one meaning of the device's times.
func TestRecordingsOfADay(t *testing.T) {
	day := time.Date(noon.Year(), noon.Month(), noon.Day(), 0, 0, 0, 0, time.UTC)
	at := func(hour int) time.Time { return day.Add(time.Duration(hour) * time.Hour) }
	zone, asked := time.Duration(0), 0
	var clock *time.Duration
	cams := &fakeCameras{recordings: func(within privilege.Interval) (Recorded, error) {
		asked++
		return Recorded{Zone: zone, Clock: clock, List: []privilege.Interval{{From: within.From, To: at(2)}, {From: at(3), To: at(9)}, {From: at(10), To: at(11)}, {From: at(11).Add(time.Minute), To: noon}}}, nil
	}}
	x := &playing{}
	v := newVillage(t, func(c *Config) {
		x.index = c.Access.(index)
		c.Cameras, c.Access, c.PlaybackDelay = cams, x, time.Hour
	})
	v.accept()
	path := "/api/v1/devices/" + v.device + "/channels/1/recordings"
	query := "?date=" + day.Format(time.DateOnly)
	list := func(query string) (text string) {
		t.Helper()
		for cursor := ""; ; {
			var page rest.RecordingList
			v.wantStatus(v.do("GET", path+query+"&limit=2"+cursor, v.recipient.token, nil), 200).decode(t, &page)
			for _, r := range page.Items {
				text += fmt.Sprintf("%s-%s ", r.From.Format("15:04"), r.To.Format("15:04"))
			}
			if page.Next == "" {
				return strings.TrimSpace(text)
			}
			cursor = "&cursor=" + page.Next
		}
	}
	valid := func(from, until int) []privilege.Condition {
		return []privilege.Condition{{Privileges: privilege.All, Validity: privilege.Validity{From: at(from), Until: at(until)}}}
	}
	for _, c := range []struct {
		name       string
		conditions []privilege.Condition
		delay      bool
		zone       time.Duration
		query      string
		want       string
	}{
		{"everything", nil, false, 0, query, "00:00-02:00 03:00-09:00 10:00-11:00 11:01-12:00"},
		{"without live view", nil, true, 0, query, "00:00-02:00 03:00-09:00 10:00-11:00"},
		{"a validity", valid(1, 24), false, 0, query, "01:00-02:00 03:00-09:00 10:00-11:00 11:01-12:00"},
		{"hours", []privilege.Condition{{Privileges: privilege.Playback, Validity: privilege.Validity{Hours: privilege.Hours{Zone: "UTC", Spans: []privilege.Span{
			{Days: 127, Start: 60, End: 4 * 60}, {Days: 127, Start: 10*60 + 30, End: 12 * 60}}}}}}, false, 0, query, "01:00-02:00 03:00-04:00 10:30-11:00 11:01-12:00"},
		{"a part of the day", nil, false, 0, "?from=" + at(5).Format(time.RFC3339) + "&to=" + at(8).Format(time.RFC3339), "05:00-08:00"},
		{"a zone to the east, without limits", nil, false, 8 * time.Hour, query, "00:00-02:00 03:00-09:00 10:00-11:00 11:01-12:00"},
		{"a zone to the west, without limits", nil, false, -5 * time.Hour, query, "00:00-02:00 03:00-09:00 10:00-11:00 11:01-12:00"},
		{"a zone to the east, with a begin", valid(1, 24), false, 2 * time.Hour, query, "04:00-09:00 10:00-11:00 11:01-12:00"},
		{"a zone to the west, without live view", nil, true, -5 * time.Hour, query, "00:00-02:00 03:00-05:00"},
	} {
		x.conditions, x.delay, zone = c.conditions, c.delay, c.zone
		if got := list(c.query); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	noOffset, westward := time.Duration(0), -9*time.Hour-30*time.Minute
	for _, c := range []struct {
		clock     *time.Duration
		doubt     time.Duration
		zone      string
		uncertain bool
	}{{nil, 0, "", false}, {&noOffset, 0, "+00:00", false}, {&noOffset, time.Hour, "+00:00", true}, {&westward, -9 * time.Hour, "-09:30", true}} {
		var page rest.RecordingList
		clock, zone, x.conditions = c.clock, c.doubt, nil
		if v.wantStatus(v.do("GET", path+query, v.owner.token, nil), 200).decode(t, &page); page.Zone != c.zone || page.Uncertain != c.uncertain {
			t.Errorf("the clock %v in doubt by %v: zone %q, uncertain %t", c.clock, c.doubt, page.Zone, page.Uncertain)
		}
	}

	x.conditions, asked = valid(13, 14), 0
	if got := list(query); got != "" || asked != 0 {
		t.Errorf("nothing may be played back: %q, and the device was asked %d times", got, asked)
	}
	x.conditions = nil
	v.wantProblem(v.do("GET", path+query, v.stranger.token, nil), 404, "device_not_found")
	for _, bad := range []string{"", "?date=2026-02-30", "?date=2026-1-1", query + "&zone=Mars/Olympus", query + "&zone=Local", query + "&from=2026-01-01T00:00:00Z", "?from=2026-01-01T00:00:00Z",
		"?from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "?from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z", "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&zone=UTC", "?from=yesterday&to=today"} {
		v.wantProblem(v.do("GET", path+bad, v.owner.token, nil), 400, "invalid_parameter")
	}
	for bad, want := range map[string]string{
		"?to=2026-01-01T00:00:00Z":                           "It is needed with to, and must be in 1970 or later.",
		"?from=0001-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": "It " + noTime + ".",
		"?from=2026-02-30T00:00:00Z&to=2026-03-01T00:00:00Z": "It " + noTime + ".",
		"?from=1969-12-31T00:00:00Z&to=1970-01-01T00:00:00Z": "It must be in 1970 or later.",
		"?from=2026-01-01T00:00:00Z":                         "It is needed with from, and must be after it.",
		"?from=9999-12-31T00:00:00Z&to=9999-12-31T23:59:59Z": "It must be before the year 2200.",
		"?from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z": "It must be at most 31 days after from.",
	} {
		if p := v.wantProblem(v.do("GET", path+bad, v.owner.token, nil), 400, "invalid_parameter"); len(p.Errors) != 1 || p.Errors["from"]+p.Errors["to"] != want {
			t.Errorf("%s: %+v, want %q", bad, p.Errors, want)
		}
	}
	for _, channel := range []string{"01", "+1", "1.0", "1e0", "%2B1", "0", "-1", "512", "99999999999999999999"} {
		at := "/api/v1/devices/" + v.device + "/channels/" + channel + "/recordings"
		v.wantProblem(v.do("GET", at+query, v.owner.token, nil), 404, "not_found")
	}
	v.wantProblem(v.do("GET", path+query+"&cursor=x", v.owner.token, nil), 400, "invalid_cursor")
	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, grant(v.device, "live_view")))
	v.wantProblem(v.do("GET", path+query, v.recipient.token, nil), 403, "privilege_missing")
	cams.recordings = func(privilege.Interval) (Recorded, error) { return Recorded{}, &DeviceFault{Reason: "refused"} }
	if p := v.wantProblem(v.do("GET", path+query, v.owner.token, nil), 502, "recordings_not_available"); !strings.Contains(p.Detail, "refuses") {
		t.Errorf("the owner is told %q", p.Detail)
	}
	cams.recordings = func(privilege.Interval) (Recorded, error) { return Recorded{}, &DeviceFault{Reason: "incomplete"} }
	if p := v.wantProblem(v.do("GET", path+query, v.owner.token, nil), 502, "recordings_not_available"); !strings.Contains(p.Detail, "shorter time") {
		t.Errorf("the owner is told %q", p.Detail)
	}
}

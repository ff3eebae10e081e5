package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

// recorder is a portal village whose cameras have recordings.
func recorderVillage(t *testing.T, recorded func(privilege.Interval) (Recorded, error)) (*village, *playing) {
	t.Helper()
	x, m := &playing{}, newMemoryAlarms(t)
	w := newPortalWorld(t, func(c *Config) {
		x.index, c.Alarms = c.Access.(index), m
		c.Cameras, c.Access, c.PlaybackDelay = &fakeCameras{recordings: recorded}, x, 15*time.Minute
	})
	v := &village{world: w, owner: w.person("alice"), recipient: w.person("bob"), stranger: w.person("mallory"), alarms: m}
	v.device, v.spare = w.camera(v.owner, "Front door"), w.camera(v.owner, "Garden")
	v.id = w.share(v.owner, v.recipient.email, grant(v.device, "playback")).ID
	v.accept()
	return v, x
}

// dataOf are what the scripts of a page get.
func (p webPage) dataOf(id string, into any) {
	p.b.w.t.Helper()
	_, after, ok := strings.Cut(p.body, `id="`+id+`">`)
	text, _, _ := strings.Cut(after, "</script>")
	if err := json.Unmarshal([]byte(text), into); !ok || err != nil {
		p.b.w.t.Fatalf("the data %s of %s: %v %q", id, p.path, err, text)
	}
}

type playbackPageData struct {
	Path, Check string
	From, To    int64
	At, Now     int64
	Recordings  [][2]int64
	Allowed     [2]int64
	Offsets     []struct{ From, Offset int64 }
	Alarms      []struct{ At int64 }
}

func within(list []privilege.Interval, asked privilege.Interval) (out []privilege.Interval) {
	for _, r := range list {
		if i := r.Within(asked); !i.Empty() {
			out = append(out, i)
		}
	}
	return out
}

func TestPortalPlayback(t *testing.T) {
	day := time.Date(noon.Year(), noon.Month(), noon.Day(), 0, 0, 0, 0, time.UTC)
	at := func(hour, minute int) time.Time {
		return day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	list := []privilege.Interval{{From: at(1, 0), To: at(2, 30)}, {From: at(9, 0), To: at(9, 0).Add(20 * time.Second)}, {From: at(11, 0), To: noon}}
	clock := time.Duration(0)
	v, x := recorderVillage(t, func(asked privilege.Interval) (Recorded, error) {
		return Recorded{List: within(list, asked), Clock: &clock}, nil
	})
	path := "/playback/" + v.device + "/1"
	query := "?day=" + day.Format(time.DateOnly) + "&zone=UTC"
	p := v.as(v.owner).get(path+query).want(200, path+query, "Camera 1", "Front door", "Times are in the time zone UTC", "3 recordings", "01:00:00 – 02:30:00 1 h 30 min", "09:00:00 – 09:00:20 20 s", "Go live", "Pictures need JavaScript")
	var data playbackPageData
	p.dataOf("playback-data", &data)
	if data.From != day.UnixMilli() || data.To != day.AddDate(0, 0, 1).UnixMilli() || data.At != 0 || len(data.Recordings) != 3 || data.Recordings[0] != [2]int64{at(1, 0).UnixMilli(), at(2, 30).UnixMilli()} {
		t.Errorf("%+v", data)
	}
	if data.Path != "/devices/"+v.device+"/channels/1/playback" || len(data.Offsets) != 1 || data.Allowed[0] != data.From {
		t.Errorf("%+v", data)
	}
	// The links of the list choose, and say what a player needs.
	chosen := path + query + "&at=" + url.QueryEscape(at(1, 10).Format(time.RFC3339))
	p = v.as(v.owner).get(chosen).want(200, chosen, "In a player such as VLC", "/playback?starttime="+at(1, 10).Format("20060102T150405Z")+"&endtime="+at(2, 30).Format("20060102T150405Z"))
	if p.dataOf("playback-data", &data); data.At != at(1, 10).UnixMilli() || !strings.Contains(p.body, `aria-current="true"><time>01:00:00`) {
		t.Errorf("%d is chosen: %s", data.At, p.body)
	}

	// Alarms are for those who have the privilege, also those that came when they had it.
	v.alarmAt(t, "night", v.device, 1, at(1, 15), v.owner, v.recipient)
	v.alarmAt(t, "other", v.spare, 1, at(1, 20), v.owner)
	v.alarmAt(t, "before", v.device, 1, at(-1, 0), v.owner, v.recipient)
	v.alarmAt(t, "after", v.device, 1, at(24, 0), v.owner, v.recipient)
	alarms := func(p person) []struct{ At int64 } {
		t.Helper()
		v.as(p).get(path+query).want(200, path+query).dataOf("playback-data", &data)
		return data.Alarms
	}
	if list := alarms(v.owner); len(list) != 1 || list[0].At != at(1, 15).UnixMilli() {
		t.Errorf("the owner's alarms: %v", list)
	}
	if list := alarms(v.recipient); len(list) != 0 {
		t.Errorf("alarms without the privilege: %v", list)
	}

	x.delay = true
	x.conditions = []privilege.Condition{{Privileges: privilege.All, NotBefore: at(2, 0)}}
	// Without live view there is a delay, and no way to the live view. What is not allowed is
	// neither in the list nor on the timeline.
	p = v.as(v.recipient).get(path+query).want(200, path+query, "recordings once they are 15 minutes old", "3 recordings", "02:00:00 – 02:30:00", "11:00:00 – 11:45:00").
		lacks(`href="/live/`, "01:00:00")
	p.dataOf("playback-data", &data)
	if want := [2]int64{at(2, 0).UnixMilli(), at(11, 45).UnixMilli()}; data.Allowed != want || data.Recordings[0][0] != want[0] || data.Recordings[2][1] != want[1] {
		t.Errorf("%v may be played, and %v is listed; want %v", data.Allowed, data.Recordings, want)
	}
	chosen = path + query + "&at=" + url.QueryEscape(at(1, 10).Format(time.RFC3339))
	v.as(v.recipient).get(chosen).want(200, chosen, "/playback?starttime="+at(2, 0).Format("20060102T150405Z"))
	x.conditions = nil
	v.as(v.stranger).get(path+query).want(404, path+query, "There is no such device")
	for _, bad := range []string{"/playback/" + v.device + "/0", "/playback/" + v.device + "/x", "/playback/nothing/1"} {
		v.as(v.owner).get(bad).want(404, bad)
	}

	// Another day leads to the nearest recording, whatever the query says.
	v.as(v.owner).get(path+"?day="+day.AddDate(0, 0, -3).Format(time.DateOnly)+"&zone=UTC").want(200, path+"?day="+day.AddDate(0, 0, -3).Format(time.DateOnly)+"&zone=UTC", "Nothing is recorded on this day", "The nearest recording").lacks("playback.js")
	for _, odd := range []string{"?day=x&zone=Mars/Olympus&at=y&rows=-5", "?day=0000-00-00&zone=Local", "?day=9999-12-31", "?zone=../../etc/passwd", "?rows=999999"} {
		v.as(v.owner).get(path+odd).want(200, path+odd)
	}

	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, grant(v.device, "live_view")))
	v.as(v.recipient).get(path+query).want(403, path+query)
}

// TestPortalPlaybackZones: hours are those of the device's clock if that is another one than
// the browser's, and the page says what it cannot know.
func TestPortalPlaybackZones(t *testing.T) {
	answer := Recorded{}
	v, _ := recorderVillage(t, func(asked privilege.Interval) (Recorded, error) {
		a := answer
		a.List = within([]privilege.Interval{{From: noon.Add(-13 * time.Hour), To: noon.Add(-time.Hour)}}, asked)
		return a, nil
	})
	path := "/playback/" + v.device + "/1"
	day := "?day=" + noon.Format(time.DateOnly)
	same, other := time.Duration(0), -9*time.Hour-30*time.Minute
	for _, c := range []struct {
		name   string
		answer Recorded
		want   []string
	}{
		{"as the browser's", Recorded{Clock: &same}, []string{"Times are in the time zone UTC"}},
		{"another", Recorded{Clock: &other}, []string{"Times are by the clock of the device: UTC-09:30"}},
		{"unknown", Recorded{}, []string{"Times are in the time zone UTC", "does not say in which time zone"}},
		{"in doubt", Recorded{Clock: &same, Zone: time.Hour}, []string{"does not say clearly"}},
	} {
		answer = c.answer
		if p := v.as(v.owner).get(path + day); p.status != 200 {
			t.Errorf("%s: %d", c.name, p.status)
		} else {
			p.want(200, path+day, c.want...)
		}
	}
}

// TestPortalPlaybackWhereClocksAreChanged: the day is as long as it is, and times that clocks
// show twice, or leave out, have their offset.
func TestPortalPlaybackWhereClocksAreChanged(t *testing.T) {
	var night privilege.Interval
	v, _ := recorderVillage(t, func(asked privilege.Interval) (Recorded, error) {
		return Recorded{List: within([]privilege.Interval{night}, asked)}, nil
	})
	v.clock.advance(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC).Sub(noon))
	for _, c := range []struct {
		day      string
		hours    int
		from, to string
		offsets  string // of the day, in hours
		row      string
	}{
		{"2026-03-29", 23, "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "1 2", "01:30:00 +01:00 – 03:30:00 +02:00 1 h"},
		{"2026-10-25", 25, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2 1", "02:30:00 +02:00 – 02:30:00 +01:00 1 h"},
	} {
		night.From, _ = time.Parse(time.RFC3339, c.from)
		night.To, _ = time.Parse(time.RFC3339, c.to)
		path := "/playback/" + v.device + "/1?day=" + c.day + "&zone=Europe%2FBerlin"
		p := v.as(v.owner).get(path).want(200, path, "Clocks are changed on this day.", "Times are in the time zone Europe/Berlin", c.row)
		var data playbackPageData
		p.dataOf("playback-data", &data)
		var have []string
		for _, o := range data.Offsets {
			have = append(have, fmt.Sprint(o.Offset/time.Hour.Milliseconds()))
		}
		if length := time.Duration(data.To-data.From) * time.Millisecond; length != time.Duration(c.hours)*time.Hour || strings.Join(have, " ") != c.offsets {
			t.Errorf("%s has %v, and the offsets %v", c.day, length, have)
		}
	}
}

// TestPortalPlaybackOfADeviceThatDoesNotAnswer: the page says so, and leads on.
func TestPortalPlaybackOfADeviceThatDoesNotAnswer(t *testing.T) {
	v, _ := recorderVillage(t, func(privilege.Interval) (Recorded, error) { return Recorded{}, &DeviceFault{Reason: "not_reachable"} })
	path := "/playback/" + v.device + "/1"
	v.as(v.owner).get(path).want(200, path, "has no recordings to list", "Try again").lacks("Nothing is recorded")
}

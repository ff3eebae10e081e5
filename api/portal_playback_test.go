package api

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

// recorder is a portal village whose cameras have recordings.
func recorderVillage(t *testing.T, recorded func(privilege.Interval) (Recorded, error)) (*village, *playing) {
	t.Helper()
	x := &playing{}
	w := newPortalWorld(t, func(c *Config) {
		x.index = c.Access.(index)
		c.Cameras, c.Access, c.PlaybackDelay = &fakeCameras{recordings: recorded}, x, 15*time.Minute
	})
	v := &village{world: w, owner: w.person("alice"), recipient: w.person("bob"), stranger: w.person("mallory")}
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

	x.delay = true
	// Without live view there is a delay, and no way to the live view.
	p = v.as(v.recipient).get(path+query).want(200, path+query, "recordings once they are 15 minutes old").lacks(`href="/live/`)
	if p.dataOf("playback-data", &data); data.Allowed[1] > noon.Add(-15*time.Minute).UnixMilli() {
		t.Errorf("may be played until %v", time.UnixMilli(data.Allowed[1]))
	}
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
	berlin := "?day=2026-10-25&zone=Europe%2FBerlin"
	v.as(v.owner).get(path+berlin).want(200, path+berlin, "Clocks are changed on this day.", "Times are in the time zone Europe/Berlin")
}

// TestPortalPlaybackOfADeviceThatDoesNotAnswer: the page says so, and leads on.
func TestPortalPlaybackOfADeviceThatDoesNotAnswer(t *testing.T) {
	v, _ := recorderVillage(t, func(privilege.Interval) (Recorded, error) { return Recorded{}, &DeviceFault{Reason: "not_reachable"} })
	path := "/playback/" + v.device + "/1"
	v.as(v.owner).get(path).want(200, path, "has no recordings to list", "Try again").lacks("Nothing is recorded")
}

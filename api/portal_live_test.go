package api

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"latchkey/api/internal/rest"
)

// tiles are the cameras on a page of live pictures, as "name: what is said of it".
func (p webPage) tiles() []string {
	var list []string
	for _, n := range p.all(func(n *html.Node) bool { return attrValue(n, "class") == "tile" }) {
		list = append(list, attrValue(n, "data-may")+": "+textOf(n))
	}
	return list
}

func TestPortalLive(t *testing.T) {
	v := portalVillage(t)
	v.as(v.stranger).get("/live").want(200, "/live", "There is no camera to watch yet.", "Add a device")
	v.as(v.stranger).get("/live/"+v.device+"/1").want(404, "/live/"+v.device+"/1")
	v.as(v.recipient).get("/live").want(200, "/live", "There is no camera to watch yet.") // until the sharing is accepted
	v.accept()
	own := v.camera(v.recipient, "Shed")
	b := v.as(v.recipient)
	same := func(want ...string) {
		t.Helper()
		if got := strings.Join(b.get("/live").want(200, "/live").tiles(), " | "); got != strings.Join(want, " | ") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	same("now: Shed", "now: Front door alice") // own first

	large := b.get("/live/"+v.device+"/1").want(200, "/live/"+v.device+"/1", "Front door", "From alice", "Recordings")
	for id, want := range map[string]bool{"talk": false, "ptz": false, "timeline": true} {
		if got := strings.Contains(large.body, `id="`+id+`"`); got != want {
			t.Errorf("%s is there: %t", id, got)
		}
	}
	if mine := b.get("/live/" + own + "/1"); !strings.Contains(mine.body, `id="talk"`) || !strings.Contains(mine.body, `id="ptz"`) {
		t.Error("the owner may not talk or move it")
	}
	b.get("/live/"+v.device+"/2").want(404, "/live/"+v.device+"/2")
	b.get("/live/nothing/1").want(404, "/live/nothing/1")
	if !strings.Contains(large.body, `<noscript><img src="/do/devices/`+v.device+`/channels/1/snapshot"`) {
		t.Error("without scripts there is no picture")
	}

	v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200)
	same("now: Shed", "paused: Paused by the owner Front door alice")
	b.get("/live/"+v.device+"/1").want(200, "/live/"+v.device+"/1", "Paused by the owner").lacks("<noscript>")
	v.wantStatus(v.do("POST", v.path("/resume"), v.owner.token, nil), 200)

	set := func(channels string) {
		t.Helper()
		v.wantStatus(v.do("PUT", v.path("/devices/", v.device), v.owner.token, `{"channels":[`+channels+`]}`), 200)
	}
	set(`{"channel":1,"privileges":["live_view"],"limits":[{"privileges":["live_view"],"hours":{"zone":"UTC","spans":[{"days":["mon","tue","wed","thu","fri","sat","sun"],"start":"18:00","end":"23:00"}]}}]}`)
	same("now: Shed", "not_now: Only from 18:00 to 23:00 Front door alice") // it is noon
	set(`{"channel":1,"privileges":["playback"],"limits":[]}`)
	same("now: Shed", "not_granted: Recordings only Front door alice")
	set(`{"channel":1,"privileges":["alarm"]}`)
	same("now: Shed")
	b.get("/live/"+v.device+"/1").want(404, "/live/"+v.device+"/1")
}

// Many devices call their cameras the same: a picture says which device it is of.
func TestPortalLiveNamesSayTheDevice(t *testing.T) {
	w := newPortalWorld(t)
	olga := w.person("olga")
	for name, cameras := range map[string][]string{"Garden": {"Camera 01"}, "Hall": {"Camera 01"}, "Recorder": {"Camera 01", "Camera 02", "", "Recorder"}} {
		var channels []rest.NewChannel
		for i, camera := range cameras {
			channels = append(channels, rest.NewChannel{Channel: i + 1, Name: camera, RtspURL: "rtsp://192.0.2.20/" + name + strings.Repeat("x", i+1)})
		}
		w.wantStatus(w.do("POST", "/api/v1/devices", olga.token, rest.NewDevice{Name: name, Username: "viewer", Password: "hunter2", Channels: channels}), 201)
	}
	got := w.as(olga).get("/live").tiles()
	slices.Sort(got)
	want := []string{"now: Garden", "now: Hall", "now: Recorder", "now: Recorder · Camera 01", "now: Recorder · Camera 02", "now: Recorder · Camera 3"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// offlinePresence is of a device that does not respond.
type offlinePresence struct{}

func (offlinePresence) Of(string) Online {
	return Online{State: "offline", Since: noon, Reason: "wrong_password"}
}

func TestPortalLiveIsOffline(t *testing.T) {
	w := newPortalWorld(t, func(c *Config) { c.Presence = offlinePresence{} })
	olga := w.person("olga")
	w.camera(olga, "Front door")
	w.as(olga).get("/live").want(200, "/live", "Camera is offline since").lacks("password")
}

// Many cameras are on pages of 48, also those of one device.
func TestPortalLivePages(t *testing.T) {
	w := newPortalWorld(t)
	olga, rita := w.person("olga"), w.person("rita")
	for _, p := range []person{rita, olga} {
		var channels []rest.NewChannel
		for i := range 50 {
			channels = append(channels, rest.NewChannel{Channel: i + 1, RtspURL: "rtsp://192.0.2.20/" + strings.Repeat("x", i+1)})
		}
		var d rest.Device
		w.wantStatus(w.do("POST", "/api/v1/devices", p.token, rest.NewDevice{Name: "Recorder of " + p.email, Username: "viewer", Password: "hunter2", Channels: channels}), 201).decode(t, &d)
		if p.id == rita.id {
			var grants []any
			for i := range 50 {
				grants = append(grants, map[string]any{"channel": i + 1, "privileges": []string{"live_view"}})
			}
			s := w.share(rita, olga.email, map[string]any{"device": d.ID, "channels": grants})
			w.wantStatus(w.do("POST", "/api/v1/shares/"+s.ID+"/devices/"+d.ID+"/accept", olga.token, nil), 200)
		}
	}
	b := w.as(olga)
	seen := map[string]bool{}
	path := "/live"
	for _, want := range []int{48, 48, 4} {
		p := b.get(path)
		tiles := p.tiles()
		if len(tiles) != want {
			t.Fatalf("%d cameras at %s, want %d", len(tiles), path, want)
		}
		if len(p.body) > 60<<10 {
			t.Errorf("%d bytes at %s", len(p.body), path)
		}
		for i, one := range tiles {
			if seen[one] || strings.Contains(one, "rita") != (len(seen) >= 50) {
				t.Errorf("%s at %d of %s", one, i, path)
			}
			seen[one] = true
		}
		path = ""
		for _, a := range p.all(func(n *html.Node) bool { return attrValue(n, "rel") == "next" }) {
			path = attrValue(a, "href")
		}
	}
	if path != "" {
		t.Errorf("there is more at %s", path)
	}
	b.get("/live?role=x&skip=-1&cursor=x").want(400, "/live?role=x&skip=-1&cursor=x")
}

// What others may know of a camera: its state, but not why; what its streams are only while
// they may watch.
func TestPrivilegesSayWhatAPageNeeds(t *testing.T) {
	video := VideoStream{Codec: "H264"}
	v := newVillage(t, func(c *Config) {
		c.Presence = offlinePresence{}
		c.Cameras = &fakeCameras{streams: func() (ChannelStreams, error) { return ChannelStreams{Main: ChannelStream{Video: &video}}, nil }}
	})
	v.accept()
	list := func(p person, query string) []rest.DevicePrivileges {
		t.Helper()
		var l rest.PrivilegeList
		v.wantStatus(v.do("GET", "/api/v1/privileges"+query, p.token, nil), 200).decode(t, &l)
		return l.Items
	}
	for query, want := range map[string]int{"": 2, "?role=owner": 2, "?role=recipient": 0, "?device=" + v.spare: 1, "?device=nothing": 0, "?device=" + v.spare + "&role=recipient": 0} {
		if got := list(v.owner, query); len(got) != want {
			t.Errorf("%s of the owner: %d, want %d", query, len(got), want)
		}
	}
	for query, want := range map[string]int{"?role=owner": 0, "?role=recipient": 1, "?device=" + v.device: 1, "?device=" + v.spare: 0} {
		if got := list(v.recipient, query); len(got) != want {
			t.Errorf("%s of the recipient: %d, want %d", query, len(got), want)
		}
	}
	got := list(v.recipient, "")[0]
	if got.From.Name != "alice" || got.Online.State != "offline" || !got.Online.Since.Equal(noon) || len(got.Cameras) != 1 {
		t.Fatalf("%+v", got)
	}
	if c := got.Cameras[0]; c.Live != rest.LiveNow || c.Streams.Main.Video.Codec != "H264" {
		t.Errorf("a camera that may be watched: %+v", c)
	}
	v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200)
	if c := list(v.recipient, "")[0].Cameras[0]; c.Live != rest.LivePaused || c.Streams.Main.Video.Codec != "" {
		t.Errorf("one that is paused: %+v", c)
	}
	v.wantProblem(v.do("GET", "/api/v1/privileges?role=friend", v.owner.token, nil), 400, "invalid_parameter")
}

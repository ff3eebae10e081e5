package simcamera

import (
	"bufio"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"latchkey/internal/simcamera/picture"
)

// call makes a request with digest authentication by a client that we did not write.
func call(t *testing.T, c *Camera, method, path, content string) (int, string) {
	t.Helper()
	cl := http.Client{Transport: &digest.Transport{Username: "admin", Password: "pa55"}, Timeout: patience}
	r, err := http.NewRequest(method, "http://"+c.HTTPAddr()+path, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	res, err := cl.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func guarded(cfg *Config) { cfg.Username, cfg.Password, cfg.Serial = "admin", "pa55", "SIM-4711" }

func TestDeviceFacts(t *testing.T) {
	c := start(t, guarded)
	code, text := call(t, c, "GET", "/ISAPI/System/deviceInfo", "")
	var info struct {
		Serial   string `xml:"serialNumber"`
		Model    string `xml:"model"`
		Name     string `xml:"deviceName"`
		Firmware string `xml:"firmwareVersion"`
	}
	if err := xml.Unmarshal([]byte(text), &info); err != nil || code != 200 {
		t.Fatalf("%d %v", code, err)
	}
	if info.Serial != "SIM-4711" || info.Model == "" || info.Name == "" || info.Firmware == "" {
		t.Errorf("%+v", info)
	}

	_, text = call(t, c, "GET", "/ISAPI/System/Video/inputs/channels", "")
	var list struct {
		Channels []struct {
			ID   int    `xml:"id"`
			Name string `xml:"name"`
		} `xml:"VideoInputChannel"`
	}
	if err := xml.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Channels) != 2 || list.Channels[1].ID != 2 || list.Channels[1].Name != "Camera 02" {
		t.Errorf("%+v", list)
	}
}

func TestHTTPAsksForDigest(t *testing.T) {
	c := start(t, guarded)
	url := "http://" + c.HTTPAddr() + "/ISAPI/System/deviceInfo"
	for name, password := range map[string]string{"another password": "x", "no password": ""} {
		cl := http.Client{Transport: &digest.Transport{Username: "admin", Password: password}}
		res, err := cl.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	r, _ := http.NewRequest("GET", url, nil)
	r.SetBasicAuth("admin", "pa55")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Digest ") {
		t.Errorf("Basic: %s, %s", res.Status, res.Header.Get("WWW-Authenticate"))
	}
	c.SetPassword("new")
	if code, _ := call(t, c, "GET", "/ISAPI/System/deviceInfo", ""); code != http.StatusUnauthorized {
		t.Errorf("the old password: %d", code)
	}
}

func TestDigestNonces(t *testing.T) {
	g := newDigestGuard(nil)
	now := time.Now()
	nonce := g.nonce(now)
	for name, test := range map[string]struct {
		nonce string
		at    time.Time
		want  bool
	}{
		"fresh":     {nonce, now.Add(time.Minute), true},
		"old":       {nonce, now.Add(nonceLifetime + time.Second), false},
		"forged":    {nonce[:len(nonce)-1] + "x", now, false},
		"another's": {newDigestGuard(nil).nonce(now), now, false},
		"empty":     {"", now, false},
	} {
		if got := g.fresh(test.nonce, test.at); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func azimuth(t *testing.T, c *Camera) int {
	t.Helper()
	_, text := call(t, c, "GET", "/ISAPI/PTZCtrl/channels/1/status", "")
	var status struct {
		Azimuth int `xml:"AbsoluteHigh>azimuth"`
	}
	if err := xml.Unmarshal([]byte(text), &status); err != nil {
		t.Fatal(err)
	}
	return status.Azimuth
}

func TestPTZ(t *testing.T) {
	c := start(t, guarded)
	const base = "/ISAPI/PTZCtrl/channels/1"
	put := func(path, content string, want int) {
		t.Helper()
		if code, text := call(t, c, "PUT", base+path, content); code != want {
			t.Errorf("%s: %d, want %d: %s", path, code, want, text)
		}
	}

	put("/absolute", "<PTZData><AbsoluteHigh><elevation>50</elevation><azimuth>900</azimuth><absoluteZoom>20</absoluteZoom></AbsoluteHigh></PTZData>", 200)
	if v, _ := c.View(1); v != (picture.View{Pan: 90, Tilt: 5, Zoom: 2}) {
		t.Errorf("absolute: %+v", v)
	}
	put("/presets/7", "<PTZPreset><id>7</id></PTZPreset>", 200)

	// Any namespace will do.
	put("/continuous", `<PTZData xmlns="http://www.isapi.org/ver20/XMLSchema"><pan>60</pan><tilt>0</tilt></PTZData>`, 200)
	until(t, "the head has turned", func() bool { return azimuth(t, c) > 920 })
	put("/continuous", "<PTZData><pan>0</pan><tilt>0</tilt></PTZData>", 200)
	if a, b := azimuth(t, c), azimuth(t, c); a != b {
		t.Errorf("turns on after the stop: %d, %d", a, b)
	}
	put("/presets/7/goto", "", 200)
	if got := azimuth(t, c); got != 900 {
		t.Errorf("the preset is at %d", got)
	}

	put("/momentary", "<PTZData><pan>-100</pan><tilt>0</tilt><Momentary><duration>100</duration></Momentary></PTZData>", 200)
	until(t, "the momentary movement has ended where it should", func() bool { return azimuth(t, c) == 900-60 })
	put("/relative", "<PTZData><Relative><positionX>10</positionX><positionY>0</positionY><relativeZoom>0</relativeZoom></Relative></PTZData>", 200)
	if got := azimuth(t, c); got != 940 {
		t.Errorf("relative: %d", got)
	}

	put("/continuous", "<PTZData><pan>101</pan></PTZData>", 400)
	put("/continuous", "no XML", 400)
	put("/absolute", "<PTZData><pan>1</pan></PTZData>", 400)
	put("/momentary", "<PTZData><pan>1</pan></PTZData>", 400)
	put("/presets/200/goto", "", 404)
	put("/presets/0", "", 404)
	if code, _ := call(t, c, "PUT", "/ISAPI/PTZCtrl/channels/9/continuous", "<PTZData/>"); code != 404 {
		t.Errorf("channel 9: %d", code)
	}
	if code, text := call(t, c, "GET", base+"/presets", ""); code != 200 || !strings.Contains(text, "<id>7</id>") {
		t.Errorf("presets: %d %s", code, text)
	}
	if code, text := call(t, c, "GET", base+"/capabilities", ""); code != 200 || !strings.Contains(text, "ContinuousPanTiltSpace") {
		t.Errorf("capabilities: %d %s", code, text)
	}
}

func TestPTZMovesThePicture(t *testing.T) {
	c := start(t, func(cfg *Config) {
		guarded(cfg)
		cfg.Now = func() time.Time { return time.Date(2026, 5, 5, 5, 5, 5, 0, time.UTC) } // each stream begins alike
	})
	url := strings.Replace(c.URL(1, false), "rtsp://", "rtsp://admin:pa55@", 1)
	first := func() []byte { return gray(t, url, "tcp", 1, 640, 360)[0] }
	different := func(a, b []byte) int {
		n := 0
		for i := range a {
			if d := int(a[i]) - int(b[i]); d > 20 || d < -20 {
				n++
			}
		}
		return n
	}

	before, again := first(), first()
	if n := different(before, again); n > 0 {
		t.Fatalf("%d pixels change without PTZ", n)
	}
	call(t, c, "PUT", "/ISAPI/PTZCtrl/channels/1/absolute",
		"<PTZData><AbsoluteHigh><azimuth>300</azimuth><absoluteZoom>10</absoluteZoom></AbsoluteHigh></PTZData>")
	if n := different(before, first()); n < 10_000 {
		t.Errorf("only %d pixels changed", n)
	}
}

func TestTwoWayAudio(t *testing.T) {
	c := start(t, nil) // without a password, to speak plainly below
	const base = "/ISAPI/System/TwoWayAudio/channels"
	code := func(method, path, content string) int {
		t.Helper()
		code, _ := call(t, c, method, base+path, content)
		return code
	}
	if got := code("PUT", "/1/audioData", "sound"); got != 404 {
		t.Errorf("sound before open: %d", got)
	}
	if got := code("PUT", "/1/open", ""); got != 200 {
		t.Errorf("open: %d", got)
	}
	if got := code("PUT", "/1/open", ""); got != 503 {
		t.Errorf("open again: %d", got)
	}
	if got := code("PUT", "/1/audioData", strings.Repeat("s", 500)); got != 200 || c.Talk().Bytes != 500 {
		t.Errorf("sound in a body: %d, %d bytes heard", got, c.Talk().Bytes)
	}

	conn, err := net.Dial("tcp", c.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s/1/audioData HTTP/1.1\r\nHost: camera\r\nContent-Type: application/octet-stream\r\n"+
		"Content-Length: 0\r\n\r\n", base)
	fmt.Fprint(conn, strings.Repeat("s", 320))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v %v", res, err)
	}
	fmt.Fprint(conn, strings.Repeat("s", 320))
	until(t, "all raw sound is heard", func() bool { return c.Talk().Bytes == 500+640 })

	if got := code("PUT", "/1/close", ""); got != 200 {
		t.Errorf("close: %d", got)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on after close")
	}
	if got := code("GET", "", ""); got != 200 {
		t.Errorf("channels: %d", got)
	}
}

// alerts opens the alert stream and parses it with the standard library.
func alerts(t *testing.T, c *Camera) <-chan notification {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.HTTPAddr()+"/ISAPI/Event/notification/alertStream", nil)
	if err != nil {
		t.Fatal(err)
	}
	cl := http.Client{Transport: &digest.Transport{Username: "admin", Password: "pa55"}}
	res, err := cl.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	kind, parameters, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		t.Fatalf("%s %v", kind, err)
	}
	out := make(chan notification, 100)
	go func() {
		parts := multipart.NewReader(res.Body, parameters["boundary"])
		for {
			part, err := parts.NextPart()
			if err != nil {
				return
			}
			var n notification
			if err := xml.NewDecoder(part).Decode(&n); err != nil {
				return
			}
			out <- n
		}
	}()
	return out
}

func TestAlarms(t *testing.T) {
	c := start(t, func(cfg *Config) { guarded(cfg); cfg.Heartbeat = 50 * time.Millisecond })
	stream := alerts(t, c)
	for range 2 {
		if n := receive(t, "a heartbeat", stream); n.Type != "videoloss" || n.State != "inactive" {
			t.Fatalf("not a heartbeat: %+v", n)
		}
	}
	until(t, "the camera counts its listener", func() bool { return c.AlarmListeners() == 1 })

	if code, _ := call(t, c, "POST", "/sim/alarm?channel=2&type=linedetection&for=1500ms", ""); code != 204 {
		t.Fatalf("raising an alarm: %d", code)
	}
	var states []string
	for len(states) == 0 || states[len(states)-1] != "inactive" {
		n := receive(t, "an alarm", stream)
		if n.Type == "videoloss" {
			continue
		}
		if n.Type != "linedetection" || n.ChannelID != 2 || n.Count != len(states)+1 {
			t.Errorf("%+v", n)
		}
		if _, err := time.Parse(time.RFC3339, n.DateTime); err != nil {
			t.Error(err)
		}
		states = append(states, n.State)
	}
	if got := strings.Join(states, " "); got != "active active inactive" {
		t.Errorf("the alarm went %s", got)
	}
}

func TestAlarmsOnATimer(t *testing.T) {
	c := start(t, func(cfg *Config) { guarded(cfg); cfg.AlarmEvery = 100 * time.Millisecond })
	stream := alerts(t, c)
	for {
		n := receive(t, "motion", stream)
		if n.Type == Motion && n.State == "active" && n.ChannelID == 1 {
			return
		}
	}
}

func TestAwayEndsAlertStreams(t *testing.T) {
	c := start(t, guarded)
	receive(t, "a heartbeat", alerts(t, c))
	if code, _ := call(t, c, "POST", "/sim/flap?times=2&for=20ms", ""); code != 204 {
		t.Fatal(code)
	}
	until(t, "no listener is left", func() bool { return c.AlarmListeners() == 0 })
	until(t, "the camera is back", func() bool {
		conn, err := net.Dial("tcp", c.HTTPAddr())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func TestSimulationRefuses(t *testing.T) {
	c := start(t, guarded)
	for path, want := range map[string]int{
		"/sim/nothing":           404,
		"/sim/alarm?channel=9":   404,
		"/sim/alarm?channel=x":   400,
		"/sim/alarm?for=forever": 400,
		"/sim/delay?by=-1s":      400,
		"/sim/away?for=%zz":      400,
	} {
		if code, _ := call(t, c, "POST", path, ""); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _ := call(t, c, "GET", "/ISAPI/nowhere", ""); code != 404 {
		t.Errorf("an unknown path: %d", code)
	}
}

// TestOrders: what was ordered can be asked for, and what moves.
func TestOrders(t *testing.T) {
	c := start(t, nil)
	soap := func(operation, arguments string) string {
		t.Helper()
		res, err := http.Post("http://"+c.HTTPAddr()+"/onvif/PTZ", "application/soap+xml", strings.NewReader(
			`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><`+operation+` xmlns="http://www.onvif.org/ver20/ptz/wsdl"><ProfileToken>profile_1</ProfileToken>`+arguments+`</`+operation+`></s:Body></s:Envelope>`))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	soap("ContinuousMove", `<Velocity><PanTilt x="0.5" y="0" xmlns="http://www.onvif.org/ver10/schema"/></Velocity>`)
	if !c.Moving(1) || !strings.Contains(soap("GetStatus", ""), "MOVING") {
		t.Error("it does not move")
	}
	soap("Stop", "<PanTilt>true</PanTilt>")
	if c.Moving(1) || !strings.Contains(soap("GetStatus", ""), "IDLE") {
		t.Error("it moves")
	}
	for _, bad := range []string{`<Velocity><PanTilt x="2" y="0"/></Velocity>`, `<Velocity><PanTilt x="NaN" y="0"/></Velocity>`, "", `<Velocity><Zoom x="1"/></Velocity><Timeout>soon</Timeout>`} {
		if got := soap("ContinuousMove", bad); !strings.Contains(got, "Fault") {
			t.Errorf("%s: %s", bad, got)
		}
	}
	soap("GotoPreset", "<PresetToken>2</PresetToken>")
	if got := c.Orders(1); fmt.Sprint(got) != "[move 50 0 0 stop preset 2]" {
		t.Errorf("%q", got)
	}
}

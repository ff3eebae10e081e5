package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/domain/privilege"
	"latchkey/internal/simcamera"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback gives each camera an address of its own: wrong passwords are counted by
// address.
var loopback atomic.Uint32

func freeIP() string {
	n := loopback.Add(1)
	return fmt.Sprintf("127.1.%d.%d", n/250, 1+n%250)
}

func startCamera(t testing.TB, change ...func(*simcamera.Config)) *simcamera.Camera {
	t.Helper()
	ip := freeIP()
	cfg := simcamera.Config{
		RTSP: ip + ":0", HTTP: ip + ":0", Username: "admin", Password: "pa55 & <word>",
		Serial: "DS-2CD2042WD-I20160120AACH574832168", Model: "DS-2CD2042WD-I", Firmware: "V5.5.71 build 180723", LockAfter: 5,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := simcamera.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newClient(t testing.TB, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Allow: func(netip.AddrPort) error { return nil }}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// whole is everything that the camera offers.
func whole(c *simcamera.Camera) Target {
	return Target{
		Account: "alice", Username: "admin", Password: "pa55 & <word>",
		ISAPIURL: "http://" + c.HTTPAddr(), ONVIFURL: "http://" + c.HTTPAddr() + "/onvif/device_service",
		Streams: []Stream{{1, c.URL(1, false)}},
	}
}

func kindIn(err error) Kind {
	var f *Failure
	if errors.As(err, &f) {
		return f.Kind
	}
	return ""
}

// TestFacts: what a camera and a recorder say of themselves, by each protocol.
func TestFacts(t *testing.T) {
	camera := startCamera(t)
	recorder := startCamera(t, func(c *simcamera.Config) { c.Recorder, c.Fixed, c.Channels = true, true, 4 })
	for _, sc := range []struct {
		name   string
		camera *simcamera.Camera
		change func(*Target)
		want   Facts
	}{
		{"all of a camera", camera, func(*Target) {}, Facts{
			Serial: "DS-2CD2042WD-I20160120AACH574832168", Model: "DS-2CD2042WD-I", Firmware: "V5.5.71 build 180723",
			Channels: []Channel{
				{Number: 1, Name: "Camera 01", Has: privilege.All},
				{Number: 2, Name: "Camera 02", Has: privilege.All.Without(privilege.LiveView)},
			},
		}},
		{"RTSP alone", camera, func(t *Target) { t.ISAPIURL, t.ONVIFURL = "", "" }, Facts{
			Channels: []Channel{{Number: 1, Has: privilege.LiveView | privilege.TwoWayAudio}},
		}},
		{"ISAPI alone", camera, func(t *Target) { t.Streams, t.ONVIFURL = nil, "" }, Facts{
			Serial: "DS-2CD2042WD-I20160120AACH574832168", Model: "DS-2CD2042WD-I", Firmware: "V5.5.71 build 180723",
			Channels: []Channel{
				{Number: 1, Name: "Camera 01", Has: privilege.All.Without(privilege.LiveView)},
				{Number: 2, Name: "Camera 02", Has: privilege.All.Without(privilege.LiveView)},
			},
		}},
		{"ONVIF alone", camera, func(t *Target) { t.Streams, t.ISAPIURL = nil, "" }, Facts{
			Serial: "DS-2CD2042WD-I20160120AACH574832168", Model: "DS-2CD2042WD-I", Firmware: "V5.5.71 build 180723",
			Channels: []Channel{
				{Number: 1, Has: privilege.PTZ | privilege.Alarm | privilege.Playback}, {Number: 2, Has: privilege.PTZ | privilege.Alarm | privilege.Playback},
			},
		}},
		{"a recorder of fixed cameras", recorder, func(t *Target) { t.ONVIFURL = "" }, Facts{
			Serial: "DS-2CD2042WD-I20160120AACH574832168", Model: "DS-2CD2042WD-I", Firmware: "V5.5.71 build 180723", Recorder: true,
			Channels: []Channel{
				{Number: 1, Name: "Linked Camera 01", Has: privilege.All.Without(privilege.PTZ), Lacks: privilege.PTZ},
				{Number: 2, Name: "Linked Camera 02", Has: privilege.All.Without(privilege.PTZ | privilege.LiveView), Lacks: privilege.PTZ},
				{Number: 3, Name: "Linked Camera 03", Has: privilege.All.Without(privilege.PTZ | privilege.LiveView), Lacks: privilege.PTZ},
				{Number: 4, Name: "Linked Camera 04", Has: privilege.All.Without(privilege.PTZ | privilege.LiveView), Lacks: privilege.PTZ},
			},
		}},
	} {
		t.Run(sc.name, func(t *testing.T) {
			target := whole(sc.camera)
			sc.change(&target)
			got, err := newClient(t).Prove(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if got.Serial != sc.want.Serial || got.Model != sc.want.Model || got.Firmware != sc.want.Firmware || got.Recorder != sc.want.Recorder || len(got.Channels) != len(sc.want.Channels) {
				t.Fatalf("%+v", got)
			}
			for i, want := range sc.want.Channels {
				c := got.Channels[i]
				if c.Number != want.Number || c.Name != want.Name || c.Has != want.Has || c.Lacks != want.Lacks {
					t.Errorf("channel %d %q has %v, lacks %v; want %d %q, %v, %v", c.Number, c.Name, c.Has, c.Lacks, want.Number, want.Name, want.Has, want.Lacks)
				}
			}
			if n := sc.camera.WrongPasswords(); n != 0 {
				t.Errorf("%d wrong passwords", n)
			}
		})
	}
}

// TestMedias: codecs, and the back channel where there is one.
func TestMedias(t *testing.T) {
	facts, err := newClient(t).Prove(t.Context(), whole(startCamera(t)))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(facts.Channels[0].Medias)
	if want := "[{video H264 false} {audio G711 false} {audio G711 true}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAClockThatIsOff: the token has the camera's time.
func TestAClockThatIsOff(t *testing.T) {
	ahead := -30 * 24 * time.Hour
	camera := startCamera(t, func(c *simcamera.Config) { c.Now = func() time.Time { return time.Now().Add(ahead) } })
	target := whole(camera)
	target.Streams, target.ISAPIURL = nil, ""
	facts, err := newClient(t).Prove(t.Context(), target)
	if err != nil || (facts.ClockAhead-ahead).Abs() > 3*time.Second {
		t.Errorf("%v, %v", facts.ClockAhead, err)
	}
}

// TestFailures: each is told apart, and none says where or with what.
func TestFailures(t *testing.T) {
	web := echoing(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	mute := echoing(t, "")
	deaf := echoing(t, "\x00\x01\x02\x03 what?\r\n\r\n")
	elsewhere := echoing(t, "RTSP/1.0 302 Moved\r\nCSeq: 2\r\nLocation: rtsp://127.0.0.1:1/\r\n\r\n")
	astray := echoing(t, "RTSP/1.0 302 Moved\r\nLocation: rtsp://127.9.9.9/\r\n\r\n")
	guarded := echoing(t, "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\r\n")
	strangers := echoing(t, "RTSP/1.0 302 Moved\r\nLocation: rtsp://"+strings.Replace(guarded, "127.0.0.1", "localhost", 1)+"/x\r\n\r\n")
	strange := echoing(t, "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\n\r\n")
	page := echoing(t, "RTSP/1.0 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
	door := echoing(t, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nServer: Latchkey/1\r\n\r\n")
	for _, sc := range []struct {
		name    string
		change  func(*Target, *simcamera.Camera)
		kind    Kind
		service Service
		channel int
	}{
		{"wrong password", func(t *Target, _ *simcamera.Camera) { t.Password = "x" }, WrongPassword, RTSP, 1},
		{"no password", func(t *Target, _ *simcamera.Camera) { t.Username, t.Password = "", "" }, WrongPassword, RTSP, 1},
		{"no such path", func(t *Target, c *simcamera.Camera) { t.Streams[0].URL = c.URL(9, false) }, NoSuchPath, RTSP, 1},
		{"no such path of the second channel", func(t *Target, c *simcamera.Camera) {
			t.Streams = append(t.Streams, Stream{2, c.URL(9, false)})
		}, NoSuchPath, RTSP, 2},
		{"a closed port", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://127.0.0.1:1/x" }, NotReachable, RTSP, 1},
		{"a name that is nobody's", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://camera.invalid/x" }, NotReachable, RTSP, 1},
		{"a web server", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + web + "/x" }, NotRTSP, RTSP, 1},
		{"no TLS", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsps://" + web + "/x" }, NotRTSP, RTSP, 1},
		{"noise", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + deaf + "/x" }, NotRTSP, RTSP, 1},
		{"silence", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + mute + "/x" }, Timeout, RTSP, 1},
		{"a redirect to a closed port", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + elsewhere + "/x" }, NotReachable, RTSP, 1},
		{"a redirect to a forbidden address", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + astray + "/x" }, AddressForbidden, RTSP, 1},
		{"a redirect to whom the password is not for", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + strangers + "/x" }, Unsupported, RTSP, 1},
		{"an unknown way to log in", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + strange + "/x" }, Unsupported, RTSP, 1},
		{"a description of nothing", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + page + "/x" }, DescriptionUnreadable, RTSP, 1},
		{"one of our doors", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://" + door + "/x" }, AddressForbidden, RTSP, 1},
		{"not an RTSP address", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "http://x/" }, Unsupported, RTSP, 1},
		{"forbidden", func(t *Target, _ *simcamera.Camera) { t.Streams[0].URL = "rtsp://127.9.9.9/x" }, AddressForbidden, RTSP, 1},
		{"forbidden ISAPI", func(t *Target, _ *simcamera.Camera) { t.ISAPIURL = "http://127.9.9.9/" }, AddressForbidden, ISAPI, 0},
		{"forbidden ONVIF", func(t *Target, _ *simcamera.Camera) { t.ONVIFURL = "http://127.9.9.9/" }, AddressForbidden, ONVIF, 0},
		{"ISAPI with a wrong password", func(t *Target, _ *simcamera.Camera) { t.Streams, t.Password = nil, "x" }, WrongPassword, ISAPI, 0},
		{"ONVIF with a wrong password", func(t *Target, _ *simcamera.Camera) { t.Streams, t.ISAPIURL, t.Password = nil, "", "x" }, WrongPassword, ONVIF, 0},
		{"ISAPI at a closed port", func(t *Target, _ *simcamera.Camera) { t.ISAPIURL = "http://127.0.0.1:1" }, NotReachable, ISAPI, 0},
		{"no ISAPI there", func(t *Target, _ *simcamera.Camera) { t.ISAPIURL = "http://" + web }, Unsupported, ISAPI, 0},
		{"no ONVIF there", func(t *Target, _ *simcamera.Camera) { t.ONVIFURL = "http://" + web }, Unsupported, ONVIF, 0},
	} {
		t.Run(sc.name, func(t *testing.T) {
			c := startCamera(t)
			target := whole(c)
			sc.change(&target, c)
			client := newClient(t, func(c *Config) {
				c.Within = time.Second
				if sc.kind != Timeout {
					c.Within = 20 * time.Second
				}
				c.Allow = func(a netip.AddrPort) error {
					if a.Addr() == netip.MustParseAddr("127.9.9.9") {
						return errors.New("no")
					}
					return nil
				}
			})
			_, err := client.Prove(t.Context(), target)
			var f *Failure
			if !errors.As(err, &f) || f.Kind != sc.kind || f.Service != sc.service || f.Channel != sc.channel {
				t.Fatalf("%+v, want %s of %s, channel %d", err, sc.kind, sc.service, sc.channel)
			}
			for _, secret := range []string{"127.", "pa55", "admin", "invalid"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v holds %q", err, secret)
				}
			}
			most := 0
			if sc.kind == WrongPassword && sc.name != "no password" {
				most = 1
			}
			if n := c.WrongPasswords(); n != most {
				t.Errorf("the camera was given %d wrong passwords, want %d", n, most)
			}
		})
	}
}

// echoing is a server that answers the same to everything that comes; "": it never
// answers.
func echoing(t testing.TB, text string) (addr string) {
	t.Helper()
	return serving(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if text != "" {
				if _, err := conn.Write([]byte(text)); err != nil {
					return
				}
			}
		}
	})
}

// serving is a server of one's own.
func serving(t testing.TB, talk func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", freeIP()+":0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	shut := false
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if shut {
				conn.Close()
			}
			open[conn] = true
			mu.Unlock()
			wg.Go(func() { defer conn.Close(); talk(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		shut = true
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// TestACameraIsNeverLocked: whoever tries again and again, by every protocol, from
// several accounts, at once, never gets a camera locked that locks after 5; and its
// owner gets in when the time is over.
func TestACameraIsNeverLocked(t *testing.T) {
	camera := startCamera(t)
	var ahead atomic.Int64
	client := newClient(t, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Burst, c.MaxPerAccount = 1000, 1000
	})
	kinds := map[Kind]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 40 {
		target := whole(camera)
		target.Account, target.Password = fmt.Sprint("account ", i%3), fmt.Sprint("guess ", i)
		switch i % 4 {
		case 1:
			target.Streams = nil
		case 2:
			target.Streams, target.ISAPIURL = nil, ""
		case 3:
			target.Streams = append(target.Streams, Stream{2, camera.URL(2, false)})
		}
		wg.Go(func() {
			_, err := client.Prove(t.Context(), target)
			mu.Lock()
			defer mu.Unlock()
			kinds[kindIn(err)]++
		})
	}
	wg.Wait()
	if camera.Locked() || camera.WrongPasswords() > maxWrong || kinds[WrongPassword] != maxWrong || kinds[TooManyAttempts] != 40-maxWrong {
		t.Fatalf("%d wrong passwords, locked %v; %v", camera.WrongPasswords(), camera.Locked(), kinds)
	}
	_, err := client.Prove(t.Context(), whole(camera))
	var f *Failure
	if !errors.As(err, &f) || f.Kind != TooManyAttempts || f.RetryAfter <= 0 || f.RetryAfter > wrongFor {
		t.Errorf("with the right password, too soon: %+v", err)
	}
	ahead.Store(int64(wrongFor))
	if _, err := client.Prove(t.Context(), whole(camera)); err != nil {
		t.Errorf("when the time is over: %v", err)
	}
}

// TestRightPasswordsAtOnce are no wrong ones.
func TestRightPasswordsAtOnce(t *testing.T) {
	camera := startCamera(t)
	client := newClient(t, func(c *Config) { c.MaxPerAccount = 20; c.Within = 30 * time.Second })
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := client.Prove(t.Context(), whole(camera)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestProofsAreCounted for the account that asks, and at once.
func TestProofsAreCounted(t *testing.T) {
	client := newClient(t, func(c *Config) { c.Burst, c.Every = 2, time.Hour })
	target := func(account string) Target {
		return Target{Account: account, Streams: []Stream{{1, "rtsp://127.0.0.1:1/x"}}}
	}
	for i, want := range []Kind{NotReachable, NotReachable, TooManyProofs} {
		if _, err := client.Prove(t.Context(), target("alice")); kindIn(err) != want {
			t.Errorf("proof %d: %v, want %s", i, err, want)
		}
	}
	if _, err := client.Prove(t.Context(), target("bob")); kindIn(err) != NotReachable {
		t.Errorf("another account: %v", err)
	}
}

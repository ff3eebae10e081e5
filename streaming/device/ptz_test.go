package device

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/internal/simcamera"
)

func headOf(c *Client, cam *simcamera.Camera, change ...func(*HeadTarget)) *Head {
	t := HeadTarget{Channel: 1, Camera: Camera{
		Username: "admin", Password: "pa55 & <word>",
		ISAPIURL: "http://" + cam.HTTPAddr(), ONVIFURL: "http://" + cam.HTTPAddr() + "/onvif/device_service",
	}}
	for _, f := range change {
		f(&t)
	}
	return c.Head(t)
}

func byISAPI(t *HeadTarget) { t.ONVIFURL = "" }
func byONVIF(t *HeadTarget) { t.ISAPIURL = "" }

var protocols = map[string]func(*HeadTarget){"ISAPI": byISAPI, "ONVIF": byONVIF}

// TestAHeadMoves: every order arrives, by each protocol, and costs no wrong password.
func TestAHeadMoves(t *testing.T) {
	for name, by := range protocols {
		t.Run(name, func(t *testing.T) {
			cam := startCamera(t)
			h := headOf(newClient(t), cam, by, func(t *HeadTarget) { t.Channel = 2 })
			ctx := t.Context()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(h.Move(ctx, Vector{Pan: 0.5, Tilt: -1, Zoom: 0.001}, 1500*time.Millisecond))
			if !cam.Moving(2) || cam.Moving(1) {
				t.Error("the wrong channel moves")
			}
			must(h.Stop(ctx))
			if cam.Moving(2) {
				t.Error("it does not stop")
			}
			must(h.Absolute(ctx, Place{Pan: 0.5, Tilt: -0.5, Zoom: 0.25}))
			at, err := h.Place(ctx)
			must(err)
			if at == nil || math.Abs(at.Pan-0.5) > 0.01 || math.Abs(at.Tilt+0.5) > 0.01 || math.Abs(at.Zoom-0.25) > 0.02 {
				t.Errorf("it looks at %+v", at)
			}
			must(h.Relative(ctx, Vector{Pan: 0.1}))
			list, err := h.Presets(ctx)
			must(err)
			if want := []Preset{{"1", "Preset 1"}, {"2", "Preset 2"}, {"3", "Preset 3"}}; !slices.Equal(list, want) {
				t.Errorf("presets %v", list)
			}
			must(h.Goto(ctx, "3"))
			for _, id := range []string{"9", "94", "x", "", "1/../2", "../../System/reboot"} {
				if err := h.Goto(ctx, id); kindIn(err) != NoSuchPreset {
					t.Errorf("preset %q: %v", id, err)
				}
			}
			orders := cam.Orders(2)
			if len(orders) != 5 || !strings.HasPrefix(orders[0], "move 50 -100 ") || orders[1] != "stop" || orders[2] != "turn" || orders[4] != "preset 3" {
				t.Errorf("%q", orders)
			}
			if n := cam.WrongPasswords(); n != 0 {
				t.Errorf("%d wrong passwords", n)
			}
		})
	}
}

// TestARecorderMovesItsCameras: they are at another place than its own.
func TestARecorderMovesItsCameras(t *testing.T) {
	recorder := startCamera(t, func(c *simcamera.Config) { c.Recorder, c.Channels = true, 3 })
	client := newClient(t)
	facts, err := client.Prove(t.Context(), Target{Account: "alice", Username: "admin", Password: "pa55 & <word>", ISAPIURL: "http://" + recorder.HTTPAddr()})
	if err != nil || !facts.Channel(3).Has.Has(privilege.PTZ) {
		t.Errorf("%+v, %v", facts, err)
	}
	h := headOf(client, recorder, byISAPI, func(t *HeadTarget) { t.Channel = 3 })
	if _, err := h.Presets(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := h.Move(t.Context(), Vector{Zoom: 1}, time.Second); err != nil || !recorder.Moving(3) {
			t.Fatal(err)
		}
		if err := h.Stop(t.Context()); err != nil || recorder.Moving(3) {
			t.Fatal(err)
		}
	}
	if at, err := h.Place(t.Context()); err != nil || at == nil {
		t.Errorf("%v, %v", at, err)
	}
	fixed := startCamera(t, func(c *simcamera.Config) { c.Recorder, c.Fixed = true, true })
	if err := headOf(client, fixed, byISAPI).Move(t.Context(), Vector{Pan: 1}, time.Second); kindIn(err) != Refused {
		t.Errorf("a camera that does not move: %v", err)
	}
}

// TestTheCameraEndsAMovement: by ONVIF it is told for how long.
func TestTheCameraEndsAMovement(t *testing.T) {
	cam := startCamera(t)
	if err := headOf(newClient(t), cam, byONVIF).Move(t.Context(), Vector{Pan: 1}, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); cam.Moving(1); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it still moves")
		}
	}
}

// hang responds nothing until the client goes away, which shows once its body is read.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// TestHeadsThatDoNotMove: each reason, and nothing of the device in it.
func TestHeadsThatDoNotMove(t *testing.T) {
	t.Parallel()
	fixed := startCamera(t, func(c *simcamera.Config) { c.Fixed = true })
	cam := startCamera(t)
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hang(r) }))
	defer mute.Close()
	for name, sc := range map[string]struct {
		camera *simcamera.Camera
		change func(*HeadTarget)
		kind   Kind
	}{
		"fixed by ISAPI":     {fixed, byISAPI, Refused},
		"fixed by ONVIF":     {fixed, byONVIF, Refused},
		"fixed by both":      {fixed, func(*HeadTarget) {}, Refused},
		"no such channel":    {cam, func(t *HeadTarget) { t.Channel = 9; byISAPI(t) }, Refused},
		"no such profile":    {cam, func(t *HeadTarget) { t.Channel = 9; byONVIF(t) }, Refused},
		"no service":         {cam, func(t *HeadTarget) { t.ISAPIURL, t.ONVIFURL = "", "" }, Refused},
		"wrong for ISAPI":    {cam, func(t *HeadTarget) { t.Password = "x"; byISAPI(t) }, WrongPassword},
		"none for ISAPI":     {cam, func(t *HeadTarget) { t.Username, t.Password = "", ""; byISAPI(t) }, WrongPassword},
		"none for ONVIF":     {cam, func(t *HeadTarget) { t.Username, t.Password = "", ""; byONVIF(t) }, WrongPassword},
		"a closed port":      {cam, func(t *HeadTarget) { t.ISAPIURL = "http://127.0.0.1:1" }, NotReachable},
		"a forbidden place":  {cam, func(t *HeadTarget) { t.ISAPIURL = "http://127.9.9.9:80" }, AddressForbidden},
		"no address of HTTP": {cam, func(t *HeadTarget) { t.ISAPIURL = "rtsp://x" }, Unsupported},
		"silence":            {cam, func(t *HeadTarget) { t.ISAPIURL = mute.URL }, Timeout},
		"silence of ONVIF":   {cam, func(t *HeadTarget) { t.ONVIFURL = mute.URL; byONVIF(t) }, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, func(c *Config) {
				if sc.kind == Timeout {
					c.Within = 500 * time.Millisecond
				}
				c.Allow = func(a netip.AddrPort) error {
					if a.Addr() == netip.MustParseAddr("127.9.9.9") {
						return errors.New("no")
					}
					return nil
				}
			})
			err := headOf(client, sc.camera, sc.change).Move(t.Context(), Vector{Pan: 1}, time.Second)
			if kindIn(err) != sc.kind {
				t.Errorf("%v, want %s", err, sc.kind)
			}
			if err != nil && strings.Contains(err.Error(), "127.") {
				t.Errorf("%v tells where", err)
			}
		})
	}
}

// TestISAPIRefusesAndONVIFMoves: a device that has both is moved by the one that does.
func TestISAPIRefusesAndONVIFMoves(t *testing.T) {
	cam := startCamera(t)
	without := httptest.NewServer(http.NotFoundHandler())
	defer without.Close()
	h := headOf(newClient(t), cam, func(t *HeadTarget) { t.ISAPIURL = without.URL })
	for range 2 {
		if err := h.Move(t.Context(), Vector{Tilt: 1}, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got := cam.Orders(1); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

// TestOrdersDoNotLockTheCamera: with a wrong password, however often one tries; and what
// others guessed does not keep a camera from being stopped whose password we know.
func TestOrdersDoNotLockTheCamera(t *testing.T) {
	for name, by := range protocols {
		t.Run(name, func(t *testing.T) {
			cam := startCamera(t)
			client := newClient(t)
			right := headOf(client, cam, by)
			if err := right.Move(t.Context(), Vector{Pan: 1}, time.Minute); err != nil {
				t.Fatal(err)
			}
			wrong := headOf(client, cam, by, func(t *HeadTarget) { t.Password = "guess" })
			for range 10 {
				if kind := kindIn(wrong.Stop(t.Context())); kind != WrongPassword && kind != TooManyAttempts {
					t.Errorf("a wrong password: %s", kind)
				}
			}
			if n := cam.WrongPasswords(); n != maxWrong || cam.Locked() {
				t.Errorf("%d wrong passwords, locked %v", n, cam.Locked())
			}
			if err := right.Stop(t.Context()); err != nil || cam.Moving(1) {
				t.Errorf("stopping: %v", err)
			}
			cam.SetPassword("another") // one refusal, and no more
			before := cam.WrongPasswords()
			for range 3 {
				if err := right.Stop(t.Context()); err == nil {
					t.Error("the old password stops it")
				}
			}
			if n := cam.WrongPasswords() - before; n != 1 {
				t.Errorf("the old password was sent %d times", n)
			}
		})
	}
}

// TestSilenceDoesNotLockUsOut: a camera that was slow is asked again, as it accepted the
// password before.
func TestSilenceDoesNotLockUsOut(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	challenge := `Digest realm="x", nonce="1", qop="auth", algorithm=MD5`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if slow.Load() {
			hang(r)
		}
	}))
	defer s.Close()
	client := newClient(t)
	wait := client.cfg.Within
	h := client.Head(HeadTarget{Camera{Username: "a", Password: "b", ISAPIURL: s.URL}, 1})
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	client.cfg.Within = time.Second
	for range maxWrong + 1 {
		if err := h.Stop(t.Context()); kindIn(err) != Timeout {
			t.Errorf("%v", err)
		}
	}
	slow.Store(false)
	client.cfg.Within = wait
	if err := h.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	unknown := client.Head(HeadTarget{Camera{Username: "a", Password: "c", ISAPIURL: s.URL}, 1})
	slow.Store(true)
	client.cfg.Within = time.Second
	for range maxWrong {
		if err := unknown.Stop(t.Context()); kindIn(err) != Timeout {
			t.Errorf("%v", err)
		}
	}
	if err := unknown.Stop(t.Context()); kindIn(err) != TooManyAttempts {
		t.Errorf("credentials that nobody accepted: %v", err)
	}
}

// TestSpecialPresets: what a Hikvision device takes for another order is not listed and
// not called.
func TestSpecialPresets(t *testing.T) {
	var text strings.Builder
	for n := range 110 {
		fmt.Fprintf(&text, "<PTZPreset><enabled>%v</enabled><id>%d</id><presetName>P</presetName></PTZPreset>", n != 50, n)
	}
	doc, err := parseXML([]byte("<PTZPresetList>" + text.String() + "</PTZPresetList>"))
	if err != nil {
		t.Fatal(err)
	}
	list := presetsOf(doc)
	for _, p := range list {
		if p.ID == "0" || p.ID == "50" || p.ID == "94" || p.ID == "35" {
			t.Errorf("%s is listed", p.ID)
		}
	}
	if !contains(list, "32") || !contains(list, "46") || !contains(list, "106") {
		t.Errorf("%v", list)
	}
}

// TestHostileHeads: whatever a device says, the order ends in time.
func TestHostileHeads(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"endless XML": endless("<PTZPresetList>", "<PTZPreset><id>1</id></PTZPreset>"),
		"slow bytes":  drip,
		"other XML":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<a><b/></a>")) },
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"asks for ever": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="x", nonce="%d", qop="auth", stale=true`, time.Now().UnixNano()))
			w.WriteHeader(http.StatusUnauthorized)
		},
		"hangs up": func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(handler)
			defer s.Close()
			defer s.CloseClientConnections()
			for _, target := range []Camera{{ISAPIURL: s.URL}, {ONVIFURL: s.URL}} {
				target.Username, target.Password = "admin", "secret"
				h := newClient(t, func(c *Config) { c.Within = 300 * time.Millisecond }).Head(HeadTarget{target, 1})
				_, err := h.Presets(t.Context())
				if err == nil && name != "other XML" {
					t.Error("it lists presets")
				}
				_, _ = h.Place(t.Context())
				_ = h.Absolute(t.Context(), Place{})
			}
		})
	}
}

// FuzzPTZ: no answer about PTZ makes the reader panic or return what is out of bounds.
func FuzzPTZ(f *testing.F) {
	for _, text := range []string{
		"<PTZPresetList><PTZPreset><id>1</id><presetName>Gate</presetName><enabled>true</enabled></PTZPreset></PTZPresetList>",
		"<PTZStatus><AbsoluteHigh><elevation>10</elevation><azimuth>900</azimuth><absoluteZoom>20</absoluteZoom></AbsoluteHigh></PTZStatus>",
		"<C><AbsolutePanTiltPositionSpace><XRange><Min>0</Min><Max>3600</Max></XRange><YRange><Min>-900</Min><Max>900</Max></YRange></AbsolutePanTiltPositionSpace></C>",
		`<GetPresetsResponse><Preset token="1"><Name>Gate</Name></Preset></GetPresetsResponse>`,
		`<R><PTZStatus><Position><PanTilt x="0.5" y="-NaN"/><Zoom x="1e999"/></Position></PTZStatus></R>`,
		`<R><Profiles token="p"><VideoSourceConfiguration><SourceToken>s</SourceToken></VideoSourceConfiguration><PTZConfiguration/></Profiles></R>`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseXML(text)
		if err != nil {
			return
		}
		for _, p := range append(presetsOf(e), onvifPresets(e)...) {
			if !validPreset(p.ID) || len([]rune(p.Name)) > maxText || p.ID == "94" {
				t.Errorf("preset %+v", p)
			}
		}
		inside := func(p *Place) bool {
			return p == nil || math.Abs(p.Pan) <= 1 && math.Abs(p.Tilt) <= 1 && p.Zoom >= 0 && p.Zoom <= 1
		}
		r, _ := rangesOf(e)
		if at := placeOf(e, r); !inside(at) {
			t.Errorf("%+v", at)
		}
		if at := onvifPlace(e); !inside(at) {
			t.Errorf("%+v", at)
		}
		if p, _, _ := profileIn(e, 1, movable); len(p) > maxText {
			t.Errorf("profile %q", p)
		}
	})
}

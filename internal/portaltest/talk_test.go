package portaltest

import (
	"testing"
	"time"

	"latchkey/internal/browsertest"
)

// TestBrowserTalks: what the recipient says while the button is held reaches the camera, and
// nothing else does; others read that somebody talks; taken back, it ends at once and the
// button is gone.
func TestBrowserTalks(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	cam := camera(t, "DS-1")
	device := olga.add(cam, "Front door")
	share := olga.offer(rita, "", []string{device}, "live_view", "two_way_audio")
	rita.accept(share, device)

	person := rita.browse(browsertest.Look{})
	person.AllowMicrophone()
	page := person.Open("/live/" + device + "/1")
	const button, state = "#talk button", "#talk-state"
	page.WaitTextIn(button, "Hold to talk")
	page.Hold(button, func() {
		page.WaitTextIn(state, "You are talking")
		s.eventually("the camera hears it", func() bool { return cam.Talk().Bytes > 8000 })
		if page.Count(button+"[aria-pressed=true]") != 1 {
			t.Error("the button does not say that it is held")
		}
		other := olga.talkState(device)
		if other != "other" {
			t.Errorf("the owner reads that %q talks, want other", other)
		}
	})
	page.WaitEval(`document.querySelector("#talk button").getAttribute("aria-pressed") === "false"`)
	quiet := func() (n uint64) {
		for last := time.Now(); time.Since(last) < 500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
			if now := cam.Talk().Bytes; now != n {
				n, last = now, time.Now()
			}
		}
		return n
	}
	before := quiet() // fails by the deadline of the test if it never is

	// A key of the page does it, too, and the connection is still there.
	page.HoldKey('t', func() {
		s.eventually("the camera hears it by the key", func() bool { return cam.Talk().Bytes > before+4000 })
	})

	// Taken back while it is held.
	page.Hold(button, func() {
		page.WaitTextIn(state, "You are talking")
		olga.must("PUT", "/shares/"+share+"/devices/"+device,
			map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
		page.WaitEval(`!document.querySelector("#talk button")`)
		if n := quiet(); cam.Talk().Bytes != n {
			t.Error("the camera hears more")
		}
	})
}

// talkState returns who talks to channel 1 of a device, as the API says it.
func (a *account) talkState(device string) string {
	a.s.t.Helper()
	var talk struct{ Talker string }
	a.must("GET", "/devices/"+device+"/channels/1/talk", nil, &talk)
	return talk.Talker
}

// TestBrowserMayNotHear: a microphone that is refused is said in words, and the picture
// stays.
func TestBrowserMayNotHear(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga := s.register("olga@example.com", "Olga Lind")
	device := olga.add(camera(t, "DS-1"), "Front door")
	person := olga.browse(browsertest.Look{})
	person.RefuseMicrophone()
	page := person.Open("/live/" + device + "/1")
	page.WaitTextIn("#talk button", "Hold to talk")
	page.Hold("#talk button", func() { page.WaitTextIn("#talk-state", "does not let this page use the microphone") })
	if who := olga.talkState(device); who != "nobody" {
		t.Errorf("%q talks", who)
	}
}

// TestBrowserMoves: the pad and the keys move the camera while they are held, and nothing
// moves after that.
func TestBrowserMoves(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	cam := camera(t, "DS-1")
	device := olga.add(cam, "Front door")
	share := olga.offer(rita, "", []string{device}, "live_view", "ptz")
	rita.accept(share, device)
	page := rita.browse(browsertest.Look{}).Open("/live/" + device + "/1")
	moves := func(is bool) func() bool { return func() bool { return cam.Moving(1) == is } }
	page.Hold(`#ptz [aria-label="Move left"]`, func() {
		s.eventually("it moves", moves(true))
		time.Sleep(3 * time.Second) // longer than one order lasts
		if !cam.Moving(1) {
			t.Error("it stops while the button is held")
		}
	})
	s.eventually("it stops", moves(false))
	page.Hold(`#ptz [aria-label="Zoom in"]`, func() { s.eventually("it zooms", moves(true)) })
	s.eventually("it stops after the zoom", moves(false))
	page.HoldKey('+', func() { s.eventually("a key zooms", moves(true)) })
	s.eventually("it stops after the key", moves(false))

	// Somebody else moves it: the recipient reads who.
	olga.must("POST", "/devices/"+device+"/channels/1/ptz/move", map[string]any{"pan": 0.5, "stop_after": 10}, nil)
	page.Hold(`#ptz [aria-label="Move left"]`, func() { page.WaitTextIn(".ptz-state", "Somebody else is moving it") })
	olga.must("DELETE", "/devices/"+device+"/channels/1/ptz", nil, nil)

	// The presets have names.
	page.WaitEval(`document.querySelectorAll("#ptz-preset option").length > 0`)
	page.Click("text=Go there")
	page.WaitTextIn(".ptz-state", "The camera moves to")

	// A page that is left moves nothing.
	page.Eval(`document.querySelector('#ptz [aria-label="Move left"]').dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}))`, nil)
	s.eventually("it moves again", moves(true))
	page.Go("/account")
	s.eventually("it stops with the page", moves(false))

	// Without the privilege there is nothing.
	olga.must("PUT", "/shares/"+share+"/devices/"+device,
		map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	page.Go("/live/" + device + "/1")
	page.WaitEval(`!document.querySelector("#ptz button")`)
}

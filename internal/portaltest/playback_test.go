package portaltest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"latchkey/internal/browsertest"
	"latchkey/internal/simcamera"
)

// TestBrowserPlaysBack: a recording plays, with its clock; the timeline seeks by a click, a
// drag and keys; and what is taken back ends, with words that say so.
func TestBrowserPlaysBack(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	at := func(hour, second int) time.Time { return time.Date(2026, 1, 1, hour, 0, second, 0, time.UTC) }
	device := olga.add(camera(t, "DS-1", func(c *simcamera.Config) {
		c.Gaps = [][2]time.Time{{at(2, 0), at(5, 0)}, {at(5, 4), at(6, 0)}}
	}), "Front door")
	share := olga.offer(rita, "", []string{device}, "playback", "live_view")
	rita.accept(share, device)
	page := rita.browse(browsertest.Look{}).Open("/playback/" + device + "/1?day=2026-01-01&zone=UTC")
	const (
		frames = `document.getElementById("picture").getVideoPlaybackQuality().totalVideoFrames`
		clock  = `document.getElementById("clock").textContent`
		moves  = `new Promise((resolve) => { const before = ` + frames + `, check = () => ` + frames + ` > before + 10 ? resolve(true) : setTimeout(check, 50); check(); })`
	)
	showsAt := func(what, from, to string) {
		t.Helper()
		page.WaitEval(fmt.Sprintf(`%s >= %q && %s < %q && %s > 0`, clock, from, clock, to, `document.getElementById("picture").readyState`))
		page.Eval(moves, nil)
		t.Log(what)
	}
	page.WaitTextIn("#recordings", "Recordings of this day")
	page.Click(".spans a")
	showsAt("a link plays its recording", "00:00:00", "00:03:00")
	page.WaitEval(`document.querySelectorAll(".spans li").length === 3 && document.querySelectorAll("#timeline rect.recorded").length === 3`)
	page.Click(".spans li:nth-child(2) a")
	showsAt("four seconds are recorded, and after the gap the next", "06:00:00", "06:03:00")
	page.Eval(`document.getElementById("timeline").focus()`, nil)
	page.Press(kb.ArrowLeft)
	showsAt("an arrow leads back over the gap", "05:00:00", "05:00:05")
	page.Click("#timeline")
	showsAt("a click seeks", "11:50:00", "12:10:00")
	page.Drag("#timeline", 0.5, 0.5, 0.75, 0.5)
	showsAt("a drag seeks", "17:50:00", "18:10:00")
	page.Eval(`document.getElementById("timeline").focus()`, nil)
	page.Press(kb.PageDown)
	showsAt("Page Down goes back ten minutes", "17:40:00", "18:00:00")
	page.Press(kb.ArrowRight)
	var value string
	page.Eval(`document.getElementById("timeline").getAttribute("aria-valuetext")`, &value)
	if !strings.HasPrefix(value, "17:") || !strings.HasSuffix(value, ", recorded") {
		t.Errorf("the timeline says %q", value)
	}
	page.Click("#play")
	page.WaitEval(`document.getElementById("picture").paused && document.getElementById("play").textContent.includes("Play")`)
	page.Click("#play")
	page.WaitEval(`!document.getElementById("picture").paused`)
	page.Click("#zoom-in")

	olga.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	page.WaitTextIn("#state", "Playback was taken back")
	var width int
	if page.Eval(`document.getElementById("picture").videoWidth`, &width); width != 0 {
		t.Errorf("the picture is still there, and %d pixels wide", width)
	}
}

// TestScaleOfTheTimeline: labels are at whole hours of the clocks, on days on which those
// change too.
func TestScaleOfTheTimeline(t *testing.T) {
	t.Parallel()
	s := serve(t)
	page := s.register("olga@example.com", "Olga Lind").browse(browsertest.Look{}).Open("/account")
	page.Eval(`(async () => { window.scale = await import(document.querySelector('script[src$="portal.js"]').src.replace("portal.js", "scale.js")); })()`, nil)
	page.WaitEval(`!!window.scale`)
	type change struct {
		At     string
		Offset time.Duration
	}
	for _, c := range []struct {
		name     string
		from, to string
		offsets  []change // the first is that of the beginning
		step     time.Duration
		want     string
	}{
		{"Berlin, 23 hours", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", []change{{"", time.Hour}, {"2026-03-29T01:00:00Z", 2 * time.Hour}}, time.Hour,
			"00:00 01:00 03:00 04:00 05:00 06:00 07:00 08:00 09:00 10:00 11:00 12:00 13:00 14:00 15:00 16:00 17:00 18:00 19:00 20:00 21:00 22:00 23:00"},
		{"Berlin, 25 hours", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", []change{{"", 2 * time.Hour}, {"2026-10-25T01:00:00Z", time.Hour}}, time.Hour,
			"00:00 01:00 02:00 02:00 03:00 04:00 05:00 06:00 07:00 08:00 09:00 10:00 11:00 12:00 13:00 14:00 15:00 16:00 17:00 18:00 19:00 20:00 21:00 22:00 23:00"},
		{"Sao Paulo, from one o'clock", "2017-10-15T03:00:00Z", "2017-10-16T02:00:00Z", []change{{"", -2 * time.Hour}}, 3 * time.Hour, "03:00 06:00 09:00 12:00 15:00 18:00 21:00"},
		{"Lord Howe, half an hour more", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z", []change{{"", 11 * time.Hour}, {"2026-04-04T15:00:00Z", 10*time.Hour + 30*time.Minute}}, 3 * time.Hour,
			"00:00 03:00 06:00 09:00 12:00 15:00 18:00 21:00"},
		{"Lord Howe, the half hour twice", "2026-04-04T14:00:00Z", "2026-04-04T15:30:00Z", []change{{"", 11 * time.Hour}, {"2026-04-04T15:00:00Z", 10*time.Hour + 30*time.Minute}}, 30 * time.Minute, "01:00 01:30 01:30"},
		{"five minutes", "2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z", []change{{"", 0}}, time.Minute, "10:00 10:01 10:02 10:03 10:04"},
	} {
		from, _ := time.Parse(time.RFC3339, c.from)
		to, _ := time.Parse(time.RFC3339, c.to)
		list := []map[string]int64{}
		for _, o := range c.offsets {
			at := from
			if o.At != "" {
				at, _ = time.Parse(time.RFC3339, o.At)
			}
			list = append(list, map[string]int64{"from": at.UnixMilli(), "offset": o.Offset.Milliseconds()})
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		page.Eval(fmt.Sprintf(`scale.ticks(%s, %d, %d, %d).map((at) => scale.clock(%[1]s, at)).join(" ")`, raw, from.UnixMilli(), to.UnixMilli(), c.step.Milliseconds()), &got)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for expression, want := range map[string]string{
		`scale.zoomed({from: 0, to: 86400000}, {from: 0, to: 86400000}, 1000, 43200000)`: `{"from":43050000,"to":43350000}`, // five minutes are the least
		`scale.zoomed({from: 0, to: 86400000}, {from: 0, to: 3600000}, 0.0001, 0)`:       `{"from":0,"to":86400000}`,        // and the day the most
		`scale.within({from: 0, to: 86400000}, 86000000, 3600000)`:                       `{"from":82800000,"to":86400000}`,
		`scale.playableFrom([[10, 20], [30, 40]], 25)`:                                   `30`,
		`scale.playableFrom([[10, 20], [30, 40]], 12)`:                                   `12`,
		`scale.playableFrom([[10, 20]], 20) ?? null`:                                     `null`,
		`scale.recordedAt([[10, 20], [30, 40]], 20)`:                                     `-1`,
		`scale.stepped([[10, 20], [30, 40]], 31, 33)`:                                    `33`,
		`scale.stepped([[10, 20], [30, 40]], 18, 22)`:                                    `22`, // the next is found by playableFrom
		`scale.stepped([[10, 20], [30, 40]], 33, 31)`:                                    `31`,
		`scale.stepped([[10, 20], [30, 40]], 31, 28)`:                                    `17`, // over the gap
		`scale.stepped([[18, 20], [30, 40]], 31, 21)`:                                    `18`,
		`scale.stepped([[10, 20], [30, 40]], 12, 9)`:                                     `9`,
	} {
		var got string
		if page.Eval(`JSON.stringify(`+expression+`)`, &got); got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
	draws(t, page)
	var got string
	page.Eval(`(async () => {
		const { Reel } = await import(document.querySelector('script[src$="portal.js"]').src.replace("portal.js", "reel.js"));
		const video = Object.assign(new EventTarget(), { buffered: { length: 1, start: () => 0, end: () => 5 }, plays: 0, play: async () => { video.plays++; }, pause: () => {} });
		const reel = new Reel(video, "", "", () => {});
		reel.send = () => {};
		reel.seek(0), reel.first = 1, reel.show();
		const before = [video.currentTime, video.plays];
		reel.seek(0), reel.pause(true), reel.first = 2, reel.show();
		return [...before, video.currentTime, video.plays].join();
	})()`, &got)
	if got != "1,1,2,1" { // it is shown, and stands still
		t.Errorf("who pauses before the first picture of a seek sees %s", got)
	}
}

// draws holds what a timeline shows of a day of 23 hours with two recordings, and where keys
// lead.
func draws(t *testing.T, page *browsertest.Page) {
	t.Helper()
	page.Eval(`(async () => {
		const { Timeline } = await import(document.querySelector('script[src$="portal.js"]').src.replace("portal.js", "timeline.js"));
		const element = document.querySelector("main").appendChild(document.createElement("div"));
		Object.assign(element.style, { display: "block", boxSizing: "content-box", width: "400px", height: "88px" });
		window.seeks = [];
		window.hours = (n) => n * 3_600_000;
		const day = {
			from: 0, to: hours(23), now: hours(22), at: hours(12), offsets: [{ from: 0, offset: 0 }, { from: hours(2), offset: hours(1) }],
			recordings: [[hours(8), hours(10)], [hours(12), hours(13)]], allowed: [hours(6), hours(20)],
			alarms: [{ at: hours(9), text: "nine" }, { at: hours(12.5), text: "half past twelve" }],
		};
		window.line = new Timeline(element, day, (at) => seeks.push(at / 1000));
		window.shown = () => [...element.querySelectorAll("rect, .now, .alarm")].map((e) => {
			const at = (x) => Math.round((line.view.from + x / line.width * (line.view.to - line.view.from)) / 60_000) / 60;
			const name = e.getAttribute("class");
			if (name === "alarm") return e.textContent;
			if (name === "now") return "now " + at(Number(e.getAttribute("x1")));
			const x = Number(e.getAttribute("x"));
			return name + " " + Math.max(line.view.from / 3_600_000, at(x)) + "-" + Math.min(line.view.to / 3_600_000, at(x + Number(e.getAttribute("width"))));
		}).join(", ");
		window.presses = (key, shiftKey = false) => element.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey }));
	})()`, nil)
	for _, c := range []struct{ do, get, want string }{
		{`0`, `shown()`, "closed 0-23, allowed 6-20, recorded 8-10, recorded 12-13, nine, half past twelve, now 22"},
		{`0`, `line.element.getAttribute("aria-valuemax") + " " + line.element.getAttribute("aria-valuetext")`, "82800 playback.value.recorded"},
		{`line.show(hours(11))`, `line.element.getAttribute("aria-valuetext")`, "playback.value.gap"},
		{`line.show(hours(5))`, `line.element.getAttribute("aria-valuetext")`, "playback.value.closed"},
		{`line.show(hours(11.5)); line.zoom(11.5)`, `shown()`, "closed 10.5-12.5, allowed 10.5-12.5, recorded 12-12.5"},
		{`line.show(hours(12)); presses("ArrowRight")`, `seeks.splice(0).join()`, "43210"},
		{`presses("ArrowRight", true)`, `seeks.splice(0).join()`, "43270"},
		{`presses("ArrowLeft", true)`, `seeks.splice(0).join()`, "43210"},
		{`presses("PageUp")`, `seeks.splice(0).join()`, "43810"},
		{`presses("Home")`, `seeks.splice(0).join()`, "28800"},
		{`presses("End")`, `seeks.splice(0).join()`, "46790"},
		{`line.show(hours(12)); presses("ArrowLeft")`, `seeks.splice(0).join()`, "35990"},
		{`line.show(hours(12) + 5000); presses("PageDown")`, `seeks.splice(0).join()`, "35400"},
	} {
		page.Eval("void ("+strings.ReplaceAll(c.do, ";", ",")+")", nil)
		var got string
		if page.Eval(c.get, &got); got != c.want {
			t.Errorf("%s: %s, want %s", c.do, got, c.want)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"latchkey/internal/bench/fanout"
)

// firstFrames is how often the wait for a first frame is measured.
const firstFrames = 40

// browser measures with Chromium: how long after a click the first frame is decoded of a
// camera that others watch, and how much each page weighs. The camera is the simulated one,
// whose pictures can be decoded.
func (w *portalWorld) browser() error {
	path, err := exec.LookPath("chromium")
	if err != nil {
		w.say("portal: there is no chromium, so no first frames and no pages")
		return nil
	}
	camera, device, err := w.simulated()
	if err != nil {
		return err
	}
	defer func() { _ = camera.Process.Signal(syscall.SIGTERM); _ = camera.Wait() }()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(filepath.Join(w.dir, "browser")), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-features", "Translate,WebRtcHideLocalIpsWithMdns"))
	ctx, stop := chromedp.NewExecAllocator(w.ctx, options...)
	defer stop()
	ctx, end := chromedp.NewContext(ctx)
	defer end()
	if err := chromedp.Do(ctx); err != nil { // which starts it, for as long as ctx lasts
		return fmt.Errorf("starting %s: %w", path, err)
	}
	tab := &tabOf{ctx: ctx, origin: strings.TrimSuffix(w.owner.api, "/api/v1")}
	if err := tab.login(w.owner.login); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if err := w.firstFrame(tab, device); err != nil {
		return fmt.Errorf("first frames: %w", err)
	}
	return w.weigh(tab, device)
}

// simulated starts a camera with real pictures, and adds it.
func (w *portalWorld) simulated() (*exec.Cmd, string, error) {
	address, err := fanout.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	camera := exec.Command(filepath.Join(w.dir, "latchkey"), "camera", "--rtsp", address, "--log-level", "error")
	camera.Stderr = os.Stderr
	if err := camera.Start(); err != nil {
		return nil, "", err
	}
	device := newDevice("pictures")
	device["rtsp_url"] = "rtsp://" + address + "/Streaming/Channels/101"
	var added struct{ ID string }
	if err := w.owner.call(w.ctx, "POST", "/devices", device, &added); err != nil {
		_ = camera.Process.Kill()
		return nil, "", err
	}
	return camera, added.ID, nil
}

// tabOf is a tab of a browser.
type tabOf struct {
	ctx    context.Context
	origin string
}

// eval evaluates an expression in the page, waits for its promise, and stores its JSON.
func (t *tabOf) eval(expression string, into any) error {
	ctx, cancel := context.WithTimeout(t.ctx, 30*time.Second)
	defer cancel()
	yes := true
	got, err := chromedp.Run(ctx, func(ctx context.Context, tab *chromedp.Target) (runtime.EvaluateResult, error) {
		return cdp.Call(ctx, tab, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ReturnByValue: &yes, AwaitPromise: &yes})
	})
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return fmt.Errorf("evaluating %s: %s", expression, got.ExceptionDetails.Text)
	case into == nil || len(got.Result.Value) == 0:
		return nil
	}
	return json.Unmarshal(got.Result.Value, into)
}

// open leads the tab to a page, and waits until that and its modules have loaded.
func (t *tabOf) open(path string) error {
	ctx, cancel := context.WithTimeout(t.ctx, 30*time.Second)
	defer cancel()
	if _, err := chromedp.Run(ctx, func(ctx context.Context, tab *chromedp.Target) (page.NavigateResult, error) {
		return cdp.Call(ctx, tab, page.Navigate, page.NavigateParams{URL: t.origin + path})
	}); err != nil {
		return err
	}
	return t.wait(`document.readyState === "complete"`)
}

// wait waits until an expression is true. Pages may change meanwhile.
func (t *tabOf) wait(expression string) error {
	var err error
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		is := false
		if err = t.eval("Boolean("+expression+")", &is); err == nil && is {
			return nil
		}
		if err := pause(t.ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.Join(fmt.Errorf("after 30 s it is not so: %s", expression), err)
}

func (t *tabOf) login(as string) error {
	if err := t.open("/login"); err != nil {
		return err
	}
	if err := t.eval(fmt.Sprintf(`document.querySelector("[name=login]").value = %q, document.querySelector("[name=password]").value = "a long password",
		document.querySelector("button.main").click()`, as), nil); err != nil {
		return err
	}
	return t.wait(`location.pathname !== "/login" && document.readyState === "complete"`)
}

// watching is what a page does from the click on: the least that shows a camera. It resolves
// when the first frame is decoded, with the time that took in ms.
const watching = `
window.watch = async (path, token) => {
	const began = performance.now()
	const peer = new RTCPeerConnection()
	const video = document.createElement("video")
	video.muted = video.autoplay = video.playsInline = true
	document.body.append(video)
	const shown = new Promise(done => video.requestVideoFrameCallback(done))
	peer.ontrack = event => { if (event.track.kind === "video") video.srcObject = new MediaStream([event.track]) }
	peer.addTransceiver("video", {direction: "recvonly"})
	peer.addTransceiver("audio", {direction: "recvonly"})
	await peer.setLocalDescription()
	const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/sdp", Authorization: "Bearer " + token}, body: peer.localDescription.sdp})
	if (!answer.ok) throw new Error(await answer.text())
	await peer.setRemoteDescription({type: "answer", sdp: await answer.text()})
	await shown
	return {took: performance.now() - began, end() { peer.close(); video.remove() }}
}`

// firstFrame measures from the click to the first decoded frame while another viewer watches.
func (w *portalWorld) firstFrame(tab *tabOf, device string) error {
	path := fmt.Sprintf("/api/v1/devices/%s/channels/1/whep", device)
	if err := tab.eval(watching, nil); err != nil {
		return err
	}
	watch := fmt.Sprintf("watch(%q, %q)", path, w.owner.token)
	if err := tab.eval(fmt.Sprintf("(async () => { window.other = await %s })()", watch), nil); err != nil {
		return err
	}
	var took []time.Duration
	for n := range w.scaled(firstFrames) {
		if err := pause(w.ctx, time.Duration(n%10)*37*time.Millisecond); err != nil { // anywhere in a GOP
			return err
		}
		var wait float64 // ms
		if err := tab.eval(fmt.Sprintf("(async () => { const v = await %s; v.end(); return v.took })()", watch), &wait); err != nil {
			return err
		}
		took = append(took, time.Duration(wait*float64(time.Millisecond)))
	}
	p95 := percentile(took, 0.95)
	w.add("from the click to the first decoded frame, warm, p95", fmt.Sprintf("%.0f ms, p50 %.0f ms", ms(p95), ms(percentile(took, 0.5))), "250 ms", p95.Seconds()/0.25, "at most 1")
	return tab.eval("other.end()", nil)
}

// weigh adds how many bytes each page has without pictures: HTML, styles and modules, as they
// were sent.
func (w *portalWorld) weigh(tab *tabOf, device string) error {
	const weight = `(() => {
		const list = performance.getEntriesByType("resource").filter(e => ["script", "link", "css", "other"].includes(e.initiatorType) && !e.name.includes("/do/"))
		list.push(performance.getEntriesByType("navigation")[0])
		return {Sent: list.reduce((sum, e) => sum + e.encodedBodySize, 0), Whole: list.reduce((sum, e) => sum + e.decodedBodySize, 0), At: location.pathname}
	})()`
	var heaviest struct {
		Sent, Whole int
		At          string
	}
	for _, path := range []string{
		"/live", "/live/" + device + "/1", "/shared-with-me", "/my-shares", "/my-shares/new", "/devices", "/devices/" + device, "/devices/" + device + "/access",
		"/alarms", "/account", "/account/addresses", "/account/keys", "/account/webhook", "/devices/requests", "/my-shares/codes",
	} {
		if err := tab.open(path); err != nil {
			return fmt.Errorf("opening %s: %w", path, err)
		}
		if err := pause(w.ctx, 300*time.Millisecond); err != nil { // modules that modules ask for
			return err
		}
		this := heaviest
		if err := tab.eval(weight, &this); err != nil {
			return err
		}
		w.say("portal: %s weighs %.1f KiB, %.1f KiB unpacked", strings.ReplaceAll(this.At, device, "{device}"), float64(this.Sent)/1024, float64(this.Whole)/1024)
		if this.Sent > heaviest.Sent {
			heaviest = this
		}
	}
	packed := "compressed"
	if heaviest.Sent == heaviest.Whole {
		packed = "not compressed"
	}
	w.add("the heaviest page, without pictures", fmt.Sprintf("%.1f KiB, %s: %s", float64(heaviest.Sent)/1024, packed, strings.ReplaceAll(heaviest.At, device, "{device}")),
		"100 KiB", float64(heaviest.Sent)/(100<<10), "at most 1")
	return nil
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"

	"latchkey/internal/bench/fanout"
)

// browserWorld is what the portal's pages are measured with: the service, an owner, and the
// simulated camera, whose pictures can be decoded.
type browserWorld struct {
	*bench
	door   *served
	owner  *account
	camera *exec.Cmd
	device string
}

// benchBrowser measures with Chromium: how long after a click on the page of live pictures the
// first frame is decoded, and how much each page weighs.
func benchBrowser(b *bench) error {
	path, err := exec.LookPath("chromium")
	if err != nil {
		b.say("browser: there is no chromium, so no first frames and no pages")
		return nil
	}
	w := &browserWorld{bench: b}
	defer w.close()
	if err := w.start(); err != nil {
		return err
	}
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
	tab := &tabOf{ctx: ctx, origin: w.door.api}
	if err := tab.login(w.owner.login); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if err := w.firstFrames(tab); err != nil {
		return fmt.Errorf("first frames: %w", err)
	}
	return w.weigh(tab)
}

func (w *browserWorld) start() (err error) {
	port, err := fanout.FreeAddress()
	if err != nil {
		return err
	}
	if w.door, err = startServe(w.bench, "", "browser", "CAMERA_NETS=127.0.0.0/8,::1/128", "WEBRTC="+port); err != nil {
		return err
	}
	if w.owner, err = w.door.account(w.ctx, "browser-owner"); err != nil {
		return err
	}
	address, err := fanout.FreeAddress()
	if err != nil {
		return err
	}
	camera := exec.Command(filepath.Join(w.dir, "latchkey"), "camera", "--rtsp", address, "--log-level", "error")
	camera.Stderr = os.Stderr
	if err := camera.Start(); err != nil {
		return err
	}
	w.camera = camera
	device := newDevice("pictures")
	device["rtsp_url"] = "rtsp://" + address + "/Streaming/Channels/101"
	var added struct{ ID string }
	if err := w.owner.call(w.ctx, "POST", "/devices", device, &added); err != nil {
		return err
	}
	w.device = added.ID
	return nil
}

func (w *browserWorld) close() {
	if w.door != nil {
		w.door.stop()
	}
	if w.camera != nil {
		_ = w.camera.Process.Signal(syscall.SIGTERM)
		_ = w.camera.Wait()
	}
}

// weigh adds how many bytes each page has without pictures: HTML, styles and modules, as they
// were sent.
func (w *browserWorld) weigh(tab *tabOf) error {
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
		"/live", "/live/" + w.device + "/1", "/shared-with-me", "/my-shares", "/my-shares/new", "/devices", "/devices/" + w.device, "/devices/" + w.device + "/access",
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
		w.say("browser: %s weighs %.1f KiB, %.1f KiB unpacked", strings.ReplaceAll(this.At, w.device, "{device}"), float64(this.Sent)/1024, float64(this.Whole)/1024)
		if this.Sent > heaviest.Sent {
			heaviest = this
		}
	}
	packed := "compressed"
	if heaviest.Sent == heaviest.Whole {
		packed = "not compressed"
	}
	w.add("the heaviest page, without pictures", fmt.Sprintf("%.1f KiB, %s: %s", float64(heaviest.Sent)/1024, packed, strings.ReplaceAll(heaviest.At, w.device, "{device}")),
		"100 KiB", float64(heaviest.Sent)/(100<<10), "at most 1")
	return nil
}

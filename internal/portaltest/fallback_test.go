package portaltest

import (
	"net/url"
	"os/exec"
	"syscall"
	"testing"

	"latchkey/internal/browsertest"
)

// publish makes a device whose picture ffmpeg publishes, encoded as the arguments say.
func (a *account) publish(name string, encoder ...string) (device string) {
	a.s.t.Helper()
	var added struct{ ID string }
	a.must("POST", "/devices", map[string]any{"name": name, "published": true}, &added)
	var key struct{ Name, Secret string }
	a.must("POST", "/stream-keys", map[string]any{"device": added.ID, "publish_channel": 1, "label": name}, &key)
	to := &url.URL{Scheme: "rtsp", User: url.UserPassword(key.Name, key.Secret), Host: a.s.rtsp, Path: "/" + added.ID + "/1"}
	args := append([]string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=15"}, encoder...)
	camera := exec.Command("ffmpeg", append(args, "-pix_fmt", "yuv420p", "-f", "rtsp", "-rtsp_transport", "tcp", to.String())...)
	camera.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := camera.Start(); err != nil {
		a.s.t.Fatalf("starting ffmpeg: %v", err)
	}
	a.s.t.Cleanup(func() {
		_ = camera.Process.Kill() // it may have ended by itself
		_ = camera.Wait()
	})
	return added.ID
}

// TestBrowserFallsBack: what WebRTC does not carry, pictures that refer to later ones, plays
// by Media Source Extensions, and by HLS, with its sound, where there are none; and of what this browser cannot decode, H.265, the page says
// so, and what helps.
func TestBrowserFallsBack(t *testing.T) {
	t.Parallel()
	olga := serve(t).register("olga@example.com", "Olga Lind")
	barn := olga.publish("Barn", "-f", "lavfi", "-i", "sine", "-c:a", "aac", "-c:v", "libx264", "-preset", "veryfast", "-g", "15", "-x264-params", "bframes=2:b-adapt=0:threads=1")
	page := olga.browse(browsertest.Look{}).Open("/live/" + barn + "/1")
	page.Allow("502") // of a device that does not publish yet
	page.WaitEval(`document.querySelector("#camera .picture[data-state=playing]")?.dataset.way === "mse"`)
	page.WaitEval(decoded + " > 20")

	phone := olga.browse(oldIPhone).Open("/live/" + barn + "/1")
	phone.WaitEval(`document.querySelector("#camera .picture[data-state=playing]")?.dataset.way === "hls"`)
	phone.WaitEval(decoded + ` > 20 && document.querySelector("#camera video").webkitAudioDecodedByteCount > 1000`)
	phone.Close()

	yard := olga.publish("Yard", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=15:pools=none:frame-threads=1")
	page.Go("/live/" + yard + "/1")
	page.WaitTextIn("#camera .picture", "This camera sends H.265 and this browser has no decoder for it: use the sub stream or set the camera to H.264.")
}

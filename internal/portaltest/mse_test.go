package portaltest

import (
	"testing"
	"time"

	"latchkey/internal/browsertest"
	"latchkey/internal/simcamera"
)

// Browsers that lack ways of live pictures, and what came later than they did.
var (
	noWebRTC  = browsertest.Look{Lacks: []string{"RTCPeerConnection", "RTCRtpReceiver"}}
	oldIPhone = browsertest.Look{Lacks: []string{"RTCPeerConnection", "RTCRtpReceiver", "MediaSource", "ManagedMediaSource", "BroadcastChannel",
		"AbortSignal.any", "AbortSignal.timeout"}}
)

// TestBrowserPlaysWithoutWebRTC: a page plays a camera by Media Source Extensions, close to
// it, or by HLS where there are none, and either picture ends with live view, with words
// that say so; all of it within TLS. The camera has no sound: chromium has no FLAC in HLS.
func TestBrowserPlaysWithoutWebRTC(t *testing.T) {
	t.Parallel()
	s := serveSecurely(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	device := olga.add(camera(t, "DS-1", func(c *simcamera.Config) { c.Silent = true }), "Front door")
	share := olga.offer(rita, "", []string{device}, "live_view")
	rita.accept(share, device)

	pages := map[string]*browsertest.Page{"hls": rita.browse(oldIPhone).Open("/live/" + device + "/1"), "mse": rita.browse(noWebRTC).Open("/live/" + device + "/1")}
	for way, page := range pages {
		page.WaitEval(`document.querySelector("#camera .picture[data-state=playing]")?.dataset.way === "` + way + `"`)
		page.WaitEval(decoded + " > 40")
	}
	pages["mse"].WaitEval(`(v => v.buffered.length > 0 && v.buffered.end(v.buffered.length - 1) - v.currentTime < 3)(document.querySelector("#camera video"))`)

	olga.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback"}}}}, nil)
	revoked := time.Now()
	for way, page := range pages {
		page.WaitTextIn("#camera .picture", "Live view was taken back")
		page.WaitEval(`document.querySelector("#camera .picture").dataset.state === "ended" && document.querySelector("#camera video").readyState === 0`)
		t.Logf("the words came to %s within %v of the owner's answer", way, time.Since(revoked).Round(time.Millisecond))
	}
}

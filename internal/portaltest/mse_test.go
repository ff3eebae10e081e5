package portaltest

import (
	"testing"

	"latchkey/internal/browsertest"
)

// TestBrowserPlaysMSE: a page plays a camera by Media Source Extensions, stays close to it,
// and is told why it ends.
func TestBrowserPlaysMSE(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	device := olga.add(camera(t, "DS-1"), "Front door")
	share := olga.offer(rita, "", []string{device}, "live_view")
	rita.accept(share, device)
	page := rita.browse(browsertest.Look{}).Open("/account")
	page.Eval(`void (async () => {
		const base = document.querySelector("script[type=module][src]").src;
		const { playMSE } = await import(new URL("./mse.js", base));
		const video = document.querySelector("main").appendChild(document.createElement("video"));
		video.muted = true;
		window.__video = video;
		window.__player = playMSE(video, { device: "`+device+`", channel: 1, onend: (why) => { window.__why = why; } });
	})()`, nil)
	page.WaitEval(`window.__video?.getVideoPlaybackQuality().totalVideoFrames > 40`)
	page.WaitEval(`(v => v.buffered.length > 0 && v.buffered.end(v.buffered.length - 1) - v.currentTime < 3)(window.__video)`)
	olga.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback"}}}}, nil)
	page.WaitEval(`window.__why?.code === "privilege_missing"`)
}

package portaltest

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"latchkey/internal/browsertest"
	"latchkey/internal/simcamera"
)

// decoded is how many pictures the video of a page has decoded.
const decoded = `(document.querySelector(".picture video")?.getVideoPlaybackQuality().totalVideoFrames ?? 0)`

// TestBrowserWatches: the recipient's picture moves in her browser; the owner unticks Live
// View in his and saves, and hers ends, with words that say so.
func TestBrowserWatches(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	device := olga.add(camera(t, "DS-1"), "Front door")
	share := olga.offer(rita, "The neighbour", []string{device}, "live_view", "playback")
	rita.accept(share, device)

	recipient := rita.browse(browsertest.Look{}).Open("/live")
	recipient.WaitEval(`document.querySelector(".tile .picture[data-state=playing]")`)
	recipient.Click(".tile a")
	recipient.WaitEval(`document.querySelector("#camera .picture[data-state=playing]")?.dataset.way === "webrtc"`)
	recipient.WaitEval(decoded + " > 20")

	owner := olga.browse(browsertest.Look{}).Open("/my-shares/" + share)
	box := `input[name=grant][value="` + device + `/1/live_view"]`
	owner.Click(box)
	owner.WaitEval(`!document.querySelector('` + box + `').checked && !document.querySelector("#save").disabled`)
	owner.Submit("#save")
	saved := time.Now()
	recipient.WaitTextIn("#camera .picture", "Live view was taken back")
	t.Logf("the words came %v after the answer of the owner's form", time.Since(saved).Round(time.Millisecond))
	recipient.WaitEval(`document.querySelector("#camera .picture").dataset.state === "ended" && ` + decoded + ` === 0 || document.querySelector("#camera .picture video").paused || document.querySelector("#camera .picture video").srcObject === null`)
}

// TestBrowserHasManyTabs: eight tabs of one browser all load over HTTP/1.1, of which
// browsers make six connections to a server, and the next shows pictures.
func TestBrowserHasManyTabs(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga := s.register("olga@example.com", "Olga Lind")
	olga.add(camera(t, "DS-1"), "Front door")
	person := olga.browse(browsertest.Look{})
	for range 8 {
		person.Open("/devices").WaitText("Front door")
	}
	person.Open("/live").WaitEval(`document.querySelector(".tile .picture[data-state=playing]")`)
}

// TestBrowserComesBack: a large view that was opened while it was paused shows the picture
// when it goes on, and Esc leads back to all cameras. Recordings open with a picture.
func TestBrowserComesBack(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	device := olga.add(camera(t, "DS-1", func(c *simcamera.Config) { c.Channels, c.Recorder = 1, true }), "Front door")
	share := olga.offer(rita, "The neighbour", []string{device}, "live_view", "playback")
	rita.accept(share, device)
	olga.must("POST", "/shares/"+share+"/pause", nil, nil)

	page := rita.browse(browsertest.Look{}).Open("/live")
	page.WaitTextIn(".tile", "Paused by the owner")
	page.Click(".tile a")
	page.WaitTextIn("#camera", "Paused by the owner")
	olga.must("POST", "/shares/"+share+"/resume", nil, nil)
	page.WaitEval(`document.querySelector("#camera .picture[data-state=playing]")`)
	page.Press(kb.Escape)
	page.WaitEval(`!document.querySelector("#camera") && document.querySelector(".tile .picture[data-state=playing]")`)

	page.Go("/playback/" + device + "/1")
	page.WaitEval(`document.querySelector("#picture").readyState >= 2`)
}

// TestBrowserGoesThereAndBack: where pages may move, the large view opens with all that is
// around its picture, and back among all cameras they play again, each time.
func TestBrowserGoesThereAndBack(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga := s.register("olga@example.com", "Olga Lind")
	olga.add(camera(t, "DS-1"), "Front door")
	page := olga.browse(browsertest.Look{Motion: true}).Open("/live")
	for range 2 {
		page.WaitEval(`document.querySelector(".tile .picture[data-state=playing]")`)
		page.Click(".tile a")
		page.WaitEval(`document.querySelector("#camera .picture[data-state=playing]") && document.querySelector(".player-tools button")`)
		page.Press(kb.Escape)
		page.WaitEval(`!document.querySelector("#camera")`)
	}
	page.WaitEval(`document.querySelector(".tile .picture[data-state=playing]")`)
}

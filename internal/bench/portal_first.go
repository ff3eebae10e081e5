package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"latchkey/internal/bench/fanout"
)

// firstFrames is how often the wait for a first frame is measured.
const firstFrames = 40

// noting notes when the page of live pictures does what from a click on. It changes nothing of
// what the page does. All is in ms of performance.now.
const noting = `(() => {
	let old, seen
	addEventListener("click", event => {
		old = new WeakSet(document.querySelectorAll("video"))
		window.seen = seen = {Click: event.timeStamp, Heard: performance.now()}
	}, true)
	const note = (what, now = performance.now()) => { if (seen) seen[what] ??= now }
	const Peer = RTCPeerConnection
	window.RTCPeerConnection = class extends Peer {
		constructor(...options) {
			super(...options)
			note("Script")
			this.addEventListener("iceconnectionstatechange", () => { if (this.iceConnectionState === "connected") note("Checked") })
			this.addEventListener("connectionstatechange", () => { if (this.connectionState === "connected") note("Connected") })
		}
		async setLocalDescription(...description) {
			await super.setLocalDescription(...description)
			note("Offered")
		}
		async setRemoteDescription(...description) {
			note("Answered")
			await super.setRemoteDescription(...description)
			note("Accepted")
		}
	}
	const video = HTMLVideoElement.prototype, frame = video.requestVideoFrameCallback
	video.requestVideoFrameCallback = function (call) {
		return frame.call(this, (now, about) => {
			if (seen && !old.has(this)) {
				note("Received", about.receiveTime)
				note("Presented", about.presentationTime)
				note("Shown")
			}
			call(now, about)
		})
	}
})()`

// watched is when what was done on the way to a first frame.
type watched struct {
	Click, Heard, Script, Offered, Answered, Accepted, Checked, Connected, Received, Presented, Shown float64
	Way                                                                                               string
}

// spans are where the time goes, one after the other. ICE and DTLS are answered by the
// browser's network thread, and the script hears of it later.
var spans = []struct {
	name string
	of   func(w watched) float64
}{
	{"until the page hears of it", func(w watched) float64 { return w.Heard - w.Click }},
	{"the page's script", func(w watched) float64 { return max(0, w.Script-w.Heard) }},
	{"making the offer", func(w watched) float64 { return max(0, w.Offered-max(w.Script, w.Heard)) }},
	{"the answer", func(w watched) float64 { return w.Answered - max(w.Offered, w.Heard) }},
	{"taking the answer", func(w watched) float64 { return w.Accepted - w.Answered }},
	{"ICE, DTLS and the first picture", func(w watched) float64 { return w.Received - w.Accepted }},
	{"decoding and showing it", func(w watched) float64 { return w.Shown - w.Received }},
}

// firstFrames measures the page of live pictures as a user sees it: from a click on a camera
// among others to the first decoded frame of the large view, while another viewer watches.
func (w *browserWorld) firstFrames(tab *tabOf) error {
	other, err := w.warm()
	if err != nil {
		return err
	}
	defer other.Close()
	if err := tab.before(noting); err != nil {
		return err
	}
	if err := tab.open("/live"); err != nil {
		return err
	}
	const small = `.tile[data-device=%q] .picture[data-state="playing"]`
	grid := fmt.Sprintf("document.querySelector(%q)", fmt.Sprintf(small, w.device))
	var took []time.Duration
	parts := make([][]time.Duration, len(spans))
	for n := range w.scaled(firstFrames) {
		if err := tab.wait(grid); err != nil {
			return err
		}
		if err := pause(w.ctx, time.Second+time.Duration(n%10)*137*time.Millisecond); err != nil { // anywhere in a GOP
			return err
		}
		if err := tab.click(fmt.Sprintf(".tile[data-device=%q]", w.device)); err != nil {
			return err
		}
		if err := tab.wait(`document.querySelector('.large .picture[data-state="playing"]') && document.querySelector(".back")`); err != nil {
			return err
		}
		var got watched
		if err := tab.eval(`({...seen, Way: document.querySelector(".large .picture").dataset.way})`, &got); err != nil {
			return err
		}
		if got.Way != "webrtc" || got.Shown == 0 {
			return fmt.Errorf("the camera is shown by %q: %+v", got.Way, got)
		}
		took = append(took, inMs(got.Shown-got.Click))
		for i, s := range spans {
			parts[i] = append(parts[i], inMs(s.of(got)))
		}
		if err := pause(w.ctx, 500*time.Millisecond); err != nil { // until nothing moves any more
			return err
		}
		if err := tab.click(".back"); err != nil {
			return err
		}
	}
	var where []string
	for i, s := range spans {
		where = append(where, fmt.Sprintf("%s %.0f to %.0f ms", s.name, ms(percentile(parts[i], 0.5)), ms(percentile(parts[i], 0.95))))
	}
	w.say("browser: p50 to p95: %s", strings.Join(where, ", "))
	p95 := percentile(took, 0.95)
	w.add("from a click to the first decoded frame, warm, p95", fmt.Sprintf("%.0f ms, p50 %.0f ms", ms(p95), ms(percentile(took, 0.5))), "250 ms", p95.Seconds()/0.25, "at most 1")
	return nil
}

func inMs(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// warm watches the camera's main stream through the door, so that it is pulled already.
func (w *browserWorld) warm() (*fanout.Crowd, error) {
	auth, err := w.owner.streamKey(w.ctx)
	if err != nil {
		return nil, err
	}
	other, err := fanout.NewCrowd()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	if _, err := other.Join(ctx, fanout.Target{Address: w.door.rtsp, Path: "/" + w.device + "/1", Auth: auth, Over: fanout.TCP}); err != nil {
		other.Close()
		return nil, err
	}
	return other, nil
}

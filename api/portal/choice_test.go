package portal

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/dop251/goja"
)

// chooser runs choice.js itself. Its only syntax of modules is export.
func chooser(t *testing.T) func(asked string) (ways []string, reason string) {
	t.Helper()
	raw, err := staticFiles.ReadFile("static/choice.js")
	if err != nil {
		t.Fatal(err)
	}
	vm := goja.New()
	script := strings.ReplaceAll(string(raw), "export function", "function") + `
	function ask(text) {
		const asked = JSON.parse(text);
		const plays = (list) => (mime) => (list || []).some((codec) => mime.includes(codec));
		const { ways, reason } = choose({ ...asked, able: { webrtc: asked.able.webrtc || [], mse: plays(asked.able.mse), hls: plays(asked.able.hls) } });
		return JSON.stringify({ ways: ways.map(({ way, stream }) => way + " " + stream), reason: reason ? reason.key + " " + reason.codec : "" });
	}`
	if _, err := vm.RunScript("choice.js", script); err != nil {
		t.Fatal(err)
	}
	ask, ok := goja.AssertFunction(vm.Get("ask"))
	if !ok {
		t.Fatal("choice.js has no function")
	}
	return func(asked string) ([]string, string) {
		t.Helper()
		said, err := ask(goja.Undefined(), vm.ToValue(asked))
		if err != nil {
			t.Fatalf("%s: %v", asked, err)
		}
		var out struct {
			Ways   []string `json:"ways"`
			Reason string   `json:"reason"`
		}
		if err := json.Unmarshal([]byte(said.String()), &out); err != nil {
			t.Fatal(err)
		}
		return out.Ways, out.Reason
	}
}

// Browsers, by what they decode.
const (
	chrome    = `{"webrtc": ["H264", "VP8", "PCMU", "PCMA", "OPUS"], "mse": ["avc1"]}`
	chromeHW  = `{"webrtc": ["H264", "H265", "PCMU", "PCMA", "OPUS"], "mse": ["avc1", "hvc1"]}` // with a decoder of H.265
	safari    = `{"webrtc": ["H264", "H265", "PCMU", "OPUS"], "mse": ["avc1", "hvc1"], "hls": ["avc1", "hvc1"]}`
	oldIPhone = `{"hls": ["avc1", "hvc1"]}`                    // no WebRTC, no Media Source
	hls264    = `{"hls": ["avc1"]}`                            // the same, without H.265
	noH264    = `{"webrtc": ["VP8", "OPUS"], "mse": ["av01"]}` // Chromium without its codecs
	noWebRTC  = `{"mse": ["avc1"]}`                            // turned off by an extension
	nothing   = `{}`
)

// Streams.
const (
	h264     = `{"pulled": true, "video": {"codec": "H264", "profile": "High", "level": "4.0", "b_frames": false}, "audio": {"codec": "PCMA"}}`
	h264B    = `{"pulled": true, "video": {"codec": "H264", "profile": "Main", "level": "4.0", "b_frames": true}, "audio": {"codec": "PCMA"}}`
	h264AAC  = `{"pulled": true, "video": {"codec": "H264", "profile": "High", "level": "4.0", "b_frames": false}, "audio": {"codec": "MPEG4-GENERIC"}}`
	h265     = `{"pulled": true, "video": {"codec": "H265", "profile": "Main", "level": "5.0", "b_frames": false}}`
	h265B    = `{"pulled": true, "video": {"codec": "H265", "profile": "Main", "level": "5.0", "b_frames": true}}`
	jpeg     = `{"pulled": true, "video": {"codec": "JPEG", "b_frames": false}}`
	deaf     = `{"pulled": true, "seen_at": "2026-11-30T12:00:00Z", "audio": {"codec": "PCMA"}}` // no video
	neverSaw = `{"pulled": false}`
)

func TestChoiceOfAWay(t *testing.T) {
	choose := chooser(t)
	for name, c := range map[string]struct {
		browser   string
		main, sub string // "": there is none
		wanted    string // "": main
		sound     bool
		ways      string // but the still picture at the end, "," between
		reason    string
	}{
		"H.264 in Chrome":                       {browser: chrome, main: h264, ways: "webrtc main,mse main"},
		"H.264 in Safari":                       {browser: safari, main: h264, ways: "webrtc main,mse main,hls main"},
		"H.264 on an old iPhone":                {browser: oldIPhone, main: h264, ways: "hls main"},
		"H.264 without WebRTC":                  {browser: noWebRTC, main: h264, ways: "mse main"},
		"H.264 without a decoder":               {browser: noH264, main: h264, reason: "player.no_decoder H.264"},
		"H.264 with nothing":                    {browser: nothing, main: h264, reason: "player.no_decoder H.264"},
		"B-frames in Chrome":                    {browser: chrome, main: h264B, ways: "mse main"},
		"B-frames in Safari":                    {browser: safari, main: h264B, ways: "mse main,hls main"},
		"B-frames on an old iPhone":             {browser: oldIPhone, main: h264B, ways: "hls main"},
		"B-frames, and only WebRTC":             {browser: `{"webrtc": ["H264"]}`, main: h264B, reason: "player.b_frames H.264"},
		"B-frames, and a sub stream without":    {browser: `{"webrtc": ["H264"]}`, main: h264B, sub: h264, ways: "webrtc sub"},
		"B-frames in Chrome, and a sub stream":  {browser: chrome, main: h264B, sub: h264, ways: "mse main,webrtc sub,mse sub"},
		"B-frames without a decoder":            {browser: noH264, main: h264B, reason: "player.no_decoder H.264"},
		"H.265 in Chrome":                       {browser: chrome, main: h265, reason: "player.no_decoder H.265"},
		"H.265 in Chrome with a decoder":        {browser: chromeHW, main: h265, ways: "webrtc main,mse main"},
		"H.265 in Safari":                       {browser: safari, main: h265, ways: "webrtc main,mse main,hls main"},
		"H.265 on an old iPhone":                {browser: oldIPhone, main: h265, ways: "hls main"},
		"H.265 on an older one":                 {browser: hls264, main: h265, reason: "player.no_decoder H.265"},
		"H.265 without WebRTC":                  {browser: noWebRTC, main: h265, reason: "player.no_decoder H.265"},
		"H.265, and a sub stream of H.264":      {browser: chrome, main: h265, sub: h264, ways: "webrtc sub,mse sub"},
		"H.265, and a sub stream with B-frames": {browser: chrome, main: h265, sub: h264B, ways: "mse sub"},
		"H.265 on both":                         {browser: chrome, main: h265, sub: h265, reason: "player.no_decoder H.265"},
		"H.265 with B-frames in Chrome":         {browser: chrome, main: h265B, reason: "player.no_decoder H.265"},
		"H.265 with B-frames and a decoder":     {browser: chromeHW, main: h265B, ways: "mse main"},
		"H.265 with B-frames in Safari":         {browser: safari, main: h265B, ways: "mse main,hls main"},
		"H.265 with B-frames, and only WebRTC":  {browser: `{"webrtc": ["H265"]}`, main: h265B, reason: "player.b_frames H.265"},
		"JPEG":                                  {browser: safari, main: jpeg, reason: "player.no_codec JPEG"},
		"JPEG, and a sub stream":                {browser: chrome, main: jpeg, sub: h264, ways: "webrtc sub,mse sub"},
		"no video":                              {browser: chrome, main: deaf, reason: "player.no_video "},
		"no video, and a sub stream":            {browser: chrome, main: deaf, sub: h264, ways: "webrtc sub,mse sub"},
		"a small picture":                       {browser: chrome, main: h264, sub: h264, wanted: "sub", ways: "webrtc sub,mse sub,webrtc main,mse main"},
		"a small picture without a sub stream":  {browser: chrome, main: h264, wanted: "sub", ways: "webrtc main,mse main"},
		"a small picture of H.265":              {browser: chrome, main: h264, sub: h265, wanted: "sub", ways: "webrtc main,mse main"},
		"sound that WebRTC has":                 {browser: chrome, main: h264, sound: true, ways: "webrtc main,mse main"},
		"sound that WebRTC lacks":               {browser: chrome, main: h264AAC, sound: true, ways: "mse main,webrtc main"},
		"sound that nothing else has":           {browser: `{"webrtc": ["H264"]}`, main: h264AAC, sound: true, ways: "webrtc main"},
		"sound that nobody hears":               {browser: chrome, main: h264AAC, ways: "webrtc main,mse main"},
		"never seen":                            {browser: chrome, main: neverSaw, ways: "webrtc main"},
		"never seen, and no WebRTC":             {browser: nothing, main: neverSaw, reason: "player.no_way "},
		"only the sub stream was seen":          {browser: chrome, main: neverSaw, sub: h264, ways: "webrtc sub,mse sub"},
	} {
		streams := `{"main": ` + c.main
		if c.sub != "" {
			streams += `, "sub": ` + c.sub
		}
		wanted := "main"
		if c.wanted != "" {
			wanted = c.wanted
		}
		asked, err := json.Marshal(map[string]any{"able": json.RawMessage(c.browser), "streams": json.RawMessage(streams + "}"), "wanted": wanted, "sound": c.sound})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if c.ways != "" {
			want = strings.Split(c.ways, ",")
		}
		want = append(want, "still "+wanted)
		if ways, reason := choose(string(asked)); !slices.Equal(ways, want) || reason != c.reason {
			t.Errorf("%s: %q %q, want %q %q", name, ways, reason, want, c.reason)
		}
	}
}

// Every reason has words.
func TestChoiceHasWords(t *testing.T) {
	raw, err := staticFiles.ReadFile("static/choice.js")
	if err != nil {
		t.Fatal(err)
	}
	list, err := loadLanguages()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(raw), `key: "`)[1:] {
		key, _, _ := strings.Cut(part, `"`)
		for _, l := range list {
			if !l.has(key) {
				t.Errorf("no words for %s in %s", key, l.tag)
			}
		}
	}
}

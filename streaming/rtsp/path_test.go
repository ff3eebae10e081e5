package rtsp

import (
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/streaming/upstream"
)

func TestParseTarget(t *testing.T) {
	from := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		path, query string
		want        target
		ok          bool
	}{
		{"/dev-1/1", "", target{device: "dev-1", channel: 1}, true},
		{"/DEV-1/1/", "", target{device: "dev-1", channel: 1}, true},
		{"/dev-1.2/511/sub", "", target{device: "dev-1.2", channel: 511, quality: upstream.Sub}, true},
		{"/dev-1/Streaming/Channels/101", "transportmode=unicast", target{device: "dev-1", channel: 1}, true},
		{"/dev-1/Streaming/channels/1702", "", target{device: "dev-1", channel: 17, quality: upstream.Sub}, true},
		{"/dev-1/3/playback", "starttime=20260101T100000Z", target{device: "dev-1", channel: 3, playback: true, from: from}, true},
		{"/dev-1/3/playback", "starttime=20260101T100000&endtime=20260101T100001z",
			target{device: "dev-1", channel: 3, playback: true, from: from, to: from.Add(time.Second)}, true},
		{"/dev-1/3/playback", "starttime=now", target{device: "dev-1", channel: 3, playback: true}, true},
		{"/dev-1/Streaming/tracks/201", "starttime=20260101T100000Z", target{device: "dev-1", channel: 2, playback: true, from: from}, true},
		{path: ""}, {path: "/"}, {path: "/dev-1"}, {path: "/dev-1/"}, {path: "dev-1/1"}, {path: "//1"}, {path: "/dev-1/0"},
		{path: "/dev-1/512"}, {path: "/dev-1/01"}, {path: "/dev-1/+1"}, {path: "/dev-1/-1"}, {path: "/dev-1/1/main"},
		{path: "/dev-1/1/sub/x"}, {path: "/../1"}, {path: "/.a/1"}, {path: "/de v/1"}, {path: "/dev_1/1"},
		{path: "/dev-1/Streaming/Channels/1"}, {path: "/dev-1/Streaming/Channels/103"}, {path: "/dev-1/Streaming/Channels/001"},
		{path: "/dev-1/Streaming/tracks/102"}, {path: "/dev-1/Streaming"}, {path: "/" + strings.Repeat("a", 81) + "/1"},
	} {
		got, ok := parseTarget(c.path, c.query)
		if got != c.want || ok != c.ok {
			t.Errorf("parseTarget(%q, %q) = %+v, %v; want %+v, %v", c.path, c.query, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/dev-1/1", "/dev-1/1/sub", "/d/1/playback", "/d/Streaming/Channels/101", "/d/Streaming/tracks/101"} {
		f.Add(s, "starttime=20260101T100000Z&endtime=20260101T100001Z")
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		got, ok := parseTarget(path, query)
		if !ok {
			if got != (target{}) {
				t.Errorf("refused, and yet %+v", got)
			}
			return
		}
		if got.channel < 1 || got.channel > privilege.MaxChannel || !validDeviceName(got.device) {
			t.Errorf("accepted %+v", got)
		}
		if !strings.HasPrefix(strings.ToLower(path), "/"+got.device+"/") {
			t.Errorf("%q names device %q", path, got.device)
		}
		if got.playback != strings.Contains(path, "playback") && got.playback != strings.Contains(strings.ToLower(path), "/tracks/") {
			t.Errorf("%q is playback: %v", path, got.playback)
		}
	})
}

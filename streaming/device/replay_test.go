package device

import (
	"net/url"
	"strings"
	"testing"
)

// TestReplay: where a camera replays a channel, at its own host.
func TestReplay(t *testing.T) {
	cam := asked(startCamera(t))
	client := newClient(t)
	address, ahead, err := client.Replay(t.Context(), cam, 2)
	if err != nil || !strings.HasPrefix(address, "rtsp://127.") || !strings.HasSuffix(address, "/onvif/replay/recording_2") || ahead != 0 {
		t.Errorf("%q, %v, %v", address, ahead, err)
	}
	if _, _, err := client.Replay(t.Context(), cam, 9); err == nil {
		t.Error("a channel that the camera does not have")
	}
	cam.ONVIFURL = ""
	if _, _, err := client.Replay(t.Context(), cam, 1); kindIn(err) != Unsupported {
		t.Errorf("without ONVIF: %v", err)
	}
}

func TestReplayAddresses(t *testing.T) {
	for said, want := range map[string]string{
		"rtsp://192.168.1.10/replay?id=1&x": "rtsp://cam.example/replay?id=1&x", "rtsp://u:p@10.0.0.1:8554/a#b": "rtsp://cam.example:8554/a",
		"rtsps://[fe80::1]/": "rtsps://cam.example/", "http://10.0.0.1/": "", "": "", "rtsp://": "", "rtsp://a/" + strings.Repeat("x", maxReplayURI): "",
	} {
		base, _ := url.Parse("http://cam.example:80/onvif/device_service")
		got, err := (&onvif{httpSession: &httpSession{base: base}}).ofDevice(said)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.60q: %q, %v", said, got, err)
		}
	}
}

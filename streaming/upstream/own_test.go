package upstream

import (
	"net"
	"testing"

	"latchkey/streaming/cameratest"
)

func TestMarkOfADoor(t *testing.T) {
	for value, want := range map[string]bool{
		"Latchkey": true, " latchkey ": true, "Latchkey/1.2 (door)": true, "Lavf60.3.100": false, "GStreamer/1.22.0": false, "": false, "Latchkeys": false,
	} {
		if got := IsAgent([]string{value}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// TestOwnAddressesAsTheyAreWritten: what the API refuses before it is dialled.
func TestOwnAddressesAsTheyAreWritten(t *testing.T) {
	h := open(t, nil)
	rtsp, http := cameratest.Listen(t, func(net.Conn) {}), cameratest.Listen(t, func(net.Conn) {})
	for _, listener := range []string{rtsp, http} {
		addr, err := net.ResolveTCPAddr("tcp", listener)
		if err != nil {
			t.Fatal(err)
		}
		h.NeverDial(addr)
	}
	_, port, _ := net.SplitHostPort(rtsp)
	for address, want := range map[string]bool{
		"rtsp://127.0.0.1:" + port + "/dev-1/1": true,
		"rtsp://LOCALHOST:" + port + "/":        true,
		"rtsp://localhost.:" + port + "/":       true,
		"rtsps://[::1]:" + port:                 true,
		"rtsp://[::ffff:127.0.0.1]:" + port:     true,
		"rtsp://u:p@0.0.0.0:" + port:            true,
		"http://" + http + "/ISAPI":             true,
		"rtsp://127.0.0.1/":                     false,
		"rtsp://192.0.2.7:" + port + "/":        false,
		"rtsp://camera.example:" + port + "/":   false,
		"rtsp://[" + port + "/":                 false,
		"":                                      false,
		"rtsp://127.0.0.1:99999/":               false,
	} {
		if got := h.IsOwn(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}

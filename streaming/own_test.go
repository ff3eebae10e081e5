package streaming

import (
	"io"
	"net"
	"net/netip"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"latchkey/domain/privilege"
)

// relayed is an address from which TCP connections are passed on, as by NAT.
func relayed(t *testing.T, to string) string {
	return listenAs(t, func(c net.Conn) {
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { _, _ = io.Copy(up, c); up.Close() }()
		_, _ = io.Copy(c, up)
	})
}

func (h *house) cameraErrors(label string) float64 {
	var m dto.Metric
	_ = h.metrics.dialErrors.WithLabelValues(label).Write(&m)
	return m.GetCounter().GetValue()
}

// TestTheDoorIsNoCamera: ann, who may watch dev-1, adds the door's own stream as
// her camera dev-2 and shares it with carl. He sees nothing, whatever address or
// name leads to the door.
func TestTheDoorIsNoCamera(t *testing.T) {
	h := open(t, (&fakeCamera{}).start(t))
	h.grants.key(Key{Name: "kcarl", Account: "carl"}, "secret")
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1:" + port, "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "[::ffff:7f00:1]:" + port, "[::1]:" + port, "127.0.0.9:" + port, "0.0.0.0:" + port, "[::]:" + port}
	local, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range local {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			hosts = append(hosts, net.JoinHostPort(p.Addr().String(), port))
		}
	}
	for _, host := range hosts {
		refuses(t, h, host, "denied address")
	}
	refuses(t, h, relayed(t, h.addr), "status 403")

	// What is refused is the door, not the way: a camera is seen through the relay.
	h.sources.set("dev-3", 1, Main, Source{URL: "rtsp://" + relayed(t, h.camera.addr) + "/x"})
	h.grants.grant("carl", "dev-3", 1, privilege.LiveView)
	if got := h.status(t, "/dev-3/1", "kcarl:secret"); got != 200 {
		t.Errorf("a camera behind a relay: status %d", got)
	}
}

// refuses lets carl watch dev-2, whose camera is ann's stream at the host.
func refuses(t *testing.T, h *house, host, label string) {
	t.Helper()
	h.pool.mu.Lock()
	h.pool.streams, h.pool.cameras = map[upstreamOf]*upstream{}, map[cameraAt]*camera{} // no backoff
	h.pool.mu.Unlock()
	h.sources.set("dev-2", 1, Main, Source{URL: "rtsp://" + host + "/dev-1/1", Username: "kann", Password: "secret"})
	h.grants.grant("carl", "dev-2", 1, privilege.LiveView)
	before := h.cameraErrors(label)
	if got := h.status(t, "/dev-2/1", "kcarl:secret"); got != 503 {
		t.Errorf("the door as the camera %s: status %d, want 503", host, got)
	}
	eventually(t, "the door as the camera "+host+" is counted as "+label, func() bool { return h.cameraErrors(label) > before })
}

// TestAnotherDoorIsNoCamera: another process is known by its answers.
func TestAnotherDoorIsNoCamera(t *testing.T) {
	far := open(t, (&fakeCamera{}).start(t))
	h := open(t, nil)
	h.sources.set("dev-1", 1, Main, Source{URL: "rtsp://" + far.addr + "/dev-1/1", Username: "kann", Password: "secret"})
	if got := h.status(t, "/dev-1/1", annKey); got != 503 {
		t.Errorf("another door as a camera: status %d, want 503", got)
	}
	eventually(t, "it is counted", func() bool { return h.cameraErrors("status 403") == 1 })
}

// TestADoorIsNoPlayer: whatever the other door is, and whatever key it has, it
// is refused by its mark; a player with the same key is not.
func TestADoorIsNoPlayer(t *testing.T) {
	h := open(t, (&fakeCamera{}).start(t))
	for _, method := range []string{"DESCRIBE", "SETUP"} {
		p := h.player(t, "/dev-1/1", annKey)
		r, err := p.do(method, p.url+"/trackID=0", "User-Agent: Latchkey", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
		if err != nil || r.status != 403 {
			t.Errorf("%s of a door: %v, %v", method, r, err)
		}
	}
	p := h.player(t, "/dev-1/1", annKey) // one that shows the mark once only
	if r, err := p.do("OPTIONS", p.url, "User-Agent: Latchkey"); err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	if r, err := p.describe(); err != nil || r.status != 403 {
		t.Errorf("DESCRIBE after a marked OPTIONS: %v, %v", r, err)
	}
	var m dto.Metric
	_ = h.metrics.refused.WithLabelValues("loop").Write(&m)
	if n := m.GetCounter().GetValue(); n != 3 {
		t.Errorf("counted %v times, want 3", n)
	}
	if got := h.status(t, "/dev-1/1", annKey); got != 200 {
		t.Errorf("a player: status %d", got)
	}
}

func TestMarkOfADoor(t *testing.T) {
	for value, want := range map[string]bool{
		"Latchkey": true, " latchkey ": true, "Latchkey/1.2 (door)": true, "Lavf60.3.100": false, "GStreamer/1.22.0": false, "": false, "Latchkeys": false,
	} {
		if got := isAgent([]string{value}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// TestOwnAddressesAsTheyAreWritten: what the API refuses before it is dialled.
func TestOwnAddressesAsTheyAreWritten(t *testing.T) {
	h := open(t, nil)
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	http := listenAs(t, func(net.Conn) {})
	addr, err := net.ResolveTCPAddr("tcp", http)
	if err != nil {
		t.Fatal(err)
	}
	h.NeverDial(addr)
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

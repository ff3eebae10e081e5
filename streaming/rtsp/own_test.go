package rtsp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// relayed is an address from which TCP connections are passed on, as by NAT.
func relayed(t *testing.T, to string) string {
	return cameratest.Listen(t, func(c net.Conn) {
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { _, _ = io.Copy(up, c); up.Close() }()
		_, _ = io.Copy(c, up)
	})
}

// TestTheDoorIsNoCamera: ann, who may watch dev-1, adds the door's own stream as
// her camera dev-2-0 and shares it with carl. He sees nothing, whatever address or
// name leads to the door.
func TestTheDoorIsNoCamera(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	h.grants.key(access.Key{Name: "kcarl", Account: "carl"}, "secret")
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
	for n, host := range append(hosts, relayed(t, h.addr)) {
		label := "denied address"
		if n == len(hosts) {
			label = "status 403"
		}
		h.refuses(t, fmt.Sprint("dev-2-", n), host, label)
	}
	if !h.pool.IsOwn("rtsp://" + h.addr + "/dev-1/1") {
		t.Error("the door's own address is not known")
	}

	// What is refused is the door, not the way: a camera is seen through the relay.
	h.sources.set("dev-3", 1, upstream.Main, upstream.Source{URL: "rtsp://" + relayed(t, h.camera.Addr) + "/x"})
	h.grants.grant("carl", "dev-3", 1, privilege.LiveView)
	if got := h.status(t, "/dev-3/1", "kcarl:secret"); got != 200 {
		t.Errorf("a camera behind a relay: status %d", got)
	}
}

// refuses lets carl watch a device, whose camera is ann's stream at the host.
func (h *house) refuses(t *testing.T, device, host, label string) {
	t.Helper()
	h.sources.set(device, 1, upstream.Main, upstream.Source{URL: "rtsp://" + host + "/dev-1/1", Username: "kann", Password: "secret"})
	h.grants.grant("carl", device, 1, privilege.LiveView)
	before := h.cameraErrors(t, label)
	if got := h.status(t, "/"+device+"/1", "kcarl:secret"); got != 503 {
		t.Errorf("the door as the camera %s: status %d, want 503", host, got)
	}
	eventually(t, "the door as the camera "+host+" is counted as "+label, func() bool { return h.cameraErrors(t, label) > before })
}

// TestAnotherDoorIsNoCamera: another process is known by its answers.
func TestAnotherDoorIsNoCamera(t *testing.T) {
	far := open(t, (&cameratest.Camera{}).Start(t))
	h := open(t, nil)
	h.sources.set("dev-1", 1, upstream.Main, upstream.Source{URL: "rtsp://" + far.addr + "/dev-1/1", Username: "kann", Password: "secret"})
	if got := h.status(t, "/dev-1/1", annKey); got != 503 {
		t.Errorf("another door as a camera: status %d, want 503", got)
	}
	eventually(t, "it is counted", func() bool { return h.cameraErrors(t, "status 403") == 1 })
}

// TestADoorIsNoPlayer: whatever the other door is, and whatever key it has, it
// is refused by its mark; a player with the same key is not.
func TestADoorIsNoPlayer(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
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

package rtsp

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
	"latchkey/streaming/upstream"
)

// TestCloseEndsEverything: viewers, upstreams and dials; twice is as good as once.
func TestCloseEndsEverything(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	h.grants.grant("ann", "dev-2", 1, privilege.LiveView)
	h.sources.set("dev-2", 1, upstream.Main, upstream.Source{URL: "rtsp://" + cameratest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) + "/x"})
	tcp, _ := h.watching(t, "/dev-1/1", annKey, "tcp"), h.watching(t, "/dev-1/1", annKey, "udp")
	waiting := h.player(t, "/dev-2/1", annKey)
	if err := waiting.send("DESCRIBE", waiting.url); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a dial is in progress", func() bool { return h.upstreams(t, "dialing") == 1 })
	over := make(chan error, 1)
	go func() { over <- h.Wait() }()
	for range 2 {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-over; err != nil {
		t.Errorf("Wait: %v", err)
	}
	if _, err := tcp.drain(); err == nil {
		t.Error("the viewer is not ended")
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
	if h.viewers.count() != 0 {
		t.Errorf("%d viewers are left", h.viewers.count())
	}
}

func TestStartSaysWhatFails(t *testing.T) {
	h := open(t, nil)
	for _, cfg := range []Config{{Address: h.addr}, {Address: "127.0.0.1:0", UDPAddress: h.server.UDPRTPAddress}} {
		cfg.Access, cfg.Secrets, cfg.Upstreams = h.grants, h.grants, h.pool
		door, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := door.Start(); err == nil || !strings.Contains(err.Error(), "listening for RT") {
			t.Errorf("%+v: %v", cfg, err)
		}
		if err := door.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPacketsGoToWhoeverAsked: a viewer cannot have them sent to somebody else.
func TestPacketsGoToWhoeverAsked(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	victim, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	port := victim.LocalAddr().(*net.UDPAddr).Port
	p := h.player(t, "/dev-1/1", annKey)
	if _, err := p.describe(); err != nil {
		t.Fatal(err)
	}
	r, err := p.do("SETUP", p.controls[0], fmt.Sprintf("Transport: RTP/AVP;unicast;destination=127.0.0.2;client_port=%d-%d", port, port+1))
	if err != nil || r.status == 200 && strings.Contains(r.header.Get("Transport"), "127.0.0.2") {
		t.Fatal(r, err)
	}
	if r.status == 200 {
		if _, err := p.play(); err != nil {
			t.Fatal(err)
		}
	}
	_ = victim.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // five frames
	if n, err := victim.Read(make([]byte, 2048)); err == nil {
		t.Errorf("%d bytes reached somebody else", n)
	}
}

// TestRecheckDoesNotWaitForCameras: a UDP viewer whose connection waits for
// another camera is cut as quickly as any.
func TestRecheckDoesNotWaitForCameras(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour; c.Up.DialTimeout = time.Minute })
	h.grants.grant("ann", "dev-2", 1, privilege.LiveView)
	h.sources.set("dev-2", 1, upstream.Main, upstream.Source{URL: "rtsp://" + cameratest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) + "/x"})
	p := h.watching(t, "/dev-1/1", annKey, "udp")
	if err := p.receive(5); err != nil {
		t.Fatal(err)
	}
	if err := p.send("DESCRIBE", "rtsp://"+h.addr+"/dev-2/1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a dial is in progress", func() bool { return h.upstreams(t, "dialing") == 1 })
	h.grants.remove("ann", "dev-1")
	h.recheck(t, "ann", "dev-1", "")
	if h.viewers.count() != 0 {
		t.Error("the viewer has not ended")
	}
	if p.hears() {
		t.Error("packets come after the answer")
	}
}

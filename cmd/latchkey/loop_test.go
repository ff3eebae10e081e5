package main

import (
	"io"
	"net"
	"strings"
	"testing"
)

// relay passes TCP connections on, as NAT or a forwarded port does.
func relay(t *testing.T, to string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			down, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				down.Close()
				continue
			}
			go func() { _, _ = io.Copy(up, down); up.Close() }()
			go func() { _, _ = io.Copy(down, up); down.Close() }()
		}
	}()
	return ln.Addr().String()
}

// TestNobodySharesOnThroughTheDoor: a recipient adds the shared stream as a
// camera of their own and shares it with somebody whom the owner does not know.
func TestNobodySharesOnThroughTheDoor(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner, recipient, third := s.register(t, "owner"), s.register(t, "recipient"), s.register(t, "third")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	name, secret, _ := strings.Cut(recipient.streamKey(), ":")
	path := "/" + device + "/1"
	if got := describeStatus(t, s.rtsp, path, name+":"+secret); got != 200 {
		t.Fatalf("the recipient: status %d", got)
	}

	for field, url := range map[string]string{"rtsp_url": "rtsp://" + s.rtsp + path, "isapi_url": "http://" + s.http + "/ISAPI"} {
		body := map[string]any{"name": "Mine", "rtsp_url": "rtsp://" + cam.addr + "/h264", "username": name, "password": secret}
		body[field] = url
		err := recipient.call("POST", "/devices", body, nil)
		if err == nil || !strings.Contains(err.Error(), "422") {
			t.Errorf("%s %s: %v, want status 422", field, url, err)
		}
	}

	again := recipient.addDevice("rtsp://"+relay(t, s.rtsp)+path, name, secret)
	onward := recipient.share(third, again, "live_view")
	third.accept(onward, again)
	if got := describeStatus(t, s.rtsp, "/"+again+"/1", third.streamKey()); got != 503 {
		t.Errorf("the stream shared on: status %d, want 503", got)
	}
	if got := describeStatus(t, s.rtsp, path, name+":"+secret); got != 200 {
		t.Errorf("the recipient afterwards: status %d", got)
	}
}

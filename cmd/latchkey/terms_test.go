package main

import (
	"testing"
	"time"
)

// TestTheEndOfAShareEndsTheViewer: a viewer sees until the end of the share, and not
// longer; moving the end before that ends nothing, and moving it afterwards lets the
// viewer in again.
func TestTheEndOfAShareEndsTheViewer(t *testing.T) {
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	path, key := "/"+device+"/1", recipient.streamKey()
	ends := func(at time.Time) {
		t.Helper()
		body := invitation(device, "live_view")
		body["terms"] = map[string]any{"until": at}
		owner.must("PUT", "/shares/"+share+"/devices/"+device, body, nil)
	}
	ends(time.Now().Add(time.Hour))
	viewer, bystander := watching(t, s.rtsp, path, key, "tcp"), watching(t, s.rtsp, path, owner.streamKey(), "tcp")
	end := time.Now().Add(4 * time.Second)
	ends(end)
	n, err := drain(viewer)
	if late := time.Since(end); err == nil || late < 0 || late > time.Second {
		t.Errorf("after %d bytes %v, %v after the end", n, err, late)
	}
	if code := describeStatus(t, s.rtsp, path, key); code != 403 {
		t.Errorf("after the end: status %d", code)
	}
	if _, err := readOn(bystander); err != nil {
		t.Errorf("the owner's own viewer: %v", err)
	}
	ends(time.Now().Add(time.Hour))
	if code := describeStatus(t, s.rtsp, path, key); code != 200 {
		t.Errorf("after the end was moved: status %d", code)
	}
}

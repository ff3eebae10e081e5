package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ffprobe plays a stream and answers how many packets of video it read: 30 at
// most, however long that takes.
func ffprobe(t testing.TB, transport, url string) int {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-rtsp_transport", transport, "-read_intervals", "%+#30",
		"-show_entries", "packet=size", "-select_streams", "v", "-of", "csv", url).CombinedOutput()
	if err != nil {
		t.Errorf("ffprobe over %s: %v: %s", transport, err, tail(string(out), 1000))
	}
	return strings.Count(string(out), "packet,")
}

// gstreamer plays a stream with rtspsrc until n buffers have come. It is judged by
// these, not by its exit status: while it ends, rtspsrc's CLOSE may interrupt its
// own PAUSE, which it reports as an error.
func gstreamer(t testing.TB, transport, url string, n int) {
	t.Helper()
	out, err := exec.Command("timeout", "120", "gst-launch-1.0", "-v", "rtspsrc", "location="+url, "protocols="+transport, "latency=0",
		"!", "application/x-rtp,media=video", "!", "identity", "name=seen", "silent=false", fmt.Sprintf("eos-after=%d", n+1), "!", "fakesink").CombinedOutput()
	if got := strings.Count(string(out), "seen: last-message = chain"); got < n || !strings.Contains(string(out), "Got EOS") {
		t.Errorf("rtspsrc over %s: %d of %d buffers, %v: %s", transport, got, n, err, tail(string(out), 1000))
	}
}

// TestDemoPlays is what `make run` shows.
func TestDemoPlays(t *testing.T) {
	p := newProcess(binary, "demo", "--data", t.TempDir(), "--http", freeAddr(t), "--rtsp", freeAddr(t), "--metrics", metricsOff)
	var ready readyLine
	if err := json.Unmarshal([]byte(firstLine(t, p)), &ready); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{ready.OwnerLink, ready.RecipientLink} {
		at, secret, _ := strings.Cut(link, "/enter#")
		b := newVisitor(t, at)
		if path, page := b.fill("/enter", "secret", secret); path != "/live" || !strings.Contains(page, "Front door") {
			t.Errorf("%s leads to %s: %s", link, path, page)
		}
		if path, page := newVisitor(t, at).fill("/enter", "secret", secret); path != "/enter" || !strings.Contains(page, "This link no longer logs in.") {
			t.Errorf("%s works twice: %s: %s", link, path, page)
		}
	}
	for _, transport := range []string{"tcp", "udp"} {
		if n := ffprobe(t, transport, ready.Watch); n < 20 {
			t.Errorf("ffprobe over %s read %d packets", transport, n)
		}
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("Ctrl-C: exit status %d", code)
	}
}

// TestMainJob: an owner shares a camera, the recipient accepts and watches with
// players that we did not write; everybody else is refused.
func TestMainJob(t *testing.T) {
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner, recipient, stranger := s.register(t, "owner"), s.register(t, "recipient"), s.register(t, "stranger")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	path := "/" + device + "/1"
	key := recipient.streamKey()
	url := "rtsp://" + key + "@" + s.rtsp + path

	expect := func(when, key string, want int) {
		t.Helper()
		if got := describeStatus(t, s.rtsp, path, key); got != want {
			t.Errorf("%s: status %d, want %d", when, got, want)
		}
	}
	expect("no key", "", 401)
	expect("a wrong secret", key+"x", 401)
	expect("before the share", key, 404)
	share := owner.share(recipient, device, "live_view")
	expect("invited", key, 404)
	if err := stranger.call("POST", "/shares/"+share+"/devices/"+device+"/accept", nil, nil); err == nil {
		t.Error("a stranger accepted the invitation")
	}
	recipient.accept(share, device)
	expect("accepted", key, 200)
	expect("a stranger's key", stranger.streamKey(), 404)
	expect("the owner's key", owner.streamKey(), 200)

	for _, transport := range []string{"tcp", "udp"} {
		if n := ffprobe(t, transport, url); n < 20 {
			t.Errorf("ffprobe over %s read %d packets", transport, n)
		}
		gstreamer(t, transport, url, 40)
	}

	owner.must("PUT", "/shares/"+share+"/devices/"+device, invitation(device, "playback"), nil)
	expect("no live view any more", key, 403)
	owner.must("PUT", "/shares/"+share+"/devices/"+device, invitation(device, "live_view"), nil)
	expect("live view again", key, 200)
	owner.must("POST", "/shares/"+share+"/pause", nil, nil)
	expect("paused", key, 403)
	expect("the owner's key while it is paused", owner.streamKey(), 200)
	owner.must("POST", "/shares/"+share+"/resume", nil, nil)
	if n := ffprobe(t, "tcp", url); n < 20 {
		t.Errorf("after it was resumed ffprobe read %d packets", n)
	}
	recipient.must("PUT", "/shares/"+share+"/devices/"+device+"/domain", map[string]any{"domain": "neighbour"}, nil)
	if got := describeStatus(t, s.rtsp, "/neighbour/1", key); got != 200 {
		t.Errorf("by the device domain: status %d", got)
	}
	if code := s.stop(t); code != 0 {
		t.Errorf("Ctrl-C: exit status %d", code)
	}
}

// TestEveryCodecPasses: the door forwards what cameras send, without transcoding.
func TestEveryCodecPasses(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "basic")
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	key := owner.streamKey()
	for mount, want := range map[string]string{
		"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg", "aac": "h264 aac", "pcma": "h264 pcm_alaw", "opus": "h264 opus",
	} {
		device := owner.addDevice("rtsp://"+cam.addr+"/"+mount, cameraUser, cameraPassword)
		out, err := exec.Command("ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name", "-of", "csv=p=0",
			"rtsp://"+key+"@"+s.rtsp+"/"+device+"/1").CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
			t.Errorf("%s: ffprobe sees %q, %v; want %q", mount, got, err, want)
		}
	}
}

// TestHikvisionAddresses: players configured for the camera itself change the
// host and nothing else.
func TestHikvisionAddresses(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://"+cam.addr+"/Streaming/Channels/101", cameraUser, cameraPassword)
	key := owner.streamKey()
	for _, path := range []string{"/1", "/1/sub", "/Streaming/Channels/101", "/Streaming/Channels/102"} {
		if got := describeStatus(t, s.rtsp, "/"+device+path, key); got != 200 {
			t.Errorf("%s: status %d", path, got)
		}
	}
}

// TestEveryRevocationEndsTheViewer: whatever takes the privilege away, the
// viewers are cut before the command answers.
func TestEveryRevocationEndsTheViewer(t *testing.T) {
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	revocations := []struct {
		name string
		do   func(owner, recipient *user, share, device, key string)
	}{
		{"reject", func(_, r *user, share, device, _ string) {
			r.must("POST", "/shares/"+share+"/devices/"+device+"/reject", nil, nil)
		}},
		{"edit", func(o, _ *user, share, device, _ string) {
			o.must("PUT", "/shares/"+share+"/devices/"+device, invitation(device, "playback"), nil)
		}},
		{"save without the device", func(o, _ *user, share, _, _ string) {
			o.must("PUT", "/shares/"+share, map[string]any{"remark": "", "devices": []any{}}, nil)
		}},
		{"remove", func(o, _ *user, share, device, _ string) {
			o.must("DELETE", "/shares/"+share+"/devices/"+device, nil, nil)
		}},
		{"delete", func(o, _ *user, share, _, _ string) { o.must("DELETE", "/shares/"+share, nil, nil) }},
		{"pause", func(o, _ *user, share, _, _ string) { o.must("POST", "/shares/"+share+"/pause", nil, nil) }},
		{"pause the device", func(o, _ *user, share, device, _ string) {
			o.must("POST", "/shares/"+share+"/devices/"+device+"/pause", nil, nil)
		}},
		{"leave the device", func(_, r *user, share, device, _ string) {
			r.must("DELETE", "/shares/"+share+"/devices/"+device, nil, nil)
		}},
		{"leave the share", func(_, r *user, share, _, _ string) { r.must("DELETE", "/shares/"+share, nil, nil) }},
		{"device removal", func(o, _ *user, _, device, _ string) { o.must("DELETE", "/devices/"+device, nil, nil) }},
		{"stream key", func(_, r *user, _, _, key string) {
			name, _, _ := strings.Cut(key, ":")
			r.must("DELETE", "/stream-keys/"+name, nil, nil)
		}},
	}
	for i, rev := range revocations {
		t.Run(strings.ReplaceAll(rev.name, " ", "-"), func(t *testing.T) {
			o, r := *owner, s.register(t, fmt.Sprintf("recipient%d", i))
			o.t = t
			device := o.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
			share := o.share(r, device, "live_view")
			r.accept(share, device)
			key := r.streamKey()
			ownersKey := o.streamKey()
			tcp := watching(t, s.rtsp, "/"+device+"/1", key, "tcp")
			udp := watching(t, s.rtsp, "/"+device+"/1", key, "udp")
			bystander := watching(t, s.rtsp, "/"+device+"/1", ownersKey, "tcp")
			if _, err := tcp.packet(); err != nil {
				t.Fatalf("the viewer sees nothing: %v", err)
			}
			buf := make([]byte, 2048)
			_ = udp.udp[0].SetReadDeadline(time.Now().Add(patience))
			if _, _, err := udp.udp[0].ReadFrom(buf); err != nil {
				t.Fatalf("the viewer over UDP sees nothing: %v", err)
			}

			rev.do(&o, r, share, device, key)

			// What the kernel had taken before the answer may still be read.
			drained, err := drain(tcp)
			if err == nil || drained > 128<<10 {
				t.Errorf("over TCP %d bytes came after the answer, then %v", drained, err)
			}
			drainUDP(udp.udp[0])
			_ = udp.udp[0].SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			if n, _, err := udp.udp[0].ReadFrom(buf); err == nil {
				t.Errorf("over UDP a packet of %d bytes came after the answer", n)
			}
			if code := describeStatus(t, s.rtsp, "/"+device+"/1", key); code < 401 || code > 404 {
				t.Errorf("the door is open: status %d", code)
			}
			_, err = readOn(bystander)
			if ends := rev.name == "device removal"; ends != (err != nil) {
				t.Errorf("the owner's own viewer: %v", err)
			}
		})
	}
}

// readOn reads packets for a while longer than any buffer holds some.
func readOn(v *rawViewer) (n int, err error) {
	_ = v.conn.SetDeadline(time.Now().Add(patience))
	for n < 300 && err == nil {
		_, err = v.packet()
		n++
	}
	return n, err
}

// drain reads a viewer's connection to its end and answers how many bytes were
// left in it.
func drain(v *rawViewer) (int, error) {
	_ = v.conn.SetReadDeadline(time.Now().Add(patience))
	n, buf := 0, make([]byte, 64<<10)
	for {
		m, err := v.in.Read(buf)
		n += m
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return n, nil
			}
			return n, err
		}
	}
}

// drainUDP drops what was received before now.
func drainUDP(pc net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		_ = pc.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, _, err := pc.ReadFrom(buf); err != nil {
			return
		}
	}
}

// TestAuditReplaysTheHistory: the auditor sees what happened, from the log.
func TestAuditReplaysTheHistory(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	data := t.TempDir()
	s := serve(t, binary, data)
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view", "ptz")
	recipient.accept(share, device)
	owner.must("DELETE", "/shares/"+share, nil, nil)
	socket := filepath.Join(data, "eventstore.sock")

	out, err := exec.Command(binary, "audit", "replay", "--data", data, "--eventstore", "unix://"+socket, "--share", share, "--format", "ndjson").Output()
	if err != nil {
		t.Fatalf("latchkey audit replay: %v", err)
	}
	var types []string
	for line := range strings.Lines(string(out)) {
		var e struct{ Type string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		types = append(types, strings.TrimSuffix(strings.TrimPrefix(e.Type, "latchkey.share."), ".v1"))
	}
	if got, want := strings.Join(types, " "), "opened invited accepted device_removed deleted"; got != want {
		t.Errorf("the history of the share is %q, want %q", got, want)
	}

	timeline, err := exec.Command(binary, "audit", "replay", "--data", data, "--eventstore", "unix://"+socket, "--device", device).Output()
	if err != nil || !strings.Contains(string(timeline), "live_view") || !strings.Contains(string(timeline), device) {
		t.Errorf("the timeline of the device: %v\n%s", err, timeline)
	}
}

// TestNothingReadableIsInTheLogsOrOnTheDisk: no address of a person, no remark,
// no camera credential and no secret stands readable in the data folder or in
// what the service prints.
func TestNothingReadableIsInTheLogsOrOnTheDisk(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	data := t.TempDir()
	s := serve(t, binary, data, "--log-level", "debug")
	owner, recipient := s.register(t, "needleowner"), s.register(t, "needlerecipient")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	key := recipient.streamKey()
	if n := ffprobe(t, "tcp", "rtsp://"+key+"@"+s.rtsp+"/"+device+"/1"); n == 0 {
		t.Error("nothing plays")
	}
	owner.must("DELETE", "/shares/"+share, nil, nil)
	_, secret, _ := strings.Cut(key, ":")
	if code := s.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	needles := []string{"needleowner", "needlerecipient", "a neighbour", "Front door", cameraPassword, secret, owner.token, recipient.token, userPassword}
	found := func(where, text string) {
		for _, n := range needles {
			if strings.Contains(text, n) {
				t.Errorf("%q stands readable in %s", n, where)
			}
		}
	}
	found("what the service printed", s.said())
	files := 0
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		found(path, string(raw))
		files++
		return err
	})
	if err != nil || files < 3 {
		t.Fatalf("%d files were read: %v", files, err)
	}
}

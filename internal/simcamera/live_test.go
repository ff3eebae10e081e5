package simcamera

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/simcamera/picture"
)

// start runs a camera on free ports of the loopback, closed at the end of the test,
// which from here on runs beside others.
func start(t *testing.T, change func(*Config)) *Camera {
	t.Helper()
	t.Parallel()
	cfg := Config{RTSP: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	if change != nil {
		change(&cfg)
	}
	c, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// tool runs a program that we did not write and returns what it puts out; anything
// that it complains about fails the test.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, said, err := try(t, name, args...)
	if err != nil || said != "" {
		t.Fatalf("%s: %v\n%s", name, err, said)
	}
	return out
}

func try(t *testing.T, name string, args ...string) (out []byte, said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), stderr.String(), err
}

// gray decodes the first n pictures of a stream to luma.
func gray(t *testing.T, url, transport string, n, width, height int) [][]byte {
	t.Helper()
	out := tool(t, "ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url, "-an",
		"-frames:v", strconv.Itoa(n), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	if len(out) != n*width*height {
		t.Fatalf("ffmpeg gave %d bytes, want %d pictures of %dx%d", len(out), n, width, height)
	}
	var pictures [][]byte
	for i := range n {
		pictures = append(pictures, out[i*width*height:(i+1)*width*height])
	}
	return pictures
}

func TestFFmpegPlaysLive(t *testing.T) {
	c := start(t, nil)
	for _, transport := range []string{"tcp", "udp"} {
		for _, sub := range []bool{false, true} {
			before := time.Now()
			w, h := 640, 360
			if sub {
				w, h = 320, 180
			}
			pictures := gray(t, c.URL(1, sub), transport, 30, w, h)
			for i, p := range pictures {
				at, err := picture.ReadClock(p, w, h)
				if err != nil {
					t.Fatalf("%s, sub %v, picture %d: %v", transport, sub, i, err)
				}
				if at.Before(before.Add(-time.Second)) || at.After(time.Now()) {
					t.Errorf("%s, sub %v: the clock shows %v at %v", transport, sub, at, time.Now().UTC())
				}
			}
		}
	}
}

func TestFFprobeDescribesLive(t *testing.T) {
	c := start(t, nil)
	got := string(tool(t, "ffprobe", "-v", "warning", "-rtsp_transport", "tcp", "-of", "compact=p=0",
		"-show_entries", "stream=codec_name,profile,width,height,avg_frame_rate,sample_rate", c.URL(2, false)))
	want := "codec_name=h264|profile=Constrained Baseline|width=640|height=360|avg_frame_rate=25/1\n" +
		"codec_name=pcm_mulaw|profile=unknown|sample_rate=8000|avg_frame_rate=0/0"
	if strings.TrimSpace(got) != want {
		t.Errorf("ffprobe:\n%s\nwant\n%s", got, want)
	}
}

func TestGStreamerPlaysLive(t *testing.T) {
	c := start(t, nil)
	for _, transport := range []string{"tcp", "udp"} {
		const size, pictures = 640 * 360, 25
		out := beginning(t, size*pictures, "gst-launch-1.0", "-q", "rtspsrc", "location="+c.URL(1, false),
			"protocols="+transport, "latency=50", "!", "rtph264depay", "!", "h264parse", "!", "avdec_h264", "!",
			"videoconvert", "!", "video/x-raw,format=GRAY8", "!", "fdsink")
		for i := range pictures {
			if _, err := picture.ReadClock(out[i*size:], 640, 360); err != nil {
				t.Errorf("%s, picture %d: %v", transport, i, err)
			}
		}
	}
}

// beginning returns the first n bytes that a program puts out, and then ends it: how
// GStreamer takes leave is a matter of luck, and not what is tested.
func beginning(t *testing.T, n int, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, n)
	_, err = io.ReadFull(pipe, out)
	cancel()
	_ = cmd.Wait() // it was killed
	if err != nil || said.Len() > 0 {
		t.Fatalf("%s: %v\n%s", name, err, said.String())
	}
	return out
}

package rtsp_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/simcamera"
	"latchkey/projections/access"
	"latchkey/streaming/playback"
	"latchkey/streaming/rtsp"
	"latchkey/streaming/upstream"
)

// all lets the key kall:secret see everything.
type all struct{}

func (all) Key(name ids.Key) (access.Key, bool) {
	return access.Key{Name: name, Account: "ann"}, name == "kall"
}
func (all) Live(time.Time) bool                                   { return true }
func (all) Pulse() *access.Pulse                                  { return nil }
func (all) Resolve(_ ids.Account, name string) (ids.Device, bool) { return ids.Device(name), true }
func (all) Gone(ids.Device, time.Time) bool                       { return false }
func (all) Owner(ids.Device) string                               { return "owner" }
func (all) Secret(context.Context, ids.Key) (string, error)       { return "secret", nil }
func (all) Playable(_ ids.Account, _ ids.Device, _ int, within privilege.Interval, _ time.Time, _ time.Duration) (privilege.Interval, bool) {
	return within, !within.Empty()
}
func (a all) Pair(ids.Account, ids.Device) access.Pair { return a }
func (all) Check(int, privilege.Set, time.Time) access.Standing {
	return access.Standing{Verdict: access.Allowed}
}

// open is what all gives out.
type open struct {
	all
	*access.Permits
}

// simulated is the simulated camera.
type simulated struct{ addr string }

func (s simulated) Camera(_ context.Context, _ ids.Device, channel int, q upstream.Quality) (upstream.Source, error) {
	return upstream.Source{
		URL: fmt.Sprintf("rtsp://%s/Streaming/Channels/%d%02d", s.addr, channel, q+1), Username: "admin", Password: "camera-pass",
	}, nil
}

func (s simulated) Recordings(ctx context.Context, device ids.Device, channel int, _ bool) (playback.Source, error) {
	live, err := s.Camera(ctx, device, channel, upstream.Main)
	source, _ := playback.Track(live.URL)
	source.Username, source.Password = live.Username, live.Password
	return source, err
}

func (all) Owns(ids.Account, ids.Device) bool { return true }

// TestPlayersThatWeDidNotWrite plays the simulated camera through the door with
// ffprobe and GStreamer, over TCP and UDP, as they come.
func TestPlayersThatWeDidNotWrite(t *testing.T) {
	cam, err := simcamera.Start(t.Context(), simcamera.Config{RTSP: "127.0.0.1:0", Username: "admin", Password: "camera-pass"})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	pool, err := upstream.New(upstream.Config{Cameras: simulated{cam.RTSPAddr()}, Privileges: all{}, Allow: func(netip.Addr) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = pool.Run(ctx) })
	defer ended.Wait()
	defer stop()
	_, certificate := rtsp.SelfSigned(t)
	door, err := rtsp.New(rtsp.Config{
		Address: "127.0.0.1:0", Access: open{all{}, access.NewPermits(all{}, nil, nil)}, Secrets: all{}, Upstreams: pool,
		TLSAddress: "127.0.0.1:0", Certificate: certificate,
		Recorders: playback.New(playback.Config{Sources: simulated{cam.RTSPAddr()}, Contact: pool.Contact}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Start(); err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	// Players leave by themselves when a recording is over.
	recorded := "/dev-1/1/playback?starttime=20260101T100000Z&endtime=20260101T100001Z"
	for transport, addr := range map[string]string{"tcp": "rtsp://kall:secret@" + door.Addr().String(), "udp": "rtsp://kall:secret@" + door.Addr().String()} {
		out, err := exec.CommandContext(t.Context(), "timeout", "60", "ffprobe", "-v", "error", "-rtsp_transport", transport,
			"-show_entries", "packet=size", "-select_streams", "v", "-of", "csv", addr+recorded).CombinedOutput()
		if n := strings.Count(string(out), "packet,"); err != nil || n != 25 {
			t.Errorf("ffprobe plays a recording over %s: %d packets, %v: %.500s", transport, n, err, out)
		}
		out, err = exec.CommandContext(t.Context(), "timeout", "60", "gst-launch-1.0", "rtspsrc", "location="+addr+recorded, "protocols="+transport, "latency=0",
			"!", "application/x-rtp,media=video", "!", "fakesink").CombinedOutput()
		if !strings.Contains(string(out), "Got EOS") {
			t.Errorf("GStreamer plays a recording over %s: %v: %.1000s", transport, err, out)
		}
	}
	for _, c := range []struct{ scheme, path, transport string }{
		{"rtsp", "/dev-1/1", "tcp"},
		{"rtsp", "/dev-1/1", "udp"},
		{"rtsp", "/dev-1/Streaming/Channels/102?transportmode=unicast", "tcp"},
		{"rtsp", "/dev-1/Streaming/Channels/102?transportmode=unicast", "udp"},
		{"rtsps", "/dev-1/1", "tcp"},
		{"rtsps", "/dev-1/1?srtp", "udp"},
	} {
		addr := door.Addr()
		if c.scheme == "rtsps" {
			addr = door.SecureAddr()
		}
		url := c.scheme + "://kall:secret@" + addr.String() + c.path
		out, err := exec.CommandContext(t.Context(), "timeout", "120", "ffprobe", "-v", "error", "-rtsp_transport", c.transport, "-read_intervals", "%+#20",
			"-show_entries", "packet=size", "-select_streams", "v", "-of", "csv", url).CombinedOutput()
		if n := strings.Count(string(out), "packet,"); err != nil || n < 20 {
			t.Errorf("ffprobe %+v: %d packets, %v: %.500s", c, n, err, out)
		}
		// It is judged by what it played, not by its exit status: while it ends,
		// rtspsrc's CLOSE may interrupt its own PAUSE, which it reports as an error.
		out, err = exec.CommandContext(t.Context(), "timeout", "120", "gst-launch-1.0", "-v", "rtspsrc", "location="+url, "protocols="+c.transport, "latency=0", "tls-validation-flags=0",
			"!", "application/x-rtp,media=video", "!", "identity", "name=seen", "silent=false", "eos-after=31", "!", "fakesink").CombinedOutput()
		if n := strings.Count(string(out), "seen: last-message = chain"); n < 30 || !strings.Contains(string(out), "Got EOS") {
			t.Errorf("GStreamer %+v: %d packets, %v: %s", c, n, err, out[max(0, len(out)-1000):])
		}
	}
}

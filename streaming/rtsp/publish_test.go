package rtsp

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
)

const announced = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkAoEf+yA==,aM48gA==\r\na=control:streamid=0\r\n" +
	"m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:streamid=1\r\n"

// publishing is a house whose account has a publishing key of channel 1 of dev-1.
func publishing(t testing.TB, camera *cameratest.Camera) (h *house, key string) {
	t.Helper()
	h = open(t, camera, func(c *config) { c.Up.SilenceLimit = 2 * time.Second })
	return h, h.publishingKey("dev-1", 1, "abc")
}

func (h *house) publishingKey(device string, channel int, random string) string {
	name := ids.PublishingKey(channel, random)
	h.grants.key(access.Key{Name: name, Account: "ann", Device: ids.Device(device)}, "secret")
	h.grants.own("ann", device)
	return string(name) + ":secret"
}

func (p *player) announce(sdp string) (*reply, error) {
	if err := p.send("ANNOUNCE", p.url, "Content-Type: application/sdp", fmt.Sprintf("Content-Length: %d", len(sdp))); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(p.conn, sdp); err != nil {
		return nil, err
	}
	return p.reply()
}

// records goes to RECORD.
func (p *player) records() (*reply, error) {
	r, err := p.announce(announced)
	for n := range 2 {
		if err != nil || r.status != 200 {
			return r, err
		}
		r, err = p.setupAt(fmt.Sprintf("%s/streamid=%d", p.url, n), fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d;mode=record", 2*n, 2*n+1))
	}
	if err != nil || r.status != 200 {
		return r, err
	}
	return p.do("RECORD", p.url, "Range: npt=0.000-")
}

// sends sends key frames on a channel until the connection ends, each with a mark.
func (p *player) sends(channel, mark byte, stop <-chan struct{}) {
	for n := uint16(0); ; n++ {
		packet := make([]byte, 12, 64)
		packet[0], packet[1] = 0x80, 0x80|96
		if channel != 0 {
			packet[1] = 0x80 | 107
		}
		binary.BigEndian.PutUint16(packet[2:], n)
		binary.BigEndian.PutUint32(packet[4:], uint32(n)*3600)
		packet = append(packet, 0x65, mark, mark, mark)
		frame := append([]byte{'$', channel, 0, byte(len(packet))}, packet...)
		if _, err := p.conn.Write(frame); err != nil {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// sees reads until a packet with the mark comes.
func (p *player) sees(mark byte) error {
	for range 1000 {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		packet, err := p.packet()
		if err != nil {
			return err
		}
		if len(packet) == 16 && packet[15] == mark {
			return nil
		}
	}
	return fmt.Errorf("no packet with the mark %#x", mark)
}

// TestACameraPublishes: what it sends is seen by those who may, without its metadata, and
// instead of what could be pulled; when it ends, the camera is pulled again.
func TestACameraPublishes(t *testing.T) {
	t.Parallel()
	camera := (&cameratest.Camera{}).Start(t)
	h, key := publishing(t, camera)
	before := h.watching(t, "/dev-1/1", annKey, "tcp")
	cam := h.player(t, "/dev-1/1", key)
	r, err := cam.records()
	cam.wants(200, "RECORD", r, err)
	stop := make(chan struct{})
	go cam.sends(0, 7, stop)
	go cam.sends(2, 9, stop)
	if _, err := before.drain(); err == nil {
		t.Error("the viewer of the pulled stream goes on")
	}
	viewer := h.player(t, "/dev-1/1", annKey)
	r, err = viewer.describe()
	if r = viewer.wants(200, "DESCRIBE", r, err); strings.Contains(r.body, "application") || strings.Contains(r.body, "streamid") {
		t.Errorf("the description has more than pictures: %s", r.body)
	}
	viewer.watches("tcp")
	if err := viewer.sees(7); err != nil {
		t.Error(err)
	}
	eventually(t, "the camera has no connection while it publishes", func() bool { return camera.Open.Load() == 0 })
	again := h.player(t, "/dev-1/1", key) // the camera connects anew
	r, err = again.records()
	again.wants(200, "RECORD in place of the same key's", r, err)
	if _, err := cam.drain(); err == nil {
		t.Error("the publisher that was replaced goes on")
	}
	other := h.player(t, "/dev-1/1", h.publishingKey("dev-1", 1, "xyz"))
	r, err = other.records()
	other.wants(503, "RECORD beside another key's", r, err)
	go again.sends(0, 8, stop)
	h.watching(t, "/dev-1/1", annKey, "tcp").sees(8)
	r, err = again.do("PAUSE", again.url)
	again.wants(200, "PAUSE", r, err)
	eventually(t, "the camera is pulled again", func() bool {
		return h.status(t, "/dev-1/1", annKey) == 200 && camera.Open.Load() > 0
	})
	close(stop)
}

// TestAPublishingKeyIsForOneChannel: it shows nothing, publishes nothing else, and its end
// ends the publisher; a stream key publishes nothing.
func TestAPublishingKeyIsForOneChannel(t *testing.T) {
	t.Parallel()
	h, key := publishing(t, nil)
	h.grants.grant("ann", "dev-1", 2, privilege.LiveView)
	h.grants.grant("ann", "dev-2", 1, privilege.LiveView)
	for _, c := range []struct {
		path, key string
		status    int
	}{
		{"/dev-1/2", key, 404}, {"/dev-2/1", key, 404}, {"/dev-1/1/playback", key, 404}, {"/", key, 404},
		{"/dev-1/1", annKey, 403}, {"/dev-1/1", "", 401}, {"/dev-1/1", key + "x", 401}, {"/dev-1/1", "p1kzzz:secret", 401},
	} {
		p := h.player(t, c.path, c.key)
		r, err := p.announce(announced)
		p.wants(c.status, "ANNOUNCE "+c.path+" with "+c.key, r, err)
	}
	viewer := h.player(t, "/dev-1/1", key)
	r, err := viewer.describe()
	viewer.wants(403, "DESCRIBE with a publishing key", r, err)
	r, err = viewer.setup("tcp")
	viewer.wants(403, "SETUP with a publishing key", r, err)

	odd := h.player(t, "/dev-1/1", key)
	r, err = odd.announce("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:streamid=0\r\n")
	odd.wants(200, "ANNOUNCE of metadata", r, err)
	r, err = odd.setupAt(odd.url+"/streamid=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
	odd.wants(200, "SETUP of metadata", r, err)
	r, err = odd.do("RECORD", odd.url)
	odd.wants(415, "RECORD of nothing to see", r, err)

	sub := h.player(t, "/dev-1/1/sub", key)
	r, err = sub.records()
	sub.wants(200, "RECORD of the second stream", r, err)
	cam := h.player(t, "/dev-1/1/", key)
	r, err = cam.records()
	cam.wants(200, "RECORD", r, err)
	stop := make(chan struct{})
	defer close(stop)
	go cam.sends(0, 7, stop)
	watching := h.watching(t, "/dev-1/1", annKey, "tcp")
	if err := watching.sees(7); err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(key, ":")
	h.grants.revokeKey(ids.Key(name))
	h.recheck(t, "ann", "", ids.Key(name))
	eventually(t, "the publishers are gone", func() bool {
		h.publishers.mu.Lock()
		defer h.publishers.mu.Unlock()
		return len(h.publishers.all) == 0
	})
	if _, err := watching.drain(); err == nil {
		t.Error("a viewer goes on after its publisher was ended")
	}
	if got := h.status(t, "/dev-1/1", annKey); got != 404 {
		t.Errorf("a stream that nobody publishes: %d, want 404", got)
	}
}

// TestOnlyTheOwnerPublishes: a key of an account that sees the channel by a share does not, and
// the end of what the owner may ends the publisher.
func TestOnlyTheOwnerPublishes(t *testing.T) {
	t.Parallel()
	h, key := publishing(t, nil)
	cam := h.player(t, "/dev-1/1", key)
	r, err := cam.records()
	cam.wants(200, "RECORD", r, err)
	h.grants.own("bob", "dev-1")
	other := h.player(t, "/dev-1/1", key)
	r, err = other.announce(announced)
	other.wants(404, "ANNOUNCE of a device of another account", r, err)
	h.grants.remove("ann", "dev-1")
	h.recheck(t, "ann", "dev-1", "")
	if _, err := cam.drain(); err == nil {
		t.Error("the publisher goes on")
	}
}

// TestASilentPublisherEnds makes place for another one.
func TestASilentPublisherEnds(t *testing.T) {
	t.Parallel()
	h := open(t, nil, func(c *config) { c.Up.SilenceLimit = 200 * time.Millisecond })
	p := h.player(t, "/dev-1/1", h.publishingKey("dev-1", 1, "abc"))
	r, err := p.records()
	p.wants(200, "RECORD", r, err)
	if _, err := p.drain(); err == nil {
		t.Error("it goes on")
	}
}

// TestHowAPublisherGoes: one whose connection is lost has broken off; one that says so, is
// replaced or is ended has not.
func TestHowAPublisherGoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goes func(t *testing.T, h *house, cam *player, key string)
		want string
	}{
		"the connection is lost": {func(_ *testing.T, _ *house, cam *player, _ string) { cam.conn.Close() }, "dropped ended by camera, unpublished false"},
		"TEARDOWN":               {func(_ *testing.T, _ *house, cam *player, _ string) { _, _ = cam.do("TEARDOWN", cam.url) }, "unpublished false"},
		"PAUSE":                  {func(_ *testing.T, _ *house, cam *player, _ string) { _, _ = cam.do("PAUSE", cam.url) }, "unpublished false"},
		"its key is revoked": {func(t *testing.T, h *house, _ *player, key string) {
			name, _, _ := strings.Cut(key, ":")
			h.grants.revokeKey(ids.Key(name))
			h.recheck(t, "ann", "", ids.Key(name))
		}, "unpublished false"},
		"it is replaced": {func(t *testing.T, h *house, _ *player, key string) {
			again := h.player(t, "/dev-1/1", key)
			r, err := again.records()
			again.wants(200, "RECORD in place of the same key's", r, err)
			_, _ = again.do("TEARDOWN", again.url)
		}, "reached, unpublished false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan string, 16)
			h := open(t, nil, func(cfg *config) {
				cfg.Up.Reached = func(ids.Device, string) { told <- "reached" }
				cfg.Up.Dropped = func(_ ids.Device, reason string) { told <- "dropped " + reason }
				cfg.Up.Unpublished = func(_ ids.Device, silent bool) { told <- fmt.Sprint("unpublished ", silent) }
			})
			key := h.publishingKey("dev-1", 1, "abc")
			cam := h.player(t, "/dev-1/1", key)
			r, err := cam.records()
			cam.wants(200, "RECORD", r, err)
			<-told // reached
			c.goes(t, h, cam, key)
			var all []string
			for last := ""; !strings.HasPrefix(last, "unpublished"); {
				last = <-told
				all = append(all, last)
			}
			if got := strings.Join(all, ", "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestPausedAndRecordedAgain: the end of the first publication does not end the second.
func TestPausedAndRecordedAgain(t *testing.T) {
	t.Parallel()
	h, key := publishing(t, (&cameratest.Camera{}).Start(t))
	cam := h.player(t, "/dev-1/1", key)
	r, err := cam.records()
	cam.wants(200, "RECORD", r, err)
	for range 20 {
		r, err = cam.do("PAUSE", cam.url)
		cam.wants(200, "PAUSE", r, err)
		r, err = cam.do("RECORD", cam.url, "Range: npt=0.000-")
		cam.wants(200, "RECORD after PAUSE", r, err)
	}
	go cam.sends(0, 7, t.Context().Done())
	viewer := h.player(t, "/dev-1/1", annKey)
	viewer.watches("tcp")
	if err := viewer.sees(7); err != nil {
		t.Error(err)
	}
}

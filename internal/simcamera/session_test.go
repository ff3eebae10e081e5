package simcamera

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const patience = 20 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// watch plays all of a stream; packets of video come on the channel.
func watch(t *testing.T, url string) (*gortsplib.Client, <-chan *rtp.Packet) {
	t.Helper()
	cl, u := client(t, url)
	d, _, err := cl.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.SetupAll(d.BaseURL, d.Medias); err != nil {
		t.Fatal(err)
	}
	packets := make(chan *rtp.Packet, 10000)
	cl.OnDecodeError = func(error) {}
	cl.OnPacketsLost = func(uint64) {}
	cl.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		if m.Type != description.MediaTypeVideo {
			return
		}
		select {
		case packets <- p:
		default:
		}
	})
	if _, err := cl.Play(nil); err != nil {
		t.Fatal(err)
	}
	return cl, packets
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("in vain: ", what)
		panic("unreachable")
	}
}

func TestCredentials(t *testing.T) {
	c := start(t, func(cfg *Config) { cfg.Username, cfg.Password = "admin", "pa55" })
	url := c.URL(1, false)
	with := func(userinfo string) string { return strings.Replace(url, "rtsp://", "rtsp://"+userinfo+"@", 1) }

	for name, test := range map[string]struct {
		url string
		ok  bool
	}{
		"right":          {with("admin:pa55"), true},
		"wrong password": {with("admin:pa5"), false},
		"wrong user":     {with("root:pa55"), false},
		"none":           {url, false},
	} {
		cl, u := client(t, test.url)
		_, _, err := cl.Describe(u)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}

	var offered []string
	cl, u := client(t, url)
	cl.OnResponse = func(r *base.Response) { offered = append(offered, r.Header["WWW-Authenticate"]...) }
	_, _, _ = cl.Describe(u)
	if all := strings.Join(offered, "\n"); !strings.Contains(all, "Basic ") || !strings.Contains(all, "Digest ") {
		t.Errorf("offered %q", all)
	}

	if out, said, err := try(t, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", with("admin:pa55")); err != nil {
		t.Errorf("ffprobe with the password: %v %s %s", err, out, said)
	}
	if _, said, err := try(t, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", with("admin:x")); err == nil ||
		!strings.Contains(said, "401") {
		t.Errorf("ffprobe with another password: %v %s", err, said)
	}

	c.SetPassword("new")
	cl, u = client(t, with("admin:pa55"))
	if _, _, err := cl.Describe(u); err == nil {
		t.Error("the old password is still good")
	}
	cl, u = client(t, with("admin:new"))
	if _, _, err := cl.Describe(u); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

func TestBackChannel(t *testing.T) {
	c := start(t, nil)
	cl, u := client(t, c.URL(1, false))
	d, _, err := cl.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range d.Medias {
		if m.IsBackChannel {
			t.Fatal("the back channel shows without having been asked for")
		}
	}
	cl.Close()

	cl, u = client(t, c.URL(1, false))
	cl.RequestBackChannels = true
	if d, _, err = cl.Describe(u); err != nil {
		t.Fatal(err)
	}
	if err := cl.SetupAll(d.BaseURL, d.Medias); err != nil {
		t.Fatal(err)
	}
	var back *description.Media
	for _, m := range d.Medias {
		if m.IsBackChannel {
			back = m
		}
	}
	if back == nil || d.Medias[0].Type != description.MediaTypeVideo {
		t.Fatalf("no back channel, or no video first, among %d medias", len(d.Medias))
	}
	if _, err := cl.Play(nil); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		err := cl.WritePacketRTP(back, &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: 0, SequenceNumber: uint16(i), Timestamp: uint32(160 * i)},
			Payload: make([]byte, 160),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the camera hears 20 packets", func() bool { return c.Talk().Packets == 20 && c.Talk().Bytes == 3200 })
}

func TestEveryViewerBeginsWithAKeyPicture(t *testing.T) {
	c := start(t, nil)
	for range 5 {
		cl, packets := watch(t, c.URL(1, false))
		p := receive(t, "a first packet", packets)
		// STAP-A or a single SPS: the parameter sets come first.
		if kind := p.Payload[0] & 0x1f; kind != 24 && kind != 7 {
			t.Errorf("the first packet is of type %d", kind)
		}
		cl.Close()
	}
}

func TestSenderReportsTellTheInstantOfThePicture(t *testing.T) {
	c := start(t, nil)
	cl, u := client(t, c.URL(1, true))
	d, _, err := cl.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.SetupAll(d.BaseURL, d.Medias); err != nil {
		t.Fatal(err)
	}
	reports := make(chan *rtcp.SenderReport, 10)
	cl.OnPacketRTCPAny(func(_ *description.Media, p rtcp.Packet) {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			reports <- sr
		}
	})
	if _, err := cl.Play(nil); err != nil {
		t.Fatal(err)
	}
	sr := receive(t, "a sender report", reports)
	at := time.Unix(int64(sr.NTPTime>>32)-2208988800, 0)
	if off := time.Since(at); off < -5*time.Second || off > 5*time.Second {
		t.Errorf("the report says %v, %v from now", at, off)
	}
}

func TestFlapping(t *testing.T) {
	c := start(t, nil)
	address, httpAddress := c.RTSPAddr(), c.HTTPAddr()
	for range 3 {
		cl, packets := watch(t, c.URL(1, false))
		receive(t, "a packet", packets)
		ended := make(chan error, 1)
		go func() { ended <- cl.Wait() }()
		c.GoAway()
		if err := receive(t, "the end of the session", ended); err == nil {
			t.Error("the session ended without an error")
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Error("accepts connections while away")
		}
		if err := c.ComeBack(); err != nil {
			t.Fatal(err)
		}
		if c.RTSPAddr() != address || c.HTTPAddr() != httpAddress {
			t.Fatalf("came back at %s and %s", c.RTSPAddr(), c.HTTPAddr())
		}
	}
	_, packets := watch(t, c.URL(1, false))
	receive(t, "a packet after all", packets)
}

func TestStall(t *testing.T) {
	c := start(t, nil)
	_, packets := watch(t, c.URL(1, false))
	last := receive(t, "a packet", packets)
	c.Stall(true)
	until(t, "silence", func() bool {
		for len(packets) > 0 {
			last = <-packets
		}
		time.Sleep(200 * time.Millisecond) // five pictures
		return len(packets) == 0
	})
	other, u := client(t, c.URL(1, false))
	if _, _, err := other.Describe(u); err != nil {
		t.Errorf("a stalled camera does not answer: %v", err)
	}
	c.Stall(false)
	isKey := func(p *rtp.Packet) bool { kind := p.Payload[0] & 0x1f; return kind == 24 || kind == 7 }
	p := receive(t, "a packet after the stall", packets)
	for p.Timestamp-last.Timestamp <= 90000/25 && !isKey(p) { // a machine that is busy may have held up the rest of a picture, and the next one
		p = receive(t, "a packet after the stall", packets)
	}
	if !isKey(p) {
		t.Errorf("it goes on with a packet of type %d, not with a key picture", p.Payload[0]&0x1f)
	}
}

func mustURL(t *testing.T, s string) *base.URL {
	t.Helper()
	u, err := base.ParseURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDelay(t *testing.T) {
	c := start(t, nil)
	c.Delay(time.Hour)
	cl, u := client(t, c.URL(1, false))
	answered := make(chan error, 1)
	go func() {
		_, err := cl.Options(u)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("answered at once: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	c.GoAway() // does not wait for the hour
	if err := receive(t, "the end", answered); err == nil {
		t.Error("answered")
	}
}

func TestHostility(t *testing.T) {
	c := start(t, nil)
	for _, kind := range []Hostility{OversizedSDP, EndlessHeaders, Noise} {
		c.Attack(kind)
		cl, u := client(t, c.URL(1, false))
		if _, _, err := cl.Describe(u); err == nil {
			t.Errorf("hostility %d: described", kind)
		}
	}
	c.Attack(Silence)
	u := mustURL(t, c.URL(1, false))
	cl := &gortsplib.Client{ReadTimeout: 200 * time.Millisecond}
	if err := cl.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, _, err := cl.Describe(u); err == nil {
		t.Error("silence answered")
	}

	c.Attack(BrokenRTP)
	_, packets := watch(t, c.URL(1, false))
	for range 20 {
		receive(t, "noise", packets)
	}
	c.Attack(Friendly)
	_, packets = watch(t, c.URL(1, false))
	receive(t, "a picture", packets)
}

func TestStopsWithItsContext(t *testing.T) {
	c := start(t, nil)
	_, packets := watch(t, c.URL(1, false))
	receive(t, "a packet", packets)
	c.stop()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if err := c.ComeBack(); err == nil {
		t.Error("came back after the end")
	}
}

func TestConfigFaultsAreToldTogether(t *testing.T) {
	err := Config{RTSP: "nowhere", HTTP: "x", Channels: 99, Password: "p", Heartbeat: -1}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, word := range []string{"RTSP", "HTTP", "channels", "password", "period"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("nothing about %s in: %v", word, err)
		}
	}
}

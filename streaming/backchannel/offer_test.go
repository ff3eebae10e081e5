package backchannel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// TestBackChannels: what descriptions offer.
func TestBackChannels(t *testing.T) {
	const video = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=recvonly\r\n"
	for name, c := range map[string]struct {
		audio string
		codec Codec
		pt    uint8
		fails string
	}{
		"none":          {"", "", 0, "no back channel"},
		"its own sound": {"m=audio 0 RTP/AVP 0\r\na=recvonly\r\n", "", 0, "no back channel"},
		"PCMU":          {"m=audio 0 RTP/AVP 0\r\na=sendonly\r\n", PCMU, 0, ""},
		"PCMA":          {"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMA/8000\r\na=sendonly\r\n", PCMA, 97, ""},
		"a choice":      {"m=audio 0 RTP/AVP 98 8\r\na=rtpmap:98 G726-32/8000\r\na=sendonly\r\n", PCMA, 8, ""},
		"two":           {"m=audio 0 RTP/AVP 9\r\na=sendonly\r\nm=audio 0 RTP/AVP 0\r\na=sendonly\r\n", PCMU, 0, ""},
		"at 16 kHz":     {"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMU/16000\r\na=sendonly\r\n", "", 0, "only G711"},
		"AAC":           {"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/16000\r\na=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408\r\na=sendonly\r\n", "", 0, "only AAC"},
		"its own name":  {"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 x-secret/8000\r\na=sendonly\r\n", "", 0, "no G.711"},
	} {
		d, err := rtspclient.ParseSDP([]byte(video + c.audio))
		if err != nil {
			t.Fatal(name, err)
		}
		b, err := backOf(d)
		if b.codec != c.codec || b.pt != c.pt || (c.fails == "") != (err == nil) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
		if err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asked counts what a camera is asked.
type asked struct {
	mu          sync.Mutex
	rtsp, isapi int
	by          error // of RTSP
	codec       device.TalkCodec
	fails       error // of ISAPI
}

func (a *asked) Source(context.Context, ids.Device, int) (Source, error) {
	return Source{URL: "rtsp://camera/", ISAPIURL: "https://camera/", Certificate: pinned}, nil
}

func (a *asked) contact(context.Context, ids.Device, string, func(context.Context, upstream.DialFunc) error) error {
	time.Sleep(time.Second)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rtsp++
	return a.by
}

// pinned is the certificate of the camera.
var pinned = rtspclient.Fingerprint{1}

func (a *asked) TalkCodec(_ context.Context, t device.TalkTarget) (device.TalkCodec, error) {
	if t.Certificate != pinned {
		return "", &device.Failure{Kind: device.CertificateNotTrusted}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.isapi++
	return a.codec, a.fails
}

func (a *asked) Talk(context.Context, device.TalkTarget) (*device.Talk, error) { return nil, a.fails }

func (a *asked) HangUp(context.Context, device.TalkTarget) error { return a.fails }

// TestACameraIsAskedOnce, at whatever is answered; and again after a while, or after it was
// away.
func TestACameraIsAskedOnce(t *testing.T) {
	away := errors.New("away")
	for _, c := range []struct {
		camera *asked
		want   string
		again  int // times that it is asked by RTSP, of three
	}{
		{&asked{by: ErrNone, codec: device.PCMA}, "PCMA <nil>", 1},
		{&asked{by: &CodecError{"AAC"}, codec: device.PCMU}, "PCMU <nil>", 1},
		{&asked{by: ErrNone, fails: &device.Failure{Kind: device.Refused}}, " the camera has no back channel", 1},
		{&asked{by: ErrNone, fails: &device.Failure{Kind: device.UnsupportedCodec, Codec: "G.722.1"}}, " the camera takes only G.722.1 sound", 1},
		{&asked{by: &CodecError{"AAC"}, fails: &device.Failure{Kind: device.Refused}}, " the camera takes only AAC sound", 1},
		{&asked{by: away, codec: device.PCMA}, " asking a camera what sound it takes: away", 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			camera := c.camera
			l := New(Config{Sources: camera, Contact: camera.contact, ISAPI: camera})
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					codec, err := l.Codec(t.Context(), "cam", 1)
					if got := fmt.Sprint(codec, " ", err); got != c.want {
						t.Errorf("%q, want %q", got, c.want)
					}
				})
			}
			if all.Wait(); camera.rtsp != c.again {
				t.Errorf("%s: asked %d times", c.want, camera.rtsp)
			}
			time.Sleep(offerFor)
			_, _ = l.Codec(t.Context(), "cam", 1)
			if camera.rtsp != c.again+1 {
				t.Errorf("%s: not asked again", c.want)
			}
		})
	}
}

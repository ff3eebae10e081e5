package rtspclient

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// summary is what is understood of a description: a track for each word.
func summary(d *Description) string {
	var list []string
	for _, t := range d.Tracks {
		text := string(t.Media.Type) + ":"
		for i, f := range t.Media.Formats {
			if i > 0 {
				text += ","
			}
			text += strings.TrimPrefix(fmt.Sprintf("%T", f), "*format.")
		}
		if t.Media.IsBackChannel {
			text += ":back"
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func TestDescriptions(t *testing.T) {
	const (
		h264   = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t0\r\n"
		pcmu   = "m=audio 0 RTP/AVP 0\r\na=control:t1\r\n"
		talk   = "m=audio 0 RTP/AVP 0\r\na=sendonly\r\na=control:t2\r\n"
		both   = "video:H264 audio:G711"
		one    = "video:H264"
		sprop  = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IA@@,aM4\r\n"
		hik    = "m=audio 0 RTP/AVP 104\r\na=rtpmap:104 MPEG4-GENERIC/16000\r\na=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408\r\n"
		latm   = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/16000/1\r\na=fmtp:97 cpresent=0;config=\r\n"
		secure = "m=video 0 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\n"
	)
	for name, sc := range map[string]struct{ text, want string }{
		"good":                      {head + h264 + pcmu, both},
		"no head":                   {h264 + pcmu, both},
		"line feeds":                {strings.ReplaceAll(head+h264+pcmu, "\r\n", "\n"), both},
		"carriage returns":          {strings.ReplaceAll(head+h264+pcmu, "\r\n", "\r"), both},
		"a NUL at the end":          {head + h264 + pcmu + "\x00", both},
		"NULs between":              {strings.ReplaceAll(head+h264+pcmu, "\r\n", "\r\n\x00"), both},
		"spaces":                    {strings.ReplaceAll(head+h264+pcmu, "\r\n", "  \r\n"), both},
		"c=IN":                      {"v=0\r\no=- 1001 1 IN\r\ns=\r\nc=IN\r\n" + h264, one},
		"c=":                        {"v=0\r\nc=\r\n" + h264, one},
		"t= of words":               {"v=0\r\nt=now then\r\nr=\r\nz=\r\nk=\r\n" + h264, one},
		"unknown lines":             {head + "y=1\r\nx\r\n?=2\r\n=\r\n" + h264, one},
		"misplaced lines":           {h264 + "v=0\r\ns=x\r\nt=0 0\r\n" + pcmu, both},
		"html":                      {"<html></html>", ""},
		"empty":                     {"", ""},
		"an unknown track":          {head + h264 + "m=application 0 RTP/AVP 107\r\n", one},
		"metadata":                  {head + h264 + "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n", "video:H264 application:Generic"},
		"audio without an rtpmap":   {head + h264 + "m=audio 0 RTP/AVP 97\r\n", one},
		"broken m=":                 {head + "m=\r\nm=video\r\nm=video x\r\n" + h264, one},
		"payload types with commas": {head + "m=video 0 RTP/AVP 96,97\r\na=rtpmap:96 H264/90000\r\n", one},
		"no payload type":           {head + "m=video 0 RTP/AVP\r\na=rtpmap:96 H264/90000\r\n", one},
		"a payload type too large":  {head + "m=video 0 RTP/AVP 300 96\r\na=rtpmap:96 H264/90000\r\n", one},
		"no clock":                  {head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264\r\n", one},
		"channels of video":         {head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96  h264/90000/1\r\n", one},
		"tabs":                      {head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96\tH264/90000\r\n", one},
		"HEVC":                      {head + "m=video 0 RTP/AVP 98\r\na=rtpmap:98 HEVC/90000\r\n", "video:H265"},
		"broken parameter sets":     {head + sprop + pcmu, "video:Generic audio:G711"},
		"empty packetization-mode":  {head + strings.Replace(sprop, "packetization-mode=1;sprop-parameter-sets=Z0IA@@,aM4", "packetization-mode=", 1), "video:Generic"},
		"fmtp of another type":      {head + h264 + hik, "video:H264 audio:MPEG4Audio"},
		"fmtp under another media":  {head + h264 + "m=audio 0 RTP/AVP 8\r\na=rtpmap:0 pcma/8000/1\r\na=fmtp:96 packetization-mode=1;profile-level-id=42C00A\r\n", both},
		"a kind with a slash":       {head + h264 + "m=application/MERCURY 0 RTP/AVP smart/1/90000\r\na=rtpmap:95 MERCURY/90000\r\n", one + " application/mercury:Generic"},
		"a port of nonsense":        {head + "m=video -1353744643 RTP/AVP 96\r\nc=IN IP4 '&\xff\r\na=rtpmap:96 H264/90000\r\n", one},
		"AAC without fmtp":          {head + h264 + "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\n", "video:H264 audio:Generic"},
		"LATM without config":       {head + h264 + latm, "video:H264 audio:Generic"},
		"static and unknown":        {head + h264 + "m=audio 0 RTP/AVP 18\r\n", "video:H264 audio:Generic"},
		"an attribute too long":     {head + h264 + "a=" + strings.Repeat("x", 30000) + "\r\n" + pcmu, both},
		"a broken mid":              {head + h264 + "a=mid:a/b c\r\na=key-mgmt:x\r\n" + pcmu + "a=mid:\r\n", both},
		"SRTP":                      {head + secure + pcmu, "audio:G711"},
		"a back channel":            {head + h264 + "a=recvonly\r\n" + pcmu + "a=recvonly\r\n" + talk, both + " audio:G711:back"},
		"all sendonly":              {head + "a=sendonly\r\n" + h264 + pcmu, both},
		"the camera's own side":     {head + h264 + "a=sendonly\r\n" + pcmu + "a=sendonly\r\n" + strings.Replace(talk, "send", "recv", 1), both + " audio:G711:back"},
		"audio alone, sendonly":     {head + talk, "audio:G711"},
		"a directory of tracks":     {head + strings.Repeat(h264, 100), strings.TrimSpace(strings.Repeat(one+" ", maxTracks))},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseSDP([]byte(sc.text))
			if sc.want == "" {
				if !errors.Is(err, ErrDescription) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(d); got != sc.want {
				t.Errorf("%s, want %s", got, sc.want)
			}
			for _, track := range d.Tracks {
				for _, f := range track.Media.Formats {
					if f.ClockRate() <= 0 {
						t.Errorf("%T has no clock", f)
					}
				}
			}
		})
	}
}

// TestUnreadParameters are passed as they are.
func TestUnreadParameters(t *testing.T) {
	d, err := ParseSDP([]byte("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0IA@@,aM4=\n"))
	if err != nil {
		t.Fatal(err)
	}
	g, ok := d.Tracks[0].Media.Formats[0].(*format.Generic)
	if !ok || g.RTPMap() != "H264/90000" || g.FMTP()["sprop-parameter-sets"] != "Z0IA@@,aM4=" || g.FMTP()["packetization-mode"] != "1" {
		t.Errorf("%+v", d.Tracks[0].Media.Formats[0])
	}
}

// TestControls: where a stream and its tracks are set up and played.
func TestControls(t *testing.T) {
	const at = "rtsp://192.0.2.1/live?x=1"
	for name, sc := range map[string]struct {
		base, session, track string
		play, setup          string
	}{
		"relative":               {"", "*", "trackID=0", at, at + "/trackID=0"},
		"with a base":            {"rtsp://192.0.2.1/live/", "*", "trackID=0", "rtsp://192.0.2.1/live/", "rtsp://192.0.2.1/live/trackID=0"},
		"a base without a slash": {"rtsp://192.0.2.1/live", "", "trackID=0", "rtsp://192.0.2.1/live", "rtsp://192.0.2.1/live/trackID=0"},
		"a base of another host": {"rtsp://10.0.0.9:554/live/", "*", "t", "rtsp://10.0.0.9:554/live/", "rtsp://10.0.0.9:554/live/t"},
		"a path as the base":     {"/other/", "*", "t", "rtsp://192.0.2.1/other/", "rtsp://192.0.2.1/other/t"},
		"a base that is broken":  {"rtsp://::ffff:192.0.2.1/live/", "*", "t", at, at + "/t"},
		"a base without a host":  {"rtsp://:0/live/", "*", "t", at, at + "/t"},
		"an absolute track":      {"rtsp://192.0.2.1/live/", "*", "rtsp://192.0.2.1:554/x/track1", "rtsp://192.0.2.1/live/", "rtsp://192.0.2.1:554/x/track1"},
		"a base with rtsp twice": {"rtsp://rtsp://camera.lan:554/live/", "*", "t", "rtsp://camera.lan:554/live/", "rtsp://camera.lan:554/live/t"},
		"rtsp twice":             {"", "*", "rtsp://rtsp://192.0.2.1/x/track1", at, "rtsp://192.0.2.1/x/track1"},
		"an absolute session":    {"", "rtsp://192.0.2.1/agg", "t", "rtsp://192.0.2.1/agg", at + "/t"},
		"no control":             {"rtsp://192.0.2.1/live/", "", "", "rtsp://192.0.2.1/live/", "rtsp://192.0.2.1/live/"},
		"a star":                 {"", "", "*", at, at},
		"a slash before it":      {"rtsp://192.0.2.1/live/", "*", "/trackID=0", "rtsp://192.0.2.1/live/", "rtsp://192.0.2.1/live/trackID=0"},
		"a query of its own":     {"rtsp://192.0.2.1/live", "*", "?track=1", "rtsp://192.0.2.1/live", "rtsp://192.0.2.1/live?track=1"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := parseAddress(at)
			if err != nil {
				t.Fatal(err)
			}
			c := &Client{at: a}
			d := &Description{control: sc.session, Tracks: []*Track{{control: sc.track}}}
			header := base.Header{}
			if sc.base != "" {
				header["Content-Base"] = base.HeaderValue{sc.base}
			}
			c.resolve(d, header)
			if c.aggregate != sc.play || d.Tracks[0].urls[0] != sc.setup {
				t.Errorf("PLAY %s, want %s; SETUP %v, want %s", c.aggregate, sc.play, d.Tracks[0].urls, sc.setup)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"rtsp://192.0.2.1":                      "rtsp://192.0.2.1 192.0.2.1:554",
		"RTSP://Camera.example:8554/a?b=c":      "rtsp://Camera.example:8554/a?b=c camera.example:8554",
		"rtsps://[2001:db8::1]/x":               "rtsps://[2001:db8::1]/x [2001:db8::1]:322",
		"rtsp://admin:pa%40ss@192.0.2.1/x":      "rtsp://192.0.2.1/x 192.0.2.1:554 admin pa@ss",
		"rtsp://admin:p@ss@192.0.2.1/x":         "rtsp://192.0.2.1/x 192.0.2.1:554 admin p@ss",
		"rtsp://admin:p/s?s@192.0.2.1:554/x":    "rtsp://192.0.2.1:554/x 192.0.2.1:554 admin p/s?s",
		"rtsp://192.0.2.1:554/user=a@b":         "rtsp://192.0.2.1:554/user=a@b 192.0.2.1:554",
		"rtsp://192.0.2.1/a?b?c=[1]&d=%zz#x":    "rtsp://192.0.2.1/a?b?c=[1]&d=%zz 192.0.2.1:554",
		"rtsp://192.0.2.1/a b":                  "rtsp://192.0.2.1/a%20b 192.0.2.1:554",
		"rtsp://192.0.2.1:/x":                   "rtsp://192.0.2.1:/x 192.0.2.1:554",
		"rtsp://192.0.2.1/x\r\nX: y":            "",
		"http://192.0.2.1/":                     "",
		"rtsp://":                               "",
		"rtsp:///x":                             "",
		"192.0.2.1":                             "",
		"rtsp://x/" + strings.Repeat("x", 5000): "",
	} {
		a, err := parseAddress(text)
		got := ""
		if err == nil {
			got = strings.TrimSpace(a.String() + " " + a.dialed() + " " + a.user + " " + a.password)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	for v, want := range map[string]string{
		"RTP/AVP/TCP;unicast;interleaved=2-3":                         "true true [2 3] [] invalid IP",
		"rtp/avp/tcp ; interleaved = 4 ; ssrc=x;mode=nonsense":        "true true [4] [] invalid IP",
		"RTP/AVP;unicast;client_port=1-2;server_port=6970-6971":       "true false [] [6970 6971] invalid IP",
		"RTP/AVP/UDP;server_port=6970;source=192.0.2.9;destination=?": "true false [] [6970] 192.0.2.9",
		"RTP/AVP;source=camera.example;server_port=x-y":               "true false [] [] invalid IP",
		"RTP/AVP/TCP;interleaved=999-1000":                            "true true [] [] invalid IP",
		"":                                                            "false false [] [] invalid IP",
		"unicast;interleaved=0-1":                                     "false false [0 1] [] invalid IP",
	} {
		as := parseTransport(v)
		if got := fmt.Sprint(as.named, as.tcp, as.channels, as.server, as.source); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
	for v, want := range map[string]string{
		"12345678":                    "12345678 0s",
		" 1234 ;timeout=60":           "1234 1m0s",
		"1234;Timeout = \"30\"":       "1234 30s",
		"1234;timeout=60s":            "1234 1m0s",
		"1234;timeout=0":              "1234 0s",
		"1234;timeout=1":              "1234 1s",
		"1234;timeout=60000":          "1234 2m0s",
		"1234;timeout=99999999999999": "1234 0s",
		"1234;x;timeout":              "1234 0s",
	} {
		id, timeout := parseSession(v)
		if got := id + " " + timeout.String(); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

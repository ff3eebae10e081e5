package rtspclient

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// FuzzConversation: whatever a camera sends over the connection, reading it ends, within
// its bounds.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc$\x00\x00\x0c\x80\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07RTSP/1.0 200 OK\r\n\r\n"))
	f.Add([]byte("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\\\"b\", nonce=\"n\", qop=\"auth\", Basic realm=\"c\"\r\n\r\n"))
	f.Add([]byte("RTSP/1.0 200 OK\nSession: 1 ;timeout=60\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n\x01\x02$$$\x00\x00\x08\x80\xc8\x00\x01\x00\x00\x00\x07OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newReader(bytes.NewReader(text), func(channel int) bool { return channel < 4 })
		signed := ""
		for n := 0; ; n++ {
			in, err := r.next()
			if err != nil {
				break
			}
			if n > len(text) {
				t.Fatal("it does not end")
			}
			if len(in.frame) > 0xffff || r.noise > maxNoise {
				t.Errorf("a frame of %d bytes, %d of noise", len(in.frame), r.noise)
			}
			if in.response == nil {
				continue
			}
			res := in.response
			if len(res.Body) > maxBody {
				t.Errorf("a body of %d bytes", len(res.Body))
			}
			if best := StrongestChallenge(res.Header["WWW-Authenticate"]); best != nil {
				signed = NewSigner(*best, "user", "password").Sign("DESCRIBE", "rtsp://x/")
			}
			as := parseTransport(first(res.Header["Transport"]))
			for _, channel := range as.channels {
				if channel < 0 || channel > 255 {
					t.Errorf("channel %d", channel)
				}
			}
			if id, timeout := parseSession(first(res.Header["Session"])); len(id) > maxSession || timeout > maxTimeout {
				t.Errorf("session of %d bytes, %v", len(id), timeout)
			}
		}
		c := &Client{opts: Options{}.withDefaults(), session: signed}
		if head := c.text(base.Play, "rtsp://x/", 1, base.Header{"X": {signed}}, nil); bytes.Count(head, []byte("\r\n\r\n")) != 1 {
			t.Errorf("a request of %q", head)
		}
	})
}

// FuzzSDP: whatever a camera says of its streams, what is understood has formats and
// addresses.
func FuzzSDP(f *testing.F) {
	f.Add([]byte(head+video+audio), "rtsp://192.0.2.1/live/")
	f.Add([]byte("m=video 0 RTP/AVP 96\na=rtpmap:96 H264\na=fmtp:96 sprop-parameter-sets=Z0IA@@\na=control:?x\x00"), "rtsp://::1/")
	f.Add([]byte("v=0\r\na=control:rtsp://x/y\r\nm=audio 0 RTP/AVP 97 8\r\na=rtpmap:97 MPEG4-GENERIC/16000/2\r\na=fmtp:97 config=1408\r\na=sendonly\r\n"), "/x")
	f.Fuzz(func(t *testing.T, text []byte, contentBase string) {
		d, err := ParseSDP(text)
		if err != nil {
			return
		}
		a, err := parseAddress("rtsp://192.0.2.1/live?x")
		if err != nil {
			t.Fatal(err)
		}
		c := &Client{at: a, opts: Options{}.withDefaults()}
		c.resolve(d, base.Header{"Content-Base": {contentBase}})
		if len(d.Tracks) == 0 || len(d.Tracks) > maxTracks {
			t.Errorf("%d tracks", len(d.Tracks))
		}
		for _, track := range d.Tracks {
			if len(track.Media.Formats) == 0 || len(track.Media.Formats) > maxFormats || len(track.urls) == 0 {
				t.Errorf("%d formats, %d addresses", len(track.Media.Formats), len(track.urls))
			}
			for _, format := range track.Media.Formats {
				if format.ClockRate() <= 0 {
					t.Errorf("%T has no clock", format)
				}
			}
			for _, uri := range append(track.urls, c.aggregate) {
				if hasControl(uri) || bytes.ContainsAny([]byte(uri), " ") {
					t.Errorf("the address %q", uri)
				}
			}
		}
	})
}

// FuzzPackets: whatever a camera sends as RTP and RTCP, over UDP in any order, each packet
// is handed on at most once, and in order.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("\x0c\x80\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x0c\x80\x60\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07\x0c\x80\x60\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07"))
	f.Add([]byte("\x1c\x80\xc8\x00\x06\x00\x00\x00\x07\xe0\x00\x00\x01\x80\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var in, out, lost int
		var rec receipt
		now := time.Unix(1e9, 0)
		o := order{hand: func(data []byte) { out++; rec.packet(data, 90000, now) }, lost: func(n int) { lost += n }}
		for len(text) > 0 {
			size := min(int(text[0]), len(text)-1)
			data := text[1 : 1+size]
			text = text[1+size:]
			switch {
			case isRTCP(data):
				for _, r := range senderReports(data) {
					rec.report(r, now)
				}
			case isRTP(data):
				in++
				o.put(data)
			}
			now = now.Add(time.Millisecond)
			if len(o.held) > maxHeld {
				t.Errorf("%d are held", len(o.held))
			}
		}
		o.flush()
		if out > in || len(o.held) > 0 {
			t.Errorf("%d of %d", out, in)
		}
		if b := rec.block(1, now); b != nil && len(b) != 32 {
			t.Errorf("a report of %d bytes", len(b))
		}
	})
}

// TestCorpora are committed.
func TestCorpora(t *testing.T) {
	for _, name := range []string{"FuzzConversation", "FuzzSDP", "FuzzPackets"} {
		if files, err := os.ReadDir("testdata/fuzz/" + name); err != nil || len(files) == 0 {
			t.Errorf("%s has no corpus: %v", name, err)
		}
	}
}

package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/simcamera"
)

func asked(c *simcamera.Camera) Camera {
	return Camera{Username: "admin", Password: "pa55 & <word>", ISAPIURL: "http://" + c.HTTPAddr(), ONVIFURL: "http://" + c.HTTPAddr()}
}

// TestPicture: a picture comes by each protocol, without what the device wrote beside it.
func TestPicture(t *testing.T) {
	cam := startCamera(t)
	client := newClient(t)
	isapi, onvif, both := asked(cam), asked(cam), asked(cam)
	isapi.ONVIFURL, onvif.ISAPIURL, both.ISAPIURL = "", "", both.ISAPIURL+"/elsewhere"
	for name, c := range map[string]Camera{"ISAPI": isapi, "ONVIF": onvif, "ONVIF, as ISAPI has none": both} {
		got, at, err := client.Picture(t.Context(), c, 2, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if bytes.Contains(got, []byte("DS-2CD2042WD")) {
			t.Errorf("%s: the picture says what the device is", name)
		}
		if p, err := jpeg.Decode(bytes.NewReader(got)); err != nil || p.Bounds().Dx() != 640 {
			t.Errorf("%s: %v", name, err)
		}
		if (at == nil) != (name == "ISAPI") {
			t.Errorf("%s: it is at %v", name, at)
		}
		before := cam.Stills()
		if _, _, err := client.Picture(t.Context(), c, 2, at); err != nil || cam.Stills() != before+1 {
			t.Errorf("%s, again: %v", name, err)
		}
		if _, _, err := client.Picture(t.Context(), c, 9, nil); kindIn(err) != Unsupported {
			t.Errorf("%s, of no channel: %v", name, err)
		}
	}
	wrong := isapi
	wrong.Password = "wrong"
	if _, _, err := client.Picture(t.Context(), wrong, 1, nil); kindIn(err) != WrongPassword {
		t.Errorf("a wrong password: %v", err)
	}
	if _, _, err := client.Picture(t.Context(), Camera{}, 1, nil); kindIn(err) != Unsupported {
		t.Errorf("no address: %v", err)
	}
	denied := newClient(t, func(c *Config) { c.Allow = func(netip.AddrPort) error { return errors.New("no") } })
	if _, _, err := denied.Picture(t.Context(), asked(cam), 1, nil); kindIn(err) != AddressForbidden {
		t.Errorf("an address that is not allowed: %v", err)
	}
}

// TestLoginsOverHTTP: whatever a device offers next to it, the strongest is answered, and a
// password is not sent as it is where there is a Digest.
func TestLoginsOverHTTP(t *testing.T) {
	const md5Digest, shaDigest = `Digest realm="r", nonce="n"`, `Digest realm="r", nonce="n", algorithm=SHA-256`
	for name, c := range map[string]struct {
		offers []string
		begins string // the Authorization
		has    string
	}{
		"MD5":                     {[]string{md5Digest}, "Digest ", ""},
		"Basic and MD5":           {[]string{`Basic realm="r"`, md5Digest}, "Digest ", ""},
		"both in one header":      {[]string{`Basic realm="r", ` + md5Digest}, "Digest ", ""},
		"MD5 and SHA-256":         {[]string{md5Digest, shaDigest}, "Digest ", "algorithm=SHA-256"},
		"MD5-sess":                {[]string{md5Digest + `, algorithm=MD5-sess, qop="auth"`}, "Digest ", "algorithm=MD5-sess"},
		"lower case":              {[]string{`digest realm=r,nonce=n`}, "Digest ", ""},
		"Basic":                   {[]string{`BASIC realm="r"`}, "Basic ", ""},
		"Basic and a strange one": {[]string{`Basic realm="r"`, md5Digest + `, algorithm=X`}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Value
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if text := r.Header.Get("Authorization"); text != "" {
					sent.Store(text)
					_, _ = io.WriteString(w, smallJPEG())
					return
				}
				w.Header()["WWW-Authenticate"] = c.offers
				w.WriteHeader(http.StatusUnauthorized)
			}))
			defer server.Close()
			_, _, err := newClient(t).Picture(t.Context(), Camera{Username: "admin", Password: "secret", ISAPIURL: server.URL}, 1, nil)
			text, _ := sent.Load().(string)
			if (err == nil) != (c.begins != "") || !strings.HasPrefix(text, c.begins) || (text == "") != (c.begins == "") || !strings.Contains(text, c.has) {
				t.Errorf("sent %q, %v", text, err)
			}
		})
	}
}

// smallJPEG is a picture with the given segments before its data.
func smallJPEG(segments ...string) string {
	return "\xff\xd8" + strings.Join(segments, "") + "\xff\xda\x00\x02data\xff\xd9"
}

// TestHostilePictures: what is no picture is none, nothing is followed, and little memory
// is taken.
func TestHostilePictures(t *testing.T) {
	serve := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}
	}
	var visited atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Add(1) }))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    Kind
	}{
		"a picture":         {serve("image/jpeg", smallJPEG()), ""},
		"with a parameter":  {serve("Image/JPEG; charset=x", smallJPEG()), ""},
		"as another image":  {serve("image/pjpeg", smallJPEG()), ""},
		"as any image":      {serve("image/*", smallJPEG()), ""},
		"as bytes":          {serve("application/octet-stream", smallJPEG()), ""},
		"as other bytes":    {serve("binary/octet-stream", smallJPEG()), ""},
		"as text":           {serve("text/plain; charset=utf-8", smallJPEG()), ""},
		"without a kind":    {serve("", smallJPEG()), ""},
		"as a page":         {serve("text/html", smallJPEG()), Unsupported},
		"as a document":     {serve("application/xml", smallJPEG()), Unsupported},
		"bytes of a page":   {serve("application/octet-stream", "<html>admin:12345</html>"), Unsupported},
		"a document":        {serve("", "<ResponseStatus/>"), Unsupported},
		"another image":     {serve("image/svg+xml", "<svg/>"), Unsupported},
		"a page":            {serve("image/jpeg", "<html>admin:12345</html>"), Unsupported},
		"nothing":           {serve("image/jpeg", ""), Unsupported},
		"too large":         {serve("image/jpeg", smallJPEG(strings.Repeat("\xff\xdb\x00\x02", MaxPicture/4))), Unsupported},
		"as large as it is": {serve("image/jpeg", smallJPEG()[:6]+strings.Repeat("x", MaxPicture-6)), ""},
		"without an end": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg")
			endless("\xff\xd8", strings.Repeat("x", 64<<10))(w, r)
		}, Unsupported},
		"shorter than said": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9999")
			serve("image/jpeg", smallJPEG())(w, r)
		}, Unsupported},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, Unsupported},
		"slow":       {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			within := 30 * time.Second
			if c.want == Timeout {
				within = 300 * time.Millisecond
			}
			client := newClient(t, func(cfg *Config) { cfg.Within = within })
			picture, _, err := client.Picture(t.Context(), Camera{ISAPIURL: server.URL}, 1, nil)
			if kindIn(err) != c.want || (picture != nil) != (c.want == "") {
				t.Errorf("%d bytes, %v", len(picture), err)
			}
		})
	}
	if visited.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestOwnHost: credentials go to no other host, whatever the device says.
func TestOwnHost(t *testing.T) {
	device, _ := url.Parse("http://cam.example:8000/onvif/device_service")
	for said, want := range map[string]string{
		"http://cam.example/snap.jpg?channel=1":   "http://cam.example/snap.jpg?channel=1",
		"https://CAM.example:443/snap":            "https://CAM.example:443/snap",
		" http://cam.example:81/snap ":            "http://cam.example:81/snap",
		"http://192.168.1.64:80/snap?x=1#y":       "http://cam.example:8000/snap?x=1",
		"http://169.254.169.254/latest/meta-data": "http://cam.example:8000/latest/meta-data",
		"http://admin:12345@evil.example/snap":    "http://cam.example:8000/snap",
		"http://admin:12345@cam.example/snap":     "http://cam.example/snap",
		"rtsp://cam.example/snap":                 "", "file:///etc/passwd": "", "snap.jpg": "", "": "", "http://cam.example": "",
		"http://cam.example/" + strings.Repeat("x", 2000): "", "http:opaque": "", "://": "",
	} {
		got := ""
		if u := onOwnHost(device, said); u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
	device.Scheme = "https"
	if u := onOwnHost(device, "http://cam.example:80/snap"); u.String() != "https://cam.example:8000/snap" {
		t.Errorf("without TLS: %v", u)
	}
}

func TestBareJPEG(t *testing.T) {
	jfif, adobe := "\xff\xe0\x00\x07JFIF\x00", "\xff\xee\x00\x07Adobe"
	for name, c := range map[string]struct{ in, want string }{
		"colors stay":        {smallJPEG(jfif, adobe, "\xff\xdb\x00\x03q"), smallJPEG(jfif, adobe, "\xff\xdb\x00\x03q")},
		"text goes":          {smallJPEG(jfif, "\xff\xfe\x00\x06here", "\xff\xe1\x00\x08Exif\x00\x00", "\xff\xe0\x00\x06JFXX", "\xff\xee\x00\x03x"), smallJPEG(jfif)},
		"fill":               {"\xff\xd8\xff\xff\xff\xda\x00\x02d", "\xff\xd8\xff\xda\x00\x02d"},
		"no data":            {"\xff\xd8\xff\xda\x00\x02", ""},
		"no picture":         {"\xff\xd8\xff\xd9", ""},
		"too short":          {"\xff\xd8\xff\xe1\xff\xffx", ""},
		"a length of less":   {"\xff\xd8\xff\xdb\x00\x01x\xff\xda\x00\x02d", ""},
		"not between":        {"\xff\xd8x\xff\xda\x00\x02d", ""},
		"no beginning":       {"\xff\xda\x00\x02d", ""},
		"nothing":            {"", ""},
		"a begin in a begin": {"\xff\xd8\xff\xd8\xff\xda\x00\x02d", ""},
	} {
		got, ok := bareJPEG([]byte(c.in))
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

// FuzzJPEG: what is taken for a picture begins as one, has no text of the device before
// its data, and stays as it is.
func FuzzJPEG(f *testing.F) {
	f.Add([]byte(smallJPEG("\xff\xe0\x00\x07JFIF\x00", "\xff\xfe\x00\x06here", "\xff\xdb\x00\x03q")))
	f.Add([]byte("\xff\xd8\xff\xff\xda\x00\x02d"))
	f.Fuzz(func(t *testing.T, text []byte) {
		size := len(text)
		got, ok := bareJPEG(bytes.Clone(text))
		if !ok {
			return
		}
		if len(got) > size || !bytes.HasPrefix(got, []byte("\xff\xd8\xff")) {
			t.Fatalf("%q", got)
		}
		again, ok := bareJPEG(bytes.Clone(got))
		if !ok || !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q, %v", got, again, ok)
		}
	})
}

// FuzzAddress: no address that a device says leads elsewhere.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"http://192.168.1.64/snap?x=1", "http://admin:1@cam.example:81/", "http://[fe80::1%25eth0]/x", "//x", "http://cam.example\\@evil/"} {
		f.Add(s)
	}
	device, _ := url.Parse("http://cam.example:8000/onvif")
	f.Fuzz(func(t *testing.T, said string) {
		u := onOwnHost(device, said)
		if u == nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil || !strings.EqualFold(again.Hostname(), "cam.example") || again.User != nil || again.Scheme != "http" && again.Scheme != "https" {
			t.Fatalf("%q leads to %q, %v", said, u, err)
		}
	})
}

// TestPicturesAreShared: many callers cost one fetch a second, failures too; a fetch that
// nobody waits for is cancelled; and no owner takes all turns.
func TestPicturesAreShared(t *testing.T) {
	var mu sync.Mutex
	now, fetches := time.Unix(1_800_000_000, 0), map[string]int{}
	var failing atomic.Bool
	block := make(chan struct{})
	cancelled := make(chan struct{}, 10)
	where, _ := url.Parse("http://cam/snap")
	var wheres []bool
	p := NewPictures(PicturesConfig{
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Camera: func(_ context.Context, device string) (Camera, string, error) {
			return Camera{ISAPIURL: device}, "owner", nil
		},
		Fetch: func(ctx context.Context, cam Camera, channel int, at *url.URL) ([]byte, *url.URL, error) {
			mu.Lock()
			fetches[cam.ISAPIURL]++
			wheres = append(wheres, at != nil)
			mu.Unlock()
			if cam.ISAPIURL == "slow" {
				select {
				case <-block:
				case <-ctx.Done():
					cancelled <- struct{}{}
					return nil, nil, ctx.Err()
				}
			}
			if failing.Load() {
				return nil, nil, fail(NotReachable, ISAPI)
			}
			return fmt.Appendf(nil, "%s %d", cam.ISAPIURL, channel), where, nil
		},
	})
	count := func(device string) int { mu.Lock(); defer mu.Unlock(); return fetches[device] }
	later := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }

	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got, err := p.Get(t.Context(), "cam", 3); err != nil || string(got) != "cam 3" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
	if n := count("cam"); n != 1 {
		t.Errorf("fifty callers cost %d fetches", n)
	}
	if got, _ := p.Get(t.Context(), "cam", 4); string(got) != "cam 4" {
		t.Errorf("another channel: %q", got)
	}
	failing.Store(true)
	later(pictureFor)
	for range 3 {
		if _, err := p.Get(t.Context(), "cam", 3); kindIn(err) != NotReachable {
			t.Errorf("a failure: %v", err)
		}
	}
	if n := count("cam"); n != 3 {
		t.Errorf("%d fetches, want 3: a failure is kept as well", n)
	}
	if mu.Lock(); fmt.Sprint(wheres) != "[false false true]" {
		t.Errorf("where it is was known: %v", wheres)
	}
	mu.Unlock()

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := p.Get(ctx, "slow", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	<-cancelled

	failing.Store(false)
	for channel := range 3 * maxFetchesOfOne {
		all.Go(func() { _, _ = p.Get(t.Context(), "slow", channel) })
	}
	for count("slow") < 1+maxFetchesOfOne {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	if n := count("slow"); n != 1+maxFetchesOfOne {
		t.Errorf("%d at once for one owner", n-1)
	}
	close(block)
	all.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turns.by) != 0 {
		t.Errorf("turns are left: %d", len(p.turns.by))
	}
}

// TestPicturesAreBounded: pictures beyond the bound are given, and not kept; all are
// dropped after their time.
func TestPicturesAreBounded(t *testing.T) { synctest.Test(t, picturesAreBounded) }

func picturesAreBounded(t *testing.T) {
	p := NewPictures(PicturesConfig{
		Camera: func(context.Context, string) (Camera, string, error) { return Camera{}, "", nil },
		Fetch: func(context.Context, Camera, int, *url.URL) ([]byte, *url.URL, error) {
			return make([]byte, MaxPicture), nil, nil
		},
	})
	for channel := range 2 * maxPictures / MaxPicture {
		if got, err := p.Get(t.Context(), "cam", channel); err != nil || len(got) != MaxPicture {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	p.shared.mu.Lock()
	if p.shared.bytes > maxPictures {
		t.Errorf("%d bytes are kept", p.shared.bytes)
	}
	p.shared.mu.Unlock()
	time.Sleep(pictureFor)
	synctest.Wait()
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	if p.shared.bytes != 0 || len(p.shared.by) != 0 {
		t.Errorf("%d bytes of %d pictures are kept", p.shared.bytes, len(p.shared.by))
	}
}

func TestPictureCorpora(t *testing.T) {
	for _, name := range []string{"FuzzJPEG", "FuzzAddress"} {
		if files, err := os.ReadDir("testdata/fuzz/" + name); err != nil || len(files) == 0 {
			t.Errorf("%s has no corpus: %v", name, err)
		}
	}
}

package alert_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"latchkey/internal/alert"
)

func at(h, m int) time.Time { return time.Date(2026, 1, 31, h, m, 0, 0, time.UTC) }

// xmlAlert is a message as devices write it.
func xmlAlert(namespace, more string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><EventNotificationAlert version="2.0" xmlns="` + namespace + `"><ipAddress>10.0.0.7</ipAddress><portNo>80</portNo><protocol>HTTP</protocol><macAddress>02:00:00:00:00:01</macAddress>` + more + `</EventNotificationAlert>`
}

func TestOneReadsWhatDevicesWrite(t *testing.T) {
	const hik, std = "http://www.hikvision.com/ver20/XMLSchema", "http://www.std-cgi.com/ver20/XMLSchema"
	for name, c := range map[string]struct {
		text string
		want alert.Alert
		beat bool
	}{
		"motion": {text: xmlAlert(hik, `<channelID>2</channelID><dateTime>2026-01-31T12:00:00+02:00</dateTime><activePostCount>1</activePostCount><eventType>VMD</eventType><eventState>active</eventState><eventDescription>Motion alarm</eventDescription>`),
			want: alert.Alert{Channel: 2, Kind: alert.Motion, Type: "vmd", Active: true, At: at(10, 0)}},
		"another namespace, no longer active": {text: xmlAlert(std, `<channelID>1</channelID><dateTime>2026-01-31T10:00:00Z</dateTime><eventType>linedetection</eventType><eventState>inactive</eventState>`),
			want: alert.Alert{Channel: 1, Kind: alert.LineCrossing, Type: "linedetection", At: at(10, 0)}},
		"a prefix": {text: `<h:EventNotificationAlert xmlns:h="http://www.isapi.org/ver20/XMLSchema"><h:channelID>3</h:channelID><h:eventType>fielddetection</h:eventType><h:eventState>active</h:eventState></h:EventNotificationAlert>`,
			want: alert.Alert{Channel: 3, Kind: alert.Intrusion, Type: "fielddetection", Active: true}},
		"no zone": {text: xmlAlert(hik, `<channelID>1</channelID><dateTime>2026-01-31T10:00:00</dateTime><eventType>VMD</eventType><eventState>active</eventState>`),
			want: alert.Alert{Channel: 1, Kind: alert.Motion, Type: "vmd", Active: true, At: at(10, 0), Unzoned: true}},
		"a short zone": {text: xmlAlert(hik, `<channelID>1</channelID><dateTime>2026-01-31T18:00:00+8:00</dateTime><eventType>VMD</eventType><eventState>active</eventState>`),
			want: alert.Alert{Channel: 1, Kind: alert.Motion, Type: "vmd", Active: true, At: at(10, 0)}},
		"the device itself": {text: xmlAlert(hik, `<channelID>0</channelID><eventType>diskfull</eventType><eventState>active</eventState>`),
			want: alert.Alert{Kind: alert.Storage, Type: "diskfull", Active: true}},
		"an empty channel": {text: xmlAlert(hik, `<channelID></channelID><eventType>illAccess</eventType><eventState>active</eventState>`),
			want: alert.Alert{Kind: alert.IllegalAccess, Type: "illaccess", Active: true}},
		"a linked camera": {text: xmlAlert(hik, `<dynChannelID>4</dynChannelID><eventType>VMD</eventType><eventState>active</eventState>`),
			want: alert.Alert{Channel: 4, Kind: alert.Motion, Type: "vmd", Active: true}},
		"an unknown event": {text: xmlAlert(hik, `<channelID>1</channelID><eventType>Levitation</eventType><eventState>active</eventState>`),
			want: alert.Alert{Channel: 1, Kind: alert.Other, Type: "levitation", Active: true}},
		"JSON": {text: `{"ipAddress":"10.0.0.7","channelID":2,"dateTime":"2026-01-31T10:00:00Z","activePostCount":1,"eventType":"VMD","eventState":"active"}`,
			want: alert.Alert{Channel: 2, Kind: alert.Motion, Type: "vmd", Active: true, At: at(10, 0)}},
		"JSON in an object": {text: `{"EventNotificationAlert":{"channelID":"2","eventType":"regionEntrance","eventState":"active"}}`,
			want: alert.Alert{Channel: 2, Kind: alert.RegionEntered, Type: "regionentrance", Active: true}},
		"no state":           {text: `{"channelID":1,"eventType":"ANPR"}`, want: alert.Alert{Channel: 1, Kind: alert.Vehicle, Type: "anpr", Active: true}},
		"lost pictures":      {text: `{"channelID":1,"eventType":"videoloss","eventState":"active"}`, want: alert.Alert{Channel: 1, Kind: alert.VideoLoss, Type: "videoloss", Active: true}},
		"a beat":             {text: xmlAlert(hik, `<channelID>1</channelID><eventType>videoloss</eventType><eventState>inactive</eventState>`), beat: true},
		"a beat of another":  {text: `{"eventType":"heartBeat","eventState":"active"}`, beat: true},
		"an absurd channel":  {text: `{"channelID":99999999999999999999,"eventType":"VMD"}`, want: alert.Alert{Kind: alert.Motion, Type: "vmd", Active: true}},
		"an absurd time":     {text: `{"channelID":1,"dateTime":"yesterday","eventType":"VMD"}`, want: alert.Alert{Channel: 1, Kind: alert.Motion, Type: "vmd", Active: true}},
		"what is nested":     {text: xmlAlert(hik, `<channelID>1</channelID><extra><eventType>io</eventType></extra><eventType>VMD</eventType>`), want: alert.Alert{Channel: 1, Kind: alert.Motion, Type: "vmd", Active: true}},
		"a byte order mark":  {text: "\xef\xbb\xbf" + `{"channelID":1,"eventType":"io"}`, want: alert.Alert{Channel: 1, Kind: alert.Input, Type: "io", Active: true}},
		"some other letters": {text: `<?xml version="1.0" encoding="GB2312"?><EventNotificationAlert><channelName>` + "\xc0\xb4" + `</channelName><channelID>1</channelID><eventType>VMD</eventType></EventNotificationAlert>`, want: alert.Alert{Channel: 1, Kind: alert.Motion, Type: "vmd", Active: true}},
	} {
		got, ok, err := alert.One([]byte(c.text))
		if err != nil || ok == c.beat || got != c.want {
			t.Errorf("%s: %+v, %v, %v", name, got, ok, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "text": "hello", "another document": "<ResponseStatus/>", "no type": "<EventNotificationAlert/>",
		"half": "<EventNotificationAlert><eventType>VMD", "entities": `<!DOCTYPE x [<!ENTITY a "b">]><EventNotificationAlert><eventType>&a;</eventType></EventNotificationAlert>`,
		"deep": strings.Repeat("<EventNotificationAlert>", 100), "large": "{" + strings.Repeat(" ", alert.MaxPart) + "}", "a list": "[1]", "invalid": "{]",
	} {
		if got, ok, err := alert.One([]byte(text)); !errors.Is(err, alert.ErrUnreadable) || ok {
			t.Errorf("%s: %+v, %v, %v", name, got, ok, err)
		}
	}
}

// TestReaderReturnsAPartAtOnce: before the boundary of the next one comes.
func TestReaderReturnsAPartAtOnce(t *testing.T) {
	for name, first := range map[string]string{
		"with a length":    "--boundary\r\nContent-Type: application/xml; charset=\"UTF-8\"\r\nContent-Length: 5\r\n\r\n<a/>\n\r\n",
		"without a length": "--boundary\r\nContent-Type: application/xml\r\n\r\n<EventNotificationAlert>\r\n</EventNotificationAlert>\r\n",
		"JSON":             "--boundary\r\nContent-Type: application/json\r\n\r\n{\n\"a\": {}\n}\r\n",
		"other dashes":     "----boundary\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n",
		"after a picture":  "--boundary\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n\r\n\r\n\r\n\r\n--boundary\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a/>\r\n",
		"after a blob":     "--boundary\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8abc\r\n--boundary\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a/>\r\n",
	} {
		out, in := io.Pipe()
		r := alert.NewReader(out, "boundary")
		go func() { fmt.Fprint(in, first) }() // and then nothing
		part := make(chan []byte, 1)
		go func() {
			got, err := r.Next()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			part <- got
		}()
		select {
		case got := <-part:
			if len(got) == 0 {
				t.Errorf("%s: %q", name, got)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: no part comes", name)
		}
		in.Close()
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

func TestReaderIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"no boundary":    strings.Repeat("x\r\n", 64<<10),
		"a long line":    strings.Repeat("x", 64<<10),
		"a long header":  "--b\r\n" + strings.Repeat("a: b\r\n", 1000),
		"a large part":   "--b\r\nContent-Type: application/xml\r\nContent-Length: 100000000\r\n\r\n",
		"a larger part":  "--b\r\nContent-Type: application/xml\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000),
		"without an end": "--b\r\nContent-Type: application/xml\r\n\r\n" + strings.Repeat("<a>\r\n", 64<<10),
	} {
		if got, err := alert.NewReader(strings.NewReader(text), "b").Next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestReadTakesWhatDevicesPost(t *testing.T) {
	form := "--MIME_boundary\r\nContent-Disposition: form-data; name=\"Event_Type\"\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n" +
		`{"channelID":1,"eventType":"fielddetection"}` + "\r\n--MIME_boundary\r\nContent-Disposition: form-data; name=\"picture\"\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nabc\r\n--MIME_boundary--\r\n"
	list, err := alert.Read("multipart/form-data; boundary=MIME_boundary", strings.NewReader(form))
	if err != nil || len(list) != 1 || list[0].Kind != alert.Intrusion {
		t.Errorf("%+v, %v", list, err)
	}
	for _, c := range []struct{ media, body string }{{"application/xml", "<x/>"}, {"multipart/form-data; boundary=b", "--b\r\n\r\nx\r\n--b--\r\n"}, {"", ""}} {
		if list, err := alert.Read(c.media, strings.NewReader(c.body)); !errors.Is(err, alert.ErrUnreadable) {
			t.Errorf("%s: %+v, %v", c.body, list, err)
		}
	}
	if list, err := alert.Read("nonsense", strings.NewReader(`{"eventType":"heartBeat"}`)); err != nil || len(list) != 0 {
		t.Errorf("a beat: %+v, %v", list, err)
	}
}

// TestReadTakesAPictureBeforeTheMessage: of any length up to that of a body. Of a body that is
// longer, what comes too late is reported; a message before the rest counts.
func TestReadTakesAPictureBeforeTheMessage(t *testing.T) {
	message := "--b\r\nContent-Type: application/json\r\n\r\n{\"channelID\":1,\"eventType\":\"fielddetection\"}\r\n"
	for _, header := range []string{"", "Content-Length: %d\r\n"} {
		picture := func(n int) string {
			head := header
			if head != "" {
				head = fmt.Sprintf(header, n)
			}
			return "--b\r\nContent-Type: image/jpeg\r\n" + head + "\r\n" + strings.Repeat("x", n) + "\r\n"
		}
		read := func(body string) ([]alert.Alert, error) {
			return alert.Read("multipart/form-data; boundary=b", strings.NewReader(body+"--b--\r\n"))
		}
		for _, n := range []int{9 << 20, alert.MaxBody - 1<<10} {
			if list, err := read(picture(n) + message); err != nil || len(list) != 1 {
				t.Errorf("%q, %d bytes: %+v, %v", header, n, list, err)
			}
		}
		if list, err := read(picture(alert.MaxBody) + message); !errors.Is(err, alert.ErrTooLarge) {
			t.Errorf("%q, too many bytes: %+v, %v", header, list, err)
		}
		if list, err := read(picture(9<<20) + picture(9<<20) + message); !errors.Is(err, alert.ErrTooLarge) {
			t.Errorf("%q, two pictures: %+v, %v", header, list, err)
		}
		if list, err := read(message + picture(alert.MaxBody)); err != nil || len(list) != 1 {
			t.Errorf("%q, a message first: %+v, %v", header, list, err)
		}
	}
	if _, err := alert.Read("multipart/form-data; boundary=b", io.MultiReader(strings.NewReader("--b\r\n"), iotest.ErrReader(os.ErrDeadlineExceeded))); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a slow body: %v", err)
	}
}

// TestAStreamHasNoLongPictures: what a live stream skips is bounded as before.
func TestAStreamHasNoLongPictures(t *testing.T) {
	long := "--b\r\nContent-Type: image/jpeg\r\nContent-Length: 9000000\r\n\r\n"
	if _, err := alert.NewReader(strings.NewReader(long), "b").Next(); !errors.Is(err, alert.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// FuzzRead: whatever a device posts, what comes of it is within its bounds.
func FuzzRead(f *testing.F) {
	f.Add("application/xml", []byte(xmlAlert("x", `<channelID>1</channelID><eventType>VMD</eventType>`)))
	f.Add("application/json", []byte(`{"channelID":1,"eventType":"VMD","dateTime":"2026-01-31T10:00:00"}`))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Type: text/xml\r\n\r\n<EventNotificationAlert><eventType>a</eventType></EventNotificationAlert>\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, media string, body []byte) {
		list, err := alert.Read(media, bytes.NewReader(body))
		if err != nil && len(list) > 0 || len(list) > 16 {
			t.Errorf("%d alerts, %v", len(list), err)
		}
		for _, a := range list {
			checkAlert(t, a)
		}
	})
}

func checkAlert(t *testing.T, a alert.Alert) {
	if a.Channel < 0 || a.Channel > alert.MaxChannel || a.Kind == "" || a.Type == "" || len(a.Type) > 256 || a.At.IsZero() && a.Unzoned {
		t.Errorf("%+v", a)
	}
}

// FuzzStream: whatever a stream has, its parts are bounded and it ends.
func FuzzStream(f *testing.F) {
	part := "--boundary\r\nContent-Type: application/xml\r\nContent-Length: 4\r\n\r\n<a/>\r\n"
	f.Add("boundary", part+part)
	f.Add("-b", "--b\r\nContent-Type: application/json\r\n\r\n{\n}\n--b\r\n\r\n")
	f.Add("b", "--b\r\nContent-Type: image/jpeg\r\n\r\nxx\r\n--b\r\nContent-Length: -1\r\n\r\n")
	f.Fuzz(func(t *testing.T, boundary, text string) {
		r := alert.NewReader(strings.NewReader(text), boundary)
		for range len(text) + 2 {
			got, err := r.Next()
			if err != nil {
				return
			}
			if len(got) > alert.MaxPart+8192 {
				t.Fatalf("a part of %d bytes", len(got))
			}
			if a, ok, err := alert.One(got); ok && err == nil {
				checkAlert(t, a)
			}
		}
		t.Error("the stream does not end")
	})
}

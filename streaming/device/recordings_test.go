package device

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

var someDay = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// TestRecordings: what a camera has recorded, page by page, by each protocol.
func TestRecordings(t *testing.T) {
	now := someDay.Add(12*time.Hour + 30*time.Minute)
	cam := startCamera(t, func(c *simcamera.Config) { c.Now = func() time.Time { return now } })
	client := newClient(t, func(c *Config) { c.Now = func() time.Time { return now } })
	isapi, onvif := asked(cam), asked(cam)
	isapi.ONVIFURL, onvif.ISAPIURL = "", ""
	for name, c := range map[string]Camera{"ISAPI": isapi, "ONVIF": onvif, "both": asked(cam)} {
		for _, d := range []struct{ from, to, begin, end time.Time }{
			{someDay, someDay.AddDate(0, 0, 1), someDay, now},
			{someDay.AddDate(0, 0, -7), someDay.Add(time.Minute), someDay.AddDate(0, 0, -7), someDay.Add(time.Minute)}, // 169 segments
		} {
			got, err := client.Recordings(t.Context(), c, 2, d.from, d.to)
			if err != nil || got.Zone != 0 || len(got.List) != 1 || !got.List[0].From.Equal(d.begin) || !got.List[0].To.Equal(d.end) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		if got, err := client.Recordings(t.Context(), c, 2, now, now.Add(time.Hour)); err != nil || len(got.List) != 0 {
			t.Errorf("%s: the future is recorded: %+v, %v", name, got, err)
		}
		if _, err := client.Recordings(t.Context(), c, 9, someDay, now); err == nil {
			t.Errorf("%s: no such channel: %v", name, err)
		}
	}
	if _, err := client.Recordings(t.Context(), Camera{}, 1, someDay, now); kindIn(err) != Unsupported {
		t.Errorf("no address: %v", err)
	}
}

func match(track, from, to string) string {
	return "<searchMatchItem><trackID>" + track + "</trackID><timeSpan><startTime>" + from + "</startTime><endTime>" + to + "</endTime></timeSpan></searchMatchItem>"
}

func found(status string, items ...string) string {
	return `<CMSearchResult xmlns="http://www.hikvision.com/ver20/XMLSchema"><responseStatusStrg>` + status + "</responseStatusStrg><matchList>" + strings.Join(items, "") + "</matchList></CMSearchResult>"
}

// TestSearchesAsDevicesAnswer: gaps, what is not in order, of another channel, by a clock
// that is wrong or of another zone, and pages that do not end.
func TestSearchesAsDevicesAnswer(t *testing.T) {
	now := someDay.Add(12 * time.Hour)
	at := func(hour, minute int) time.Time {
		return someDay.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	hours := func(list ...int) (out []Recording) {
		for i := 0; i < len(list); i += 2 {
			out = append(out, Recording{at(list[i], 0), at(list[i+1], 0)})
		}
		return out
	}
	for name, c := range map[string]struct {
		clock string
		pages []string // the last one again and again
		want  []Recording
		zone  time.Duration
		kind  Kind
		asks  int32
	}{
		"gaps, in any order": {"", []string{found("OK", match("101", "2026-01-05T06:00:00Z", "2026-01-05T07:00:00Z"), match("101", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"),
			match("101", "2026-01-05T02:00:00Z", "2026-01-05T03:00:00Z"), match("101", "2026-01-05T06:30:00Z", "2026-01-05T06:40:00Z"))}, hours(1, 3, 6, 7), 0, "", 1},
		"beyond the day": {"", []string{found("OK", match("101", "2026-01-04T23:00:00Z", "2026-01-05T01:00:00Z"), match("101", "2026-01-06T00:00:00Z", "2026-01-06T01:00:00Z"))}, hours(0, 1), 0, "", 1},
		"another channel": {"", []string{found("OK", match("201", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"), match("", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"),
			strings.Replace(match("", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z"), "<timeSpan>", "<mediaSegmentDescriptor><playbackURI>rtsp://10.0.0.1/Streaming/tracks/101/?x</playbackURI></mediaSegmentDescriptor><timeSpan>", 1))}, hours(3, 4), 0, "", 1},
		"what is no time": {"", []string{found("OK", match("101", "yesterday", "2026-01-05T02:00:00Z"), match("101", "2026-01-05T05:00:00Z", "2026-01-05T04:00:00Z"), match("101", "2026-01-05t01:00:00z", "2026-01-05T02:00:00"))}, hours(1, 2), 0, "", 1},
		"with a zone":     {"", []string{found("OK", match("101", "2026-01-05T09:00:00+08:00", "2026-01-05T10:00:00+08:00"))}, hours(1, 2), 0, "", 1},
		"a clock that is wrong": {"<Time><localTime>2026-01-05T13:00:00Z</localTime></Time>", []string{found("OK", match("101", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z"))},
			hours(2, 3), 0, "", 1},
		"a zone":                       {"<Time><localTime>2026-01-05T20:00:02+08:00</localTime></Time>", []string{found("NO MATCHES")}, nil, 8 * time.Hour, "", 1},
		"a zone by its name":           {"<Time><localTime>2026-01-05T07:00:00</localTime><timeZone>EST+5:00:00DST01:00:00,M3.2.0/02:00:00,M11.1.0/02:00:00</timeZone></Time>", []string{found("NO MATCHES")}, nil, -5 * time.Hour, "", 1},
		"a zone that is UTC in winter": {"<Time><localTime>2026-01-05T12:00:00+00:00</localTime><timeZone>GMT+0:00:00DST01:00:00,M3.5.0/01:00:00,M10.5.0/02:00:00</timeZone></Time>", []string{found("NO MATCHES")}, nil, time.Hour, "", 1},
		"a zone that is always UTC":    {"<Time><localTime>2026-01-05T12:00:00Z</localTime><timeZone>GMT+0:00:00</timeZone></Time>", []string{found("NO MATCHES")}, nil, 0, "", 1},
		"a clock of no use":            {"<Time><localTime>1970-01-01T00:00:00Z</localTime></Time>", []string{found("OK", match("101", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z"))}, hours(3, 4), 0, "", 1},
		"pages": {"", []string{found("MORE", match("101", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z")), found("MORE", match("101", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z")), found("OK")},
			hours(1, 2, 3, 4), 0, "", 3},
		"pages without end": {"", []string{found("MORE", match("101", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"))}, nil, 0, Incomplete, 3},
		"more of nothing":   {"", []string{found("MORE")}, nil, 0, Incomplete, 1},
		"the rest anew": {"", []string{found("MORE", match("101", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z")), found("MORE"), found("OK", match("101", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z"))},
			hours(1, 2, 3, 4), 0, "", 3},
		"the rest of what is in no order": {"", []string{found("MORE", match("101", "2026-01-05T03:00:00Z", "2026-01-05T04:00:00Z"), match("101", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z")), found("MORE")}, nil, 0, Incomplete, 2},
		"more after the end":              {"", []string{found("MORE", match("101", "2026-01-05T22:00:00Z", "2026-01-06T01:00:00Z")), found("MORE")}, hours(22, 24), 0, "", 2},
		"more without length":             {"", []string{found("MORE", match("101", "2026-01-05T01:00:00Z", "2026-01-05T01:00:00Z"))}, nil, 0, Incomplete, 3},
		"another document":                {"", []string{"<ResponseStatus><statusCode>4</statusCode></ResponseStatus>"}, nil, 0, Refused, 2},
		"no document":                     {"", []string{"no"}, nil, 0, Unsupported, 2},
		"the other list only":             {"", []string{"trackIDList", found("OK", match("101", "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"))}, hours(1, 2), 0, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var asks atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ISAPI/System/time" {
					_, _ = io.WriteString(w, c.clock)
					return
				}
				n := int(asks.Add(1)) - 1
				_, _ = io.WriteString(w, c.pages[min(n, len(c.pages)-1)])
			}))
			defer server.Close()
			client := newClient(t, func(cfg *Config) { cfg.Now = func() time.Time { return now } })
			got, err := client.Recordings(t.Context(), Camera{ISAPIURL: server.URL}, 1, someDay, someDay.AddDate(0, 0, 1))
			if kindIn(err) != c.kind || got.Zone != c.zone || asks.Load() != c.asks || fmt.Sprint(got.List) != fmt.Sprint(append([]Recording{}, c.want...)) {
				t.Errorf("%+v, %v after %d requests; want %+v", got, err, asks.Load(), c.want)
			}
		})
	}
}

// TestManyRecordings: of recorders that give few on a page or less than there are in one
// search, or that do not know positions, all are listed; if that cannot be, none are.
func TestManyRecordings(t *testing.T) {
	const each = 15 * time.Second
	stamp := func(n int) string { return someDay.Add(time.Duration(n) * each).Format(time.RFC3339) }
	for name, c := range map[string]struct {
		all, onPage, most int // most: of one search
		positions         bool
		kind              Kind
	}{
		"ten on a page":    {1500, 10, 1500, true, ""},
		"forty on a page":  {5000, 40, 5000, true, ""},
		"some of a search": {1500, 100, 400, true, ""},
		"no positions":     {1500, 50, 1500, false, ""},
		"too many":         {maxRecordings + 1, 100, maxRecordings + 1, true, Incomplete},
		"too many pages":   {maxPages + 1, 1, maxPages + 1, true, Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				root, err := parseXML(text)
				if err != nil {
					return // the clock
				}
				from, _ := time.Parse(time.RFC3339, root.words("timeSpanList", "timeSpan", "startTime"))
				first, at := int((from.Sub(someDay)+each-1)/each), 0
				if c.positions {
					at, _ = strconv.Atoi(root.words("searchResultPostion"))
				}
				var items []string
				for n := first + at; n < min(c.all, first+c.most, first+at+c.onPage); n++ {
					items = append(items, match("101", stamp(n), someDay.Add(time.Duration(n)*each+each-time.Second).Format(time.RFC3339)))
				}
				status := "MORE"
				if first+at+len(items) >= c.all {
					status = "OK"
				}
				_, _ = io.WriteString(w, found(status, items...))
			}))
			defer server.Close()
			got, err := newClient(t).Recordings(t.Context(), Camera{ISAPIURL: server.URL}, 1, someDay, someDay.AddDate(0, 0, 7))
			want := c.all
			if c.kind != "" {
				want = 0
			}
			if kindIn(err) != c.kind || len(got.List) != want {
				t.Errorf("%d recordings of %d, %v", len(got.List), want, err)
			}
		})
	}
}

// TestSearchesThatTakeTooLong: by both protocols, a device that gives a part in time has
// more than can be read.
func TestSearchesThatTakeTooLong(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	s := &httpSession{service: ONVIF}
	if err := s.cutShort(ctx, fail(Timeout, ONVIF), 1); kindIn(err) != Incomplete {
		t.Errorf("after a page: %v", err)
	}
	if err := s.cutShort(ctx, fail(Timeout, ONVIF), 0); kindIn(err) != Timeout {
		t.Errorf("before one: %v", err)
	}
	if err := s.cutShort(t.Context(), fail(Refused, ONVIF), 1); kindIn(err) != Refused {
		t.Errorf("in time: %v", err)
	}
	s.conn.Store(&boundedConn{})
	if err := s.cutShort(t.Context(), fail(Unsupported, ONVIF), 1); kindIn(err) != Incomplete {
		t.Errorf("too many bytes: %v", err)
	}
}

// TestSearchAsksAsDevicesExpect: the names of a search, and the device's own time.
func TestSearchAsksAsDevicesExpect(t *testing.T) {
	var asked atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			text, _ := io.ReadAll(r.Body)
			asked.Store(string(text))
			_, _ = io.WriteString(w, found("NO MATCHES"))
			return
		}
		_, _ = io.WriteString(w, "<Time><localTime>2026-01-05T13:00:00Z</localTime></Time>")
	}))
	defer server.Close()
	client := newClient(t, func(cfg *Config) { cfg.Now = func() time.Time { return someDay.Add(12 * time.Hour) } })
	if _, err := client.Recordings(t.Context(), Camera{ISAPIURL: server.URL + "/ISAPI/"}, 17, someDay, someDay.Add(time.Hour+1)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<trackID>1701</trackID>", "<startTime>2026-01-05T01:00:00Z</startTime>", "<endTime>2026-01-05T02:00:01Z</endTime>", "<searchResultPostion>0</searchResultPostion>", "recordType.meta.std-cgi.com"} {
		if !strings.Contains(asked.Load().(string), want) {
			t.Errorf("no %s in %s", want, asked.Load())
		}
	}
}

// TestOtherCamerasRecordings: by ONVIF, a recording that cannot be told apart from another
// camera's is not a channel's.
func TestOtherCamerasRecordings(t *testing.T) {
	info := func(source string) string {
		return "<RecordingInformation><Source><SourceId>" + source + "</SourceId></Source><Track><TrackType>Video</TrackType><DataFrom>2026-01-05T01:00:00Z</DataFrom><DataTo>2026-01-05T02:00:00Z</DataTo></Track>" +
			"<Track><TrackType>Audio</TrackType><DataFrom>2026-01-04T01:00:00Z</DataFrom><DataTo>2026-01-05T09:00:00Z</DataTo></Track></RecordingInformation>"
	}
	profile := func(n int) string {
		return fmt.Sprintf(`<Profiles token="p%d"><VideoSourceConfiguration><SourceToken>s%d</SourceToken></VideoSourceConfiguration></Profiles>`, n, n)
	}
	for name, c := range map[string]struct {
		profiles, recordings string
		want                 int
	}{
		"its source":          {profile(1) + profile(2), info("s1") + info("s2"), 1},
		"its profile":         {profile(1) + profile(2), info("p1"), 1},
		"nobody's, one":       {profile(1), info("http://10.0.0.1/x"), 1},
		"nobody's, of two":    {profile(1) + profile(2), info("x"), 0},
		"nobody's, two":       {profile(1), info("x") + info("y"), 0},
		"another camera's":    {profile(1) + profile(2), info("s2"), 0},
		"nothing is recorded": {profile(1), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				_, action, _ := strings.Cut(string(text), "<s:Body><")
				action, _, _ = strings.Cut(action, " ")
				content := map[string]string{
					"GetCapabilities":           `<Capabilities><Extension><Search><XAddr>http://10.0.0.1/search</XAddr></Search></Extension></Capabilities>`,
					"GetProfiles":               c.profiles,
					"FindRecordings":            "<SearchToken>a&lt;b</SearchToken>",
					"GetRecordingSearchResults": "<ResultList><SearchState>Completed</SearchState>" + c.recordings + "</ResultList>",
				}[action]
				if action == "GetRecordingSearchResults" && (!strings.Contains(string(text), "<SearchToken>a&lt;b</SearchToken>") || r.URL.Path != "/search") {
					t.Errorf("asked at %s: %s", r.URL.Path, text)
				}
				_, _ = io.WriteString(w, "<Envelope><Body><"+action+"Response>"+content+"<SystemDateAndTime/></"+action+"Response></Body></Envelope>")
			}))
			defer server.Close()
			got, err := newClient(t).Recordings(t.Context(), Camera{ONVIFURL: server.URL}, 1, someDay, someDay.AddDate(0, 0, 1))
			if err != nil || len(got.List) != c.want || c.want == 1 && got.List[0] != (Recording{someDay.Add(time.Hour), someDay.Add(2 * time.Hour)}) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestGapsByONVIF: the events of a track's state say when it has pictures, within what the
// recording says of itself; without events it is all of that.
func TestGapsByONVIF(t *testing.T) {
	event := func(track, at, present string) string {
		return "<Result><RecordingToken>r1</RecordingToken><TrackToken>" + track + "</TrackToken><Time>" + at + "</Time><Event><Topic>tns1:RecordingHistory/Track/State</Topic><Message><Message UtcTime=\"" + at +
			"\"><Data><SimpleItem Name=\"IsDataPresent\" Value=\"" + present + "\"/></Data></Message></Message></Event><StartStateEvent>false</StartStateEvent></Result>"
	}
	for name, c := range map[string]struct {
		events string
		want   []int // hours
	}{
		"a gap":              {event("v", "2026-01-05T00:00:00Z", "true") + event("v", "2026-01-05T03:00:00Z", "false") + event("v", "2026-01-05T05:00:00Z", "true"), []int{1, 3, 5, 9}},
		"in any order":       {event("v", "2026-01-05T05:00:00Z", "false") + event("v", "2026-01-05T02:00:00Z", "true"), []int{2, 5}},
		"another track's":    {event("a", "2026-01-05T05:00:00Z", "false") + event("v", "2026-01-05T04:00:00Z", "1"), []int{4, 9}},
		"nothing is told":    {"", []int{1, 9}},
		"it is refused":      {"fault", []int{1, 9}},
		"it does not end":    {"searching", nil},
		"what is no time":    {event("v", "yesterday", "true") + event("v", "2026-01-05T08:00:00Z", "true"), []int{8, 9}},
		"nothing there":      {event("v", "2026-01-05T00:00:00Z", "false"), nil},
		"beyond its own end": {event("v", "2026-01-05T20:00:00Z", "true"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				_, action, _ := strings.Cut(string(text), "<s:Body><")
				action, _, _ = strings.Cut(action, " ")
				content := map[string]string{
					"GetCapabilities": `<Capabilities><Extension><Search><XAddr>http://10.0.0.1/search</XAddr></Search></Extension></Capabilities>`,
					"GetProfiles":     `<Profiles token="p"><VideoSourceConfiguration><SourceToken>s</SourceToken></VideoSourceConfiguration></Profiles>`,
					"FindRecordings":  "<SearchToken>1</SearchToken>", "FindEvents": "<SearchToken>2</SearchToken>",
					"GetRecordingSearchResults": "<ResultList><SearchState>Completed</SearchState><RecordingInformation><RecordingToken>r1</RecordingToken><Source><SourceId>s</SourceId></Source>" +
						"<Track><TrackToken>v</TrackToken><TrackType>Video</TrackType><DataFrom>2026-01-05T01:00:00Z</DataFrom><DataTo>2026-01-05T09:00:00Z</DataTo></Track></RecordingInformation></ResultList>",
					"GetEventSearchResults": "<ResultList><SearchState>Completed</SearchState>" + c.events + "</ResultList>",
				}[action]
				if action == "GetEventSearchResults" && c.events == "searching" {
					content = "<ResultList><SearchState>Searching</SearchState></ResultList>"
				}
				switch {
				case action == "FindEvents" && c.events == "fault":
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, "<Envelope><Body><Fault><Code><Subcode><Value>ter:ActionNotSupported</Value></Subcode></Code></Fault></Body></Envelope>")
					return
				case action == "FindEvents" && !strings.Contains(string(text), "<StartPoint>2026-01-05T00:00:00Z</StartPoint><EndPoint>2026-01-06T00:00:00Z</EndPoint>"):
					t.Errorf("asked: %s", text)
				}
				_, _ = io.WriteString(w, "<Envelope><Body><"+action+"Response>"+content+"<SystemDateAndTime/></"+action+"Response></Body></Envelope>")
			}))
			defer server.Close()
			got, err := newClient(t).Recordings(t.Context(), Camera{ONVIFURL: server.URL}, 1, someDay, someDay.AddDate(0, 0, 1))
			want := []Recording{}
			for i := 0; i < len(c.want); i += 2 {
				want = append(want, Recording{someDay.Add(time.Duration(c.want[i]) * time.Hour), someDay.Add(time.Duration(c.want[i+1]) * time.Hour)})
			}
			if c.events == "searching" {
				if kindIn(err) != Incomplete {
					t.Errorf("a search that does not end: %v, %v", got.List, err)
				}
				return
			}
			if err != nil || fmt.Sprint(got.List) != fmt.Sprint(want) {
				t.Errorf("%v, %v; want %v", got.List, err, want)
			}
		})
	}
}

// FuzzSearch: no answer to a search makes us panic, list what is not asked for, or loop.
func FuzzSearch(f *testing.F) {
	f.Add([]byte(found("MORE", match("101", "2026-01-05T06:00:00Z", "2026-01-05T07:00:00Z"))), "2026-01-05T07:00:00", "EST+5:00:00DST01:00:00")
	f.Add([]byte("<ResultList><RecordingInformation><Track><TrackType>Video</TrackType><DataFrom>2026-01-05T01:00:00Z</DataFrom><DataTo>2026-01-05T02:00:00+08:00</DataTo></Track></RecordingInformation></ResultList>"), "2026-01-05T20:00:02+08:00", "")
	f.Fuzz(func(t *testing.T, text []byte, local, posix string) {
		if _, zone, err := localTime(local, posix); err == nil && zone.Abs() > 24*time.Hour {
			t.Errorf("%q, %q: a zone of %v", local, posix, zone)
		}
		root, err := parseXML(text)
		if err != nil {
			return
		}
		s := isapiSearch{track: "101"}
		var list []Recording
		for _, item := range root.find("matchList").all("searchMatchItem") {
			if r, ok := s.recording(item); ok {
				list = append(list, r)
			}
		}
		for _, info := range root.all("RecordingInformation") {
			list = append(list, onvifRecording(info, time.Hour)...)
		}
		parts, _ := onvifParts(root.all("Result"), "", "", someDay, time.Hour)
		list = append(list, parts...)
		from, to := someDay, someDay.AddDate(0, 0, 1)
		last := from.Add(-1)
		for _, r := range inOrder(slices.Clone(list), from, to) {
			if r.From.Before(from) || r.To.After(to) || !r.From.Before(r.To) || !r.From.After(last) {
				t.Errorf("%v after %v", r, last)
			}
			last = r.To
		}
	})
}

func TestSearchCorpus(t *testing.T) {
	if files, err := os.ReadDir("testdata/fuzz/FuzzSearch"); err != nil || len(files) == 0 {
		t.Errorf("no corpus: %v", err)
	}
}

// TestSearchesAreShared: who asks the same costs one search.
func TestSearchesAreShared(t *testing.T) {
	var asks atomic.Int32
	s := NewSearches(SearchesConfig{
		Camera: func(context.Context, string) (Camera, string, error) { return Camera{}, "owner", nil },
		Search: func(_ context.Context, _ Camera, channel int, from, to time.Time) (Recorded, error) {
			asks.Add(1)
			return Recorded{List: []Recording{{from, to}}}, nil
		},
	})
	for range 3 {
		got, err := s.Get(t.Context(), "cam", 1, someDay.Add(time.Millisecond), someDay.Add(time.Hour+1))
		if err != nil || got.List[0] != (Recording{someDay, someDay.Add(time.Hour + time.Second)}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	_, _ = s.Get(t.Context(), "cam", 2, someDay, someDay.Add(time.Hour))
	if n := asks.Load(); n != 2 {
		t.Errorf("%d searches", n)
	}
}

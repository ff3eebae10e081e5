package device

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// searchWithin limits one search for recordings.
	searchWithin = 20 * time.Second
	// maxSearched limits what is read from one connection of a search, in bytes.
	maxSearched = 8 << 20
	// maxPages limits the pages of a search by ISAPI, where some recorders give ten matches
	// on one, maxPolls those by ONVIF, pageOfSearch what we ask for on one, maxMatches what
	// is looked at, and maxRecordings what is taken in all.
	maxPages      = 1000
	maxPolls      = 100
	pageOfSearch  = 100
	maxMatches    = 4 * maxRecordings
	maxRecordings = 10_000
	// exactClock is the offset up to which a device's clock is taken to be right: it is
	// told in seconds, and the answer takes its time.
	exactClock = 5 * time.Second
	searchNS   = "http://www.onvif.org/ver10/search/wsdl"
)

// Recording is a time of which a device has recordings.
type Recording struct{ From, To time.Time }

// Recorded is what a device has recorded of a channel, in order and apart from each other.
type Recorded struct {
	List []Recording
	// Zone is the offset of the device's local time from UTC, by which the times may be
	// wrong: ISAPI's Z means UTC to some firmwares, and local time to others. If the local
	// time is UTC in winter only, it is the offset in summer. 0 if there is no doubt.
	Zone time.Duration
	// Clock is the offset of the device's local time from UTC now; nil if it does not tell.
	Clock *time.Duration
}

// Recordings asks a device what it has recorded of a channel in a time, by ISAPI if the
// device has it, else, or if it does not say so there, by ONVIF. The error is a *Failure.
// Nothing is retried. By ONVIF, gaps are known if the device has events of them. A list is
// whole: if the device has more than is read, the failure is Incomplete.
func (c *Client) Recordings(ctx context.Context, cam Camera, channel int, from, to time.Time) (r Recorded, err error) {
	ctx, cancel := context.WithTimeout(ctx, searchWithin)
	defer cancel()
	err = fail(Unsupported, "")
	if cam.ISAPIURL != "" {
		err = c.ask(ctx, cam, ISAPI, maxSearched, func(s *httpSession) (err error) {
			r, err = isapi{s}.recordings(ctx, channel, from, to)
			return err
		})
	}
	if cam.ONVIFURL != "" && (cam.ISAPIURL == "" || hasNone(err)) {
		err = c.ask(ctx, cam, ONVIF, 0, func(s *httpSession) (err error) {
			r, err = (&onvif{httpSession: s}).recordings(ctx, channel, from, to)
			return err
		})
	}
	if err != nil {
		return Recorded{}, err
	}
	r.List = inOrder(r.List, from, to)
	return r, nil
}

// inOrder sorts recordings, joins those that touch, and leaves out what is not from one
// time to another.
func inOrder(list []Recording, from, to time.Time) []Recording {
	slices.SortFunc(list, func(a, b Recording) int { return a.From.Compare(b.From) })
	out := []Recording{}
	for _, r := range list {
		if r.From.Before(from) {
			r.From = from
		}
		if r.To.After(to) {
			r.To = to
		}
		switch n := len(out); {
		case !r.From.Before(r.To):
		case n > 0 && !r.From.After(out[n-1].To):
			if r.To.After(out[n-1].To) {
				out[n-1].To = r.To
			}
		default:
			out = append(out, r)
		}
	}
	return out
}

// recordings searches page by page.
func (i isapi) recordings(ctx context.Context, channel int, from, to time.Time) (r Recorded, err error) {
	clock, err := i.deviceClock(ctx)
	if err != nil {
		return r, err
	}
	if r.Zone = clock.doubt; clock.told {
		r.Clock = &clock.zone
	}
	ahead := clock.ahead
	s := isapiSearch{isapi: i, id: searchID(), track: strconv.Itoa(channel) + "01", from: from.Add(ahead), to: to.Add(ahead), tracks: "trackList"}
	for page := range maxPages {
		items, more, err := s.page(ctx)
		if page == 0 && hasNone(err) { // the name differs between firmwares
			s.tracks = "trackIDList"
			items, more, err = s.page(ctx)
		}
		if err != nil {
			return r, i.cutShort(ctx, err, page)
		}
		for _, item := range items {
			r.List = append(r.List, Recording{item.From.Add(-ahead), item.To.Add(-ahead)})
		}
		if !more {
			return r, nil
		}
		if len(r.List) >= maxRecordings || len(s.seen) >= maxMatches {
			break
		}
	}
	return r, fail(Incomplete, ISAPI)
}

// cutShort returns the failure of a page of a search: if the time is over or a limit is
// reached after others were read, there is more than can be read.
func (s *httpSession) cutShort(ctx context.Context, err error, page int) error {
	conn := s.conn.Load()
	full := conn != nil && conn.left.Load() <= 0
	if page > 0 && (full || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		return fail(Incomplete, s.service)
	}
	return err
}

// isapiSearch is one search. Its position grows with each page.
type isapiSearch struct {
	isapi
	id, track string
	from, to  time.Time // by the device's clock
	tracks    string    // the name of the list of tracks
	position  int

	seen     map[[sha256.Size]byte]bool // the matches so far
	begun    time.Time                  // the last begin of a recording
	until    time.Time                  // the latest end
	disorder bool                       // they are not in the order of their begins
}

// page gets the next page, and whether there are more. A device may say that there are more
// and give none, or the same again: then a new search gets the rest.
func (s *isapiSearch) page(ctx context.Context) (list []Recording, more bool, err error) {
	const layout = "2006-01-02T15:04:05Z"
	body := `<?xml version="1.0" encoding="UTF-8"?><CMSearchDescription><searchID>` + s.id + `</searchID>` +
		`<` + s.tracks + `><trackID>` + s.track + `</trackID></` + s.tracks + `>` +
		`<timeSpanList><timeSpan><startTime>` + s.from.UTC().Format(layout) + `</startTime><endTime>` + s.to.UTC().Add(time.Second-1).Format(layout) + `</endTime></timeSpan></timeSpanList>` +
		`<maxResults>` + strconv.Itoa(pageOfSearch) + `</maxResults>` +
		`<searchResultPostion>` + strconv.Itoa(s.position) + `</searchResultPostion>` + // as devices spell it
		`<metadataList><metadataDescriptor>//recordType.meta.std-cgi.com</metadataDescriptor></metadataList></CMSearchDescription>`
	a, err := s.call(ctx, http.MethodPost, s.isapiPath("/ContentMgmt/search"), []byte(body), http.Header{"Content-Type": {"application/xml"}})
	switch {
	case err != nil:
		return nil, false, err
	case a.status == http.StatusUnauthorized, a.status >= 300 && a.status < 400, a.status == http.StatusOK && a.xml == nil:
		return nil, false, fail(Unsupported, ISAPI)
	case a.status != http.StatusOK || a.xml.name != "CMSearchResult":
		return nil, false, fail(Refused, ISAPI)
	}
	items := a.xml.find("matchList").all("searchMatchItem")
	s.position += len(items)
	news := false
	for _, item := range items {
		if !s.isNew(item) {
			continue
		}
		news = true
		if r, ok := s.recording(item); ok {
			list = append(list, r)
			s.disorder = s.disorder || r.From.Before(s.begun)
			s.begun = r.From
			if r.To.After(s.until) {
				s.until = r.To
			}
		}
	}
	more = strings.EqualFold(a.xml.words("responseStatusStrg"), "MORE")
	switch {
	case !more || news:
	case !s.disorder && !s.until.Before(s.to):
		more = false // what comes in order after one that ends later than we ask is in it
	case !s.anew():
		return nil, false, fail(Incomplete, ISAPI)
	}
	return list, more, nil
}

// isNew notes a match, and reports whether it was not given before.
func (s *isapiSearch) isNew(item *element) bool {
	name := sha256.Sum256([]byte(strings.Join([]string{
		item.words("trackID"), item.words("timeSpan", "startTime"), item.words("timeSpan", "endTime"), item.words("mediaSegmentDescriptor", "playbackURI"),
	}, "\n")))
	if s.seen[name] {
		return false
	}
	if s.seen == nil {
		s.seen = make(map[[sha256.Size]byte]bool)
	}
	s.seen[name] = true
	return true
}

// anew begins another search, from where the recordings so far end; false if that is not
// known, or is no later than the begin of this search.
func (s *isapiSearch) anew() bool {
	if s.disorder || !s.until.After(s.from) {
		return false
	}
	s.id, s.from, s.position = searchID(), s.until, 0
	return true
}

// recording reads one match. One of another channel, which a device that does not know the
// list of tracks may return, is none.
func (s *isapiSearch) recording(item *element) (r Recording, ok bool) {
	track := item.words("trackID")
	uri := item.find("mediaSegmentDescriptor", "playbackURI")
	if track == "" && uri != nil {
		_, after, _ := strings.Cut(strings.ToLower(uri.text), "/tracks/")
		track, _, _ = strings.Cut(strings.TrimSpace(after), "?")
		track = strings.Trim(track, "/")
	}
	from, err1 := isapiTime(item.words("timeSpan", "startTime"))
	to, err2 := isapiTime(item.words("timeSpan", "endTime"))
	return Recording{from, to}, track == s.track && err1 == nil && err2 == nil
}

var errTime = errors.New("not a time")

// isapiTime reads a time; without a zone it is UTC.
func isapiTime(text string) (time.Time, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errTime
}

// Clock asks a device by ISAPI how far its clock is ahead, and for the offset by which its
// times may be wrong; see Recorded.Zone. Both are zero for a device without ISAPI, or that does
// not tell. The error is a *Failure.
func (c *Client) Clock(ctx context.Context, cam Camera) (ahead, zone time.Duration, err error) {
	if cam.ISAPIURL == "" {
		return 0, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, clockWithin)
	defer cancel()
	err = c.ask(ctx, cam, ISAPI, 0, func(s *httpSession) (err error) {
		clock, err := isapi{s}.deviceClock(ctx)
		ahead, zone = clock.ahead, clock.doubt
		return err
	})
	return ahead, zone, err
}

// clockWithin limits a question for the clock.
const clockWithin = 5 * time.Second

// deviceTime is what a device tells of its clock.
type deviceTime struct {
	told  bool          // otherwise the rest is zero
	ahead time.Duration // how far it is ahead
	zone  time.Duration // the offset of its local time from UTC now
	doubt time.Duration // see Recorded.Zone
}

// deviceClock asks a device for its clock.
func (i isapi) deviceClock(ctx context.Context) (t deviceTime, err error) {
	doc, err := i.get(ctx, "/System/time")
	if err != nil && !hasNone(err) {
		return t, err
	}
	now := i.proof.client.cfg.Now()
	at, zone, err := localTime(doc.words("localTime"), doc.words("timeZone"))
	if err != nil {
		return t, nil
	}
	t = deviceTime{told: true, ahead: at.Sub(now), zone: zone, doubt: zone}
	if t.ahead.Abs() < exactClock || t.ahead.Abs() > maxClock {
		t.ahead = 0
	}
	if zone == 0 && strings.Contains(doc.words("timeZone"), ",") { // after it is when summer begins (POSIX)
		t.doubt = time.Hour
	}
	return t, nil
}

// localTime reads a device's time, and the offset of its zone: that of the time itself, or
// else of a zone such as CST-8:00:00, which is eight hours ahead (POSIX).
func localTime(local, posix string) (at time.Time, zone time.Duration, err error) {
	if at, err = time.Parse(time.RFC3339, local); err == nil {
		_, offset := at.Zone()
		return at, time.Duration(offset) * time.Second, nil
	}
	if at, err = time.Parse("2006-01-02T15:04:05", local); err != nil {
		return at, 0, errTime
	}
	digits := strings.IndexAny(posix, "+-0123456789")
	if digits < 0 {
		return at, 0, errTime
	}
	sign, clock := -time.Second, posix[digits:]
	switch clock[0] {
	case '-':
		sign, clock = time.Second, clock[1:]
	case '+':
		clock = clock[1:]
	}
	clock, _, _ = strings.Cut(clock, "D") // the name of the zone in summer
	seconds, unit := 0, 3600
	for part := range strings.SplitSeq(clock, ":") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > 59 || unit == 0 {
			return at, 0, errTime
		}
		seconds, unit = seconds+n*unit, unit/60
	}
	if zone = sign * time.Duration(seconds); zone.Abs() > 15*time.Hour {
		return at, 0, errTime
	}
	return at.Add(-zone), zone, nil
}

// searchID is a new name for a search.
func searchID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // cannot fail: it ends the program instead
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// recordings returns the recordings whose source is the channel's camera.
func (o *onvif) recordings(ctx context.Context, channel int, from, to time.Time) (r Recorded, err error) {
	services, err := o.services(ctx, channel)
	if err != nil {
		return r, err
	}
	found, err := o.find(ctx, services)
	if err != nil {
		return r, err
	}
	path := pathOf(services.capabilities.find("Extension"), "Search", "")
	for _, info := range found {
		whole := onvifRecording(info, o.ahead)
		parts, told, err := o.parts(ctx, path, info, from, to)
		if err != nil && !hasNone(err) {
			return r, err
		}
		if !told {
			parts = whole
		}
		for _, w := range whole {
			r.List = append(r.List, inOrder(slices.Clone(parts), w.From, w.To)...)
		}
	}
	return r, nil
}

// find searches for the recordings whose source is the channel's camera.
func (o *onvif) find(ctx context.Context, services onvifServices) (ours []*element, err error) {
	path := pathOf(services.capabilities.find("Extension"), "Search", "")
	if path == "" || services.profile == "" {
		return nil, fail(Refused, ONVIF)
	}
	found, err := o.search(ctx, path, "FindRecordings", "<Scope/>", "GetRecordingSearchResults", "RecordingInformation")
	if err != nil {
		return nil, err
	}
	for _, info := range found {
		source := info.words("Source", "SourceId")
		known := source == services.source || source == services.profile
		if known || services.sources <= 1 && len(found) <= 1 { // otherwise it may be another camera's
			ours = append(ours, info)
		}
	}
	return ours, nil
}

// search begins a search, and gets all of its results.
func (o *onvif) search(ctx context.Context, path, find, arguments, get, result string) (found []*element, err error) {
	answer, err := o.ask(ctx, path, searchNS, find, arguments+"<KeepAliveTime>PT30S</KeepAliveTime>")
	if err != nil {
		return nil, err
	}
	token := answer.find("SearchToken")
	if token == nil || len(token.text) > maxToken {
		return nil, fail(Unsupported, ONVIF)
	}
	said := escaped(strings.TrimSpace(token.text))
	for page := range maxPolls {
		if answer, err = o.ask(ctx, path, searchNS, get, "<SearchToken>"+said+"</SearchToken><WaitTime>PT2S</WaitTime>"); err != nil {
			return nil, o.cutShort(ctx, err, page)
		}
		list := answer.find("ResultList")
		found = append(found, list.all(result)...)
		if state := list.words("SearchState"); state == "Completed" || state == "Unknown" {
			return found, nil
		}
		if len(found) >= maxRecordings {
			break
		}
	}
	return nil, fail(Incomplete, ONVIF)
}

// parts asks when a recording has pictures, in a time; told is false if the device does not
// tell.
func (o *onvif) parts(ctx context.Context, path string, info *element, from, to time.Time) (list []Recording, told bool, err error) {
	recording, track := info.words("RecordingToken"), ""
	for _, t := range info.all("Track") {
		if t.words("TrackType") == "Video" && track == "" {
			track = t.words("TrackToken")
		}
	}
	if recording == "" || track == "" {
		return nil, false, nil
	}
	at := func(t time.Time) string { return t.Add(o.ahead).UTC().Format("2006-01-02T15:04:05Z") }
	const topic = `<TopicExpression xmlns="http://docs.oasis-open.org/wsn/b-2" xmlns:tns1="http://www.onvif.org/ver10/topics" Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">tns1:RecordingHistory/Track/State</TopicExpression>`
	events, err := o.search(ctx, path, "FindEvents", "<StartPoint>"+at(from)+"</StartPoint><EndPoint>"+at(to)+"</EndPoint>"+
		"<Scope><IncludedRecordings"+schemaNS+">"+escaped(recording)+"</IncludedRecordings></Scope><SearchFilter>"+topic+"</SearchFilter>"+
		"<IncludeStartState>true</IncludeStartState>", "GetEventSearchResults", "Result")
	if err != nil {
		return nil, false, err
	}
	list, told = onvifParts(events, recording, track, to, o.ahead)
	return list, told, nil
}

// onvifParts reads when a track has data from the events of its state, if there are any.
// What is not ended goes on until a time.
func onvifParts(events []*element, recording, track string, to time.Time, ahead time.Duration) (list []Recording, told bool) {
	type change struct {
		at      time.Time
		present bool
	}
	var changes []change
	for _, e := range events {
		at, err := isapiTime(e.words("Time"))
		if err != nil || e.words("RecordingToken") != recording || e.words("TrackToken") != track {
			continue
		}
		for _, item := range e.find("Event", "Message", "Message", "Data").all("SimpleItem") {
			if item.attrs["Name"] == "IsDataPresent" {
				changes = append(changes, change{at.Add(-ahead), strings.EqualFold(item.attrs["Value"], "true") || item.attrs["Value"] == "1"})
			}
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	for i, c := range changes {
		end := to
		if i+1 < len(changes) {
			end = changes[i+1].at
		}
		if c.present {
			list = append(list, Recording{c.at, end})
		}
	}
	return list, len(changes) > 0
}

// onvifRecording reads from when until when the pictures of a recording are.
func onvifRecording(info *element, ahead time.Duration) (list []Recording) {
	add := func(from, to string) {
		a, err1 := isapiTime(from)
		b, err2 := isapiTime(to)
		if err1 == nil && err2 == nil {
			list = append(list, Recording{a.Add(-ahead), b.Add(-ahead)})
		}
	}
	for _, track := range info.all("Track") {
		if track.words("TrackType") == "Video" {
			add(track.words("DataFrom"), track.words("DataTo"))
		}
	}
	if len(list) == 0 {
		add(info.words("EarliestRecording"), info.words("LatestRecording"))
	}
	return list
}

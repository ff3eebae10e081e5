package simcamera

import (
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"time"
)

const (
	// segment is how long one file of the recorder is: it begins a new one each hour.
	segment = time.Hour
	// maxMatches is how many segments a search returns at once, whatever is asked for.
	maxMatches = 40
	// maxFound limits the segments of a search: a year of them.
	maxFound = 366 * 24
)

// searchOrder is what a search for recordings asks for. Local names count.
type searchOrder struct {
	XMLName  xml.Name `xml:"CMSearchDescription"`
	ID       string   `xml:"searchID"`
	Track    string   `xml:"trackList>trackID"`
	From     string   `xml:"timeSpanList>timeSpan>startTime"`
	To       string   `xml:"timeSpanList>timeSpan>endTime"`
	Max      int      `xml:"maxResults"`
	Position int      `xml:"searchResultPostion"` // as devices spell it
}

type searchMatch struct {
	Source string `xml:"sourceID"`
	Track  string `xml:"trackID"`
	From   string `xml:"timeSpan>startTime"`
	To     string `xml:"timeSpan>endTime"`
	Kind   string `xml:"mediaSegmentDescriptor>contentType"`
	Codec  string `xml:"mediaSegmentDescriptor>codecType"`
	URI    string `xml:"mediaSegmentDescriptor>playbackURI"`
}

// search lists the segments of a track that are in a time: all of the past is recorded.
func (s *httpServer) search(w http.ResponseWriter, r *http.Request) {
	var d searchOrder
	text, err := body(w, r)
	if err == nil {
		err = xml.Unmarshal(text, &d)
	}
	t, err1 := numbered(d.Track)
	from, err2 := parseTime(d.From)
	to, err3 := parseTime(d.To)
	if err != nil || err1 != nil || err2 != nil || err3 != nil || d.Position < 0 || s.camera.channel(t.channel) == nil {
		respond(w, r, statusInvalidXML)
		return
	}
	spans := s.camera.segments(from, to)
	var out struct {
		XMLName   xml.Name      `xml:"CMSearchResult"`
		Version   string        `xml:"version,attr"`
		Namespace string        `xml:"xmlns,attr"`
		ID        string        `xml:"searchID"`
		OK        bool          `xml:"responseStatus"`
		Status    string        `xml:"responseStatusStrg"`
		Count     int           `xml:"numOfMatches"`
		Matches   []searchMatch `xml:"matchList>searchMatchItem"`
	}
	out.Version, out.Namespace, out.ID, out.OK, out.Status = "2.0", isapiNamespace, d.ID, true, "OK"
	spans = spans[min(d.Position, len(spans)):]
	if most := min(max(d.Max, 1), maxMatches); len(spans) > most {
		out.Status, spans = "MORE", spans[:most]
	}
	for _, span := range spans {
		out.Matches = append(out.Matches, searchMatch{
			Source: "{0000000000-0000-0000-0000-000000000000}", Track: d.Track, From: span.start.Format(time.RFC3339), To: span.end.Format(time.RFC3339),
			Kind: "video", Codec: "H.264-BP",
			URI: fmt.Sprintf("rtsp://%s/Streaming/tracks/%s/?starttime=%s&endtime=%s", s.camera.RTSPAddr(), d.Track, span.start.Format("20060102T150405Z"), span.end.Format("20060102T150405Z")),
		})
	}
	if out.Count = len(out.Matches); out.Count == 0 {
		out.Status = "NO MATCHES"
	}
	writeXML(w, http.StatusOK, out)
}

// segments are the files of the recorder that are in a time. The last one is being written;
// there is none of a gap.
func (c *Camera) segments(from, to time.Time) (list []span) {
	now := c.cfg.Now().UTC().Truncate(time.Second)
	if to.After(now) {
		to = now
	}
	for at := from.UTC().Truncate(segment); at.Before(to) && len(list) < maxFound; at = at.Add(segment) {
		end := at.Add(segment)
		if end.After(now) {
			end = now
		}
		list = append(list, c.without(span{at, end})...)
	}
	return list
}

// without returns a time without the gaps in it.
func (c *Camera) without(s span) (list []span) {
	for _, gap := range c.cfg.Gaps {
		if !gap[0].Before(s.end) || !gap[1].After(s.start) {
			continue
		}
		if gap[0].After(s.start) {
			list = append(list, span{s.start, gap[0].UTC()})
		}
		s.start = gap[1].UTC()
	}
	if s.start.Before(s.end) {
		list = append(list, s)
	}
	return list
}

// afterGap returns an instant, or the end of the gap that it is in.
func (c *Camera) afterGap(at time.Time) time.Time {
	for _, gap := range c.cfg.Gaps {
		if !at.Before(gap[0]) && at.Before(gap[1]) {
			return gap[1]
		}
	}
	return at
}

// clock tells the device's time.
func (s *httpServer) clock(w http.ResponseWriter, _ *http.Request) {
	writeXML(w, http.StatusOK, struct {
		XMLName   xml.Name `xml:"Time"`
		Version   string   `xml:"version,attr"`
		Namespace string   `xml:"xmlns,attr"`
		Mode      string   `xml:"timeMode"`
		Local     string   `xml:"localTime"`
		Zone      string   `xml:"timeZone"`
	}{Version: "2.0", Namespace: isapiNamespace, Mode: "NTP", Local: s.camera.cfg.Now().UTC().Format("2006-01-02T15:04:05-07:00"), Zone: "GMT+0:00:00"})
}

// replayURI answers where a recording is replayed.
func (s *httpServer) replayURI(request []byte) string {
	var order struct {
		Token string `xml:"Body>GetReplayUri>RecordingToken"`
	}
	_ = xml.Unmarshal(request, &order) // then there is no such recording
	return "<trp:Uri>" + html.EscapeString("rtsp://"+s.camera.RTSPAddr()+"/onvif/replay/"+order.Token) + "</trp:Uri>"
}

// onvifRecordings answers a search for recordings: one for each channel, of the last days.
func (s *httpServer) onvifRecordings() string {
	now := s.camera.cfg.Now().UTC()
	list := "<tse:ResultList><tt:SearchState>Completed</tt:SearchState>"
	for _, ch := range s.camera.channels {
		n := strconv.Itoa(ch.number)
		list += "<tt:RecordingInformation><tt:RecordingToken>recording_" + n + "</tt:RecordingToken><tt:Source><tt:SourceId>source_" + n + "</tt:SourceId></tt:Source>" +
			"<tt:Track><tt:TrackToken>video_" + n + "</tt:TrackToken><tt:TrackType>Video</tt:TrackType><tt:DataFrom>" + now.AddDate(0, 0, -30).Format(time.RFC3339) +
			"</tt:DataFrom><tt:DataTo>" + now.Format(time.RFC3339) + "</tt:DataTo></tt:Track><tt:RecordingStatus>Recording</tt:RecordingStatus></tt:RecordingInformation>"
	}
	return list + "</tse:ResultList>"
}

package rtsp

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

// What players do that the server ends the connection for. Here it is put right, or refused
// with an answer, and the connection continues.

// methods are those that the door knows.
var methods = []base.Method{
	base.Options, base.Describe, base.Setup, base.Play, base.Pause, base.Teardown, base.GetParameter, base.SetParameter,
	base.Announce, base.Record,
}

func isKnown(m base.Method) bool { return slices.Contains(methods, m) }

// allow returns the value of the header that lists the methods.
func allow() base.HeaderValue {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = string(m)
	}
	return base.HeaderValue{strings.Join(names, ", ")}
}

var (
	errVersion       = &refusal{status: base.StatusRTSPVersionNotSupported, reason: "bad request"}
	errNoCSeq        = &refusal{status: base.StatusBadRequest, reason: "bad request"}
	errBadURL        = &refusal{status: base.StatusBadRequest, reason: "bad request"}
	errLongURL       = &refusal{status: base.StatusRequestURITooLong, reason: "bad request"}
	errUnknownMethod = &refusal{status: base.StatusNotImplemented, reason: "method", header: base.Header{"Public": allow()}}
	errState         = &refusal{status: base.StatusMethodNotValidInThisState, reason: "state"}
	errOtherAddress  = &refusal{status: base.StatusBadRequest, reason: "other address"}
	errNoTransport   = &refusal{status: base.StatusUnsupportedTransport, reason: "transport"}
	errNoTrack       = &refusal{status: base.StatusNotFound, reason: "not found"}
)

// tolerate puts a request right, or returns why it is refused.
func (h *handler) tolerate(c *gortsplib.ServerConn, req *base.Request) *refusal {
	w := wireOf(c)
	if fault := w.inlet.fault; fault != nil {
		return fault
	}
	if refused := unknownOptions(req); refused != nil {
		return refused
	}
	if refused := w.ownSession(c.Session(), req); refused != nil {
		return refused
	}
	if req.Method == base.Setup && req.URL != nil {
		w.asked = req.URL.String()
	}
	if refused := rightAddress(c.Session(), req); refused != nil {
		return refused
	}
	if refused := inState(c.Session(), req); refused != nil {
		return refused
	}
	switch req.Method {
	case base.Setup:
		return w.rightTransport(c.Session(), req)
	case base.Announce:
		return h.mayAnnounce(w, req)
	}
	return nil
}

// ownSession refuses requests for a session that is not the connection's. A session belongs
// to the connection that created it: another one could make the server's own loop wait for
// the session's goroutine.
func (w *wire) ownSession(session *gortsplib.ServerSession, req *base.Request) *refusal {
	id := ""
	if v := req.Header["Session"]; len(v) > 0 {
		id, _, _ = strings.Cut(v[0], ";") // some players send the timeout back
		id = strings.TrimSpace(id)
	}
	delete(req.Header, "Session")
	switch req.Method {
	case base.Describe, base.Announce:
		return nil // belong to no session
	case base.Play, base.Record, base.Pause, base.Teardown:
		if id == "" {
			return errOtherSession
		}
	}
	if id == "" {
		return nil
	}
	if session == nil || id != w.sessionID {
		return errOtherSession
	}
	req.Header["Session"] = base.HeaderValue{id}
	return nil
}

// rightAddress puts the URL into the form that the server compares: without a slash at the
// end, and with the track for SETUP only. Its track is the first one if none is named.
func rightAddress(session *gortsplib.ServerSession, req *base.Request) *refusal {
	u := req.URL
	if u == nil {
		switch {
		case req.Method == base.Options:
			return nil
		case session == nil || req.Method == base.Describe || req.Method == base.Setup || req.Method == base.Announce:
			return errBadURL
		}
		u = &base.URL{Scheme: "rtsp", Host: "localhost", Path: session.SetuppedPath()}
		req.URL = u
	}
	if req.Method == base.Setup && session != nil && session.State() == gortsplib.ServerSessionStatePreRecord {
		u.Path, u.RawPath = strings.ReplaceAll(u.Path, "//", "/"), "" // the publisher has named its tracks
		return nil
	}
	path, track, inPath := cutTrack(u.Path)
	query, queryTrack, inQuery := cutTrack(u.RawQuery)
	if path != u.Path {
		u.Path, u.RawPath = path, ""
	}
	u.RawQuery = query
	if req.Method != base.Setup {
		return nil
	}
	// The track stays where the player put it: its digest is of that URL.
	switch {
	case inQuery:
		u.RawQuery += "/trackID=" + queryTrack
	case inPath:
		u.Path, u.RawPath = path+"/trackID="+track, ""
	case query != "":
		u.RawQuery += "/trackID=0"
	default:
		u.Path, u.RawPath = path+"/trackID=0", ""
	}
	return nil
}

// cutTrack splits a path or a query at its track, and removes slashes at the ends.
func cutTrack(s string) (before, track string, ok bool) {
	before, track, ok = cutLast(s, "/trackID=")
	return strings.TrimRight(before, "/"), strings.TrimRight(track, "/"), ok
}

// trackOf returns the number of the track in the URL of a SETUP.
func trackOf(u *base.URL) int {
	_, track, ok := cutTrack(u.RawQuery)
	if !ok {
		_, track, _ = cutTrack(u.Path)
	}
	n, err := strconv.Atoi(track)
	if err != nil {
		return -1
	}
	return n
}

// inState refuses what does not fit what the session does.
func inState(session *gortsplib.ServerSession, req *base.Request) *refusal {
	if session == nil {
		return nil
	}
	state := session.State()
	switch req.Method {
	case base.Setup:
		if state == gortsplib.ServerSessionStatePlay || state == gortsplib.ServerSessionStateRecord {
			return errState
		}
	case base.Announce:
		if state != gortsplib.ServerSessionStateInitial {
			return errState
		}
	case base.Record:
		if state != gortsplib.ServerSessionStatePreRecord {
			return errState
		}
	case base.Play:
		if state != gortsplib.ServerSessionStatePrePlay && state != gortsplib.ServerSessionStatePlay {
			return errState
		}
	case base.Pause:
		if state == gortsplib.ServerSessionStateInitial {
			return errState
		}
	}
	// A PLAY while it plays goes on to where the permit is checked, whatever its address.
	if req.Method == base.Play && state == gortsplib.ServerSessionStatePrePlay && isElsewhere(session, req) {
		return errOtherAddress
	}
	return nil
}

// isElsewhere reports whether a request is for another address than what was set up.
func isElsewhere(session *gortsplib.ServerSession, req *base.Request) bool {
	return req.URL.Path != session.SetuppedPath()
}

// rightTransport chooses among the transports that the player offers: the first that the
// door has, and that the session has already.
func (w *wire) rightTransport(session *gortsplib.ServerSession, req *base.Request) *refusal {
	var v *viewer
	var has *gortsplib.Transport
	if session != nil {
		v, _ = session.UserData().(*viewer)
		has = session.SetuppedTransport()
	}
	mode := headers.TransportModePlay
	if session != nil && session.State() == gortsplib.ServerSessionStatePreRecord {
		mode = headers.TransportModeRecord
	}
	chosen, refused := chooseTransport(req.Header["Transport"], has, mode, w.tls != nil)
	switch w.multicast = w.joins(v, req.Header["Transport"], mode, refused); {
	case w.multicast:
		chosen, refused = w.listener.door.groups.standIn(mode), nil
	case v != nil && v.multicast:
		refused = errNoTransport
	}
	if refused != nil {
		return refused
	}
	if ids := chosen.InterleavedIDs; ids != nil && v != nil && v.uses(ids[0]) {
		chosen.InterleavedIDs = nil // the server finds others
	}
	chosen.Secure = false // the server does not know; see srtpWay
	req.Header["Transport"] = chosen.Marshal()
	return nil
}

// maxTransports is how many of them one SETUP may offer.
const maxTransports = 16

// chooseTransport returns the first transport that fits, of those that a header offers
// (RFC 2326, section 12.39). A list in which none fits, and one has impossible numbers, is a
// bad request.
//
// Within TLS nothing leaves that is not encrypted.
func chooseTransport(header base.HeaderValue, has *gortsplib.Transport, mode headers.TransportMode, secure bool) (headers.Transport, *refusal) {
	refused := errNoTransport
	if len(header) == 0 {
		refused = errBadTransport
	}
	offers := strings.Split(strings.Join(header, ","), ",")
	for _, offer := range offers[:min(len(offers), maxTransports)] {
		t, verdict := parseTransport(offer)
		if verdict == nil && t.Mode != nil && *t.Mode != mode {
			verdict = errBadTransport
		}
		switch {
		case verdict != nil:
			if verdict == errBadTransport {
				refused = verdict
			}
		case t.Secure && (!secure || mode == headers.TransportModeRecord), secure && t.Protocol == headers.TransportProtocolUDP && !t.Secure:
		case has == nil || (*has == gortsplib.TransportTCP) == (t.Protocol == headers.TransportProtocolTCP):
			t.Mode = &mode // some leave it out
			return t, nil
		}
	}
	return headers.Transport{}, refused
}

// parseTransport reads one transport; everything that the door does not need is left out,
// such as a destination, which could be the address of someone else.
func parseTransport(s string) (t headers.Transport, refused *refusal) {
	parts := strings.Split(s, ";")
	switch profile(parts[0]) {
	case "RTP/AVP", "RTP/AVP/UDP":
		t.Protocol = headers.TransportProtocolUDP
	case "RTP/SAVP", "RTP/SAVP/UDP":
		t.Protocol, t.Secure = headers.TransportProtocolUDP, true
	case "RTP/AVP/TCP":
		t.Protocol = headers.TransportProtocolTCP
	default:
		return t, errNoTransport
	}
	unicast := headers.TransportDeliveryUnicast
	t.Delivery = &unicast
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "multicast":
			multicast := headers.TransportDeliveryMulticast
			t.Delivery = &multicast
			return t, errNoTransport // see joins
		case "interleaved":
			// Channels are one byte (RFC 2326, section 10.12).
			if t.InterleavedIDs = parsePair(value, 0, math.MaxUint8); t.InterleavedIDs == nil {
				return t, errBadTransport
			}
		case "client_port":
			if t.ClientPorts = parsePair(value, 1, math.MaxUint16); t.ClientPorts == nil {
				return t, errBadTransport
			}
		case "mode":
			if t.Mode = modeOf(value); t.Mode == nil {
				return t, errBadTransport
			}
		}
	}
	if t.Protocol == headers.TransportProtocolUDP {
		t.InterleavedIDs = nil
		if t.ClientPorts == nil {
			return t, errBadTransport
		}
		return t, nil
	}
	t.ClientPorts = nil
	if ids := t.InterleavedIDs; ids != nil && ids[1] != ids[0]+1 {
		return t, errBadTransport
	}
	return t, nil
}

// modeOf reads a mode; nil if it is invalid. RECEIVE is what ffmpeg has called RECORD.
func modeOf(s string) *headers.TransportMode {
	play, record := headers.TransportModePlay, headers.TransportModeRecord
	switch strings.ToUpper(s) {
	case "PLAY":
		return &play
	case "RECORD", "RECEIVE":
		return &record
	}
	return nil
}

// profile returns the name of a transport. Kodi has sent bytes before it that are not text.
func profile(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if i := strings.LastIndex(s, "RTP/"); i > 0 {
		s = s[i:]
	}
	return s
}

// parsePair reads two numbers such as 4-5, or the first of two consecutive ones.
func parsePair(s string, least, most int) *[2]int {
	first, second, ok := strings.Cut(s, "-")
	a, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return nil
	}
	b := a + 1
	if ok {
		if b, err = strconv.Atoi(strings.TrimSpace(second)); err != nil {
			return nil
		}
	}
	if a < least || b < least || a > most || b > most {
		return nil
	}
	return &[2]int{a, b}
}

// uses reports whether the viewer receives on an interleaved channel of the pair.
func (v *viewer) uses(channel int) bool {
	return slices.ContainsFunc(v.channels, func(c int) bool { return c == channel || c == channel+1 || c+1 == channel })
}

// controlOf returns the address of a track, relative to that of the stream.
func controlOf(track int) string { return "trackID=" + strconv.Itoa(track) }

// take records that the viewer sets up a track, or refuses that.
func (v *viewer) take(track int) *refusal {
	switch {
	case track < 0 || track >= len(v.lease.stream.Desc.Medias):
		return errNoTrack
	case slices.Contains(v.tracks, track):
		return errState // RFC 2326, section 10.4: the transport is not changed
	}
	v.tracks = append(v.tracks, track)
	return nil
}

// noteSession remembers what the server answered about the session.
func (w *wire) noteSession(session *gortsplib.ServerSession, res *base.Response) {
	if id := res.Header["Session"]; len(id) == 1 {
		w.sessionID, _, _ = strings.Cut(id[0], ";")
	}
	transport := res.Header["Transport"]
	if session == nil || len(transport) != 1 || res.StatusCode != base.StatusOK {
		return
	}
	v, ok := session.UserData().(*viewer)
	if t, _ := parseTransport(transport[0]); ok && t.InterleavedIDs != nil {
		v.channels = append(v.channels, t.InterleavedIDs[0])
	}
}

// OnSetParameter is a ping, as OnGetParameter is.
func (h *handler) OnSetParameter(*gortsplib.ServerHandlerOnSetParameterCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

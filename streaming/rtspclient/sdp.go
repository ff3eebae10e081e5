package rtspclient

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"
)

const (
	maxSDP         = 64 << 10
	maxTracks      = 16 // others are left out
	maxFormats     = 8  // of one track
	maxDescribedBy = 64 // rtpmap and fmtp lines of one track
)

// section is one media of a description: its m= line and what belongs to it.
type section struct {
	kind      string
	secure    bool
	types     []uint8 // payload types
	control   string
	direction string
	rtpmaps   map[uint8]string
	fmtps     map[uint8]string
	order     []uint8 // of the rtpmaps
}

// ParseSDP reads a description as far as it concerns a client: everything else is skipped,
// whether it is right or not. Tracks without a format that can be named are left out.
func ParseSDP(body []byte) (*Description, error) {
	if len(body) > maxSDP {
		return nil, ErrTooLarge
	}
	d := &Description{}
	var sections []*section
	direction := "" // of the session
	any := false
	for line := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }) {
		line = strings.TrimSpace(line)
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		any = true
		value := strings.TrimSpace(line[2:])
		switch line[0] {
		case 'm':
			sections = append(sections, newSection(value))
		case 'a':
			name, value, _ := strings.Cut(value, ":")
			name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
			if len(sections) > 0 {
				sections[len(sections)-1].attribute(name, value)
				continue
			}
			switch name {
			case "control":
				d.control = controlOf(value)
			case "range":
				d.Range = value
			case "sendonly", "recvonly", "sendrecv", "inactive":
				direction = name
			}
		}
	}
	if !any {
		return nil, ErrDescription
	}
	bringHome(sections)
	for _, s := range sections {
		if s.direction == "" {
			s.direction = direction
		}
		if t := s.track(); t != nil && len(d.Tracks) < maxTracks {
			d.Tracks = append(d.Tracks, t)
		}
	}
	if len(d.Tracks) == 0 {
		return nil, ErrNoTracks
	}
	markBackChannels(d.Tracks)
	return d, nil
}

// newSection reads what follows m=: kind, port, protocol, payload types.
func newSection(value string) *section {
	s := &section{rtpmaps: map[uint8]string{}, fmtps: map[uint8]string{}}
	fields := strings.Fields(strings.ReplaceAll(value, ",", " "))
	if len(fields) > 0 {
		s.kind = strings.ToLower(fields[0])
	}
	if len(fields) > 2 {
		s.secure = strings.Contains(strings.ToUpper(fields[2]), "SAVP")
		for _, text := range fields[3:] {
			if pt, ok := payloadType(text); ok {
				s.types = append(s.types, pt)
			}
		}
	}
	return s
}

func payloadType(text string) (uint8, bool) {
	n, err := strconv.ParseUint(text, 10, 7)
	return uint8(n), err == nil
}

func (s *section) attribute(name, value string) {
	switch name {
	case "control":
		s.control = controlOf(value)
	case "sendonly", "recvonly", "sendrecv", "inactive":
		s.direction = name
	case "rtpmap", "fmtp":
		end := strings.IndexAny(value, " \t")
		if end < 0 {
			return
		}
		pt, ok := payloadType(value[:end])
		text := strings.TrimSpace(value[end:])
		if !ok || text == "" || len(s.rtpmaps)+len(s.fmtps) >= maxDescribedBy {
			return
		}
		if name == "fmtp" {
			s.fmtps[pt] = text
			return
		}
		if s.rtpmaps[pt] == "" {
			s.order = append(s.order, pt)
		}
		s.rtpmaps[pt] = text
	}
}

// controlOf returns a control attribute; "" if it could not be sent.
func controlOf(value string) string {
	if hasControl(value) || len(value) > maxAddress {
		return ""
	}
	return strings.Trim(value, `"`)
}

// track returns the track, or nil if none of its formats can be named.
func (s *section) track() *Track {
	if s.secure {
		return nil
	}
	t := &Track{control: s.control, direction: s.direction, Media: &description.Media{Type: description.MediaType(s.kind)}}
	types := s.types
	if len(types) == 0 { // the m= line is cut, or is of another kind
		types = s.order
	}
	if len(types) == 1 { // what is described is this one, whatever its number
		only(s.rtpmaps, types[0])
		only(s.fmtps, types[0])
	}
	seen := map[uint8]bool{}
	for _, pt := range types {
		if seen[pt] || len(t.Media.Formats) == maxFormats {
			continue
		}
		seen[pt] = true
		if f := formatOf(s.kind, pt, s.rtpmaps[pt], s.fmtps[pt]); f != nil {
			t.Media.Formats = append(t.Media.Formats, f)
		}
	}
	if len(t.Media.Formats) == 0 {
		return nil
	}
	return t
}

// bringHome moves the parameters of a format that stand under another media.
func bringHome(sections []*section) {
	for _, from := range sections {
		for pt, fmtp := range from.fmtps {
			if slices.Contains(from.types, pt) {
				continue
			}
			for _, to := range sections {
				if to != from && slices.Contains(to.types, pt) && to.fmtps[pt] == "" {
					to.fmtps[pt] = fmtp
					delete(from.fmtps, pt)
					break
				}
			}
		}
	}
}

// only moves the only entry to a payload type that has none.
func only(list map[uint8]string, pt uint8) {
	if len(list) != 1 || list[pt] != "" || static[pt] != "" {
		return
	}
	for _, text := range list {
		list[pt] = text
	}
}

// static are the formats of RFC 3551 that need no rtpmap and are not known otherwise.
var static = map[uint8]string{
	3: "GSM/8000", 4: "G723/8000", 5: "DVI4/8000", 7: "LPC/8000", 12: "QCELP/8000", 13: "CN/8000", 15: "G728/8000",
	18: "G729/8000", 25: "CelB/90000", 28: "nv/90000", 31: "H261/90000", 34: "H263/90000",
}

// formatOf returns a format. What the library cannot read, such as parameter sets that are
// broken, is passed as it is, for players that can.
func formatOf(kind string, pt uint8, rtpmap, fmtp string) (f format.Format) {
	if rtpmap == "" {
		rtpmap = static[pt]
	}
	rtpmap = tidied(rtpmap)
	if f = known(kind, pt, rtpmap, fmtp); f != nil && f.PayloadType() == pt {
		if g, ok := f.(*format.Generic); !ok || g.ClockRat > 0 {
			return f
		}
	}
	g := &format.Generic{PayloadTyp: pt, RTPMa: rtpmap, FMT: pairs(fmtp)}
	if rtpmap == "" || g.Init() != nil || g.ClockRat <= 0 {
		return nil
	}
	return g
}

// known reads a format by the library; nil if it fails.
func known(kind string, pt uint8, rtpmap, fmtp string) (f format.Format) {
	defer func() {
		if recover() != nil {
			f = nil
		}
	}()
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns= \r\nt=0 0\r\nm=%s 0 RTP/AVP %d\r\n", mediaKind(kind), pt)
	if rtpmap != "" {
		fmt.Fprintf(&b, "a=rtpmap:%d %s\r\n", pt, rtpmap)
	}
	if fmtp != "" {
		fmt.Fprintf(&b, "a=fmtp:%d %s\r\n", pt, fmtp)
	}
	var text sdp.SessionDescription
	if text.Unmarshal([]byte(b.String())) != nil || len(text.MediaDescriptions) != 1 {
		return nil
	}
	f, err := format.Unmarshal(text.MediaDescriptions[0], strconv.Itoa(int(pt)))
	if err != nil || f.ClockRate() <= 0 {
		return nil
	}
	return f
}

func mediaKind(kind string) string {
	if kind == "video" || kind == "audio" {
		return kind
	}
	return "application"
}

// tidied returns an rtpmap with the usual name and clock rate of its codec.
func tidied(rtpmap string) string {
	name, rest, _ := strings.Cut(rtpmap, "/")
	name, rest = strings.TrimSpace(name), strings.TrimSpace(rest)
	switch strings.ToUpper(name) {
	case "":
		return ""
	case "H.264":
		name = "H264"
	case "H.265", "HEVC":
		name = "H265"
	}
	clock, channels, _ := strings.Cut(rest, "/")
	clock, channels = strings.TrimSpace(clock), strings.TrimSpace(channels)
	switch strings.ToUpper(name) {
	case "H264", "H265", "JPEG", "MP4V-ES", "AV1", "VP8", "VP9":
		if clock == "" || clock == "0" {
			clock = "90000"
		}
		channels = ""
	case "PCMU", "PCMA", "G722":
		if clock == "" || clock == "0" {
			clock = "8000"
		}
	}
	if n, err := strconv.ParseUint(clock, 10, 31); err != nil || n == 0 {
		return name
	}
	if channels != "" {
		return name + "/" + clock + "/" + channels
	}
	return name + "/" + clock
}

// pairs reads the parameters of a format.
func pairs(fmtp string) map[string]string {
	p := map[string]string{}
	for part := range strings.SplitSeq(fmtp, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if name = strings.ToLower(strings.TrimSpace(name)); ok && name != "" && len(p) < 64 {
			p[name] = strings.TrimSpace(value)
		}
	}
	return p
}

// markBackChannels finds the tracks to which a client sends. By ONVIF those are marked
// sendonly. Cameras that describe themselves from their own side mark what they send
// sendonly, and what they receive recvonly.
func markBackChannels(tracks []*Track) {
	own, all := false, true
	for _, t := range tracks {
		switch t.Media.Type {
		case description.MediaTypeVideo:
			own = own || t.direction == "sendonly"
		case description.MediaTypeAudio:
		default:
			continue
		}
		all = all && t.direction == "sendonly"
	}
	mark := "sendonly"
	switch {
	case all:
		return
	case own:
		mark = "recvonly"
	}
	for _, t := range tracks {
		t.Media.IsBackChannel = t.Media.Type == description.MediaTypeAudio && t.direction == mark
	}
}

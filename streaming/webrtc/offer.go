package webrtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	// MaxOffer is the largest offer, in bytes. Those of browsers have some thousands.
	MaxOffer = 64 << 10
	// maxSections is how many media an offer may have.
	maxSections = 8
	// maxCodecs is how many codecs of one media are looked at.
	maxCodecs = 128
)

// offer is what a player can receive.
type offer struct {
	sdp          string // without its candidates
	video, audio []codec
}

// codec is one that is offered.
type codec struct {
	payloadType uint8
	name        string // in capitals
	clock       uint32
	channels    uint16
	fmtp        string
}

// readOffer reads an offer. Its addresses are left out: nothing is sent to them.
func readOffer(text []byte) (*offer, error) {
	desc, err := parseOffer(text)
	if err != nil {
		return nil, err
	}
	o := &offer{}
	for _, m := range desc.MediaDescriptions {
		if err := o.add(m, desc.Attributes); err != nil {
			return nil, err
		}
	}
	if o.video == nil {
		return nil, &OfferError{"it must have a video that is recvonly"}
	}
	for _, c := range o.video { // they share one transport (RFC 8843, section 9.1)
		if slices.ContainsFunc(o.audio, func(a codec) bool { return a.payloadType == c.payloadType }) {
			return nil, &OfferError{fmt.Sprintf("payload type %d stands for a video and for a sound", c.payloadType)}
		}
	}
	return o, o.keep(desc)
}

// readTalk reads the offer of somebody who talks.
func readTalk(text []byte) (*offer, error) {
	desc, err := parseOffer(text)
	if err != nil {
		return nil, err
	}
	m := desc.MediaDescriptions[0]
	if len(desc.MediaDescriptions) != 1 || m.MediaName.Media != "audio" || direction(m.Attributes, desc.Attributes) != "sendonly" {
		return nil, &OfferError{"it must have one media, an audio that is sendonly"}
	}
	if !isSecure(m) {
		return nil, errInsecure
	}
	o := &offer{audio: codecsOf(m)}
	return o, o.keep(desc)
}

// parseOffer reads an offer without its addresses.
func parseOffer(text []byte) (*sdp.SessionDescription, error) {
	if len(text) > MaxOffer {
		return nil, &OfferError{"it is too large"}
	}
	var desc sdp.SessionDescription
	if err := desc.Unmarshal(text); err != nil {
		return nil, &OfferError{"it is not SDP"}
	}
	if n := len(desc.MediaDescriptions); n == 0 || n > maxSections {
		return nil, &OfferError{"it must have one to eight media"}
	}
	desc.Attributes = withoutAddresses(desc.Attributes)
	for _, m := range desc.MediaDescriptions {
		m.Attributes = withoutAddresses(m.Attributes)
	}
	if err := readFingerprints(&desc); err != nil {
		return nil, err
	}
	return &desc, nil
}

// keep keeps the text of an offer for pion.
func (o *offer) keep(desc *sdp.SessionDescription) error {
	clean, err := desc.Marshal()
	if err != nil {
		return &OfferError{"it is not SDP"}
	}
	o.sdp = string(clean)
	return nil
}

// errInsecure is for media that are not carried as browsers do.
var errInsecure = &OfferError{"its media must be of UDP/TLS/RTP/SAVPF"}

func isSecure(m *sdp.MediaDescription) bool {
	return strings.HasSuffix(strings.Join(m.MediaName.Protos, "/"), "TLS/RTP/SAVPF")
}

func withoutAddresses(list []sdp.Attribute) []sdp.Attribute {
	kept := list[:0]
	for _, a := range list {
		if a.Key != "candidate" && a.Key != "end-of-candidates" && a.Key != "remote-candidates" {
			kept = append(kept, a)
		}
	}
	return kept
}

// add reads a media. The first of each kind that may be received counts.
func (o *offer) add(m *sdp.MediaDescription, session []sdp.Attribute) error {
	kind := m.MediaName.Media
	if kind != "video" && kind != "audio" {
		return &OfferError{"only video and audio can be received"}
	}
	if !isSecure(m) {
		return errInsecure
	}
	switch direction(m.Attributes, session) {
	case "inactive":
		return nil
	case "recvonly":
	default:
		return &OfferError{"its media must be recvonly"}
	}
	list := &o.video
	if kind == "audio" {
		list = &o.audio
	}
	if *list == nil {
		*list = codecsOf(m)
	}
	return nil
}

// direction is that of a media, or else of the session (RFC 8866, section 6.7).
func direction(levels ...[]sdp.Attribute) string {
	for _, list := range levels {
		for _, a := range list {
			switch a.Key {
			case "sendrecv", "sendonly", "recvonly", "inactive":
				return a.Key
			}
		}
	}
	return "sendrecv"
}

// codecsOf lists the codecs of a media in its order.
func codecsOf(m *sdp.MediaDescription) []codec {
	known := map[string]codec{"0": {0, "PCMU", 8000, 1, ""}, "8": {8, "PCMA", 8000, 1, ""}}
	parameters := map[string]string{}
	for _, a := range m.Attributes {
		number, value, ok := strings.Cut(a.Value, " ")
		switch {
		case !ok:
		case a.Key == "rtpmap":
			if c, ok := readMapping(number, value); ok {
				known[number] = c
			}
		case a.Key == "fmtp":
			parameters[number] = strings.TrimSpace(value)
		}
	}
	list := []codec{}
	for _, number := range m.MediaName.Formats[:min(len(m.MediaName.Formats), maxCodecs)] {
		if c, ok := known[number]; ok {
			c.fmtp = parameters[number]
			list = append(list, c)
		}
	}
	return list
}

// readMapping reads the value of an rtpmap, such as H264/90000 or opus/48000/2.
func readMapping(number, value string) (codec, bool) {
	parts := strings.Split(strings.TrimSpace(value), "/")
	pt, err := strconv.ParseUint(number, 10, 7)
	if err != nil || len(parts) < 2 || len(parts) > 3 {
		return codec{}, false
	}
	clock, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil {
		return codec{}, false
	}
	c := codec{payloadType: uint8(pt), name: strings.ToUpper(parts[0]), clock: uint32(clock), channels: 1}
	if len(parts) == 3 {
		channels, err := strconv.ParseUint(parts[2], 10, 8)
		if err != nil {
			return codec{}, false
		}
		c.channels = uint16(channels)
	}
	return c, true
}

// parameter returns one of the parameters of a codec; "" if missing.
func (c codec) parameter(name string) string {
	for part := range strings.SplitSeq(c.fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// choose returns the codec that fits a format best; false if none does.
func choose(f format.Format, list []codec) (codec, bool) {
	best, rank := codec{}, unfit
	for _, c := range list {
		if r := c.fits(f); r < rank {
			best, rank = c, r
		}
	}
	return best, rank < unfit
}

// How well an offered codec fits a format, the best first.
const (
	exact  = iota // the same profile
	covers        // a profile that contains it
	other         // another profile; see h264Fits
	unfit
)

func (c codec) fits(f format.Format) int {
	is := func(name string, clock uint32, channels uint16) int {
		if c.name == name && c.clock == clock && c.channels == channels {
			return exact
		}
		return unfit
	}
	switch f := f.(type) {
	case *format.H264:
		return max(is("H264", 90000, 1), c.h264Fits(f))
	case *format.H265:
		if mode := c.parameter("tx-mode"); mode != "" && mode != "SRST" {
			return unfit
		}
		return is("H265", 90000, 1)
	case *format.Opus:
		return is("OPUS", 48000, 2)
	case *format.G711:
		name := "PCMA"
		if f.MULaw {
			name = "PCMU"
		}
		if f.ClockRate() != 8000 || f.ChannelCount > 1 {
			return unfit
		}
		return is(name, 8000, 1)
	}
	return unfit
}

// h264Fits compares profiles. Browsers decode more than they offer: Firefox offers only
// Constrained Baseline, and plays High. So another profile is better than no picture, and a
// level says nothing.
func (c codec) h264Fits(f *format.H264) int {
	if c.name != "H264" || c.parameter("packetization-mode") != "1" || f.PacketizationMode > 1 {
		return unfit
	}
	sps, _ := f.SafeParams()
	offered, err := strconv.ParseUint(c.parameter("profile-level-id"), 16, 24)
	if err != nil || len(sps) < 4 {
		return other
	}
	profile, constraints := uint8(offered>>16), uint8(offered>>8)
	const constrained = 0x40
	switch {
	case profile == sps[1] && (profile != 66 || constraints&constrained == sps[2]&constrained):
		return exact
	case profile == sps[1], sps[1] == 66 && (profile == 77 || profile == 100), sps[1] == 77 && profile == 100:
		return covers
	}
	return other
}

// parameters returns the codec as pion registers it. Its answer repeats what was offered.
func (c codec) parameters(mime string) webrtc.RTPCodecParameters {
	capability := webrtc.RTPCodecCapability{MimeType: mime, ClockRate: c.clock, SDPFmtpLine: c.fmtp}
	if c.channels > 1 {
		capability.Channels = c.channels
	}
	capability.RTCPFeedback = []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBNACK}}
	if strings.HasPrefix(mime, "video/") {
		capability.RTCPFeedback = append(capability.RTCPFeedback, webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"})
	}
	return webrtc.RTPCodecParameters{RTPCodecCapability: capability, PayloadType: webrtc.PayloadType(c.payloadType)}
}

// mimeOf returns the name of a format's codec for pion; "" if WebRTC has none.
func mimeOf(f format.Format) string {
	switch f := f.(type) {
	case *format.H264:
		return webrtc.MimeTypeH264
	case *format.H265:
		return webrtc.MimeTypeH265
	case *format.Opus:
		return webrtc.MimeTypeOpus
	case *format.G711:
		if f.MULaw {
			return webrtc.MimeTypePCMU
		}
		return webrtc.MimeTypePCMA
	}
	return ""
}

package webrtc

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"latchkey/domain/ids"
)

func idOf(s string) ids.Account      { return ids.Account(s) }
func addr(s string) netip.Addr       { return netip.MustParseAddr(s) }
func contains(s, part string) bool   { return strings.Contains(s, part) }
func sps(profile, flags byte) []byte { return []byte{0x67, profile, flags, 0x1e} }
func h264Of(sps []byte) *format.H264 {
	return &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: sps, PPS: []byte{0x68}}
}

// hashed is a digest by SHA-256.
var hashed = strings.Repeat("A0:", 31) + "a0"

const fingerprint = "a=fingerprint:sha-256 A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0:A0\r\n"

const head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" + fingerprint

// chrome is what Chrome offers for H.264, shortened.
const chrome = head + "m=video 9 UDP/TLS/RTP/SAVPF 96 102 103 104 105 106\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=candidate:1 1 udp 1 192.0.2.66 9 typ host\r\n" +
	"a=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n" +
	"a=rtpmap:103 H264/90000\r\na=fmtp:103 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=64001f\r\n" +
	"a=rtpmap:104 H264/90000\r\na=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n" +
	"a=rtpmap:105 H264/90000\r\na=fmtp:105 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f\r\n" +
	"a=rtpmap:106 H264/90000\r\na=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n"

func TestOfferedCodecIsTheBestOne(t *testing.T) {
	o, err := readOffer([]byte(chrome))
	if err != nil {
		t.Fatal(err)
	}
	if contains(o.sdp, "192.0.2.66") {
		t.Error("its addresses are kept")
	}
	firefox := []codec{{126, "H264", 90000, 1, "profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1"}}
	for _, c := range []struct {
		name string
		f    format.Format
		of   []codec
		want uint8 // 0: none
	}{
		{"baseline", h264Of(sps(66, 0)), o.video, 102},
		{"constrained baseline", h264Of(sps(66, 0xc0)), o.video, 104},
		{"main", h264Of(sps(77, 0x40)), o.video, 105},
		{"high", h264Of(sps(100, 0)), o.video, 106},
		{"high in Firefox", h264Of(sps(100, 0)), firefox, 126},
		{"an unknown profile", h264Of(nil), o.video, 102},
		{"interleaved", &format.H264{PacketizationMode: 2}, o.video, 0},
		{"H.265", &format.H265{}, o.video, 0},
		{"JPEG", &format.MJPEG{}, o.video, 0},
		{"G.711", &format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1}, []codec{{0, "PCMU", 8000, 1, ""}}, 0},
		{"wide G.711", &format.G711{SampleRate: 16000, ChannelCount: 1}, []codec{{8, "PCMA", 8000, 1, ""}}, 0},
		{"Opus", &format.Opus{ChannelCount: 2}, []codec{{111, "OPUS", 48000, 2, ""}}, 111},
		{"AAC", &format.MPEG4Audio{}, []codec{{111, "OPUS", 48000, 2, ""}}, 0},
	} {
		got, _ := choose(c.f, c.of)
		if got.payloadType != c.want {
			t.Errorf("%s: %d, want %d", c.name, got.payloadType, c.want)
		}
	}
	if c, ok := choose(&format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1}, []codec{{0, "PCMU", 8000, 1, ""}}); !ok || c.name != "PCMU" {
		t.Error("G.711 is not found")
	}
}

func TestOffersThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"JSON":          `{"type":"offer"}`,
		"no media":      head,
		"sound only":    head + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=recvonly\r\n",
		"it sends":      strings.Replace(chrome, "recvonly", "sendrecv", 1),
		"no direction":  strings.Replace(chrome, "a=recvonly\r\n", "", 1),
		"inactive":      strings.Replace(chrome, "recvonly", "inactive", 1),
		"data channels": chrome + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
		"one type twice": head + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\n" +
			"m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\na=rtpmap:96 opus/48000/2\r\n",
		"plain RTP":  strings.Replace(chrome, "UDP/TLS/RTP/SAVPF", "RTP/AVP", 1),
		"many media": chrome + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=recvonly\r\n", 8),
		"large":      chrome + strings.Repeat("a=x:y\r\n", MaxOffer/7),
	} {
		if _, err := readOffer([]byte(text)); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}

func TestOffersOfTalkers(t *testing.T) {
	const talk = head + "m=audio 9 UDP/TLS/RTP/SAVPF 8 0 111\r\na=sendonly\r\na=candidate:1 1 udp 1 192.0.2.66 9 typ host\r\na=rtpmap:111 opus/48000/2\r\n"
	o, err := readTalk([]byte(talk))
	if err != nil || len(o.audio) != 3 || o.audio[0].name != "PCMA" || contains(o.sdp, "192.0.2.66") {
		t.Errorf("%+v, %v", o, err)
	}
	for name, text := range map[string]string{
		"nothing":       "",
		"no media":      head,
		"a picture":     strings.Replace(chrome, "recvonly", "sendonly", 1),
		"it listens":    strings.Replace(talk, "sendonly", "recvonly", 1),
		"both ways":     strings.Replace(talk, "sendonly", "sendrecv", 1),
		"two":           talk + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=sendonly\r\n",
		"data channels": talk + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
		"plain RTP":     strings.Replace(talk, "UDP/TLS/RTP/SAVPF", "RTP/AVP", 1),
		"large":         talk + strings.Repeat("a=x:y\r\n", MaxOffer/7),
	} {
		if _, err := readTalk([]byte(text)); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}

// TestFingerprintsOfOffers: nobody connects with one that names no certificate, so it is
// refused like any other faulty offer, of viewers and of talkers.
func TestFingerprintsOfOffers(t *testing.T) {
	const talk = head + "m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=sendonly\r\n"
	bytes := func(n int) string { return strings.Repeat("0F:", n-1) + "f0" }
	for name, c := range map[string]struct {
		lines string // in place of that of the session
		good  bool
	}{
		"SHA-256":                {"a=fingerprint:sha-256 " + hashed + "\r\n", true},
		"in capitals":            {"a=fingerprint:SHA-256 " + strings.ToUpper(hashed) + "\r\n", true},
		"SHA-1":                  {"a=fingerprint:sha-1 " + bytes(20) + "\r\n", true},
		"SHA-512":                {"a=fingerprint:sha-512 " + bytes(64) + "\r\n", true},
		"after one of later":     {"a=fingerprint:sha3-256 " + bytes(32) + "\r\n" + fingerprint, true},
		"none":                   {"", false},
		"no value":               {"a=fingerprint:sha-256\r\n", false},
		"too short":              {"a=fingerprint:sha-256 " + bytes(31) + "\r\n", false},
		"too long":               {"a=fingerprint:sha-256 " + bytes(33) + "\r\n", false},
		"of another function":    {"a=fingerprint:sha-384 " + bytes(32) + "\r\n", false},
		"no hex":                 {"a=fingerprint:sha-256 " + strings.Replace(hashed, "A", "G", 1) + "\r\n", false},
		"no colons":              {"a=fingerprint:sha-256 " + strings.ReplaceAll(hashed, ":", "") + "\r\n", false},
		"half a byte":            {"a=fingerprint:sha-256 " + strings.Replace(hashed, "A0:", "A:", 1) + "\r\n", false},
		"two blanks":             {"a=fingerprint:sha-256  " + hashed + "\r\n", false},
		"more":                   {"a=fingerprint:sha-256 " + hashed + " x\r\n", false},
		"MD5":                    {"a=fingerprint:md5 " + bytes(16) + "\r\n", false},
		"a function of later":    {"a=fingerprint:sha3-256 " + bytes(32) + "\r\n", false},
		"a faulty one after one": {fingerprint + "a=fingerprint:sha-256 00\r\n", false},
	} {
		_, watching := readOffer([]byte(strings.Replace(chrome, fingerprint, c.lines, 1)))
		_, talking := readTalk([]byte(strings.Replace(talk, fingerprint, c.lines, 1)))
		for of, err := range map[string]error{"a viewer": watching, "a talker": talking} {
			if _, refused := errors.AsType[*OfferError](err); refused == c.good || err != nil && !refused {
				t.Errorf("%s, of %s: %v", name, of, err)
			}
		}
	}
	inMedia := strings.Replace(chrome, fingerprint, "", 1)
	if _, err := readOffer([]byte(inMedia + fingerprint)); err != nil {
		t.Errorf("in a media: %v", err)
	}
	if _, err := readOffer([]byte(inMedia + "a=fingerprint:sha-256 00\r\n")); err == nil {
		t.Error("a faulty one in a media is read")
	}
	o, err := readOffer([]byte(strings.Replace(chrome, fingerprint, "a=fingerprint:sha3-256 "+bytes(32)+"\r\n"+fingerprint, 1)))
	if err != nil || contains(o.sdp, "sha3") || !contains(o.sdp, "sha-256 A0") {
		t.Errorf("what pion gets: %v, %v", o, err)
	}
}

// FuzzOffer: an offer is refused or read, and what is read is answered or refused by pion.
func FuzzOffer(f *testing.F) {
	f.Add([]byte(chrome))
	f.Add([]byte(chrome + "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 111\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n"))
	f.Add([]byte(head + "m=video 0 UDP/TLS/RTP/SAVPF 1\r\na=fmtp:1 =;;\r\na=rtpmap:1 H264/\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := readOffer(text)
		if err != nil {
			return
		}
		var clean sdp.SessionDescription
		if err := clean.UnmarshalString(o.sdp); err != nil {
			t.Fatalf("what was read cannot be read: %v", err)
		}
		for _, m := range clean.MediaDescriptions {
			if _, kept := m.Attribute("candidate"); kept {
				t.Error("an address is kept")
			}
		}
		c, ok := choose(h264Of(sps(100, 0)), o.video)
		if !ok {
			return
		}
		media := &webrtc.MediaEngine{}
		if media.RegisterCodec(c.parameters(webrtc.MimeTypeH264), webrtc.RTPCodecTypeVideo) != nil {
			return
		}
		peer, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(webrtc.SettingEngine{LoggerFactory: silence{}})).NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		if peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}) == nil {
			_, _ = peer.CreateAnswer(nil)
		}
	})
}

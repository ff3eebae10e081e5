package upstream

import (
	"errors"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"
)

// TestTame: what a camera must not make the library do.
func TestTame(t *testing.T) {
	res := &base.Response{Header: base.Header{
		"Location":  {"rtsp://elsewhere/"},
		"Session":   {"abc;timeout=99999999"},
		"Transport": {"RTP/AVP;unicast;source=203.0.113.9;client_port=5000-5001;server_port=6000-6001"},
	}, Body: make([]byte, maxSDP+1)}
	tame(res)
	var s headers.Session
	var tr headers.Transport
	if err := errors.Join(s.Unmarshal(res.Header["Session"]), tr.Unmarshal(res.Header["Transport"])); err != nil {
		t.Fatal(err)
	}
	if res.Header["Location"] != nil || res.Body != nil || *s.Timeout != maxSessionTimeout || tr.Source != nil || tr.ServerPorts[0] != 6000 {
		t.Errorf("%v, timeout %v", res, *s.Timeout)
	}
}

// FuzzPacket holds what the library does with a packet in its own goroutines,
// where a panic could not be caught.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x78, 0, 1, 0x65})
	f.Add([]byte{0x80, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x60, 1, 0, 1, 0x40})
	f.Add([]byte{0xb0, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x40, 0, 0, 0})
	formats := []format.Format{&format.H264{}, &format.H265{}, &format.MJPEG{}, &format.MPEG4Audio{}, &format.Opus{}, &format.VP8{}, &format.AV1{}, &format.Generic{}}
	f.Fuzz(func(_ *testing.T, data []byte) {
		var pkt rtp.Packet
		if pkt.Unmarshal(data) != nil {
			return
		}
		for _, form := range formats {
			form.PTSEqualsDTS(&pkt)
		}
		_, _ = pkt.MarshalTo(make([]byte, 1472))
	})
}

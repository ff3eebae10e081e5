package upstream

import (
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"latchkey/streaming/cameratest"
)

func rtpPacket(t testing.TB, pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	t.Helper()
	data, err := (&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: ts, SSRC: ssrc}, Payload: payload}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSequences: viewers see one source that counts on, whatever the camera begins anew,
// and losses as they were.
func TestSequences(t *testing.T) {
	type sent struct {
		seq  uint16
		ssrc uint32
	}
	for name, sc := range map[string]struct {
		sent []sent
		want []uint16
	}{
		"one after the other":          {[]sent{{7, 1}, {8, 1}, {9, 1}}, []uint16{7, 8, 9}},
		"around the end":               {[]sent{{65535, 1}, {0, 1}}, []uint16{65535, 0}},
		"a loss":                       {[]sent{{7, 1}, {9, 1}}, []uint16{7, 9}},
		"twice, and late":              {[]sent{{7, 1}, {7, 1}, {9, 1}, {8, 1}, {10, 1}}, []uint16{7, 7, 9, 8, 10}},
		"another SSRC":                 {[]sent{{7, 1}, {8, 2}, {9, 3}}, []uint16{7, 8, 9}},
		"another count":                {[]sent{{7, 1}, {40000, 2}, {40001, 2}}, []uint16{7, 8, 9}},
		"a step ahead":                 {[]sent{{7, 1}, {5000, 1}, {5001, 1}}, []uint16{7, 8, 9}},
		"a step back":                  {[]sent{{7000, 1}, {3, 1}, {4, 1}}, []uint16{7000, 7001, 7002}},
		"a small step back of another": {[]sent{{7, 1}, {1, 2}, {2, 2}}, []uint16{7, 8, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			track := newTrack(0, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}})
			for i, s := range sc.sent {
				packets, err := track.packets(rtpPacket(t, 96, s.seq, uint32(i), s.ssrc, []byte{0x41, 1, 2}))
				if err != nil {
					t.Fatal(err)
				}
				var seen rtp.Packet
				if err := seen.Unmarshal(packets[0].Data); err != nil || seen.SequenceNumber != sc.want[i] || seen.SSRC != 1 || seen.Timestamp != uint32(i) {
					t.Errorf("packet %d is %v, want %d: %v", i, seen.Header, sc.want[i], err)
				}
			}
		})
	}
}

// TestPacketsAreHandedOnAsTheyCame: padding and all.
func TestPacketsAreHandedOnAsTheyCame(t *testing.T) {
	track := newTrack(3, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}})
	padded := []byte{0xa0, 96, 0, 2, 0, 0, 0, 9, 0, 0, 0, 7, 0x41, 1, 0, 2}
	claimed := []byte{0xa0, 96, 0, 3, 0, 0, 0, 9, 0, 0, 0, 7, 0x41, 1, 99}
	for name, data := range map[string][]byte{"padding": padded, "padding that is not there": claimed} {
		want := append([]byte(nil), data...)
		if name == "padding that is not there" {
			want[0] = 0x80
		}
		packets, err := track.packets(data)
		if err != nil || len(packets) != 1 || string(packets[0].Data) != string(want) || packets[0].Track != 3 {
			t.Errorf("%s: %v, %v", name, packets, err)
		}
	}
}

// TestNoHeaderExtensions: what a camera writes into one is not for viewers.
func TestNoHeaderExtensions(t *testing.T) {
	head := func(first byte) string { return string([]byte{first, 0xe0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7}) }
	const payload = "\x41\x01\x02"
	for name, sc := range map[string]struct{ sent, want string }{
		"none":               {head(0x80) + payload, head(0x80) + payload},
		"text":               {head(0x90) + "\xbe\xde\x00\x02\x16address" + payload, head(0x80) + payload},
		"empty":              {head(0x90) + "\xbe\xde\x00\x00" + payload, head(0x80) + payload},
		"no elements":        {head(0x90) + "\xbe\xde\x00\x01\xff\xff\xff\xff" + payload, head(0x80) + payload},
		"of a recording":     {head(0x90) + "\xab\xac\x00\x03\x01\x02\x03\x04\x05\x06\x07\x08\xa0\x00\x00\x00" + payload, head(0x80) + payload},
		"another source":     {head(0x91) + "\x00\x00\x00\x05" + "\x10\x00\x00\x01text" + payload, head(0x81) + "\x00\x00\x00\x05" + payload},
		"padding":            {head(0xb0) + "\xbe\xde\x00\x01text" + payload + "\x00\x02", head(0xa0) + payload + "\x00\x02"},
		"only said":          {head(0x90), ""},
		"longer than it":     {head(0x90) + "\xbe\xde\x00\x02text", ""},
		"as long as can be":  {head(0x90) + "\xbe\xde\xff\xff" + payload, ""},
		"within the sources": {head(0x9f) + "\xbe\xde\x00\x00" + payload, ""},
		"beyond a datagram": {
			head(0x90) + "\xbe\xde\x01\x67" + strings.Repeat("text", 0x167) + "\x41" + strings.Repeat("x", 99),
			head(0x80) + "\x41" + strings.Repeat("x", 99),
		},
	} {
		t.Run(name, func(t *testing.T) {
			track := newTrack(0, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}})
			packets, err := track.packets([]byte(sc.sent))
			if sc.want == "" {
				if !errors.Is(err, errBroken) {
					t.Errorf("%v, %v", packets, err)
				}
				return
			}
			if err != nil || len(packets) != 1 || string(packets[0].Data) != sc.want {
				t.Errorf("%v, %v", packets, err)
			}
		})
	}
}

// TestALargeHeaderExtension is not kept in memory with what is left of its packet.
func TestALargeHeaderExtension(t *testing.T) {
	const words = 15_000
	sent := make([]byte, 16+4*words+2)
	copy(sent, "\x90\x60\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\xbe\xde")
	binary.BigEndian.PutUint16(sent[14:], words)
	last := len(sent) - 1
	sent[last-1], sent[last] = 0x41, 1
	track := newTrack(0, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}})
	packets, err := track.packets(sent)
	if err != nil || len(packets) != 1 || len(packets[0].Data) != 14 {
		t.Fatalf("%v, %v", packets, err)
	}
	if sent[last] = 2; packets[0].Data[13] != 1 {
		t.Error("it shares the memory of what was sent")
	}
}

// TestPayloadTypes: those that are not described are dropped, unless there is nothing
// else.
func TestPayloadTypes(t *testing.T) {
	track := newTrack(0, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}})
	for n := range mostStrange + 5 {
		packets, err := track.packets(rtpPacket(t, 97, uint16(n), 0, 1, []byte{0x41}))
		if accepted := err == nil; accepted != (n >= mostStrange-1) {
			t.Fatalf("packet %d: %v", n, err)
		}
		if err == nil && packets[0].Data[1]&0x7f != 96 {
			t.Errorf("packet %d is of type %d", n, packets[0].Data[1]&0x7f)
		}
	}
	if _, err := track.packets(rtpPacket(t, 96, 100, 0, 1, []byte{0x41})); err != nil {
		t.Error(err)
	}
	if _, err := track.packets(rtpPacket(t, 97, 101, 0, 1, []byte{0x41})); !errors.Is(err, errBroken) {
		t.Errorf("after the right ones: %v", err)
	}
}

// BenchmarkPackets measures what a packet that fits costs on its way to the readers.
func BenchmarkPackets(b *testing.B) {
	track := newTrack(0, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}})
	data := rtpPacket(b, 96, 1, 2, 3, make([]byte, 1400))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := track.packets(data); err != nil {
			b.Fatal(err)
		}
	}
}

// packetsOverUDP sends packets of video to an address until the channel is closed.
func packetsOverUDP(t testing.TB, ended <-chan struct{}, to string) {
	out, err := net.Dial("udp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer out.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := uint16(0); ; n++ {
		_, _ = out.Write(rtpPacket(t, 96, n, 0, 7, []byte{0x41}))
		select {
		case <-tick.C:
		case <-ended:
			return
		}
	}
}

// TestUDPInstead: cameras that end the connection at a SETUP over TCP, or accept it and
// play nothing.
func TestUDPInstead(t *testing.T) {
	for _, name := range []string{"ends the connection", "is mute over TCP"} {
		t.Run(name, func(t *testing.T) {
			addr := cameratest.Listen(t, func(conn net.Conn) {
				to := ""
				ended := make(chan struct{})
				var sending sync.WaitGroup
				defer sending.Wait()
				defer close(ended)
				cameratest.ScriptWith(conn, func(method, cseq string, header func(string) string) string {
					transport := header("Transport")
					switch method {
					case "DESCRIBE":
						return cameratest.WithSDP(cseq, cameratest.SDP)
					case "SETUP":
						if strings.Contains(transport, "TCP") && name == "ends the connection" {
							conn.Close()
							return ""
						}
						_, ports, _ := strings.Cut(transport, "client_port=")
						to, _, _ = strings.Cut(ports, "-")
						return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: x\r\nTransport: " + transport + "\r\n\r\n"
					case "PLAY":
						if to != "" {
							sending.Go(func() { packetsOverUDP(t, ended, "127.0.0.1:"+to) })
						}
					}
					return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: x\r\n\r\n"
				})
			})
			h := open(t, nil, func(c *Config) { c.SilenceLimit = 200 * time.Millisecond })
			h.sources.set("dev-1", 1, Source{URL: "rtsp://" + addr + "/live"})
			eventually(t, "packets", func() bool {
				l, err := h.acquire("dev-1", 1)
				if err != nil {
					return false
				}
				defer l.Release()
				q := NewQueue(64, func() {})
				_, detach, err := l.Flow().Attach(q)
				if err != nil {
					return false
				}
				defer detach()
				_, err = q.Next(t.Context())
				return err == nil
			})
		})
	}
}

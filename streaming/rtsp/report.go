package rtsp

import (
	"encoding/binary"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

const (
	// reportEvery is how often a viewer gets a sender report of each track: the first one
	// follows the first packets.
	reportEvery = int64(5 * time.Second)
	// While a stream is young, its camera may not have said yet which instants of its tracks
	// belong together, and viewers should hear of it soon.
	young      = 10 * time.Second
	youngEvery = int64(time.Second)
)

// nextReport returns how long after a report the next one is due, in nanoseconds.
func nextReport(age time.Duration) int64 {
	if age < young {
		return youngEvery
	}
	return reportEvery
}

var began = time.Now()

// monotonic returns a time that never jumps, in nanoseconds.
func monotonic() int64 { return int64(time.Since(began)) }

// senderReport returns a compound RTCP packet (RFC 3550, section 6.4.1 and 6.5): how a
// track's timestamps relate to the wall clock, what was sent, and a name that the tracks
// of a stream share.
func senderReport(ssrc uint32, ntp uint64, rtp, packets, octets uint32, cname string) []byte {
	b := make([]byte, 0, 64)
	b = append(b, 0x80, 200, 0, 6)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint64(b, ntp)
	b = binary.BigEndian.AppendUint32(b, rtp)
	b = binary.BigEndian.AppendUint32(b, packets)
	b = binary.BigEndian.AppendUint32(b, octets)
	text := (4 + 2 + len(cname) + 1 + 3) &^ 3 // the chunk ends with a zero, at a multiple of four bytes
	b = append(b, 0x81, 202, 0, byte(text/4))
	end := len(b) + text
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = append(b, 1, byte(len(cname))) // CNAME
	b = append(b, cname...)
	for len(b) < end {
		b = append(b, 0)
	}
	return b
}

// report returns the report of a track that a viewer gets now, after all that was sent
// and queued except for some bursts of a queue; nil if nothing is known.
func (o *outbox) report(track int, s *sub, queue []item) *burst {
	ntp, rtp, ok := o.from.flow.Report(track, time.Now())
	if !ok {
		return nil
	}
	packets, octets := s.packets, s.octets
	for _, it := range queue {
		if it.burst != nil && !it.control && it.track == track {
			packets -= uint32(len(it.ends))
			octets -= it.octets
		}
	}
	return s.control(track, senderReport(o.from.tracks[track].ssrc, ntp, rtp, packets, octets, o.from.cname))
}

// control returns an RTCP packet of a track as a burst.
func (s *sub) control(track int, rtcp []byte) *burst {
	data := append([]byte{'$', s.channel + 1, byte(len(rtcp) >> 8), byte(len(rtcp))}, rtcp...)
	return &burst{control: true, track: track, data: data}
}

// sendReport sends a report after a burst.
func (o *outbox) sendReport(b *burst, s *sub) {
	r := o.report(b.track, s, nil)
	if r == nil {
		return
	}
	s.report = b.at + nextReport(time.Since(o.from.opened))
	o.push(item{burst: r})
	if o.now.burst == nil {
		o.drain()
	}
}

// goodbye returns a compound RTCP packet that ends a track (RFC 3550, section 6.6).
func goodbye(ssrc uint32) []byte {
	b := make([]byte, 0, 16)
	for _, head := range []uint32{0x80c90001, 0x81cb0001} { // an empty receiver report, BYE
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, head), ssrc)
	}
	return b
}

// end closes. Over TCP it says goodbye on each track that plays before: live555 takes a
// connection that is closed for a pause, and would wait for more. Whatever waits is dropped;
// the goodbye too, if the player does not take it at once. Nothing is said while it is not
// known what is permitted.
//
// Over UDP nothing is said. GStreamer hears it and the end of the connection in two threads,
// and hangs for good now and then.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.way.(type) {
	case *tcpWay, *tlsWay:
		o.sayGoodbye()
	}
	o.closed = true
	o.clear()
}

func (o *outbox) sayGoodbye() {
	if o.closed || o.corked || !o.door.live() {
		return
	}
	if o.truncate(); o.now.burst != nil { // a packet or response was begun
		return
	}
	for track := range o.subs {
		s := &o.subs[track]
		if !s.on || s.packets == 0 {
			continue
		}
		b := s.control(track, goodbye(o.from.tracks[track].ssrc))
		if done, err := o.way.send(b, s, 0); err != nil || done < o.way.size(b, s) {
			return
		}
	}
}

// reportAll makes the reports follow the cached packets.
func (o *outbox) reportAll() {
	now := monotonic()
	for track := range o.subs {
		s := &o.subs[track]
		if s.packets == 0 {
			continue
		}
		if r := o.report(track, s, o.queue); r != nil {
			s.report = now + nextReport(time.Since(o.from.opened))
			o.head = append(o.head, item{burst: r})
		}
	}
}

// startsAt is where a track begins for a viewer.
type startsAt struct {
	known     bool
	sequence  uint16
	timestamp uint32
}

// setStart completes the RTP-Info of a response to PLAY (RFC 2326, section 12.33).
func setStart(res *base.Response, order []int, starts []startsAt) {
	var info headers.RTPInfo
	if info.Unmarshal(res.Header["RTP-Info"]) != nil || len(info) != len(order) {
		return
	}
	for n, track := range order {
		info[n].SequenceNumber, info[n].Timestamp = nil, nil
		if s := starts[track]; s.known {
			info[n].SequenceNumber, info[n].Timestamp = &s.sequence, &s.timestamp
		}
	}
	res.Header["RTP-Info"] = info.Marshal()
}

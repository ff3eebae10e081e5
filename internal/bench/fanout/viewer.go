package fanout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// Viewer is a viewer of a crowd, which guards it.
type Viewer struct {
	session *session
	fd      int    // of the connection, -1 with RTSPS
	rest    []byte // the beginning of a packet or response

	ended   bool // by the other side
	bytes   int64
	last    time.Time // of the last packet
	first   time.Time // of the first whole key picture
	whole   int       // pictures
	lost    int       // pictures that are missing or damaged
	late    []time.Duration
	number  uint64 // of the last picture
	counted bool   // number is set
	now     stamp  // of the picture that is being received; number 0 and sent 0: none
	got     uint64 // bytes of it
}

// reset begins a measurement.
func (v *Viewer) reset() {
	v.bytes, v.whole, v.lost, v.late = 0, 0, 0, v.late[:0]
}

var errOutOfStep = errors.New("neither a packet nor a response")

// stream takes what the connection delivered.
func (v *Viewer) stream(b []byte, now time.Time) error {
	if len(v.rest) > 0 {
		v.rest = append(v.rest, b...)
		b = v.rest
	}
	for len(b) >= 4 {
		n := 0
		switch b[0] {
		case '$':
			if n = 4 + int(binary.BigEndian.Uint16(b[2:])); len(b) >= n {
				v.packet(b[1], b[4:n], now)
			}
		case 'R': // a response without a body
			if n = bytes.Index(b, []byte("\r\n\r\n")) + 4; n < 4 {
				n = len(b) + 1
			}
		default:
			return errOutOfStep
		}
		if len(b) < n {
			break
		}
		b = b[n:]
	}
	v.rest = append(v.rest[:0], b...)
	return nil
}

// packet takes a packet of the channel for RTP, or of another.
func (v *Viewer) packet(channel byte, p []byte, now time.Time) {
	if channel != 0 || len(p) < 12 {
		return
	}
	v.bytes += int64(len(p))
	v.last = now
	payload := payload(p)
	if len(payload) > 2 && payload[0]&0x1f == 28 { // FU-A: parameter sets are not counted
		if begin := payload[1]&0x80 != 0; begin {
			v.begin(payload[2:])
		}
		v.got += uint64(len(payload) - 2)
	}
	if p[1]&0x80 != 0 {
		v.end(now)
	}
}

// payload returns what follows the head of an RTP packet.
func payload(p []byte) []byte {
	at := 12 + 4*int(p[0]&0xf)
	if p[0]&0x10 != 0 && len(p) >= at+4 {
		at += 4 + 4*int(binary.BigEndian.Uint16(p[at+2:]))
	}
	return p[min(at, len(p)):]
}

func (v *Viewer) begin(body []byte) {
	s, ok := parseStamp(body)
	v.got = 0
	if v.now = s; !ok {
		return
	}
	switch {
	case !v.counted:
	case s.number > v.number:
		v.lost += int(s.number - v.number - 1)
	default:
		v.lost++ // sent twice
	}
	v.number, v.counted = s.number, true
}

func (v *Viewer) end(now time.Time) {
	if v.now.sent == 0 {
		return
	}
	if v.got != v.now.size {
		v.lost++
	} else {
		v.whole++
		v.late = append(v.late, time.Duration(now.UnixNano()-v.now.sent))
		if v.first.IsZero() && v.now.key { // nothing can be shown before
			v.first = now
		}
	}
	v.now, v.got = stamp{}, 0
}

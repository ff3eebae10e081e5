package playback

import (
	"encoding/binary"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

const (
	minRTP = 12
	// replayExtension is the profile of the RTP header extension with the time that a
	// packet shows (ONVIF Streaming Specification, 6.3).
	replayExtension = 0xABAC
)

func sequenceOf(data []byte) uint16 { return binary.BigEndian.Uint16(data[2:]) }

func timestampOf(data []byte) uint32 { return binary.BigEndian.Uint32(data[4:]) }

// parts are a packet's header extension and payload; nil if it has none.
type parts struct {
	profile   uint16
	extension []byte
	payload   []byte
}

// partsOf takes a packet apart (RFC 3550, section 5.1). ok is false if it is cut.
func partsOf(data []byte) (p parts, ok bool) {
	if len(data) < minRTP || data[0]>>6 != 2 {
		return p, false
	}
	at := minRTP + 4*int(data[0]&0x0f)
	if data[0]&0x10 != 0 {
		if len(data) < at+4 {
			return p, false
		}
		p.profile = binary.BigEndian.Uint16(data[at:])
		size := 4 * int(binary.BigEndian.Uint16(data[at+2:]))
		if at += 4; len(data) < at+size {
			return p, false
		}
		p.extension = data[at : at+size]
		at += size
	}
	end := len(data)
	if data[0]&0x20 != 0 {
		end -= int(data[end-1])
	}
	if end < at {
		return p, false
	}
	p.payload = data[at:end]
	return p, true
}

// shows returns the time that a packet shows, on the device's clock; zero if it does not
// say so.
func (p parts) shows() time.Time {
	if p.profile != replayExtension || len(p.extension) < 12 {
		return time.Time{}
	}
	ntp := binary.BigEndian.Uint64(p.extension)
	if ntp == 0 {
		return time.Time{}
	}
	return fromNTP(ntp)
}

// answers sets the number of the PLAY request that a packet belongs to, which a viewer
// compares with its own (6.3: the low byte of CSeq).
func (p parts) answers(cseq byte) {
	if p.profile == replayExtension && len(p.extension) >= 12 {
		p.extension[9] = cseq
	}
}

// ntpEpoch is 1970 in seconds since 1900.
const ntpEpoch = 2208988800

// fromNTP reads a 64-bit NTP time, of this era or, from 2036 on, the next one.
func fromNTP(ntp uint64) time.Time {
	seconds := int64(ntp >> 32)
	if seconds < ntpEpoch {
		seconds += 1 << 32
	}
	nanos := (ntp & 0xffffffff) * 1e9 >> 32
	return time.Unix(seconds-ntpEpoch, int64(nanos))
}

func toNTP(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// beginsPicture reports whether a decoder can begin with a packet: with a key frame, or
// the parameters before it. known is false for codecs of which that is not known here.
func beginsPicture(f format.Format, payload []byte) (begins, known bool) {
	switch f.(type) {
	case *format.H264:
		return beginsH264(payload), true
	case *format.H265:
		return beginsH265(payload), true
	case *format.MJPEG:
		return len(payload) >= 4 && payload[1] == 0 && payload[2] == 0 && payload[3] == 0, true
	default:
		return false, false
	}
}

func beginsH264(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	key := func(kind byte) bool { return kind == 5 || kind == 7 }
	switch kind := b[0] & 0x1f; kind {
	case 24: // STAP-A
		for b = b[1:]; len(b) > 2; {
			size := int(b[0])<<8 | int(b[1])
			if key(b[2] & 0x1f) {
				return true
			}
			b = b[min(2+size, len(b)):]
		}
		return false
	case 28: // FU-A
		return b[1]&0x80 != 0 && key(b[1]&0x1f)
	default:
		return key(kind)
	}
}

func beginsH265(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	key := func(kind byte) bool { return kind >= 16 && kind <= 21 || kind == 32 || kind == 33 }
	switch kind := b[0] >> 1 & 0x3f; kind {
	case 48: // aggregation
		for b = b[2:]; len(b) > 2; {
			size := int(b[0])<<8 | int(b[1])
			if key(b[2] >> 1 & 0x3f) {
				return true
			}
			b = b[min(2+size, len(b)):]
		}
		return false
	case 49: // fragment
		return b[2]&0x80 != 0 && key(b[2]&0x3f)
	default:
		return key(kind)
	}
}

package playback

import (
	"encoding/binary"
	"time"
)

const (
	minRTP = 12
	// replayExtension is the profile of the RTP header extension with the time that a
	// packet shows (ONVIF Streaming Specification, 6.3).
	replayExtension = 0xABAC
)

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

package rtspclient

import (
	"slices"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
)

const (
	minRTP  = 12
	minRTCP = 8
)

// isRTCP reports whether a packet is RTCP and not RTP (RFC 5761, 4): cameras mix up the
// channels.
func isRTCP(data []byte) bool {
	return len(data) >= minRTCP && data[0]>>6 == 2 && data[1] >= 192 && data[1] <= 223
}

func isRTP(data []byte) bool { return len(data) >= minRTP && data[0]>>6 == 2 }

// channels are the tracks of the interleaved channels: the first that uses one.
type channels [256]*Track

// hasChannel reports whether a track uses an interleaved channel.
func (c *Client) hasChannel(channel int) bool {
	of := c.channels.Load()
	return of != nil && of[channel] != nil
}

// noteChannels makes the channels of the tracks known to the reader. The caller holds the
// client's mutex.
func (c *Client) noteChannels() {
	of := &channels{}
	for _, t := range slices.Backward(c.tracks) {
		for _, channel := range t.channels {
			if t.udp == nil && channel >= 0 && channel < len(of) {
				of[channel] = t
			}
		}
	}
	c.channels.Store(of)
}

// uses reports whether a track has an interleaved channel. The caller holds the client's
// mutex.
func (t *Track) uses(channel int) bool {
	return t.udp == nil && (t.channels[0] == channel || t.channels[1] == channel)
}

// interleaved hands on a packet that came between the messages.
func (c *Client) interleaved(channel int, data []byte, now time.Time) {
	switch {
	case isRTCP(data):
		if t := c.trackOfReport(channel, data); t != nil {
			c.handReports(t, data, now)
			return
		}
	case isRTP(data):
		if t := c.trackOf(channel, data[1]&0x7f); t != nil {
			c.hand(t, data, now)
			return
		}
	}
	c.opts.Odd()
}

// trackOf returns the track of a packet: that of the channel, or if the camera uses
// channels of its own choice, or one for several tracks, the one with its payload type.
func (c *Client) trackOf(channel int, pt uint8) *Track {
	if of := c.channels.Load(); of != nil && of[channel] != nil && hasType(of[channel].Media, pt) {
		return of[channel]
	}
	var byChannel, byType *Track
	channels, types := 0, 0
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tracks {
		at, has := t.uses(channel), hasType(t.Media, pt)
		switch {
		case at && has:
			return t
		case at:
			byChannel, channels = t, channels+1
		case has:
			byType, types = t, types+1
		}
	}
	switch {
	case channels == 1 && types == 0:
		return byChannel
	case types == 1:
		return byType
	default:
		return nil
	}
}

func hasType(m *description.Media, pt uint8) bool {
	for _, f := range m.Formats {
		if f.PayloadType() == pt {
			return true
		}
	}
	return false
}

// trackOfReport returns the track of an RTCP packet: by the source if packets of it came,
// otherwise by the channel.
func (c *Client) trackOfReport(channel int, data []byte) *Track {
	var found *Track
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tracks {
		if t.receipt.isFrom(be32(data[4:])) {
			return t
		}
		if found == nil && t.uses(channel) {
			found = t
		}
	}
	return found
}

// hand passes an RTP packet on.
func (c *Client) hand(t *Track, data []byte, now time.Time) {
	t.receipt.packet(data, t.clockRate(data[1]&0x7f), now)
	c.opts.Packet(t, data, now)
}

// clockRate is that of a payload type, or of the first format.
func (t *Track) clockRate(pt uint8) int {
	for _, f := range t.Media.Formats {
		if f.PayloadType() == pt {
			return f.ClockRate()
		}
	}
	return t.Media.Formats[0].ClockRate()
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func be32(b []byte) uint32 { return uint32(be16(b))<<16 | uint32(be16(b[2:])) }

func be64(b []byte) uint64 { return uint64(be32(b))<<32 | uint64(be32(b[4:])) }

package device

import (
	"cmp"
	"slices"
	"time"

	"latchkey/domain/privilege"
)

// Facts are what a device reported about itself. The rest is empty.
type Facts struct {
	Serial, Model, Firmware string        // one line each, at most 128 characters
	ClockAhead              time.Duration // how far its clock is ahead of ours, if ONVIF reported it
	Recorder                bool          // it has linked cameras
	Channels                []Channel     // by number
}

// Channel is one camera of a device.
type Channel struct {
	Number int    // from 1
	Name   string // of the linked camera, "" if not reported
	// Has and Lacks are known; what is in neither is unknown.
	Has, Lacks privilege.Set
	Medias     []Media // of its main stream, nil if it was not requested
	Listed     bool    // the device names it as one of its cameras

	asked bool // it has responded over RTSP about its back channel
	told  bool // it has responded over ISAPI about it
	takes bool // by ISAPI, it accepts audio
}

// Media is one part of a stream.
type Media struct {
	Kind        string // "video" or "audio"
	Codec       string
	BackChannel bool // from the client to the device
}

// channel returns the channel with a number, creating it if needed; nil for an invalid
// number.
func (f *Facts) channel(number int) *Channel {
	if number < 1 || number > privilege.MaxChannel {
		return nil
	}
	at, found := slices.BinarySearchFunc(f.Channels, number, func(c Channel, n int) int { return cmp.Compare(c.Number, n) })
	if !found {
		f.Channels = slices.Insert(f.Channels, at, Channel{Number: number})
	}
	return &f.Channels[at]
}

// Channel returns what is known of a channel; the zero value if nothing was reported.
func (f *Facts) Channel(number int) Channel {
	for _, c := range f.Channels {
		if c.Number == number {
			return c
		}
	}
	return Channel{Number: number}
}

// learn records what a channel has or lacks. Known facts stay.
func (c *Channel) learn(what privilege.Set, has bool) {
	what = what.Without(c.Has | c.Lacks)
	if has {
		c.Has |= what
	} else {
		c.Lacks |= what
	}
}

// judgeTalk concludes what is known of two-way audio. It is only lacking if every service
// that could know has responded.
func (c *Channel) judgeTalk(withISAPI bool) {
	talks := c.takes
	for _, m := range c.Medias {
		talks = talks || m.BackChannel
	}
	described := c.Medias != nil
	switch {
	case talks:
		c.learn(privilege.TwoWayAudio, true)
	case c.told && (c.asked || !described), !withISAPI && c.asked:
		c.learn(privilege.TwoWayAudio, false)
	}
}

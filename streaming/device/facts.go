package device

import (
	"cmp"
	"slices"
	"time"

	"latchkey/domain/privilege"
)

// Facts are what a device said of itself. What it did not say is empty.
type Facts struct {
	Serial, Model, Firmware string        // one line each, at most 128 characters
	ClockAhead              time.Duration // of its clock before ours, where ONVIF told
	Recorder                bool          // it has linked cameras
	Channels                []Channel     // by number
}

// Channel is one camera of a device.
type Channel struct {
	Number int    // from 1
	Name   string // of the linked camera, "" if it did not say
	// Has and Lacks are what is known; what is in neither is not.
	Has, Lacks privilege.Set
	Medias     []Media // of its main stream, nil if it was not asked for it

	listed bool // the device names it as one of its cameras
	asked  bool // it was asked over RTSP whether it has a back channel, and has answered
	told   bool // the same over ISAPI
	takes  bool // ISAPI says that it takes sound
}

// Media is one part of a stream.
type Media struct {
	Kind        string // "video" or "audio"
	Codec       string
	BackChannel bool // from the client to the device
}

// channel returns the channel with a number, made if there is none; nil for a number
// that no channel has.
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

// Channel returns what is known of a channel; nothing if it was not spoken of.
func (f *Facts) Channel(number int) Channel {
	for _, c := range f.Channels {
		if c.Number == number {
			return c
		}
	}
	return Channel{Number: number}
}

// learn notes what a channel has or lacks. What was known before stays.
func (c *Channel) learn(what privilege.Set, has bool) {
	what = what.Without(c.Has | c.Lacks)
	if has {
		c.Has |= what
	} else {
		c.Lacks |= what
	}
}

// judgeTalk concludes what is known of two-way audio. It is lacking only where everybody
// was asked who could know.
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

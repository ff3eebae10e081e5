package device

import (
	"cmp"
	"slices"
	"time"
)

// Facts are what a device said of itself.
type Facts struct {
	Model, Firmware string    // "" if it did not say
	ProvenAt        time.Time // when it first let us in; zero: it was not asked
}

// Proven reports whether the device was seen to let us in.
func (f Facts) Proven() bool { return !f.ProvenAt.IsZero() }

// Rename gives a device, or channels of it, other names.
type Rename struct {
	Device   string
	By       string // account
	Name     string // sealed; "" leaves it
	Channels []ChannelName
	At       time.Time
}

// ChannelName is the name that a channel gets.
type ChannelName struct {
	Channel int
	Name    string // sealed; "" for none
}

// NoteFacts notes what a device said of itself.
type NoteFacts struct {
	Device string
	By     string // account
	Facts  Facts
	At     time.Time
}

func (Rename) deviceCommand()    {}
func (NoteFacts) deviceCommand() {}

func rename(s State, c Rename) ([]Event, error) {
	if !s.isOf(c.Device, c.By) {
		return nil, ErrNotFound
	}
	channels := slices.Clone(s.Channels)
	named := map[int]bool{}
	for _, n := range c.Channels {
		at, found := slices.BinarySearchFunc(channels, n.Channel, func(have Channel, want int) int { return cmp.Compare(have.Channel, want) })
		switch {
		case !found:
			return nil, ErrNoSuchChannel
		case named[n.Channel]:
			return nil, ErrChannelTwice
		}
		named[n.Channel] = true
		channels[at].Name = n.Name
	}
	name := cmp.Or(c.Name, s.Name)
	if name == s.Name && slices.Equal(channels, s.Channels) {
		return nil, nil
	}
	e := s.changed(c.At)
	e.Name, e.Channels = name, channels
	return []Event{e}, nil
}

func noteFacts(s State, c NoteFacts) ([]Event, error) {
	if !s.isOf(c.Device, c.By) {
		return nil, ErrNotFound
	}
	to := Facts{Model: cmp.Or(c.Facts.Model, s.Facts.Model), Firmware: cmp.Or(c.Facts.Firmware, s.Facts.Firmware), ProvenAt: s.Facts.ProvenAt}
	if !s.Facts.Proven() {
		to.ProvenAt = c.Facts.ProvenAt
	}
	if to.Model == s.Facts.Model && to.Firmware == s.Facts.Firmware && to.ProvenAt.Equal(s.Facts.ProvenAt) {
		return nil, nil
	}
	e := FactsChanged(s.changed(c.At))
	e.Model, e.Firmware, e.ProvenAt = to.Model, to.Firmware, to.ProvenAt
	return []Event{e}, nil
}

// isOf reports whether the device lives and belongs to an account.
func (s State) isOf(device, account string) bool {
	return s.Live && account != "" && s.Owner == account && s.Device == device
}

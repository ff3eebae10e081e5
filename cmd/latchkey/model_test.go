package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The model of the sharing product, by the manual and the description of the API.

type model struct {
	devices map[string]*modelDevice   // by id
	shares  map[[2]string]*modelShare // by owner and recipient: live ones
	history map[[2]string]bool        // recipients of deleted shares
	people  []string
}

type modelDevice struct{ owner string }

type modelShare struct {
	id, remark string
	paused     bool
	devices    map[string]*modelOffer // by id, those that the owner sees
}

type modelOffer struct {
	status string // invited, accepted, or gone: rejected or left
	given  map[int][]string
	paused bool
	domain string
	from   time.Time // zero: at once
	until  time.Time // zero: for ever
}

// capabilities are those of the channels of every device of the model.
var capabilities = map[int][]string{1: {"live_view", "playback", "alarm", "two_way_audio", "ptz"}, 2: {"live_view", "playback"}}

func (o *modelOffer) active() bool { return o.status == "invited" || o.status == "accepted" }

func (o *modelOffer) heldAt(at time.Time) bool {
	return !at.Before(o.from) && (o.until.IsZero() || at.Before(o.until))
}

// given is what a person may do on a channel of a device; sees is whether they may know it.
func (m *model) may(who, device string, channel int, privilege string, at time.Time) (allowed, sees bool) {
	d := m.devices[device]
	if d == nil {
		return false, false
	}
	if d.owner == who {
		return slices.Contains(capabilities[channel], privilege), capabilities[channel] != nil
	}
	s := m.shares[[2]string{d.owner, who}]
	if s == nil || s.devices[device] == nil || s.devices[device].status != "accepted" {
		return false, false
	}
	o := s.devices[device]
	return !s.paused && !o.paused && o.heldAt(at) && slices.Contains(o.given[channel], privilege), true
}

// domainTaken reports whether another device that the recipient accepted has the name.
func (m *model) domainTaken(who, device, domain string) bool {
	for pair, s := range m.shares {
		for id, o := range s.devices {
			if pair[1] == who && id != device && o.status == "accepted" && o.domain == domain {
				return true
			}
		}
	}
	return false
}

func (m *model) remove(device string) {
	delete(m.devices, device)
	for _, s := range m.shares {
		delete(s.devices, device)
	}
}

// handOver gives a device to somebody else, by another id. What its owner shares of it ends,
// or goes on from the new owner. It returns the shares that this opens.
func (m *model) handOver(device, id, to string, keep bool, now time.Time) (opened [][2]string) {
	owner := m.devices[device].owner
	goesOn := map[string]*modelOffer{}
	for pair, s := range m.shares {
		o := s.devices[device]
		delete(s.devices, device)
		if o != nil && pair[0] == owner && pair[1] != to && keep && o.active() && (o.until.IsZero() || o.until.After(now)) {
			kept := *o
			kept.paused = o.paused || s.paused
			goesOn[pair[1]] = &kept
		}
	}
	delete(m.devices, device)
	m.devices[id] = &modelDevice{to}
	for recipient, o := range goesOn {
		pair := [2]string{to, recipient}
		if m.shares[pair] == nil {
			m.shares[pair] = &modelShare{devices: map[string]*modelOffer{}}
			delete(m.history, pair)
			opened = append(opened, pair)
		}
		m.shares[pair].devices[id] = o
	}
	return opened
}

func giveUp(o *modelOffer) { *o = modelOffer{status: "gone"} }

func givenText(given map[int][]string) string {
	var words []string
	for _, channel := range slices.Sorted(maps.Keys(given)) {
		words = append(words, fmt.Sprintf("%d:%s", channel, strings.Join(slices.Sorted(slices.Values(given[channel])), "+")))
	}
	return strings.Join(words, " ")
}

// sent, received, past and rights are the lists as lines of text, in any order.

func (m *model) sent(who string) (lines []string) {
	for pair, s := range m.shares {
		if pair[0] != who {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s to %s remark %q paused %v", s.id, pair[1], s.remark, s.paused))
		for id, o := range s.devices {
			lines = append(lines, fmt.Sprintf("%s %s %s %s paused %v", s.id, id, o.status, givenText(o.given), o.paused))
		}
	}
	return lines
}

func (m *model) received(who string) (lines []string) {
	for pair, s := range m.shares {
		some := false
		for id, o := range s.devices {
			if pair[1] == who && o.active() {
				some = true
				lines = append(lines, fmt.Sprintf("%s %s %s %s paused %v domain %q", s.id, id, o.status, givenText(o.given), o.paused, o.domain))
			}
		}
		if some {
			lines = append(lines, fmt.Sprintf("%s from %s paused %v", s.id, pair[0], s.paused))
		}
	}
	return lines
}

func (m *model) past(who string) (lines []string) {
	for pair := range m.history {
		if pair[0] == who {
			lines = append(lines, pair[1])
		}
	}
	return lines
}

func (m *model) rights(who string) (lines []string) {
	for id, d := range m.devices {
		if d.owner == who {
			lines = append(lines, fmt.Sprintf("%s owner %s", id, givenText(capabilities)))
		}
	}
	for pair, s := range m.shares {
		for id, o := range s.devices {
			if pair[1] != who || o.status != "accepted" {
				continue
			}
			given, paused := o.given, s.paused || o.paused
			if paused {
				given = map[int][]string{}
				for channel := range o.given {
					given[channel] = nil
				}
			}
			lines = append(lines, fmt.Sprintf("%s by %s %s paused %v domain %q", id, s.id, givenText(given), paused, o.domain))
		}
	}
	return lines
}

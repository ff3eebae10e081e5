// Package privilege defines what an account may do on a channel of a device.
//
// The same five words name a capability (what a channel can do) and a privilege (what
// somebody may do with it), so both are a Set. Who has which set is decided elsewhere.
package privilege

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Set is any combination of the five privileges. Its zero value allows nothing.
// The bit of each privilege is stored and must never change.
type Set uint8

// The privileges, each as a Set of one.
const (
	LiveView Set = 1 << iota
	Playback
	Alarm
	TwoWayAudio
	PTZ

	// None is the empty set.
	None Set = 0
	// All is the set of all privileges.
	All = LiveView | Playback | Alarm | TwoWayAudio | PTZ
)

// names are in the order of the bits; they are stored and part of the API.
var names = [...]string{"live_view", "playback", "alarm", "two_way_audio", "ptz"}

// Parse returns a Set of privilege names. It refuses unknown names and duplicates.
func Parse(list []string) (Set, error) {
	var s Set
	for _, name := range list {
		p, ok := Named(name)
		if !ok {
			return None, fmt.Errorf("unknown privilege %q: want one of %s", name, strings.Join(names[:], ", "))
		}
		if s.Has(p) {
			return None, fmt.Errorf("privilege %q is listed twice", name)
		}
		s |= p
	}
	return s, nil
}

// Named returns the privilege of a name, as a Set of one.
func Named(name string) (_ Set, known bool) {
	for i, n := range names {
		if n == name {
			return 1 << i, true
		}
	}
	return None, false
}

// Has reports whether every privilege of q is in s. It returns false for an empty q: a
// check without a privilege is denied.
func (s Set) Has(q Set) bool { return q != None && s&q == q }

// Without returns s without the privileges of q.
func (s Set) Without(q Set) Set { return s &^ q }

// Valid reports whether s has known privileges only.
func (s Set) Valid() bool { return s&^All == 0 }

// Names lists the privileges in their fixed order; empty, never nil.
func (s Set) Names() []string {
	list := make([]string, 0, len(names))
	for i, n := range names {
		if s&(1<<i) != 0 {
			list = append(list, n)
		}
	}
	return list
}

// String returns the names separated by commas, for logs and messages.
func (s Set) String() string {
	if s == None {
		return "none"
	}
	return strings.Join(s.Names(), ",")
}

// MarshalJSON writes the list of names.
func (s Set) MarshalJSON() ([]byte, error) {
	if !s.Valid() {
		return nil, fmt.Errorf("privilege set %#x has unknown bits", uint8(s))
	}
	return json.Marshal(s.Names())
}

// UnmarshalJSON reads a list of names as Parse does.
func (s *Set) UnmarshalJSON(data []byte) error {
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("reading a privilege list: %w", err)
	}
	parsed, err := Parse(list)
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

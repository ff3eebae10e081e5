package device

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)
	one   = []Channel{{Channel: 1, Name: "sealed", Capabilities: privilege.All}}
)

func added(id string, generation int, owner string, at time.Time) Event {
	return Added{Device: id, Serial: "ds-1", Generation: generation, Owner: owner, Name: "sealed name", Channels: one, At: at}
}

var said = Facts{Model: "M", Firmware: "V1", ProvenAt: noon}

func renamed(change int, name, channel string) Renamed {
	return Renamed{Device: "ds-1", Serial: "ds-1", Generation: 1, Change: change, Owner: "alice", Name: name, AddedAt: noon, At: later,
		Channels: []Channel{{Channel: 1, Name: channel, Capabilities: privilege.All}}}
}

func noted(change int, firmware string, proven time.Time) FactsChanged {
	e := FactsChanged(renamed(change, "sealed name", "sealed"))
	e.Model, e.Firmware, e.ProvenAt = "M", firmware, proven
	return e
}

func TestDecide(t *testing.T) {
	var none []Event
	live := []Event{added("ds-1", 1, "alice", noon)}
	removed := []Event{live[0], Removed{Device: "ds-1", Owner: "alice", At: noon}}
	second := append(append([]Event(nil), removed...), added("ds-1.2", 2, "bob", noon))
	add := func(owner string, channels ...Channel) Add {
		return Add{Serial: "ds-1", Owner: owner, Name: "sealed name", Channels: channels, At: later}
	}
	for _, sc := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"adds", none, add("alice", one...), []Event{added("ds-1", 1, "alice", later)}, nil},
		{"adds again with a new id", removed, add("bob", one...), []Event{added("ds-1.2", 2, "bob", later)}, nil},
		{"sorts the channels", none, add("alice", Channel{Channel: 511}, Channel{Channel: 2}),
			[]Event{Added{Device: "ds-1", Serial: "ds-1", Generation: 1, Owner: "alice", Name: "sealed name", Channels: []Channel{{Channel: 2}, {Channel: 511}}, At: later}}, nil},
		{"refuses another's", live, add("bob", one...), nil, ErrTaken},
		{"refuses one's own", live, add("alice", one...), nil, ErrAlreadyAdded},
		{"refuses without owner", none, add("", one...), nil, ErrNoOwner},
		{"refuses without serial", none, Add{Owner: "alice", Channels: one, At: later}, nil, ErrNoOwner},
		{"refuses without channel", none, add("alice"), nil, ErrNoChannels},
		{"refuses channel 0", none, add("alice", Channel{}), nil, ErrBadChannel},
		{"refuses channel 512", none, add("alice", Channel{Channel: 512}), nil, ErrBadChannel},
		{"refuses a channel twice", none, add("alice", one[0], one[0]), nil, ErrChannelTwice},
		{"refuses an unknown capability", none, add("alice", Channel{Channel: 1, Capabilities: 1 << 6}), nil, ErrBadCapability},

		{"removes", live, Remove{Device: "ds-1", By: "alice", At: later}, []Event{Removed{Device: "ds-1", Owner: "alice", At: later}}, nil},
		{"removes the second generation", second, Remove{Device: "ds-1.2", By: "bob", At: later}, []Event{Removed{Device: "ds-1.2", Owner: "bob", At: later}}, nil},
		{"refuses another's removal", live, Remove{Device: "ds-1", By: "bob", At: later}, nil, ErrNotFound},
		{"refuses nobody's removal", live, Remove{Device: "ds-1", At: later}, nil, ErrNotFound},
		{"refuses a second removal", removed, Remove{Device: "ds-1", By: "alice", At: later}, nil, ErrNotFound},
		{"refuses an id of before", second, Remove{Device: "ds-1", By: "bob", At: later}, nil, ErrNotFound},
		{"refuses an owner of before", second, Remove{Device: "ds-1.2", By: "alice", At: later}, nil, ErrNotFound},
		{"refuses what was never added", none, Remove{Device: "ds-1", By: "alice", At: later}, nil, ErrNotFound},
		{"keeps what it said of itself", none, Add{Serial: "ds-1", Owner: "alice", Channels: one, Facts: said, At: later},
			[]Event{Added{Device: "ds-1", Serial: "ds-1", Generation: 1, Owner: "alice", Channels: one, At: later, Model: "M", Firmware: "V1", ProvenAt: noon}}, nil},

		{"renames", live, Rename{Device: "ds-1", By: "alice", Name: "new", Channels: []ChannelName{{1, "gate"}}, At: later},
			[]Event{renamed(1, "new", "gate")}, nil},
		{"renames a channel alone", live, Rename{Device: "ds-1", By: "alice", Channels: []ChannelName{{1, "gate"}}, At: later},
			[]Event{renamed(1, "sealed name", "gate")}, nil},
		{"takes a channel's name", live, Rename{Device: "ds-1", By: "alice", Channels: []ChannelName{{1, ""}}, At: later},
			[]Event{renamed(1, "sealed name", "")}, nil},
		{"counts the changes", []Event{live[0], renamed(1, "new", "gate")}, Rename{Device: "ds-1", By: "alice", Name: "newer", At: later},
			[]Event{renamed(2, "newer", "gate")}, nil},
		{"renames to the same", live, Rename{Device: "ds-1", By: "alice", Name: "sealed name", At: later}, nil, nil},
		{"refuses to rename another's", live, Rename{Device: "ds-1", By: "bob", Name: "new"}, nil, ErrNotFound},
		{"refuses to rename what was removed", removed, Rename{Device: "ds-1", By: "alice", Name: "new"}, nil, ErrNotFound},
		{"refuses to rename a channel that is not there", live, Rename{Device: "ds-1", By: "alice", Channels: []ChannelName{{2, "x"}}}, nil, ErrNoSuchChannel},
		{"refuses to rename a channel twice", live, Rename{Device: "ds-1", By: "alice", Channels: []ChannelName{{1, "x"}, {1, "y"}}}, nil, ErrChannelTwice},

		{"notes facts", live, NoteFacts{Device: "ds-1", By: "alice", Facts: said, At: later}, []Event{noted(1, "V1", noon)}, nil},
		{"notes another firmware, and keeps when it was proven", []Event{live[0], noted(1, "V1", noon)},
			NoteFacts{Device: "ds-1", By: "alice", Facts: Facts{Firmware: "V2", ProvenAt: later}, At: later}, []Event{noted(2, "V2", noon)}, nil},
		{"notes the same", []Event{live[0], noted(1, "V1", noon)}, NoteFacts{Device: "ds-1", By: "alice", Facts: said, At: later}, nil, nil},
		{"refuses facts of another's", live, NoteFacts{Device: "ds-1", By: "bob", Facts: said}, nil, ErrNotFound},

		{"refuses an unknown command", live, nil, nil, ErrUnknownCommand},
	} {
		t.Run(sc.name, func(t *testing.T) {
			got, err := Decide(replay(sc.given), sc.when)
			if !errors.Is(err, sc.err) || !reflect.DeepEqual(got, sc.then) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, sc.then, sc.err)
			}
		})
	}
}

func replay(events []Event) State {
	var s State
	for _, e := range events {
		s = Evolve(s, e)
	}
	return s
}

func TestDeliveredAgain(t *testing.T) {
	history := []Event{
		added("ds-1", 1, "alice", noon), renamed(1, "new", "gate"), noted(2, "V1", noon), Removed{Device: "ds-1", Owner: "alice", At: noon},
		added("ds-1.2", 2, "bob", later), Removed{Device: "ds-1.2", Owner: "bob", At: later},
	}
	var s State
	for i, e := range history {
		s = Evolve(s, e)
		for _, old := range history[:i+1] {
			if again := Evolve(s, old); !reflect.DeepEqual(again, s) {
				t.Fatalf("%T again after event %d: %+v; want %+v", old, i, again, s)
			}
		}
	}
	if s.Live || s.Generation != 2 {
		t.Fatalf("%+v", s)
	}
}

func TestStateOwnsItsChannels(t *testing.T) {
	channels := []Channel{{Channel: 1, Capabilities: privilege.LiveView}}
	s := Evolve(State{}, Added{Device: "ds-1", Serial: "ds-1", Generation: 1, Owner: "alice", Channels: channels, At: noon})
	channels[0].Capabilities = privilege.All
	if s.Channels[0].Capabilities != privilege.LiveView {
		t.Fatal("the state shares the event's channels")
	}
}

// TestLast: the last event alone says what the whole history says.
func TestLast(t *testing.T) {
	var history []Event
	for i, owner := range []string{"alice", "alice", "bob", "carol"} {
		for _, c := range []Command{
			Add{Serial: "ds-1", Owner: owner, Name: "sealed name", Channels: one, At: later},
			Rename{Device: ID("ds-1", i+1), By: owner, Name: "new name", At: later},
			NoteFacts{Device: ID("ds-1", i+1), By: owner, Facts: said, At: later},
			Remove{Device: ID("ds-1", i+1), By: owner, At: later},
		} {
			events, err := Decide(replay(history), c)
			if err != nil {
				t.Fatal(err)
			}
			history = append(history, events...)
			whole, last := replay(history), Last(history[len(history)-1])
			if !whole.Live { // what a removed device was called matters to nobody
				whole = State{Device: whole.Device, Owner: whole.Owner, Generation: whole.Generation}
			}
			if !reflect.DeepEqual(last, whole) {
				t.Errorf("after %T: %+v, want %+v", history[len(history)-1], last, whole)
			}
		}
	}
	if s := Last(nil); s.Device != "" || s.Live {
		t.Errorf("without an event: %+v", s)
	}
}

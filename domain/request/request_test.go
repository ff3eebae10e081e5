package request

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func requested(device, owner string, at time.Time) Requested {
	return Requested{Serial: "cam-1", Account: "bob", Device: device, Owner: owner, Message: "sealed", At: at}
}

func TestDecide(t *testing.T) {
	ask := func(device, owner string, at time.Time) Ask { return Ask(requested(device, owner, at)) }
	asked := requested("cam-1", "alice", noon)
	dismissed := Dismissed{Serial: "cam-1", Account: "bob", Device: "cam-1", Owner: "alice", AskedAt: noon, At: noon.Add(time.Minute)}
	soon, late := noon.Add(Pause-time.Nanosecond), noon.Add(Pause)
	for _, c := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"the first", nil, ask("cam-1", "alice", noon), []Event{asked}, nil},
		{"the first for nothing", nil, ask("", "", noon), []Event{requested("", "", noon)}, nil},
		{"again too soon", []Event{asked}, ask("cam-1", "alice", soon), nil, nil},
		{"again too soon for nothing", []Event{requested("", "", noon)}, ask("", "", soon), nil, nil},
		{"again too soon after it was dismissed", []Event{asked, dismissed}, ask("cam-1", "alice", soon), nil, nil},
		{"again later", []Event{asked, dismissed}, ask("cam-1", "alice", late), []Event{requested("cam-1", "alice", late)}, nil},
		{"the next owner", []Event{asked}, ask("cam-1.2", "carol", soon), []Event{requested("cam-1.2", "carol", soon)}, nil},
		{"what was added since", []Event{requested("", "", noon)}, ask("cam-1", "alice", soon), []Event{requested("cam-1", "alice", soon)}, nil},
		{"a device without an owner", nil, ask("cam-1", "", noon), nil, ErrIncomplete},
		{"nobody asks", nil, Ask{Serial: "cam-1", At: noon}, nil, ErrIncomplete},
		{"the owner dismisses", []Event{asked}, Dismiss{By: "alice", At: dismissed.At}, []Event{dismissed}, nil},
		{"twice", []Event{asked, dismissed}, Dismiss{By: "alice", At: late}, nil, nil},
		{"another dismisses", []Event{asked}, Dismiss{By: "bob", At: noon}, nil, ErrNotFound},
		{"what nobody asked", nil, Dismiss{By: "alice", At: noon}, nil, ErrNotFound},
		{"nobody dismisses for nothing", []Event{requested("", "", noon)}, Dismiss{At: noon}, nil, ErrNotFound},
		{"nothing", nil, nil, nil, ErrUnknownCommand},
	} {
		var s State
		for _, e := range c.given {
			s = Evolve(s, e)
		}
		got, err := Decide(s, c.when)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.then) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		for _, e := range append(c.given, got...) {
			if s = Evolve(s, e); !reflect.DeepEqual(s, Last(e)) {
				t.Errorf("%s: after %T %+v, by the event alone %+v", c.name, e, s, Last(e))
			}
		}
	}
}

func TestID(t *testing.T) {
	const account = "0198c0de-0000-7000-8000-00000000000a"
	if serial, who, ok := Parse(ID("cam-1", account)); !ok || serial != "cam-1" || who != account {
		t.Errorf("%q, %q, %v", serial, who, ok)
	}
	for _, id := range []string{"", ".", "cam-1", "cam-1.", "." + account, "cam-1.2." + account, "CAM-1." + account, "cam-1./x", "cam-1." + account + "\n", strings.Repeat("a", 65) + "." + account} {
		if _, _, ok := Parse(id); ok {
			t.Errorf("%q is an id", id)
		}
	}
}

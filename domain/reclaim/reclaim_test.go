package reclaim

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	ready = noon.Add(72 * time.Hour)
)

func claimed(device, owner string, at time.Time) Claimed {
	return Claimed{Serial: "cam-1", Account: "bob", Device: device, Owner: owner, Ready: at.Add(72 * time.Hour), At: at}
}

func ended(why Why, at time.Time) Ended {
	return Ended{Serial: "cam-1", Account: "bob", Device: "cam-1", Owner: "alice", Claimed: noon, Ready: ready, Why: why, At: at}
}

func TestDecide(t *testing.T) {
	claim := func(device, owner string, at time.Time) Claim {
		return Claim{Serial: "cam-1", Account: "bob", Device: device, Owner: owner, Wait: 72 * time.Hour, At: at}
	}
	complete := func(by, device string, at time.Time) Complete { return Complete{By: by, Device: device, At: at} }
	first := []Event{claimed("cam-1", "alice", noon)}
	and := func(e Event) []Event { return append(append([]Event(nil), first...), e) }
	soon := noon.Add(time.Hour)
	lapsed := ready.Add(Lasts)
	for _, c := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"the first", nil, claim("cam-1", "alice", noon), first, nil},
		{"again while it waits", first, claim("cam-1", "alice", soon), nil, nil},
		{"again once it has lapsed", first, claim("cam-1", "alice", lapsed), []Event{claimed("cam-1", "alice", lapsed)}, nil},
		{"the device of the next owner", first, claim("cam-1.2", "carol", soon), []Event{claimed("cam-1.2", "carol", soon)}, nil},
		{"soon after an objection", and(ended(Objected, soon)), claim("cam-1", "alice", soon.Add(Pause-1)), nil, ErrObjected},
		{"soon after an objection of an owner before", and(ended(Objected, soon)), claim("cam-1.2", "carol", soon.Add(time.Hour)), nil, ErrObjected},
		{"long after an objection", and(ended(Objected, soon)), claim("cam-1", "alice", soon.Add(Pause)), []Event{claimed("cam-1", "alice", soon.Add(Pause))}, nil},
		{"soon after it was withdrawn", and(ended(Withdrawn, soon)), claim("cam-1", "alice", soon.Add(Again-1)), nil, ErrTooSoon},
		{"a day after it was withdrawn", and(ended(Withdrawn, soon)), claim("cam-1", "alice", soon.Add(Again)), []Event{claimed("cam-1", "alice", soon.Add(Again))}, nil},
		{"one's own", nil, claim("cam-1", "bob", noon), nil, ErrIncomplete},
		{"what nobody has", nil, claim("cam-1", "", noon), nil, ErrIncomplete},
		{"without a waiting time", nil, Claim{Serial: "cam-1", Account: "bob", Device: "cam-1", Owner: "alice", At: noon}, nil, ErrIncomplete},

		{"the owner objects", first, End{By: "alice", At: soon}, []Event{ended(Objected, soon)}, nil},
		{"also after the waiting time", first, End{By: "alice", At: lapsed}, []Event{ended(Objected, lapsed)}, nil},
		{"and again", and(ended(Objected, soon)), End{By: "alice", At: ready}, nil, nil},
		{"the claimant withdraws", first, End{By: "bob", At: soon}, []Event{ended(Withdrawn, soon)}, nil},
		{"not after an objection: the pause stays", and(ended(Objected, soon)), End{By: "bob", At: soon}, nil, ErrNotFound},
		{"another ends it", first, End{By: "carol", At: soon}, nil, ErrNotFound},
		{"nobody ends it", first, End{At: soon}, nil, ErrNotFound},
		{"nobody ends what is not there", nil, End{At: soon}, nil, ErrNotFound},
		{"an objection that is too late", and(ended(Completed, ready)), End{By: "alice", At: ready}, nil, ErrTaken},

		{"completes", first, complete("bob", "cam-1", ready), []Event{ended(Completed, ready)}, nil},
		{"too soon", first, complete("bob", "cam-1", ready.Add(-1)), nil, ErrWaiting},
		{"at the last moment", first, complete("bob", "cam-1", lapsed.Add(-1)), []Event{ended(Completed, lapsed.Add(-1))}, nil},
		{"too late", first, complete("bob", "cam-1", lapsed), nil, ErrLapsed},
		{"after an objection", and(ended(Objected, soon)), complete("bob", "cam-1", ready), nil, ErrObjected},
		{"after it was withdrawn", and(ended(Withdrawn, soon)), complete("bob", "cam-1", ready), nil, ErrNotFound},
		{"again after it was cut off", and(ended(Completed, ready)), complete("bob", "cam-1", ready), nil, nil},
		{"another completes", first, complete("carol", "cam-1", ready), nil, ErrNotFound},
		{"of the device in other hands", first, complete("bob", "cam-1.2", ready), nil, ErrNotFound},
		{"of a device that is gone", first, complete("bob", "", ready), nil, ErrNotFound},
		{"what was never claimed", nil, complete("", "", ready), nil, ErrNotFound},
		{"nothing", nil, nil, nil, ErrUnknownCommand},
	} {
		var s State
		for _, e := range c.given {
			s = Evolve(s, e)
		}
		got, err := Decide(s, c.when)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.then) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, err, c.then, c.err)
		}
		for _, e := range append(c.given, got...) {
			if s = Evolve(s, e); !reflect.DeepEqual(s, Last(e)) {
				t.Errorf("%s: after %T %+v, by the event alone %+v", c.name, e, s, Last(e))
			}
		}
	}
}

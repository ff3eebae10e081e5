package name

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func claimed(device string) Claimed {
	return Claimed{Account: "bob", Domain: "door", Share: "share", Device: device, Revision: 3, At: noon}
}

func TestDecide(t *testing.T) {
	claim := Claim{Account: "bob", Domain: "door", Share: "share", Device: "cam", Revision: 3, At: noon}
	with := func(change func(*Claim)) Claim { c := claim; change(&c); return c }
	held := with(func(c *Claim) { c.Held = true })
	for _, c := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"the first", nil, claim, []Event{claimed("cam")}, nil},
		{"what is free again", []Event{claimed("dvr")}, claim, []Event{claimed("cam")}, nil},
		{"the own again", []Event{claimed("cam")}, held, []Event{claimed("cam")}, nil},
		{"another device's", []Event{claimed("dvr")}, held, nil, ErrTaken},
		{"the last claim counts", []Event{claimed("cam"), claimed("dvr")}, held, nil, ErrTaken},
		{"for nobody", nil, with(func(c *Claim) { c.Account = "" }), nil, ErrIncomplete},
		{"no name", nil, with(func(c *Claim) { c.Domain = "" }), nil, ErrIncomplete},
		{"no device", nil, with(func(c *Claim) { c.Device = "" }), nil, ErrIncomplete},
		{"no command", nil, nil, nil, ErrUnknownCommand},
	} {
		var s State
		for _, e := range c.given {
			s = Evolve(s, e)
		}
		got, err := Decide(s, c.when)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.then) {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, err, c.then, c.err)
		}
	}
}

func TestPending(t *testing.T) {
	s := Evolve(State{}, claimed("cam"))
	for _, c := range []struct {
		revision int64
		after    time.Duration
		want     bool
	}{{3, 0, true}, {3, ClaimLease - 1, true}, {3, ClaimLease, false}, {4, 0, false}} {
		if got := s.Pending(c.revision, noon.Add(c.after)); got != c.want {
			t.Errorf("at revision %d, %v after: %v", c.revision, c.after, got)
		}
	}
}

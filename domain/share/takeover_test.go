package share

import (
	"reflect"
	"testing"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

const eves = eve + "." + login

// TestTakeOver: a device that Eve got from Alice goes on in a share of Eve's.
func TestTakeOver(t *testing.T) {
	takes := func(change func(*TakeOver)) TakeOver {
		c := TakeOver{Share: eves, From: id, By: eve, Holder: bob, Login: login, Kind: "email", Recipient: "sealed bob", Device: "cam.2", Grants: live, Account: bob, Facts: hers, At: later}
		change(&c)
		return c
	}
	opened := Opened{Share: eves, Owner: eve, Login: login, Kind: "email", Recipient: "sealed bob", At: later}
	invite := Invited{Share: eves, Owner: eve, Login: login, Device: "cam.2", Grants: live, At: later, From: id}
	accept := Accepted{Share: eves, Owner: eve, Login: login, Account: bob, Device: "cam.2", Grants: live, At: later, From: id}
	pause := Paused{Share: eves, Owner: eve, Login: login, Device: "cam.2", Given: []event.Given{}, At: later}
	held := accept
	held.Paused = true
	terms := privilege.Terms{Validity: privilege.Validity{Until: later.Add(time.Hour)}}
	limited, limitedAccept := invite, accept
	limited.Terms, limitedAccept.Terms = terms, terms
	before := []Event{Opened{Share: eves, Owner: eve, Login: login, Kind: "email", Recipient: "sealed bob", Remark: "sealed remark", At: noon}}
	wholePaused := append(append([]Event(nil), before...), Paused{Share: eves, Owner: eve, Login: login, Given: []event.Given{}, At: noon})
	runAll(t, []scenario{
		{"opens a share, with what was accepted accepted", none, takes(func(*TakeOver) {}), []Event{opened, invite, accept}, nil},
		{"in a share that the new owner has, whose remark stays", before, takes(func(*TakeOver) {}), []Event{invite, accept}, nil},
		{"what waits waits on", none, takes(func(c *TakeOver) { c.Account = "" }), []Event{opened, invite}, nil},
		{"what was accepted by who does not have the address any more waits", none, takes(func(c *TakeOver) { c.Holder = alice }), []Event{opened, invite}, nil},
		{"what is paused stays paused, from before it is accepted", none, takes(func(c *TakeOver) { c.Paused = true }), []Event{opened, invite, pause, held}, nil},
		{"a share that is paused holds it", wholePaused, takes(func(*TakeOver) {}), []Event{invite, held}, nil},
		{"its terms stay", none, takes(func(c *TakeOver) { c.Terms = terms }), []Event{opened, limited, limitedAccept}, nil},
		{"again it changes nothing", append(append([]Event(nil), before...), invite, accept), takes(func(*TakeOver) {}), nil, nil},
		{"what was taken away meanwhile stays away", append(append([]Event(nil), before...), invite,
			DeviceRemoved{Share: eves, Owner: eve, Login: login, Device: "cam.2", Reason: ByOwner, At: later}), takes(func(*TakeOver) {}), nil, nil},
		{"the new owner does not share with themselves", none, takes(func(c *TakeOver) { c.Holder = eve }), nil, nil},
		{"nor with what they had accepted by another address", none, takes(func(c *TakeOver) { c.Account = eve }), nil, nil},
		{"not if the device is another's", none, takes(func(c *TakeOver) { c.Facts = mine }), nil, ErrDeviceNotFound},
		{"not beyond what the device can do", none, takes(func(c *TakeOver) { c.Grants = []Grant{{Channel: 2, Privileges: privilege.LiveView}} }), nil, ErrUnknownChannel},
		{"not into the share of somebody else", none, takes(func(c *TakeOver) { c.Share = id }), nil, ErrNotOwner},
	})
}

// TestTakeOverGivesNothingEarly: no prefix of what is written gives a paused device.
func TestTakeOverGivesNothingEarly(t *testing.T) {
	events, err := Decide(State{}, TakeOver{Share: eves, From: id, By: eve, Holder: bob, Login: login, Kind: "email", Device: "cam.2", Grants: live, Paused: true, Account: bob, Facts: hers, At: later})
	if err != nil {
		t.Fatal(err)
	}
	var s State
	for _, e := range events {
		s = Evolve(s, e)
		if s.Allows(bob, "cam.2", 1, privilege.LiveView, later) {
			t.Fatalf("after %T the device is given", e)
		}
	}
	if d, _ := s.Find("cam.2"); d.Status != StatusAccepted || !d.Paused || !reflect.DeepEqual(d.Grants, live) {
		t.Fatalf("%+v", d)
	}
}

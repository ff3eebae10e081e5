package share

import (
	"errors"
	"testing"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

func TestTermsOfAShare(t *testing.T) {
	day := privilege.Terms{Validity: privilege.Validity{Until: later.Add(24 * time.Hour)}}
	past := privilege.Terms{Validity: privilege.Validity{Until: later}}
	since := privilege.Terms{Playback: privilege.PlaybackLimit{SinceAcceptance: true}}
	pastSince := privilege.Terms{Validity: past.Validity, Playback: privilege.PlaybackLimit{LastDays: 3}}
	free := privilege.Terms{}
	night := []privilege.Limit{{Privileges: privilege.PTZ | privilege.LiveView, Validity: privilege.Validity{From: noon}}}
	limited := []Grant{{Channel: 1, Privileges: privilege.LiveView | privilege.PTZ, Limits: night}}

	opened := openedLater().(Opened)
	opened.Terms = day
	changed := func(terms privilege.Terms, given ...event.Given) Event {
		return TermsChanged{Share: id, Owner: alice, Login: login, Terms: terms, Given: append([]event.Given{}, given...), At: later}
	}
	put := func(o Offer, terms *privilege.Terms) PutDevice {
		o.Terms = terms
		return PutDevice{By: alice, Offer: o, At: later}
	}
	with := func(e Event, whole, terms privilege.Terms) Event {
		switch e := e.(type) {
		case PrivilegesEdited:
			e.ShareTerms, e.Terms = whole, terms
			return e
		case Accepted:
			e.ShareTerms, e.Terms = whole, terms
			return e
		case Invited:
			e.Terms = terms
			return e
		}
		return e
	}
	sinceEdited := with(edited(bob, "cam", live), free, since).(PrivilegesEdited)
	sinceEdited.AcceptedAt = noon
	inDay := after(given, changed(day, has("cam", live)))
	held := has("cam", live)
	held.Paused = true
	replaced := Replace{By: alice, Remark: "sealed remark", Terms: &day, Offers: []Offer{cam(livePTZ, mine)}, At: later}
	ended := func(of privilege.Set) []privilege.Limit {
		return []privilege.Limit{{Privileges: of, Validity: privilege.Validity{Until: later}}}
	}
	wasLimited := after(given, edited(bob, "cam", []Grant{{Channel: 1, Privileges: privilege.LiveView | privilege.PTZ | privilege.Alarm, Limits: ended(privilege.PTZ | privilege.Alarm)}}))
	leaves := []Event{edited(bob, "cam", []Grant{{Channel: 1, Privileges: privilege.PTZ, Limits: ended(privilege.PTZ)}})}
	runAll(t, []scenario{
		{"opens with terms", none, saving(cam(live, mine)).with(func(c *Save) { c.Terms = &day }), []Event{opened, invited("cam", live, later)}, nil},
		{"does not open with an end that has passed", none, saving().with(func(c *Save) { c.Terms = &past }), nil, privilege.ErrPast},
		{"changes those of a share", given, saving().with(func(c *Save) { c.Terms = &day }), []Event{changed(day, has("cam", live))}, nil},
		{"keeps those of a share", inDay, saving(), nil, nil},
		{"sets them once", inDay, saving().with(func(c *Save) { c.Terms = &day }), nil, nil},
		{"what is paused stays so", after(given, paused("", has("cam", live))), Replace{By: alice, Remark: "sealed remark", Terms: &day, Offers: []Offer{cam(live, mine)}, At: later},
			[]Event{changed(day, held)}, nil},
		{"an edit is under the new terms", given, replaced, []Event{changed(day, has("cam", live)), with(edited(bob, "cam", livePTZ), day, free)}, nil},
		{"an edit keeps the terms", inDay, put(cam(livePTZ, mine), nil), []Event{with(edited(bob, "cam", livePTZ), day, free)}, nil},
		{"removes them", inDay, saving().with(func(c *Save) { c.Terms = &free }), []Event{changed(free, has("cam", live))}, nil},
		{"an end that has passed may stay", after(given, changed(past, has("cam", live))), saving().with(func(c *Save) { c.Terms = &past }), nil, nil},
		{"accepts under the terms of both", after(offered, changed(day), with(edited("", "cam", live), day, since)),
			Accept{By: bob, Holder: bob, Device: "cam", Facts: mine, At: later}, []Event{with(accepted("cam", live, later), day, since)}, nil},

		{"sets those of a device", given, put(cam(live, mine), &since), []Event{sinceEdited}, nil},
		{"sets those of a device once", after(given, sinceEdited), put(cam(live, mine), &since), nil, nil},
		{"keeps those of a device", after(given, sinceEdited), put(cam(live, mine), nil), nil, nil},
		{"invites with terms", empty, put(cam(live, mine), &day), []Event{with(invited("cam", live, later), free, day)}, nil},
		{"invites again without the earlier ones", after(given, sinceEdited, left("cam")), put(cam(live, mine), nil), []Event{invited("cam", live, later)}, nil},
		{"no end that has passed", given, put(cam(live, mine), &past), nil, privilege.ErrPast},

		{"limits a privilege", given, put(cam(limited, mine), nil), []Event{edited(bob, "cam", limited)}, nil},
		{"keeps limits that are left out", after(given, edited(bob, "cam", limited)), put(cam(livePTZ, mine), nil), nil, nil},
		{"keeps limits of what is still granted", after(given, edited(bob, "cam", limited)), put(cam(live, mine), nil),
			[]Event{edited(bob, "cam", []Grant{{Channel: 1, Privileges: privilege.LiveView, Limits: []privilege.Limit{{Privileges: privilege.LiveView, Validity: night[0].Validity}}}})}, nil},
		{"removes limits", after(given, edited(bob, "cam", limited)), put(cam([]Grant{{Channel: 1, Privileges: privilege.LiveView | privilege.PTZ, Limits: []privilege.Limit{}}}, mine), nil),
			[]Event{edited(bob, "cam", livePTZ)}, nil},
		{"takes a privilege away when the limit of another one has ended", wasLimited, put(cam([]Grant{{Channel: 1, Privileges: privilege.PTZ}}, mine), nil), leaves, nil},
		{"the same with the limits as they were read", wasLimited, put(cam([]Grant{{Channel: 1, Privileges: privilege.PTZ, Limits: ended(privilege.PTZ | privilege.Alarm)}}, mine), nil), leaves, nil},
		{"the same with the rest of the limits", wasLimited, put(cam([]Grant{{Channel: 1, Privileges: privilege.PTZ, Limits: ended(privilege.PTZ)}}, mine), nil), leaves, nil},
		{"no ended limit of another privilege", wasLimited, put(cam([]Grant{{Channel: 1, Privileges: privilege.LiveView, Limits: ended(privilege.LiveView)}}, mine), nil), nil, privilege.ErrPast},
		{"other terms with an end that has passed", after(given, changed(past, has("cam", live))), saving().with(func(c *Save) { c.Terms = &pastSince }), []Event{changed(pastSince, has("cam", live))}, nil},
		{"no limit of what is not granted", given, put(cam([]Grant{{Channel: 1, Privileges: privilege.PTZ, Limits: night}}, mine), nil), nil, privilege.ErrNotGranted},
	})
}

// TestTermsTakeAway: only what surely gives nothing may use the reserve of the log.
func TestTermsTakeAway(t *testing.T) {
	day := privilege.Terms{Validity: privilege.Validity{Until: later}}
	timed := edited(bob, "cam", live).(PrivilegesEdited)
	timed.Terms = day
	before := replay(given)
	if !TakesAway(before, timed) {
		t.Error("to set an end gives something")
	}
	if TakesAway(Evolve(before, timed), edited(bob, "cam", live)) {
		t.Error("to remove an end gives nothing")
	}
	if TakesAway(before, TermsChanged{}) {
		t.Error("other terms give nothing")
	}
}

func TestAllowsInTime(t *testing.T) {
	timed := accepted("cam", live, noon).(Accepted)
	timed.Terms = privilege.Terms{Validity: privilege.Validity{From: noon, Until: later}}
	s := replay(after(offered, timed))
	for when, want := range map[time.Time]bool{noon.Add(-1): false, noon: true, later.Add(-1): true, later: false} {
		if got := s.Allows(bob, "cam", 1, privilege.LiveView, when); got != want {
			t.Errorf("at %v: %v", when, got)
		}
	}
	_, err := Decide(s, PutDevice{By: alice, Offer: Offer{Device: "cam", Grants: live, Facts: mine, Terms: &privilege.Terms{Validity: privilege.Validity{Until: noon}}}, At: later})
	var fault *Fault
	if !errors.As(err, &fault) || fault.Device != "cam" || fault.Field != "terms.until" {
		t.Errorf("%v", err)
	}
}

package share

import (
	"slices"
	"testing"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

func paused(device string, given ...event.Given) Event {
	return Paused{Share: id, Owner: alice, Login: login, Device: device, Given: append([]event.Given{}, given...), At: later}
}

func resumed(device string, given ...event.Given) Event {
	return Resumed{Share: id, Owner: alice, Login: login, Device: device, Given: append([]event.Given{}, given...), At: later}
}

func has(device string, grants []Grant) event.Given {
	return event.Given{Device: device, Account: bob, Grants: grants}
}

func after(before []Event, more ...Event) []Event { return append(slices.Clone(before), more...) }

func TestPauseAndResume(t *testing.T) {
	pause := func(device string) Pause { return Pause{By: alice, Device: device, At: later} }
	resume := func(device string) Resume { return Resume{By: alice, Device: device, At: later} }
	whilePaused := func(e Event) Event {
		switch e := e.(type) {
		case Accepted:
			e.Paused = true
			return e
		case PrivilegesEdited:
			e.Paused = true
			return e
		}
		return e
	}
	share := after(two, paused("", has("cam", live)))
	device := after(twoGiven, paused("cam", has("cam", live)))
	runAll(t, []scenario{
		{"pauses what is accepted", two, pause(""), []Event{paused("", has("cam", live))}, nil},
		{"pauses every device", twoGiven, pause(""), []Event{paused("", has("cam", live), has("dvr", both))}, nil},
		{"pauses one device", twoGiven, pause("dvr"), []Event{paused("dvr", has("dvr", both))}, nil},
		{"pauses an invitation", two, pause("dvr"), []Event{paused("dvr")}, nil},
		{"pauses an empty share", empty, pause(""), []Event{paused("")}, nil},
		{"pauses a share once", share, pause(""), nil, nil},
		{"pauses a device once", device, pause("cam"), nil, nil},
		{"pauses a device of a paused share", share, pause("cam"), []Event{paused("cam", has("cam", live))}, nil},
		{"pauses a share with a paused device", device, pause(""), []Event{paused("", has("cam", live), has("dvr", both))}, nil},
		{"the recipient does not pause", given, Pause{By: bob, At: later}, nil, ErrNotOwner},
		{"nobody pauses", given, Pause{At: later}, nil, ErrNotOwner},
		{"what is not there", given, pause("dvr"), nil, ErrNotInShare},
		{"what was taken back", takenCam, pause("cam"), nil, ErrNotInShare},
		{"what was left", leftCam, pause("cam"), nil, ErrNotInShare},
		{"a deleted share", ended, pause(""), nil, ErrNotFound},
		{"a share that there is not", none, pause(""), nil, ErrNotFound},

		{"resumes a share", share, resume(""), []Event{resumed("", has("cam", live))}, nil},
		{"resumes a device", device, resume("cam"), []Event{resumed("cam", has("cam", live))}, nil},
		{"resumes a share once", given, resume(""), nil, nil},
		{"resumes a device once", given, resume("cam"), nil, nil},
		{"a device that was paused by itself stays so", after(device, paused("", has("cam", live), has("dvr", both))), resume(""),
			[]Event{resumed("", has("dvr", both))}, nil},
		{"a device stays with its share", after(device, paused("", has("cam", live), has("dvr", both))), resume("cam"), []Event{resumed("cam")}, nil},
		{"resumes an invitation", after(two, paused("dvr")), resume("dvr"), []Event{resumed("dvr")}, nil},
		{"resumes as it was edited", after(share, whilePaused(edited(bob, "cam", livePTZ))), resume(""), []Event{resumed("", has("cam", livePTZ))}, nil},
		{"resumes what was accepted meanwhile", after(share, whilePaused(accepted("dvr", both, later))), resume(""),
			[]Event{resumed("", has("cam", live), has("dvr", both))}, nil},
		{"does not resume what was left meanwhile", after(share, left("cam")), resume(""), []Event{resumed("")}, nil},
		{"the recipient does not resume", share, Resume{By: bob, At: later}, nil, ErrNotOwner},
		{"the recipient resumes no device", device, Resume{By: bob, Device: "cam", At: later}, nil, ErrNotOwner},

		{"accepts while paused", share, Accept{By: bob, Holder: bob, Device: "dvr", Facts: mine, At: later}, []Event{whilePaused(accepted("dvr", both, later))}, nil},
		{"accepts a paused device", after(two, paused("dvr")), Accept{By: bob, Holder: bob, Device: "dvr", Facts: mine, At: later},
			[]Event{whilePaused(accepted("dvr", both, later))}, nil},
		{"accepts beside a paused device", after(two, paused("cam", has("cam", live))), Accept{By: bob, Holder: bob, Device: "dvr", Facts: mine, At: later},
			[]Event{accepted("dvr", both, later)}, nil},
		{"edits while paused", share, PutDevice{By: alice, Offer: cam(livePTZ, mine), At: later}, []Event{whilePaused(edited(bob, "cam", livePTZ))}, nil},
		{"invites while paused", share, PutDevice{By: alice, Offer: Offer{Device: "new", Grants: live, Facts: mine}, At: later}, []Event{invited("new", live, later)}, nil},
		{"rejects while paused", share, Reject{By: bob, Holder: bob, Device: "dvr", At: later}, []Event{unaccepted(rejected("dvr"))}, nil},
		{"leaves while paused", share, Leave{By: bob, Holder: bob, Device: "cam", At: later}, []Event{left("cam")}, nil},
		{"names while paused", share, SetDomain{By: bob, Holder: bob, Device: "cam", Domain: "door", At: later}, []Event{named("cam", "door")}, nil},
		{"invited again it is not paused", after(device, left("cam"), invited("cam", live, later)), Accept{By: bob, Holder: bob, Device: "cam", Facts: mine, At: later},
			[]Event{accepted("cam", live, later)}, nil},
		{"opened again it is not paused", after(share, taken(bob, "cam", ShareDeleted), deleted(), openedLater(), invited("cam", live, later)),
			Accept{By: bob, Holder: bob, Device: "cam", Facts: mine, At: later}, []Event{accepted("cam", live, later)}, nil},

		{"repeats a lost pause", two, Reapply{Pause: true, At: later}, []Event{paused("", has("cam", live))}, nil},
		{"repeats a lost pause of a device", twoGiven, Reapply{Pause: true, Device: "cam", At: later}, []Event{paused("cam", has("cam", live))}, nil},
		{"repeats no pause twice", share, Reapply{Pause: true, At: later}, nil, nil},
		{"repeats no pause of what is gone", leftCam, Reapply{Pause: true, Device: "cam", At: later}, nil, nil},
	})
}

// TestPausedEvents: what a pause does is said by the events alone, and what is accepted
// or edited while it lasts gives nothing.
func TestPausedEvents(t *testing.T) {
	for _, e := range []Event{
		paused("", has("cam", both)), paused("cam", has("cam", both)),
		Accepted{Owner: alice, Account: bob, Device: "cam", Grants: both, Paused: true},
		PrivilegesEdited{Owner: alice, Account: bob, Device: "cam", Grants: both, Paused: true},
	} {
		effects, err := event.AppendEffects(nil, e)
		if err != nil || len(effects) != 1 || effects[0].Kind != event.Granted || effects[0].Account != bob || len(effects[0].Grants) != 2 {
			t.Fatalf("%T: %+v, %v", e, effects, err)
		}
		for _, g := range effects[0].Grants {
			if g.Privileges != privilege.None {
				t.Errorf("%T gives %v on channel %d", e, g.Privileges, g.Channel)
			}
		}
	}
	effects, err := event.AppendEffects(nil, resumed("", has("cam", both), has("dvr", live)))
	if err != nil || len(effects) != 2 || effects[0].Grants[1].Privileges != privilege.Playback || effects[1].Device != "dvr" || effects[1].Owner != alice {
		t.Errorf("%+v, %v", effects, err)
	}
	if effects, err := event.AppendEffects(nil, resumed("", event.Given{Device: "cam"})); err == nil {
		t.Errorf("a grant to nobody: %+v", effects)
	}
	if both[0].Privileges != privilege.LiveView {
		t.Error("an effect changed its event")
	}
}

func TestPausedAllowsNothing(t *testing.T) {
	s := replay(after(given, paused("", has("cam", live))))
	if s.Allows(bob, "cam", 1, privilege.LiveView, later) {
		t.Error("a paused share allows")
	}
	s = replay(after(given, paused("cam", has("cam", live)), paused("", has("cam", live)), resumed("")))
	if s.Allows(bob, "cam", 1, privilege.LiveView, later) {
		t.Error("a device that was paused by itself allows after the share was resumed")
	}
	if s = Evolve(s, resumed("cam", has("cam", live))); !s.Allows(bob, "cam", 1, privilege.LiveView, later) {
		t.Error("a resumed device allows nothing")
	}
}

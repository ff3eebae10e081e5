package share

import "testing"

// TestSaveAfterTheRecipientWasForgotten: what a closed account had ends, and the share
// begins again with the address as it was just typed. What waits for whoever has the
// address next still does.
func TestSaveAfterTheRecipientWasForgotten(t *testing.T) {
	save := saving(cam(live, mine)).with(func(c *Save) {
		c.Unreadable, c.Recipient, c.Remark = true, "sealed again", "new remark"
	})
	again := Opened{Share: id, Owner: alice, Login: login, Kind: "email", Recipient: "sealed again", Remark: "new remark", At: later}
	invitedAgain := func(device string, grants []Grant) Event { return invited(device, grants, later) }
	runAll(t, []scenario{
		{"it had left", leftCam, save, []Event{deleted(), again, invitedAgain("cam", live)}, nil},
		{"nothing is offered", leftCam, save.with(func(c *Save) { c.Offers = nil }), []Event{deleted(), again}, nil},
		{"it has accepted", given, save, nil, ErrAlreadyShared},
		{"it was deleted before", ended, save, []Event{again, invitedAgain("cam", live)}, nil},
		{
			"something waits", after(leftCam, invited("dvr", both, noon), paused("dvr"), paused("")), save,
			[]Event{
				taken("", "dvr", ShareDeleted), deleted(), again, invitedAgain("cam", live),
				invitedAgain("dvr", both), paused("dvr"), paused(""),
			}, nil,
		},
		{
			"what waits is offered otherwise", offered, save.with(func(c *Save) { c.Offers = []Offer{cam(livePTZ, mine)} }),
			[]Event{taken("", "cam", ShareDeleted), deleted(), again, invitedAgain("cam", livePTZ)}, nil,
		},
	})
	before := replay(leftCam)
	if before.ConcernsRecipient(eve) || !before.ConcernsRecipient(bob) {
		t.Error("whoever has the address next is shown the life of before")
	}
	events, err := Decide(before, save)
	if err != nil {
		t.Fatal(err)
	}
	now := replay(after(leftCam, events...))
	if !now.ConcernsRecipient(eve) || len(now.ForRecipient(eve).Devices) != 1 {
		t.Errorf("whoever has the address next is shown %+v", now.ForRecipient(eve))
	}
}

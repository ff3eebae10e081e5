package share

import (
	"slices"
	"testing"
)

func dismissed(device string) Event {
	return Dismissed{Share: id, Owner: alice, Login: login, Account: bob, Device: device, At: later}
}

func TestDismiss(t *testing.T) {
	dismissedCam := append(slices.Clone(offered), dismissed("cam"))
	dismiss := Dismiss{By: bob, Holder: bob, Device: "cam", At: later}
	runAll(t, []scenario{
		{name: "an invitation", given: offered, when: dismiss, then: []Event{dismissed("cam")}},
		{name: "twice", given: dismissedCam, when: dismiss},
		{name: "then accept", given: dismissedCam, when: Accept{By: bob, Holder: bob, Device: "cam", Facts: mine, At: later}, then: []Event{accepted("cam", live, later)}},
		{name: "then reject", given: dismissedCam, when: Reject{By: bob, Holder: bob, Device: "cam", At: later}, then: []Event{unaccepted(rejected("cam"))}},
		{name: "invited again", given: append(slices.Clone(dismissedCam), rejected("cam"), invited("cam", live, later)), when: dismiss, then: []Event{dismissed("cam")}},
		{name: "one that was accepted", given: given, when: dismiss, err: ErrNotInvited},
		{name: "one that was rejected", given: refusedCam, when: dismiss, err: ErrNotInvited},
		{name: "one that was withdrawn", given: append(slices.Clone(offered), taken("", "cam", ByOwner)), when: dismiss, err: ErrNotInvited},
		{name: "a device that is not in the share", given: empty, when: dismiss, err: ErrNotInShare},
		{name: "a deleted share", given: ended, when: dismiss, err: ErrNotFound},
		{name: "by the owner", given: offered, when: Dismiss{By: alice, Holder: bob, Device: "cam", At: later}, err: ErrNotRecipient},
		{name: "by a stranger", given: offered, when: Dismiss{By: eve, Holder: bob, Device: "cam", At: later}, err: ErrNotRecipient},
		{name: "by nobody", given: offered, when: Dismiss{Device: "cam", At: later}, err: ErrNotRecipient},
	})
}

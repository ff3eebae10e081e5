package share

import (
	"slices"
	"testing"
)

func forgotten() Event { return RecipientForgotten{Share: id, Owner: alice, Login: login, At: later} }

func TestForget(t *testing.T) {
	forgottenShare := append(slices.Clone(ended), forgotten())
	again := append(slices.Clone(forgottenShare), openedEvent)
	forget := Forget{By: alice, At: later}
	runAll(t, []scenario{
		{name: "after the share was deleted", given: ended, when: forget, then: []Event{forgotten()}},
		{name: "while the share is live", given: given, when: forget, err: ErrStillShared},
		{name: "while it is live without devices", given: empty, when: forget, err: ErrStillShared},
		{name: "never shared with", given: none, when: forget, err: ErrNoRecipient},
		{name: "twice", given: forgottenShare, when: forget, err: ErrNoRecipient},
		{name: "by somebody else", given: ended, when: Forget{By: bob, At: later}, err: ErrNoRecipient},
		{name: "by nobody", given: ended, when: Forget{At: later}, err: ErrNoRecipient},
		{name: "used again", given: again, when: forget, err: ErrStillShared},
		{name: "used and deleted again", given: append(slices.Clone(again), deleted()), when: forget, then: []Event{forgotten()}},
		{name: "everything else after it", given: forgottenShare, when: Accept{By: bob, Holder: bob, Device: "cam", Facts: mine, At: later}, err: ErrNotFound},
	})
}

package share

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

const (
	alice = "0198c0de-0000-7000-8000-00000000000a"
	bob   = "0198c0de-0000-7000-8000-00000000000b"
	eve   = "0198c0de-0000-7000-8000-00000000000e"
	login = "00112233445566778899aabbccddeeff"
	id    = alice + "." + login
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)

	live    = []Grant{{Channel: 1, Privileges: privilege.LiveView}}
	livePTZ = []Grant{{Channel: 1, Privileges: privilege.LiveView | privilege.PTZ}}
	both    = []Grant{{Channel: 1, Privileges: privilege.LiveView}, {Channel: 2, Privileges: privilege.Playback}}

	// mine is a device of Alice's: channel 1 can do everything, channel 2 play back.
	mine = Facts{Owner: alice, Capabilities: map[int]privilege.Set{1: privilege.All, 2: privilege.Playback}}
	// hers is a device of Eve's.
	hers = Facts{Owner: eve, Capabilities: map[int]privilege.Set{1: privilege.All}}
	// gone is a device that was removed.
	gone Facts
)

// The events of the tables.
var (
	openedEvent = Opened{Share: id, Owner: alice, Login: login, Kind: "email", Recipient: "sealed bob", Remark: "sealed remark", At: noon}
)

func invited(device string, grants []Grant, at time.Time) Event {
	return Invited{Share: id, Owner: alice, Login: login, Device: device, Grants: grants, At: at}
}

func accepted(device string, grants []Grant, at time.Time) Event {
	return Accepted{Share: id, Owner: alice, Login: login, Account: bob, Device: device, Grants: grants, At: at}
}

func edited(account, device string, grants []Grant) Event {
	return PrivilegesEdited{Share: id, Owner: alice, Login: login, Account: account, Device: device, Grants: grants, At: later}
}

func taken(account, device string, why Reason) Event {
	return DeviceRemoved{Share: id, Owner: alice, Login: login, Account: account, Device: device, Reason: why, At: later}
}

func rejected(device string) Event {
	return Rejected{Share: id, Owner: alice, Login: login, Account: bob, Device: device, At: later}
}

func left(device string) Event {
	return Left{Share: id, Owner: alice, Login: login, Account: bob, Device: device, At: later}
}

// unaccepted is the same event of a device that was only offered.
func unaccepted(e Event) Event {
	switch e := e.(type) {
	case Rejected:
		e.Unaccepted = true
		return e
	case Left:
		e.Unaccepted = true
		return e
	}
	return e
}

func remark(text string) Event {
	return RemarkChanged{Share: id, Owner: alice, Remark: text, At: later}
}

func named(device, domain string) Event {
	return DomainSet{Share: id, Owner: alice, Account: bob, Device: device, Domain: domain, At: later}
}

func deleted() Event {
	return Deleted{Share: id, Owner: alice, Login: login, Kind: "email", Recipient: "sealed bob", Remark: "sealed remark", At: later}
}

// The histories that the tables begin with.
var (
	none       []Event
	empty      = []Event{openedEvent}
	offered    = []Event{openedEvent, invited("cam", live, noon)}
	given      = []Event{openedEvent, invited("cam", live, noon), accepted("cam", live, noon)}
	refusedCam = append(slices.Clone(offered), rejected("cam"))
	takenCam   = append(slices.Clone(given), taken(bob, "cam", ByOwner))
	leftCam    = append(slices.Clone(given), left("cam"))
	ended      = append(slices.Clone(given), taken(bob, "cam", ShareDeleted), deleted())
	two        = append(slices.Clone(given), invited("dvr", both, noon))
	twoGiven   = append(slices.Clone(two), accepted("dvr", both, noon))
)

func saving(offers ...Offer) Save {
	return Save{
		Share: id, By: alice, Holder: bob, Login: login, Kind: "email",
		Recipient: "sealed bob", Remark: "sealed remark", Offers: offers, At: later,
	}
}

func (c Save) with(change func(*Save)) Save {
	change(&c)
	return c
}

func cam(grants []Grant, f Facts) Offer { return Offer{Device: "cam", Grants: grants, Facts: f} }
func dvr(grants []Grant, f Facts) Offer { return Offer{Device: "dvr", Grants: grants, Facts: f} }

type scenario struct {
	name  string
	given []Event
	when  Command
	then  []Event
	err   error
}

func (sc scenario) run(t *testing.T) {
	t.Helper()
	state := replay(sc.given)
	got, err := Decide(state, sc.when)
	if !errors.Is(err, sc.err) {
		t.Fatalf("error %v; want %v", err, sc.err)
	}
	if sc.err != nil && got != nil {
		t.Fatalf("refused, but gave %v", got)
	}
	if len(got) != len(sc.then) || len(got) > 0 && !reflect.DeepEqual(got, sc.then) {
		t.Fatalf("got\n%v\nwant\n%v", lines(got), lines(sc.then))
	}
}

func runAll(t *testing.T, list []scenario) {
	for _, sc := range list {
		t.Run(sc.name, sc.run)
	}
}

func replay(events []Event) State {
	var s State
	for _, e := range events {
		s = Evolve(s, e)
	}
	return s
}

func lines(events []Event) string {
	var out string
	for _, e := range events {
		out += fmt.Sprintf("%T%+v\n", e, e)
	}
	return out
}

func openedLater() Event {
	e := openedEvent
	e.At = later
	return e
}

func TestSave(t *testing.T) {
	full := []Event{openedEvent}
	var many []Offer
	for i := range MaxDevices {
		name := fmt.Sprintf("cam-%d", i)
		full = append(full, invited(name, live, noon))
		many = append(many, Offer{Device: name, Grants: live, Facts: mine})
	}
	runAll(t, []scenario{
		{"opens with devices", none, saving(cam(live, mine), dvr(both, mine)), []Event{openedLater(), invited("cam", live, later), invited("dvr", both, later)}, nil},
		{"opens without devices", none, saving(), []Event{openedLater()}, nil},
		{"opens for somebody who is not registered", none, saving(cam(live, mine)).with(func(c *Save) { c.Holder = "" }), []Event{openedLater(), invited("cam", live, later)}, nil},
		{"opens anew after deletion", ended, saving(cam(live, mine)), []Event{openedLater(), invited("cam", live, later)}, nil},
		{"extends", given, saving(dvr(both, mine)), []Event{invited("dvr", both, later)}, nil},
		{"changes nothing", given, saving(), nil, nil},
		{"keeps the remark where none is given", given, saving().with(func(c *Save) { c.Remark = "" }), nil, nil},
		{"changes the remark", given, saving().with(func(c *Save) { c.Remark = "other" }), []Event{remark("other")}, nil},
		{"invites again what was rejected", refusedCam, saving(cam(live, mine)), []Event{invited("cam", live, later)}, nil},
		{"invites again what was removed", takenCam, saving(cam(live, mine)), []Event{invited("cam", live, later)}, nil},
		{"invites again what was left", leftCam, saving(cam(live, mine)), []Event{invited("cam", live, later)}, nil},
		{"sorts the channels", none, saving(dvr([]Grant{both[1], both[0]}, mine)), []Event{openedLater(), invited("dvr", both, later)}, nil},
		{"gives a channel without privileges", none, saving(cam([]Grant{{Channel: 2}}, mine)), []Event{openedLater(), invited("cam", []Grant{{Channel: 2}}, later)}, nil},
		{"refuses what is invited", offered, saving(cam(livePTZ, mine)), nil, ErrAlreadyShared},
		{"refuses what is accepted", given, saving(dvr(both, mine), cam(live, mine)), nil, ErrAlreadyShared},
		{"refuses an own login", none, saving(cam(live, mine)).with(func(c *Save) { c.Holder = alice }), nil, ErrOwnLogin},
		{"refuses nobody", none, saving(cam(live, mine)).with(func(c *Save) { c.By, c.Holder = "", bob }), nil, ErrNotOwner},
		{"refuses another's share", given, saving(cam(live, hers)).with(func(c *Save) { c.By = eve }), nil, ErrNotOwner},
		{"refuses another's device", none, saving(cam(live, hers)), nil, ErrDeviceNotFound},
		{"refuses a removed device", none, saving(cam(live, gone)), nil, ErrDeviceNotFound},
		{"refuses a device twice", none, saving(cam(live, mine), cam(live, mine)), nil, ErrDeviceTwice},
		{"refuses no channel", none, saving(cam(nil, mine)), nil, ErrNoChannels},
		{"refuses a channel twice", none, saving(cam([]Grant{live[0], live[0]}, mine)), nil, ErrChannelTwice},
		{"refuses an unknown channel", none, saving(cam([]Grant{{Channel: 3, Privileges: privilege.LiveView}}, mine)), nil, ErrUnknownChannel},
		{"refuses channel 0", none, saving(cam([]Grant{{Channel: 0}}, Facts{Owner: alice, Capabilities: map[int]privilege.Set{0: privilege.All}})), nil, ErrUnknownChannel},
		{"refuses channel 512", none, saving(cam([]Grant{{Channel: 512}}, Facts{Owner: alice, Capabilities: map[int]privilege.Set{512: privilege.All}})), nil, ErrUnknownChannel},
		{"refuses a firmware that does not support sharing", none, saving(cam(live, Facts{Owner: alice, Capabilities: mine.Capabilities, NeedsFirmware: "V5.6"})), nil, ErrFirmwareTooOld},
		{"refuses what the channel cannot do", none, saving(dvr([]Grant{{Channel: 2, Privileges: privilege.LiveView}}, mine)), nil, ErrBeyondCapability},
		{"refuses an unknown privilege", none, saving(cam([]Grant{{Channel: 1, Privileges: 1 << 7}}, Facts{Owner: alice, Capabilities: map[int]privilege.Set{1: 0xff}})), nil, ErrBeyondCapability},
		{"takes as many devices as may be", none, saving(many...), append([]Event{openedLater()}, at(full[1:], later)...), nil},
		{"refuses one device more", full, saving(cam(live, mine)), nil, ErrTooManyDevices},
	})
}

func at(events []Event, when time.Time) []Event {
	out := make([]Event, len(events))
	for i, e := range events {
		v := e.(Invited)
		v.At = when
		out[i] = v
	}
	return out
}

func TestReplace(t *testing.T) {
	replaceWith := func(offers ...Offer) Replace {
		return Replace{By: alice, Remark: "sealed remark", Offers: offers, At: later}
	}
	runAll(t, []scenario{
		{"the same changes nothing", two, replaceWith(cam(live, mine), dvr(both, mine)), nil, nil},
		{"all at once", two, Replace{By: alice, Remark: "", Offers: []Offer{cam(livePTZ, mine), {Device: "new", Grants: live, Facts: mine}}, At: later},
			[]Event{remark(""), taken("", "dvr", ByOwner), edited(bob, "cam", livePTZ), invited("new", live, later)}, nil},
		{"empties", two, replaceWith(), []Event{taken(bob, "cam", ByOwner), taken("", "dvr", ByOwner)}, nil},
		{"does not remove what is gone", takenCam, replaceWith(), nil, nil},
		{"invites again", refusedCam, replaceWith(cam(live, mine)), []Event{invited("cam", live, later)}, nil},
		{"keeps what was rejected", refusedCam, replaceWith(cam(nil, mine)), nil, nil},
		{"keeps what was left", leftCam, replaceWith(cam(nil, mine)), nil, nil},
		{"takes out what was rejected", refusedCam, replaceWith(), []Event{taken("", "cam", ByOwner)}, nil},
		{"takes out what was left", leftCam, replaceWith(), []Event{taken("", "cam", ByOwner)}, nil},
		{"keeps a removed device as it is", given, replaceWith(cam(live, gone)), nil, nil},
		{"keeps in another order of channels", twoGiven, replaceWith(cam(live, mine), dvr([]Grant{both[1], both[0]}, mine)), nil, nil},
		{"refuses no channels", given, replaceWith(cam(nil, mine)), nil, ErrNoChannels},
		{"refuses no channels of what was taken out", takenCam, replaceWith(cam(nil, mine)), nil, ErrNoChannels},
		{"refuses the recipient", given, Replace{By: bob, At: later}, nil, ErrNotOwner},
		{"refuses nobody", given, Replace{At: later}, nil, ErrNotOwner},
		{"refuses a share that there is not", none, replaceWith(), nil, ErrNotFound},
		{"refuses a deleted share", ended, replaceWith(), nil, ErrNotFound},
		{"refuses a device twice", given, replaceWith(cam(live, mine), cam(livePTZ, mine)), nil, ErrDeviceTwice},
		{"refuses another's device", given, replaceWith(cam(live, mine), dvr(live, hers)), nil, ErrDeviceNotFound},
		{"refuses to change a removed device", given, replaceWith(cam(livePTZ, gone)), nil, ErrDeviceNotFound},
		{"refuses too many", given, replaceWith(tooMany()...), nil, ErrTooManyDevices},
	})
}

func tooMany() []Offer {
	var list []Offer
	for i := range MaxDevices + 1 {
		list = append(list, Offer{Device: fmt.Sprint("cam", i), Grants: live, Facts: mine})
	}
	return list
}

func TestPutAndRemoveDevice(t *testing.T) {
	put := func(o Offer) PutDevice { return PutDevice{By: alice, Offer: o, At: later} }
	full := []Event{openedEvent}
	for _, o := range tooMany()[:MaxDevices] {
		full = append(full, invited(o.Device, live, noon))
	}
	runAll(t, []scenario{
		{"invites", empty, put(cam(live, mine)), []Event{invited("cam", live, later)}, nil},
		{"invites again", leftCam, put(cam(live, mine)), []Event{invited("cam", live, later)}, nil},
		{"keeps what was left", leftCam, put(cam(nil, mine)), nil, nil},
		{"edits an invitation", offered, put(cam(livePTZ, mine)), []Event{edited("", "cam", livePTZ)}, nil},
		{"edits what is accepted", given, put(cam(livePTZ, mine)), []Event{edited(bob, "cam", livePTZ)}, nil},
		{"changes nothing", given, put(cam(live, mine)), nil, nil},
		{"takes privileges away", given, put(cam([]Grant{{Channel: 1}}, mine)), []Event{edited(bob, "cam", []Grant{{Channel: 1}})}, nil},
		{"edits in a full share", full, put(Offer{Device: "cam0", Grants: livePTZ, Facts: mine}), []Event{edited("", "cam0", livePTZ)}, nil},
		{"refuses one more in a full share", full, put(cam(live, mine)), nil, ErrTooManyDevices},
		{"refuses the recipient", given, PutDevice{By: bob, Offer: cam(livePTZ, mine), At: later}, nil, ErrNotOwner},
		{"refuses a stranger's own device", given, PutDevice{By: eve, Offer: cam(live, hers), At: later}, nil, ErrNotOwner},
		{"refuses another's device", given, put(cam(livePTZ, hers)), nil, ErrDeviceNotFound},
		{"refuses a removed device", given, put(cam(livePTZ, gone)), nil, ErrDeviceNotFound},
		{"takes away although the device has lost a capability", after(given, edited(bob, "cam", livePTZ)), put(cam(live, Facts{Owner: alice})), []Event{edited(bob, "cam", live)}, nil},
		{"refuses what the channel cannot do", given, put(cam([]Grant{{Channel: 2, Privileges: privilege.PTZ}}, mine)), nil, ErrBeyondCapability},
		{"refuses a deleted share", ended, put(cam(live, mine)), nil, ErrNotFound},

		{"removes what is accepted", given, RemoveDevice{By: alice, Device: "cam", At: later}, []Event{taken(bob, "cam", ByOwner)}, nil},
		{"removes an invitation", offered, RemoveDevice{By: alice, Device: "cam", At: later}, []Event{taken("", "cam", ByOwner)}, nil},
		{"takes out what was rejected", refusedCam, RemoveDevice{By: alice, Device: "cam", At: later}, []Event{taken("", "cam", ByOwner)}, nil},
		{"takes out what was left", leftCam, RemoveDevice{By: alice, Device: "cam", At: later}, []Event{taken("", "cam", ByOwner)}, nil},
		{"refuses to remove twice", takenCam, RemoveDevice{By: alice, Device: "cam", At: later}, nil, ErrNotInShare},
		{"refuses to remove what is not there", given, RemoveDevice{By: alice, Device: "dvr", At: later}, nil, ErrNotInShare},
		{"refuses that the recipient removes", given, RemoveDevice{By: bob, Device: "cam", At: later}, nil, ErrNotOwner},
	})
}

func TestDeleteAndEndDevice(t *testing.T) {
	runAll(t, []scenario{
		{"deletes with its devices", two, Delete{By: alice, At: later}, []Event{taken(bob, "cam", ShareDeleted), taken("", "dvr", ShareDeleted), deleted()}, nil},
		{"deletes without devices", leftCam, Delete{By: alice, At: later}, []Event{deleted()}, nil},
		{"refuses to delete twice", ended, Delete{By: alice, At: later}, nil, ErrNotFound},
		{"refuses that the recipient deletes", given, Delete{By: bob, At: later}, nil, ErrNotOwner},
		{"refuses that nobody deletes", given, Delete{At: later}, nil, ErrNotOwner},

		{"ends what is accepted", two, EndDevice{Device: "cam", At: later}, []Event{taken(bob, "cam", DeviceDeleted)}, nil},
		{"ends an invitation", two, EndDevice{Device: "dvr", At: later}, []Event{taken("", "dvr", DeviceDeleted)}, nil},
		{"ends what was rejected", refusedCam, EndDevice{Device: "cam", At: later}, []Event{taken("", "cam", DeviceDeleted)}, nil},
		{"ends nothing twice", takenCam, EndDevice{Device: "cam", At: later}, nil, nil},
		{"ends nothing in a deleted share", ended, EndDevice{Device: "cam", At: later}, nil, nil},
		{"ends nothing where there is no share", none, EndDevice{Device: "cam", At: later}, nil, nil},
		{"refuses a command that it does not know", given, nil, nil, ErrUnknownCommand},
	})
}

func TestRecipient(t *testing.T) {
	accept := Accept{By: bob, Holder: bob, Device: "cam", Facts: mine, At: later}
	with := func(change func(*Accept)) Accept { c := accept; change(&c); return c }
	reject := Reject{By: bob, Holder: bob, Device: "cam", At: later}
	leave := Leave{By: bob, Holder: bob, Device: "cam", At: later}
	runAll(t, []scenario{
		{"accepts", offered, accept, []Event{accepted("cam", live, later)}, nil},
		{"accepts as it was edited", append(slices.Clone(offered), edited("", "cam", livePTZ)), accept, []Event{accepted("cam", livePTZ, later)}, nil},
		{"accepts once", given, accept, nil, nil},
		{"whoever has the login now does not accept what another did", given, with(func(c *Accept) { c.By, c.Holder = eve, eve }), nil, ErrNotInvited},
		{"a stranger does not accept", offered, with(func(c *Accept) { c.By = eve }), nil, ErrNotRecipient},
		{"the owner does not accept", offered, with(func(c *Accept) { c.By = alice }), nil, ErrNotRecipient},
		{"nobody does not accept", offered, with(func(c *Accept) { c.By, c.Holder = "", "" }), nil, ErrNotRecipient},
		{"nobody holds the login", offered, with(func(c *Accept) { c.Holder = "" }), nil, ErrNotRecipient},
		{"what was never offered", offered, with(func(c *Accept) { c.Device = "dvr" }), nil, ErrNotInShare},
		{"what was taken back", append(slices.Clone(offered), taken("", "cam", ByOwner)), accept, nil, ErrNotInvited},
		{"what was rejected", refusedCam, accept, nil, ErrNotInvited},
		{"what was left", leftCam, accept, nil, ErrNotInvited},
		{"in a deleted share", ended, accept, nil, ErrNotFound},
		{"a device that is another's by now", offered, with(func(c *Accept) { c.Facts = hers }), nil, ErrDeviceNotFound},
		{"a device that was removed", offered, with(func(c *Accept) { c.Facts = gone }), nil, ErrDeviceNotFound},
		{"a channel that can do less by now", offered, with(func(c *Accept) {
			c.Facts = Facts{Owner: alice, Capabilities: map[int]privilege.Set{1: privilege.Playback}}
		}), nil, ErrBeyondCapability},

		{"rejects", offered, reject, []Event{unaccepted(rejected("cam"))}, nil},
		{"gives back", given, reject, []Event{rejected("cam")}, nil},
		{"rejects once", refusedCam, reject, nil, nil},
		{"whoever has the login now does not give back what another accepted", given, Reject{By: eve, Holder: eve, Device: "cam", At: later}, nil, ErrNotInvited},
		{"does not reject what was taken back", takenCam, reject, nil, ErrNotInvited},
		{"does not reject what is not there", offered, Reject{By: bob, Holder: bob, Device: "dvr", At: later}, nil, ErrNotInShare},
		{"the owner does not reject", offered, Reject{By: alice, Holder: bob, Device: "cam", At: later}, nil, ErrNotRecipient},

		{"leaves", given, leave, []Event{left("cam")}, nil},
		{"whoever has the login now does not leave what another accepted", given, Leave{By: eve, Holder: eve, Device: "cam", At: later}, nil, ErrNotInShare},
		{"whoever has the login now leaves only what waits", append(slices.Clone(given), invited("dvr", both, noon)), Leave{By: eve, Holder: eve, At: later}, []Event{
			Left{Share: id, Owner: alice, Login: login, Account: eve, Device: "dvr", At: later, Unaccepted: true},
		}, nil},

		{"loses the address", two, GiveUp{Account: bob, At: later}, []Event{left("cam")}, nil},
		{"loses the address while it is paused", after(given, paused("", has("cam", live))), GiveUp{Account: bob, At: later}, []Event{left("cam")}, nil},
		{"loses the address with nothing accepted", offered, GiveUp{Account: bob, At: later}, nil, nil},
		{"another account loses the address", given, GiveUp{Account: eve, At: later}, nil, nil},
		{"loses the address after the share was deleted", ended, GiveUp{Account: bob, At: later}, nil, nil},
		{"leaves an invitation", offered, leave, []Event{unaccepted(left("cam"))}, nil},
		{"leaves all", two, Leave{By: bob, Holder: bob, At: later}, []Event{left("cam"), unaccepted(left("dvr"))}, nil},
		{"leaves all where there is nothing", refusedCam, Leave{By: bob, Holder: bob, At: later}, nil, nil},
		{"does not leave twice", leftCam, leave, nil, ErrNotInShare},
		{"the owner does not leave", given, Leave{By: alice, Holder: bob, Device: "cam", At: later}, nil, ErrNotRecipient},
	})
}

func TestSetDomain(t *testing.T) {
	set := func(domain string) SetDomain {
		return SetDomain{By: bob, Holder: bob, Device: "cam", Domain: domain, At: later}
	}
	named := append(slices.Clone(given), named("cam", "door"))
	both := append(slices.Clone(twoGiven), DomainSet{Share: id, Owner: alice, Account: bob, Device: "dvr", Domain: "door", At: noon})
	taken := set("door")
	taken.Taken = true
	domainSet := func(domain string) []Event {
		return []Event{DomainSet{Share: id, Owner: alice, Account: bob, Device: "cam", Domain: domain, At: later}}
	}
	list := []scenario{
		{"sets", given, set("door"), domainSet("door"), nil},
		{"as long as may be", given, set("abcdefghijklmnopqrstuvwxyz-01234"), domainSet("abcdefghijklmnopqrstuvwxyz-01234"), nil},
		{"clears", named, set(""), domainSet(""), nil},
		{"changes nothing", named, set("door"), nil, nil},
		{"clears nothing", given, set(""), nil, nil},
		{"taken elsewhere", given, taken, nil, ErrDomainTaken},
		{"taken here", both, set("door"), nil, ErrDomainTaken},
		{"the id of another device here", both, set("dvr"), nil, ErrDomainTaken},
		{"its own id", given, set("cam"), domainSet("cam"), nil},
		{"whoever has the login now, but did not accept", given, SetDomain{By: eve, Holder: eve, Device: "cam", Domain: "door", At: later}, nil, ErrNotAccepted},
		{"only invited", offered, set("door"), nil, ErrNotAccepted},
		{"left", leftCam, set("door"), nil, ErrNotAccepted},
		{"not there", given, SetDomain{By: bob, Holder: bob, Device: "dvr", Domain: "door", At: later}, nil, ErrNotInShare},
		{"the owner", given, SetDomain{By: alice, Holder: bob, Device: "cam", Domain: "door", At: later}, nil, ErrNotRecipient},
	}
	for _, bad := range []string{"door-", "-a", "A", "a.b", "a b", "ä", "cam-abc", "a/b", "a\n", "abcdefghijklmnopqrstuvwxyz-012345"} {
		list = append(list, scenario{fmt.Sprintf("bad %q", bad), given, set(bad), nil, ErrBadDomain})
	}
	runAll(t, list)
}

func TestFaultsSayWhere(t *testing.T) {
	offers := []Offer{cam(live, mine), dvr([]Grant{{Channel: 2, Privileges: privilege.Playback}, {Channel: 1, Privileges: 1 << 6}}, mine)}
	_, err := Decide(State{}, saving(offers...))
	var fault *Fault
	if !errors.As(err, &fault) || fault.Device != "dvr" || fault.Channel != 1 || !errors.Is(err, ErrBeyondCapability) {
		t.Errorf("%v", err)
	}
	_, err = Decide(State{}, saving(cam(live, mine), dvr(live, hers)))
	if !errors.As(err, &fault) || fault.Device != "dvr" || fault.Channel != 0 || err.Error() != "device dvr: this device is not in the account of the owner" {
		t.Errorf("%v", err)
	}
}

func TestTimesOfADevice(t *testing.T) {
	afternoon := later.Add(time.Hour)
	d, _ := replay([]Event{openedEvent, invited("cam", live, noon), edited("", "cam", livePTZ), accepted("cam", livePTZ, afternoon)}).Find("cam")
	if !d.InvitedAt.Equal(noon) || !d.EditedAt.Equal(later) || !d.AnsweredAt.Equal(afternoon) {
		t.Errorf("%+v", d)
	}
	if d, _ := replay(append(slices.Clone(leftCam), edited("", "cam", livePTZ))).Find("cam"); !d.EditedAt.IsZero() || d.Grants != nil {
		t.Errorf("an edit of what was left: %+v", d)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	named := append(slices.Clone(given), edited(bob, "cam", live), named("cam", "door"))
	for _, end := range []Event{rejected("cam"), left("cam"), taken(bob, "cam", ByOwner)} {
		s := Evolve(replay(named), end)
		d, ok := s.Find("cam")
		if !ok || d.Active() || d.Account != "" || d.Grants != nil || d.Domain != "" {
			t.Errorf("after %T: %+v", end, d)
		}
		again, _ := Evolve(s, invited("cam", live, later)).Find("cam")
		if again.Account != "" || again.Domain != "" || !again.AnsweredAt.IsZero() || !again.EditedAt.IsZero() {
			t.Errorf("invited again after %T: %+v", end, again)
		}
	}
	if s := Evolve(replay(ended), openedLater()); len(s.Devices) != 0 || !s.Live {
		t.Errorf("opened anew: %+v", s)
	}
}

func TestAllows(t *testing.T) {
	if !replay(given).Allows(bob, "cam", 1, privilege.LiveView, later) {
		t.Error("what was accepted is refused")
	}
	for name, no := range map[string]bool{
		"before acceptance": replay(offered).Allows(bob, "cam", 1, privilege.LiveView, later),
		"another privilege": replay(given).Allows(bob, "cam", 1, privilege.LiveView|privilege.PTZ, later),
		"no privilege":      replay(given).Allows(bob, "cam", 1, privilege.None, later),
		"another channel":   replay(given).Allows(bob, "cam", 2, privilege.LiveView, later),
		"another account":   replay(given).Allows(eve, "cam", 1, privilege.LiveView, later),
		"no account":        replay(given).Allows("", "cam", 1, privilege.LiveView, later),
		"another device":    replay(given).Allows(bob, "dvr", 1, privilege.LiveView, later),
		"after leaving":     replay(leftCam).Allows(bob, "cam", 1, privilege.LiveView, later),
		"after deletion":    replay(append(slices.Clone(given), deleted())).Allows(bob, "cam", 1, privilege.LiveView, later),
		"an edit alone":     replay([]Event{openedEvent, edited(bob, "cam", live)}).Allows(bob, "cam", 1, privilege.LiveView, later),
		"the zero state":    State{}.Allows("", "", 0, privilege.None, later),
	} {
		if no {
			t.Errorf("%s: allowed", name)
		}
	}
}

func TestEvolveOwnsItsState(t *testing.T) {
	grants := []Grant{{Channel: 1, Privileges: privilege.LiveView}}
	before := Evolve(replay(empty), invited("cam", grants, noon))
	grants[0].Privileges = privilege.All
	if d, _ := before.Find("cam"); d.Grants[0].Privileges != privilege.LiveView {
		t.Error("the state shares the event's grants")
	}
	Evolve(before, left("cam"))
	if d, _ := before.Find("cam"); d.Status != StatusInvited {
		t.Error("evolving changed the state before")
	}
}

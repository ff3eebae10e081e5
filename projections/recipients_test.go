package projections_test

import (
	"strconv"
	"testing"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections"
)

func removedFrom(id string, why share.Reason) share.DeviceRemoved {
	return share.DeviceRemoved{Share: given, Owner: olga, Login: login, Device: id, Reason: why, At: epoch}
}

func deletedShare() share.Deleted {
	return share.Deleted{Share: given, Owner: olga, Login: login, Kind: "email", Recipient: "login:address", Remark: "login:remark", At: epoch}
}

// TestRecipients follows a recipient through the life of a share and after it.
func TestRecipients(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r, _ := h.run(h.store)
		for _, id := range []string{"cam", "dvr", "nvr"} {
			h.append("device-"+id, added(olga, id, channel(1)))
		}
		form := func(id string, p privilege.Set) projections.RecipientDevice {
			return projections.RecipientDevice{Share: given, Device: id, Name: olga + ":name", Grants: grants(p)}
		}
		used := projections.MicrosOf(epoch.Add(1000_000_000 * 60))
		for i, step := range []struct {
			stream  string
			events  []event.Event
			gone    bool // from the list
			remark  string
			used    projections.Micros
			deleted bool
			devices []projections.RecipientDevice
		}{
			{stream: "share-" + given, events: []event.Event{opened()}, remark: "login:remark", used: projections.MicrosOf(epoch)},
			{
				stream: "share-" + given, events: []event.Event{invited("cam", privilege.LiveView), invited("dvr", privilege.PTZ), invited("nvr", privilege.PTZ)},
				remark: "login:remark", used: used, devices: []projections.RecipientDevice{form("cam", privilege.LiveView), form("dvr", privilege.PTZ), form("nvr", privilege.PTZ)},
			},
			{
				stream: "share-" + given, events: []event.Event{
					accepted("cam", privilege.LiveView), removedFrom("dvr", share.ByOwner),
					share.PrivilegesEdited{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", Grants: grants(privilege.Alarm), At: epoch},
					share.RemarkChanged{Share: given, Owner: olga, Remark: "login:other", At: epoch},
				}, remark: "login:other", used: used, devices: []projections.RecipientDevice{form("cam", privilege.Alarm), form("nvr", privilege.PTZ)},
			},
			{
				stream: "share-" + given, events: []event.Event{removedFrom("cam", share.ShareDeleted), removedFrom("nvr", share.ShareDeleted), deletedShare()},
				remark: "login:other", used: used, deleted: true, devices: []projections.RecipientDevice{form("cam", privilege.Alarm), form("nvr", privilege.PTZ)},
			},
			{
				stream: "device-nvr", events: []event.Event{device.Removed{Device: "nvr", Owner: olga, At: epoch}},
				remark: "login:other", used: used, deleted: true, devices: []projections.RecipientDevice{form("cam", privilege.Alarm)},
			},
			{stream: "share-" + given, events: []event.Event{share.RecipientForgotten{Share: given, Owner: olga, Login: login, At: epoch}}, gone: true},
			{stream: "share-" + given, events: []event.Event{opened()}, remark: "login:remark", used: projections.MicrosOf(epoch)},
			{
				stream: "share-" + given, events: []event.Event{invited("cam", privilege.LiveView), share.Rejected{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", At: epoch}},
				remark: "login:remark", used: used,
			},
		} {
			wait(t, r, h.append(step.stream, step.events...))
			list, next, err := h.store.Recipients(ctx, olga, page, nil)
			must(t, err)
			past, _, err := h.store.History(ctx, olga, page, nil)
			must(t, err)
			if step.gone {
				same(t, "recipients and history", len(list)+len(past), 0)
				continue
			}
			if len(list) != 1 || next != "" || list[0].Remark != step.remark || list[0].UsedAt != step.used || list[0].Recipient != "login:address" || (list[0].DeletedAt != 0) != step.deleted {
				t.Fatalf("step %d: %+v, next %q", i, list, next)
			}
			same(t, "devices of step "+strconv.Itoa(i), list[0].Devices, step.devices)
			if step.deleted != (len(past) == 1) {
				t.Fatalf("step %d: history %+v", i, past)
			}
			if step.deleted {
				same(t, "devices in the history", past[0].Devices, step.devices)
			}
			if others, _, err := h.store.Recipients(ctx, rita, page, nil); err != nil || len(others) != 0 {
				t.Fatalf("the recipient has %+v, %v", others, err)
			}
		}
	})
}

// TestSearchingRecipients: a search finds each row once, in order, on pages that may be
// short.
func TestSearchingRecipients(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, _ := h.run(h.store)
		var last eventstore.Position
		for i := range 30 {
			e := opened()
			e.Share, e.Remark = olga+"."+strconv.Itoa(i), strconv.Itoa(i)
			last = h.append("share-"+e.Share, e)
		}
		wait(t, r, last)
		even := func(r projections.Recipient) (bool, error) { return (r.Remark[len(r.Remark)-1]-'0')%2 == 0, nil }
		var got []string
		for p := (projections.Page{Limit: 4}); ; {
			list, next, err := h.store.Recipients(t.Context(), olga, p, even)
			must(t, err)
			for _, r := range list {
				got = append(got, r.Remark)
			}
			if p.Cursor = next; next == "" {
				break
			}
		}
		var want []string
		for i := 28; i >= 0; i -= 2 {
			want = append(want, strconv.Itoa(i))
		}
		same(t, "found", got, want)
	})
}

// TestInvitations follows invitations until they are decided.
func TestInvitations(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r, _ := h.run(h.store)
		h.append("device-cam", added(olga, "cam", channel(1)))
		h.append("account-"+olga, account.Registered{Account: olga, Login: "o", Kind: "phone", Address: "olga:number", Name: "olga:self", At: epoch})
		wait(t, r, h.append("share-"+given, opened(), invited("cam", privilege.LiveView), invited("dvr", privilege.PTZ)))
		check := func(when string, dismissed bool, want ...string) []projections.Invitation {
			t.Helper()
			list, count, _, err := h.store.Invitations(ctx, rita, dismissed, page)
			must(t, err)
			var got []string
			for _, i := range list {
				got = append(got, i.Device)
			}
			same(t, when, got, want)
			same(t, when+", counted", count, int64(len(want)))
			return list
		}
		check("before the account has the login", false)
		wait(t, r, h.append("account-"+rita, registered(rita, login)))
		list := check("new", false, "dvr", "cam")
		if cam := list[1]; cam.Name != olga+":name" || cam.From != (projections.Person{Kind: "phone", Address: "olga:number", Name: "olga:self"}) || cam.Share != given || cam.InvitedAt.Time() != epoch.Add(1000_000_000*60) {
			t.Errorf("an invitation: %+v", cam)
		}
		wait(t, r, h.append("share-"+given, share.Dismissed{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", At: epoch},
			share.PrivilegesEdited{Share: given, Owner: olga, Login: login, Device: "dvr", Grants: grants(privilege.Alarm), At: epoch}))
		list = check("one dismissed", false, "dvr")
		same(t, "edited grants", list[0].Grants, projections.Grants(grants(privilege.Alarm)))
		check("the dismissed one", true, "cam")
		received, _, err := h.store.ReceivedShares(ctx, rita, page)
		must(t, err)
		if len(received) != 1 || len(received[0].Devices) != 2 || received[0].Revision != 4 {
			t.Errorf("received: %+v", received)
		}
		wait(t, r, h.append("share-"+given, removedFrom("dvr", share.ByOwner), accepted("cam", privilege.LiveView)))
		check("withdrawn", false)
		check("accepted", true)
		wait(t, r, h.append("share-"+given, invited("dvr", privilege.PTZ)))
		check("invited again", false, "dvr")
		wait(t, r, h.append("share-"+given, removedFrom("dvr", share.ShareDeleted), deletedShare()))
		check("the share was deleted", false)
	})
}

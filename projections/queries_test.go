package projections_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections"
)

var page = projections.Page{Limit: 50}

// TestOneShare follows one share through its life, on every list.
func TestOneShare(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r, _ := h.run(h.store)
		h.append("login-"+login, account.LoginClaimed{Login: login, Account: rita, At: epoch})
		h.append("account-"+rita, registered(rita, login))
		h.append("account-"+olga, account.Registered{Account: olga, Login: "o", Kind: "phone", Address: "olga:number", Name: "olga:self", At: epoch})
		h.append("device-cam", added(olga, "cam", channel(1), channel(2)))
		h.append("device-dvr", added(olga, "dvr", channel(1)))
		wait(t, r, h.append("share-"+given, opened(), invited("cam", privilege.LiveView), invited("dvr", privilege.PTZ)))

		sent, next, err := h.store.SentShares(ctx, olga, page)
		must(t, err)
		if len(sent) != 1 || next != "" || sent[0].ID != given || sent[0].Remark != "login:remark" || sent[0].Recipient != "login:address" || sent[0].Revision != 2 {
			t.Fatalf("sent shares: %+v, next %q", sent, next)
		}
		want := []projections.ShareDevice{
			{Share: given, Device: "cam", Name: olga + ":name", Status: "invited", Grants: grants(privilege.LiveView), InvitedAt: projections.MicrosOf(epoch.Add(time.Minute)), Revision: 1},
			{Share: given, Device: "dvr", Name: olga + ":name", Status: "invited", Grants: grants(privilege.PTZ), InvitedAt: projections.MicrosOf(epoch.Add(time.Minute)), Revision: 2},
		}
		same(t, "devices of the sent share", sent[0].Devices, want)
		got, _, err := h.store.ReceivedShares(ctx, rita, page)
		must(t, err)
		if want := (projections.Person{Kind: "phone", Address: "olga:number", Name: "olga:self"}); len(got) != 1 || got[0].Remark != "" || got[0].From != want {
			t.Fatalf("received shares: %+v", got)
		}
		same(t, "devices of the received share", got[0].Devices, want)

		wait(t, r, h.append("share-"+given, accepted("cam", privilege.LiveView|privilege.Alarm),
			share.DomainSet{Share: given, Owner: olga, Account: rita, Device: "cam", Domain: "porch", At: epoch}))
		s, ok, err := h.store.Share(ctx, rita, given, 0)
		must(t, err)
		if !ok || s.From.Name != "olga:self" || s.Revision != 4 || s.Devices[0].Status != "accepted" || s.Devices[0].Domain != "porch" || !s.Devices[0].AnsweredAt.Time().Equal(epoch.Add(time.Hour)) {
			t.Fatalf("the share after the acceptance: %v %+v", ok, s)
		}
		if s, ok, err = h.store.Share(ctx, olga, given, 0); err != nil || !ok || s.From != (projections.Person{}) || s.Devices[0].Domain != "" || s.Revision != 4 {
			t.Fatalf("the share for its owner: %v %+v %v", ok, s, err)
		}
		if _, ok, err = h.store.Share(ctx, "somebody", given, 0); err != nil || ok {
			t.Fatalf("the share for somebody else: %v %v", ok, err)
		}
		may, _, err := h.store.Privileges(ctx, rita, projections.AnyRole, page)
		must(t, err)
		if len(may) != 1 {
			t.Fatalf("privileges: %+v", may)
		}
		same(t, "privileges", may, []projections.DevicePrivileges{
			{Pair: may[0].Pair, Device: "cam", Name: olga + ":name", Share: given, Domain: "porch", Grants: grants(privilege.LiveView | privilege.Alarm), Changed: may[0].Changed,
				Cameras: may[0].Cameras, From: projections.Person{Kind: "phone", Address: "olga:number", Name: "olga:self"}},
		})
		if len(may[0].Cameras) != 2 {
			t.Errorf("the cameras of the device: %+v", may[0].Cameras)
		}
		for role, want := range map[projections.Role]int{projections.AsOwner: 0, projections.AsRecipient: 1} {
			if may, _, err = h.store.Privileges(ctx, rita, role, page); err != nil || len(may) != want {
				t.Errorf("%d rows as %s: %v, want %d", len(may), role, err, want)
			}
			if own, _, err := h.store.Privileges(ctx, olga, role, page); err != nil || len(own) != 2-2*want {
				t.Errorf("%d rows of the owner as %s: %v, want %d", len(own), role, err, 2-2*want)
			}
		}
		own, _, err := h.store.Privileges(ctx, olga, projections.AnyRole, page)
		must(t, err)
		if len(own) != 2 || own[0].Share != "" || len(own[0].Grants) != 2 {
			t.Fatalf("the owner's privileges: %+v", own)
		}
		for _, c := range []struct {
			domain, device string
			want           bool
		}{{"porch", "dvr", true}, {"porch", "cam", false}, {"garden", "dvr", false}} {
			if taken, err := h.store.DomainTaken(ctx, rita, c.domain, ids.Device(c.device)); err != nil || taken != c.want {
				t.Errorf("DomainTaken(%s, %s) = %v, %v", c.domain, c.device, taken, err)
			}
		}
		ids, err := h.store.SharesWithDevice(ctx, "dvr", 0)
		must(t, err)
		same(t, "shares with the device", ids.Holding, []string{given})

		wait(t, r, h.append("share-"+given,
			share.PrivilegesEdited{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", Grants: grants(privilege.None), At: epoch},
			share.Rejected{Share: given, Owner: olga, Login: login, Account: rita, Device: "dvr", At: epoch}))
		may, _, err = h.store.Privileges(ctx, rita, projections.AnyRole, page)
		must(t, err)
		if len(may) != 1 || may[0].Domain != "porch" || may[0].Grants[0].Privileges != privilege.None {
			t.Fatalf("privileges after the edit: %+v", may)
		}
		s, _, err = h.store.Share(ctx, rita, given, 0)
		must(t, err)
		if len(s.Devices) != 1 || s.Revision != 6 {
			t.Fatalf("the recipient sees %+v", s)
		}

		wait(t, r, h.append("share-"+given, share.RemarkChanged{Share: given, Owner: olga, Remark: "login:other", At: epoch}))
		for _, who := range []string{olga, rita} { // If-Match must hold for both
			if s, _, err = h.store.Share(ctx, who, given, 0); err != nil || s.Revision != 7 {
				t.Fatalf("after the new remark %s sees %+v, %v", who, s, err)
			}
		}

		deletion := h.append("share-"+given,
			share.DeviceRemoved{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", Reason: share.ShareDeleted, At: epoch},
			share.Deleted{Share: given, Owner: olga, Login: login, Kind: "email", Recipient: "login:address", Remark: "login:remark", At: epoch})
		wait(t, r, deletion)
		for _, list := range []func() (int, error){
			func() (int, error) { l, _, err := h.store.SentShares(ctx, olga, page); return len(l), err },
			func() (int, error) { l, _, err := h.store.ReceivedShares(ctx, rita, page); return len(l), err },
			func() (int, error) {
				l, _, err := h.store.Privileges(ctx, rita, projections.AnyRole, page)
				return len(l), err
			},
			func() (int, error) {
				l, err := h.store.SharesWithDevice(ctx, "cam", 0)
				return len(l.Holding) + len(l.Lost), err
			},
		} {
			if n, err := list(); err != nil || n != 0 {
				t.Errorf("after the deletion a list has %d rows, %v", n, err)
			}
		}
		past, _, err := h.store.History(ctx, olga, page, nil)
		must(t, err)
		same(t, "history", past, []projections.HistoryEntry{{
			Share: given, Owner: olga, Kind: "email", Recipient: "login:address", Remark: "login:remark", DeletedAt: projections.MicrosOf(epoch), Position: int64(deletion),
			Devices: []projections.RecipientDevice{{Share: given, Device: "cam", Name: olga + ":name", Grants: grants(privilege.None)}},
		}})

		wait(t, r, h.append("share-"+given, opened(), invited("dvr", privilege.LiveView)))
		s, ok, err = h.store.Share(ctx, olga, given, 0)
		must(t, err)
		if !ok || len(s.Devices) != 1 || s.Revision != 11 {
			t.Fatalf("the share that was opened anew: %+v", s)
		}
		if past, _, err = h.store.History(ctx, olga, page, nil); err != nil || len(past) != 0 {
			t.Fatalf("the history after it was opened anew: %+v, %v", past, err)
		}
	})
}

func TestDevicesAndKeys(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r, _ := h.run(h.store)
		h.append("device-a", added(olga, "a", channel(1)))
		b := h.append("device-b", added(olga, "b", channel(1)))
		h.append("device-a", device.Removed{Device: "a", Owner: olga, At: epoch})
		one := h.append("account-"+olga, account.StreamKeyAdded{Account: olga, Key: "kone", Label: "olga:label", Device: "b", Expires: epoch.AddDate(7000, 0, 0), At: epoch})
		h.append("account-"+olga, account.StreamKeyAdded{Account: olga, Key: "ktwo", At: epoch})
		wait(t, r, h.append("account-"+olga, account.StreamKeyRevoked{Account: olga, Key: "ktwo", At: epoch}))

		list, _, err := h.store.Devices(ctx, olga, page)
		must(t, err)
		same(t, "devices", list, []projections.Device{{
			ID: "b", Serial: "b", Generation: 1, Owner: olga, Name: olga + ":name", AddedAt: projections.MicrosOf(epoch), Channels: []device.Channel{channel(1)}, Position: int64(b),
		}})
		for _, c := range []struct {
			account, device string
			want            bool
		}{{olga, "b", true}, {olga, "a", false}, {rita, "b", false}, {olga, "c", false}} {
			if _, ok, err := h.store.Device(ctx, c.account, c.device, 0); err != nil || ok != c.want {
				t.Errorf("Device(%s, %s) = %v, %v", c.account, c.device, ok, err)
			}
		}
		keys, _, err := h.store.StreamKeys(ctx, olga, page)
		must(t, err)
		same(t, "keys", keys, []projections.StreamKey{{
			Name: "kone", Account: olga, Label: "olga:label", Device: "b", AddedAt: projections.MicrosOf(epoch), Expires: projections.MicrosOf(epoch.AddDate(7000, 0, 0)), Position: int64(one),
		}})

		last := h.append("share-"+given, opened())
		wait(t, r, last)
		for _, c := range []struct {
			account, what string
			at            time.Time
			want          int
		}{
			{olga, "devices", epoch, 1}, {rita, "devices", epoch, 0}, {olga, "shares", epoch, 1}, {rita, "shares", epoch, 0},
			{olga, "stream_keys", epoch, 1}, {olga, "stream_keys", epoch.AddDate(7000, 0, 0), 0}, {rita, "stream_keys", epoch, 0},
		} {
			if n, seen, err := h.store.Owned(ctx, c.account, c.what, c.at); err != nil || n != c.want || seen == 0 || seen > last {
				t.Errorf("Owned(%s, %s) = %d seen at %d, %v, want %d", c.account, c.what, n, seen, err, c.want)
			}
		}
		if _, _, err := h.store.Owned(ctx, olga, "cameras", epoch); err == nil {
			t.Error("cameras can be counted")
		}
	})
}

// TestSharesWithDevice: what holds a device is known at the position of its removal,
// which no list of shares has an event of.
func TestSharesWithDevice(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, _ := h.run(h.store)
		h.append("share-"+given, opened(), invited("cam", privilege.LiveView), invited("dvr", privilege.LiveView))
		for _, step := range []struct {
			stream  string
			event   event.Event
			holding []string
		}{
			{"device-cam", device.Removed{Device: "cam", Owner: olga, At: epoch}, []string{given}},
			{"share-" + given, share.Rejected{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", At: epoch}, []string{given}},
			{"share-" + given, share.DeviceRemoved{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", Reason: share.DeviceDeleted, At: epoch}, nil},
			{"device-cam", device.Removed{Device: "cam", Owner: olga, At: epoch}, nil},
		} {
			holding, lost, err := r.SharesWithDevice(t.Context(), "cam", h.append(step.stream, step.event))
			must(t, err)
			same(t, "shares that hold the device", holding, step.holding)
			same(t, "shares that it was taken out of since", lost, []string(nil))
		}
		_, lost, err := r.SharesWithDevice(t.Context(), "cam", 1)
		must(t, err)
		same(t, "shares that it was taken out of since the beginning", lost, []string{given})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, _, err := r.SharesWithDevice(ctx, "cam", 1000); !errors.Is(err, projections.ErrBehind) {
			t.Errorf("the shares at a position that the log has not: %v", err)
		}
	})
}

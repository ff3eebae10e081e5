package projections_test

import (
	"slices"
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections"
)

// TestEveryWayIn: the shares and the owner's keys are in one list, each with what gave it
// its state; what ended is in it no more, and its user is still known to the owner.
func TestEveryWayIn(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r, _ := h.run(h.store)
		h.append("login-"+login, account.LoginClaimed{Login: login, Account: rita, At: epoch})
		h.append("account-"+rita, registered(rita, login), account.StreamKeyAdded{Account: rita, Key: "r1", At: epoch}, account.StreamKeyAdded{Account: rita, Key: "r2", Device: "other", At: epoch},
			account.StreamKeyAdded{Account: rita, Key: "r3", Device: "cam", Expires: epoch.Add(time.Hour), At: epoch})
		h.append("device-cam", added(olga, "cam", channel(1)))
		h.append("account-"+olga, account.StreamKeyAdded{Account: olga, Key: "early", At: epoch}, account.StreamKeyAdded{Account: olga, Key: "elsewhere", Device: "dvr", At: epoch})
		h.append("share-"+given, opened(), invited("cam", privilege.LiveView))
		wait(t, r, h.append("account-"+olga, account.StreamKeyAdded{Account: olga, Key: "late", Device: "cam", At: epoch}))

		ways := func(at time.Time, p projections.Page) (list []projections.Way, next string) {
			t.Helper()
			list, next, found, err := h.store.Ways(ctx, projections.WayQuery{Owner: olga, Device: "cam", At: at}, p)
			must(t, err)
			if !found {
				t.Fatal("the owner's device is not found")
			}
			return list, next
		}
		list, _ := ways(epoch, page)
		if len(list) != 3 || list[0].Key.Name != "early" || list[1].Share.Status != "invited" || list[1].Share.Account != "" || list[1].Share.StreamKeys != 0 || list[2].Key.Name != "late" {
			t.Fatalf("the ways: %+v", list)
		}
		if c := list[1].Share.Cause(); c.Type != "latchkey.share.invited.v1" || c.Event == "" || c.Pos == 0 {
			t.Errorf("the cause of the invitation: %+v", c)
		}
		var paged []projections.Way
		for p := (projections.Page{Limit: 1}); ; {
			some, next := ways(epoch, p)
			if paged = append(paged, some...); next == "" {
				break
			}
			p.Cursor = next
		}
		same(t, "the pages", paged, list)
		paged = nil
		for p := (projections.Page{Limit: 1}); ; {
			some, next, _, err := h.store.Ways(ctx, projections.WayQuery{Owner: olga, Device: "cam", At: epoch, Newest: true}, p)
			must(t, err)
			if paged = append(paged, some...); next == "" {
				break
			}
			p.Cursor = next
		}
		slices.Reverse(paged)
		same(t, "the pages from the newest", paged, list)
		fit, _, _, err := h.store.Ways(ctx, projections.WayQuery{Owner: olga, Device: "cam", At: epoch, Match: func(w projections.Way) (bool, error) { return w.Share != nil, nil }}, page)
		must(t, err)
		same(t, "what a search finds", fit, list[1:2])

		has := func(id string, want projections.Having, wantFound bool) {
			t.Helper()
			got, found, err := h.store.HavingDevice(ctx, id)
			must(t, err)
			if found != wantFound {
				t.Errorf("%s: found is %v", id, found)
			}
			same(t, "who has "+id, got, want)
		}
		has("cam", projections.Having{Owner: olga, Channels: []int{1}}, true)
		has("none", projections.Having{}, false)
		wait(t, r, h.append("share-"+given, accepted("cam", privilege.LiveView)))
		has("cam", projections.Having{Owner: olga, Channels: []int{1}, Accepted: []projections.AcceptedBy{{Account: rita, Share: given}}}, true)
		accepting := func(owner string, want ...projections.AcceptedDevice) {
			t.Helper()
			got, err := h.store.AcceptedDevices(ctx, owner, []string{given, "other"}, 0)
			must(t, err)
			if !slices.Equal(got, want) {
				t.Errorf("what is accepted of %s: %+v, want %+v", owner, got, want)
			}
		}
		list, _ = ways(epoch, page)
		answered := list[1].Share.AnsweredAt
		if answered == 0 {
			t.Error("it is not known when it was accepted")
		}
		accepting(olga, projections.AcceptedDevice{Share: given, Device: "cam", Account: rita, At: answered})
		accepting(rita)
		if s := list[1].Share; s.Account != rita || s.Name == "" || s.StreamKeys != 2 || s.Cause().Type != "latchkey.share.accepted.v1" {
			t.Fatalf("after the acceptance: %+v", s)
		}
		list, _ = ways(epoch.Add(2*time.Hour), page)
		if s := list[1].Share; s.StreamKeys != 1 {
			t.Errorf("after a key expired: %+v", s)
		}
		may, _, err := h.store.Privileges(ctx, rita, projections.AnyRole, page)
		must(t, err)
		if len(may) != 1 || may[0].Cause() != list[1].Share.Cause() {
			t.Errorf("why, for the recipient: %+v", may)
		}
		wait(t, r, h.append("share-"+given, share.Paused{Share: given, Owner: olga, Login: login, At: epoch}))
		list, _ = ways(epoch, page)
		if s := list[1].Share; !s.Paused || s.Cause().Type != "latchkey.share.paused.v1" {
			t.Errorf("paused: %+v", s)
		}
		one, found, err := h.store.PrivilegesOn(ctx, rita, "cam", 0)
		must(t, err)
		if !found || one.Cause().Type != "latchkey.share.paused.v1" {
			t.Errorf("why nothing is allowed: %+v", one)
		}
		holders := func() []projections.Holder {
			t.Helper()
			list, found, err := h.store.Holders(ctx, olga, "cam", []string{rita, olga, "nobody"}, 0)
			must(t, err)
			if !found {
				t.Fatal("the owner's device is not found")
			}
			return list
		}
		if list := holders(); len(list) != 2 || !list[0].Open || list[0].Recipient != "login:address" || list[1].Account != olga {
			t.Errorf("the holders: %+v", list)
		}
		wait(t, r, h.append("share-"+given, share.DeviceRemoved{Share: given, Owner: olga, Account: rita, Login: login, Device: "cam", At: epoch}))
		accepting(olga)
		if list, _ = ways(epoch, page); len(list) != 2 {
			t.Errorf("after the removal: %+v", list)
		}
		if list := holders(); len(list) != 2 || list[0].Open || list[0].Recipient != "login:address" {
			t.Errorf("the holders after the removal: %+v", list)
		}
		wait(t, r, h.append("share-"+given, invited("cam", privilege.LiveView)))
		if list := holders(); len(list) != 2 || list[0].Account != rita || list[0].Open || list[0].Recipient != "login:address" {
			t.Errorf("the holders after another invitation: %+v", list)
		}
		wait(t, r, h.append("share-"+given, share.Deleted{Share: given, Owner: olga, Kind: "email", Recipient: "login:address", At: epoch}))
		if list := holders(); len(list) != 2 || list[0].Account != rita || list[0].Share != given || list[0].Recipient != "login:address" {
			t.Errorf("the holders after the deletion: %+v", list)
		}
		for _, other := range []string{rita, "nobody"} {
			if _, _, found, err := h.store.Ways(ctx, projections.WayQuery{Owner: other, Device: "cam", At: epoch}, page); found || err != nil {
				t.Errorf("the ways for %s: %v, %v", other, found, err)
			}
			if _, found, err := h.store.Holders(ctx, other, "cam", []string{rita}, 0); found || err != nil {
				t.Errorf("the holders for %s: %v, %v", other, found, err)
			}
		}
	})
}

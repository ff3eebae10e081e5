package projections_test

import (
	"testing"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/request"
	"latchkey/domain/share"
	"latchkey/projections"
)

// TestAccessRequests follows requests from when they are made until the owner does not
// see them any more.
func TestAccessRequests(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		const sam = "0198c0de-0000-7000-8000-0000000000aa"
		r, _ := h.run(h.store)
		h.append("account-"+rita, registered(rita, login))
		h.append("account-"+sam, registered(sam, "00000000000000000000000000000001"))
		h.append("device-cam", added(olga, "cam", channel(1)))
		asks := func(who, device, owner string) request.Requested {
			return request.Requested{Serial: "cam", Account: who, Device: device, Owner: owner, Message: who + ":message", At: epoch}
		}
		for i, step := range []struct {
			stream string
			event  event.Event
			want   []string // who asks
			count  int
		}{
			{"request-dvr." + rita, asks(rita, "", ""), nil, 0},
			{"request-cam." + rita, asks(rita, "cam", olga), []string{rita}, 1},
			{"request-cam." + sam, asks(sam, "cam", olga), []string{sam, rita}, 2},
			{"request-cam." + rita, asks(rita, "cam", olga), []string{rita, sam}, 2},
			{"request-cam." + rita, request.Dismissed{Serial: "cam", Account: rita, Device: "cam", Owner: olga, AskedAt: epoch, At: epoch}, []string{sam}, 1},
			{"request-cam." + rita, asks(rita, "cam", olga), []string{rita, sam}, 2},
			{"share-" + given, opened(), []string{rita, sam}, 2},
			{"share-" + given, invited("cam", privilege.LiveView), []string{sam}, 2},
			{"share-" + given, accepted("cam", privilege.LiveView), []string{sam}, 2},
			{"share-" + given, share.Left{Share: given, Owner: olga, Login: login, Account: rita, Device: "cam", At: epoch}, []string{rita, sam}, 2},
			{"account-" + rita, account.Closed{Account: rita, At: epoch}, []string{sam}, 2},
			{"device-cam", device.Removed{Device: "cam", Owner: olga, At: epoch}, nil, 0},
			{"request-cam." + sam, asks(sam, "cam", olga), nil, 1}, // on its way when the device was removed
		} {
			wait(t, r, h.append(step.stream, step.event))
			list, next, err := h.store.AccessRequests(t.Context(), olga, page)
			must(t, err)
			var got []string
			for _, row := range list {
				got = append(got, row.Account)
				if row.Message != row.Account+":message" || row.From.Address != "a" || row.Name != olga+":name" || row.ID() != request.ID("cam", row.Account) {
					t.Errorf("step %d: %+v", i, row)
				}
			}
			same(t, "who asks", got, step.want)
			n, err := h.store.AccessRequestsFor(t.Context(), "cam")
			must(t, err)
			if n != step.count || next != "" {
				t.Errorf("step %d: %d requests are counted, next %q", i, n, next)
			}
			others, _, err := h.store.AccessRequests(t.Context(), rita, projections.Page{Limit: 10})
			must(t, err)
			if len(others) != 0 {
				t.Errorf("step %d: another sees %+v", i, others)
			}
		}
	})
}

package projections_test

import (
	"testing"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/projections"
)

// TestTransfers follows offers from when they are made until they have ended, as their
// owner and as those who may hold the address see them.
func TestTransfers(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		const sam = "0198c0de-0000-7000-8000-0000000000aa"
		r, _ := h.run(h.store)
		h.append("account-"+rita, registered(rita, login))
		h.append("account-"+sam, registered(sam, "00000000000000000000000000000001"))
		h.append("device-cam", added(olga, "cam", channel(1)))
		offer := func(number int) device.Transfer {
			return device.Transfer{Number: number, Login: login, Kind: "email", To: rita + ":address", Shares: device.KeepShares, At: epoch, Until: epoch.Add(time.Hour)}
		}
		offered := func(number int) event.Event {
			return device.TransferOffered{Device: "cam", Serial: "cam", Generation: 1, Change: number, Owner: olga, Name: olga + ":name", Transfer: offer(number), At: epoch}
		}
		ended := func(change, number int, why device.Ending) event.Event {
			return device.TransferEnded{Device: "cam", Serial: "cam", Generation: 1, Change: change, Owner: olga, Name: olga + ":name", Login: login, Number: number, Why: why, At: epoch}
		}
		for i, step := range []struct {
			event event.Event
			now   time.Time
			mine  []string // as the owner sees them
			hers  []string
		}{
			{offered(1), epoch, []string{"cam~1 waiting"}, []string{"cam~1 waiting"}},
			{ended(2, 1, device.Withdrawn), epoch, []string{"cam~1 withdrawn"}, nil},
			{offered(3), epoch, []string{"cam~3 waiting", "cam~1 withdrawn"}, []string{"cam~3 waiting"}},
			{ended(4, 3, device.Declined), epoch, []string{"cam~3 rejected", "cam~1 withdrawn"}, nil},
			{offered(5), epoch.Add(time.Hour), []string{"cam~5 waiting", "cam~3 rejected", "cam~1 withdrawn"}, nil}, // it has expired
			{device.Removed{Device: "cam", Owner: olga, How: device.ByTransfer, To: rita, Next: "cam.2", Shares: device.KeepShares, Transfer: 5, At: epoch}, epoch,
				[]string{"cam~5 accepted", "cam~3 rejected", "cam~1 withdrawn"}, nil},
		} {
			wait(t, r, h.append("device-cam", step.event))
			for who, want := range map[string][]string{olga: step.mine, rita: step.hers, sam: nil} {
				list, _, err := h.store.Transfers(t.Context(), who, step.now, page)
				must(t, err)
				var got []string
				for _, row := range list {
					got = append(got, row.ID+" "+row.Status)
					if row.Recipient != rita+":address" || row.Name != olga+":name" || row.Shares != "keep" || row.Owner != olga {
						t.Errorf("step %d: %+v", i, row)
					}
				}
				same(t, "offers", got, want)
			}
		}
		h.append("device-dvr", added(olga, "dvr", channel(1)), device.TransferOffered{Device: "dvr", Serial: "dvr", Generation: 1, Change: 1, Owner: olga, Transfer: offer(1), At: epoch})
		wait(t, r, h.append("device-dvr", device.Removed{Device: "dvr", Owner: olga, Transfer: 1, At: epoch}))
		list, next, err := h.store.Transfers(t.Context(), olga, epoch, projections.Page{Limit: 1})
		must(t, err)
		if len(list) != 1 || list[0].Status != "withdrawn" || list[0].Device != "dvr" || next == "" {
			t.Errorf("of a device that was removed: %+v, %q", list, next)
		}
	})
}

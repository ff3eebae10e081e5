package projections_test

import (
	"testing"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/reclaim"
)

// TestReclaims follows claims from when they are made until the device has gone, as its
// owner and as the claimants see them.
func TestReclaims(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		const sam = "0198c0de-0000-7000-8000-0000000000aa"
		r, _ := h.run(h.store)
		h.append("account-"+rita, registered(rita, login))
		h.append("account-"+sam, registered(sam, "00000000000000000000000000000001"))
		h.append("device-cam", added(olga, "cam", channel(1)))
		ready := epoch.Add(72 * time.Hour)
		claims := func(who string) event.Event {
			return reclaim.Claimed{Serial: "cam", Account: who, Device: "cam", Owner: olga, Ready: ready, At: epoch}
		}
		ends := func(who string, why reclaim.Why) event.Event {
			return reclaim.Ended{Serial: "cam", Account: who, Device: "cam", Owner: olga, Claimed: epoch, Ready: ready, Why: why, At: epoch}
		}
		for i, step := range []struct {
			stream string
			event  event.Event
			owner  []string
			ritas  []string
			count  int
		}{
			{"reclaim-cam." + rita, claims(rita), []string{rita + " "}, []string{rita + " "}, 1},
			{"reclaim-cam." + sam, claims(sam), []string{sam + " ", rita + " "}, []string{rita + " "}, 2},
			{"reclaim-cam." + rita, ends(rita, reclaim.Objected), []string{sam + " ", rita + " objected"}, []string{rita + " objected"}, 1},
			{"reclaim-cam." + rita, claims(rita), []string{rita + " ", sam + " "}, []string{rita + " "}, 2},
			{"reclaim-cam." + rita, ends(rita, reclaim.Completed), []string{rita + " completed", sam + " "}, []string{rita + " completed"}, 1},
			{"device-cam", device.Removed{Device: "cam", Owner: olga, How: device.ByReclaim, To: rita, Next: "cam.2", Shares: device.EndShares, At: epoch},
				[]string{rita + " completed gone", sam + "  gone"}, []string{rita + " completed gone"}, 1},
		} {
			wait(t, r, h.append(step.stream, step.event))
			for who, want := range map[string][]string{olga: step.owner, rita: step.ritas} {
				list, _, err := h.store.Reclaims(t.Context(), who, page)
				must(t, err)
				var got []string
				for _, row := range list {
					line := row.Account + " " + row.Ended
					if row.Gone {
						line += " gone"
					}
					got = append(got, line)
					if row.Serial != "cam" || row.From.Address != "a" || row.Name != olga+":name" || row.ID() != "cam."+row.Account {
						t.Errorf("step %d: %+v", i, row)
					}
				}
				same(t, "claims", got, want)
			}
			n, err := h.store.ReclaimsOf(t.Context(), "cam", ready)
			must(t, err)
			if n != step.count {
				t.Errorf("step %d: %d claims are counted", i, n)
			}
			if n, err = h.store.ReclaimsOf(t.Context(), "cam", ready.Add(reclaim.Lasts)); err != nil || n != 0 {
				t.Errorf("step %d: %d claims that have lapsed are counted, %v", i, n, err)
			}
		}
		// A device that its owner removed has no claims.
		h.append("device-dvr", added(olga, "dvr", channel(1)))
		h.append("reclaim-dvr."+sam, reclaim.Claimed{Serial: "dvr", Account: sam, Device: "dvr", Owner: olga, Ready: ready, At: epoch})
		wait(t, r, h.append("device-dvr", device.Removed{Device: "dvr", Owner: olga, At: epoch}))
		list, _, err := h.store.Reclaims(t.Context(), sam, page)
		must(t, err)
		if len(list) != 1 || list[0].Device != "cam" {
			t.Errorf("%+v", list)
		}
	})
}

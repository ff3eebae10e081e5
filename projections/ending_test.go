package projections_test

import (
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections"
)

// TestSharesEnding: what ends within a day is listed once it is accepted, by the nearest
// end of the share, of the device and of a limit.
func TestSharesEnding(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, _ := h.run(h.store)
		id := olga + "." + login
		in := func(hours int) privilege.Terms {
			return privilege.Terms{Validity: privilege.Validity{Until: epoch.Add(time.Duration(hours) * time.Hour)}}
		}
		wait(t, r, h.append("share-"+id,
			share.Opened{Share: id, Owner: olga, Login: login, Kind: "email", Recipient: "r", At: epoch, Terms: in(20)},
			share.Invited{Share: id, Owner: olga, Login: login, Device: "cam", At: epoch, Terms: in(10)},
			share.Invited{Share: id, Owner: olga, Login: login, Device: "dvr", At: epoch},
			share.Invited{Share: id, Owner: olga, Login: login, Device: "nvr", At: epoch, Terms: in(5)},
			share.Accepted{Share: id, Owner: olga, Login: login, Account: rita, Device: "cam", At: epoch, ShareTerms: in(20), Terms: in(10)},
			share.Accepted{Share: id, Owner: olga, Login: login, Account: rita, Device: "dvr", At: epoch, ShareTerms: in(20), Grants: []share.Grant{
				{Channel: 1, Privileges: privilege.LiveView, Limits: []privilege.Limit{{Privileges: privilege.LiveView, Validity: in(17).Validity}}},
			}},
		))
		for hours, want := range map[int][]projections.Ending{
			24: {{id, olga, login, rita, "cam", epoch.Add(10 * time.Hour)}, {id, olga, login, rita, "dvr", epoch.Add(17 * time.Hour)}},
			15: {{id, olga, login, rita, "cam", epoch.Add(10 * time.Hour)}},
			9:  nil,
		} {
			got, err := h.store.SharesEnding(t.Context(), epoch, epoch.Add(time.Duration(hours)*time.Hour), 0)
			must(t, err)
			same(t, "what ends", got, want)
		}
	})
}

package projections_test

import (
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections"
)

// TestWhatIsAcceptedAndNotListed: what an account has accepted by an address of somebody
// else, and what it has accepted while its privileges are those of another share, is found.
func TestWhatIsAcceptedAndNotListed(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		const (
			owner, bob = "0190a000-0000-7000-8000-00000000000a", "0190a000-0000-7000-8000-00000000000b"
			home, work = "000102030405060708090a0b0c0d0e0f", "100102030405060708090a0b0c0d0e0f"
			cam        = "CAM-77"
		)
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		grants := []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}
		h.append("device-"+cam, device.Added{Device: cam, Serial: cam, Generation: 1, Owner: owner, Channels: []device.Channel{{Channel: 1, Capabilities: privilege.All}}, At: at})
		for _, login := range []string{home, work} {
			id := share.ID(owner, login)
			h.append("login-"+login, account.LoginClaimed{Login: login, Account: bob, At: at})
			h.append("share-"+id, share.Opened{Share: id, Owner: owner, Login: login, Kind: "email", At: at},
				share.Invited{Share: id, Owner: owner, Login: login, Device: cam, Grants: grants, At: at},
				share.Accepted{Share: id, Owner: owner, Login: login, Account: bob, Device: cam, Grants: grants, At: at})
		}
		position := h.append("login-"+work, account.LoginReleased{Login: work, Account: bob, At: at})
		r, _ := h.run(h.store)
		wait(t, r, position)
		stranded, err := h.store.Stranded(t.Context(), "", position)
		must(t, err)
		same(t, "stranded", stranded, []projections.Stranded{{Share: share.ID(owner, work), Account: bob}})
		stranded, err = h.store.Stranded(t.Context(), home, position)
		must(t, err)
		same(t, "stranded by an address that it has", len(stranded), 0)
		unlisted, err := h.store.Unlisted(t.Context(), at.Add(time.Hour), position)
		must(t, err)
		same(t, "unlisted", unlisted, []projections.Unlisted{{Share: share.ID(owner, home), Account: bob, Device: cam}})
		unlisted, err = h.store.Unlisted(t.Context(), at, position)
		must(t, err)
		same(t, "unlisted before it was accepted", len(unlisted), 0)
		has, err := h.store.HoldingsOf(t.Context(), bob, position)
		must(t, err)
		same(t, "accepted", has.Accepted, []string{share.ID(owner, home), share.ID(owner, work)})
	})
}

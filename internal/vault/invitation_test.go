package vault_test

import (
	"testing"
	"time"

	"latchkey/internal/vault"
)

func TestInvitations(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		invite := func(account string) (vault.InvitationView, string, bool) {
			t.Helper()
			made, token, ok, err := v.NewInvitation(ctx, account, time.Hour, 2)
			if err != nil {
				t.Fatal(err)
			}
			return made, token, ok
		}
		use := func(token, address string, want, wantSetup bool) {
			t.Helper()
			if valid, setup, err := v.ClaimInvitation(ctx, token, address, "an attempt"); valid != want || setup != wantSetup || err != nil {
				t.Errorf("%v, %v, %v; want %v, %v", valid, setup, err, want, wantSetup)
			}
			if err := v.SettleInvitation(ctx, token, address, "an attempt", true); err != nil {
				t.Fatal(err)
			}
		}
		_, first, _ := invite("anna")
		second, token, ok := invite("anna")
		if _, _, more := invite("anna"); !ok || more {
			t.Errorf("the second is made: %v; the third: %v", ok, more)
		}
		use("", "x", false, false)
		use(first, "bert", true, false)
		use(first, "bert", true, false)
		use(first, "carl", false, false)
		if revoked, err := v.RevokeInvitation(ctx, "bert", second.ID); revoked || err != nil {
			t.Errorf("another account revokes it: %v, %v", revoked, err)
		}
		if revoked, err := v.RevokeInvitation(ctx, "anna", second.ID); !revoked || err != nil {
			t.Errorf("%v, %v", revoked, err)
		}
		use(token, "carl", false, false)
		if list, err := v.Invitations(ctx, "anna"); err != nil || len(list) != 1 || !list[0].Used {
			t.Errorf("%+v, %v", list, err)
		}
		_, before, _ := invite("")
		_, setup, _ := invite("")
		use(before, "anna", false, false)
		_, late, _ := invite("anna")
		use(setup, "anna", true, true)
		_, late0, _ := invite("")
		if err := v.SetPassword(ctx, "an account", "correct horse"); err != nil {
			t.Fatal(err)
		}
		use(late0, "anna", false, false) // the service is set up already
		c.t = c.t.Add(time.Hour)
		use(late, "carl", false, false)
		if err := v.DropExpiredInvitations(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// TestClaimedInvitation: an invitation is used up by a registration that succeeds. One that
// is refused gives it back, and one that was cut off keeps it from others for a while.
func TestClaimedInvitation(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		_, token, _, err := v.NewInvitation(ctx, "anna", time.Hour, 1)
		if err != nil {
			t.Fatal(err)
		}
		claim := func(address, attempt string, want bool) {
			t.Helper()
			if valid, _, err := v.ClaimInvitation(ctx, token, address, attempt); valid != want || err != nil {
				t.Errorf("%s claims it: %v, %v", address, valid, err)
			}
		}
		settle := func(address, attempt string, used bool) {
			t.Helper()
			if err := v.SettleInvitation(ctx, token, address, attempt, used); err != nil {
				t.Fatal(err)
			}
		}
		used := func(want bool) {
			t.Helper()
			if list, err := v.Invitations(ctx, "anna"); err != nil || len(list) != 1 || list[0].Used != want {
				t.Errorf("%+v, %v", list, err)
			}
		}
		claim("bert", "1", true)
		claim("carl", "2", false) // at the same time
		used(false)
		settle("bert", "1", false) // refused
		claim("carl", "3", true)
		settle("bert", "1", false)
		claim("bert", "4", false) // it is not his any more
		c.t = c.t.Add(2 * time.Minute)
		claim("bert", "5", true) // carl was cut off
		claim("bert", "6", true) // his app tries again
		settle("bert", "5", false)
		claim("carl", "7", false) // the other attempt goes on
		settle("bert", "6", true)
		used(true)
		claim("bert", "8", true) // a repeat
		settle("bert", "8", false)
		c.t = c.t.Add(2 * time.Minute)
		claim("carl", "9", false)
		used(true)
	})
}

// TestTheSetUpIsOver: the invitation that sets a service up is worth nothing once there is an
// account, also to an address whose registration with it was refused.
func TestTheSetUpIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		_, token, _, err := v.NewInvitation(ctx, "", time.Hour, 1)
		if err != nil {
			t.Fatal(err)
		}
		claim := func(address string, want bool) {
			t.Helper()
			if valid, setup, err := v.ClaimInvitation(ctx, token, address, "an attempt"); valid != want || setup != want || err != nil {
				t.Errorf("%s claims it: %v, %v, %v", address, valid, setup, err)
			}
		}
		claim("anna", true)
		if err := v.SettleInvitation(ctx, token, "anna", "an attempt", false); err != nil {
			t.Fatal(err)
		}
		if err := v.SetPassword(ctx, "the operator made it", "correct horse"); err != nil {
			t.Fatal(err)
		}
		claim("anna", false)
		c.t = c.t.Add(10 * time.Minute)
		claim("bert", false)
	})
}

// TestAUsedInvitationIsTakenAway: so that an older copy of the vault is found out.
func TestAUsedInvitationIsTakenAway(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, _ *clock) {
		ctx := t.Context()
		_, token, _, err := v.NewInvitation(ctx, "anna", time.Hour, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, used := range []bool{false, true} {
			if valid, _, err := v.ClaimInvitation(ctx, token, "bert", "an attempt"); !valid || err != nil {
				t.Fatal(valid, err)
			}
			if err := v.SettleInvitation(ctx, token, "bert", "an attempt", used); err != nil {
				t.Fatal(err)
			}
			if taken, err := v.Taken(ctx); taken != uint64(i) || err != nil {
				t.Errorf("used: %v: %d were taken away, %v", used, taken, err)
			}
		}
	})
}

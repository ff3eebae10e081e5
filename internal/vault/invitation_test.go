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
			if valid, setup, err := v.UseInvitation(ctx, token, address); valid != want || setup != wantSetup || err != nil {
				t.Errorf("%v, %v, %v; want %v, %v", valid, setup, err, want, wantSetup)
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

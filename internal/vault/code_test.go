package vault_test

import (
	"testing"
	"time"

	"latchkey/internal/vault"
)

func TestCodes(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		fresh := func(purpose string) string {
			t.Helper()
			plain, err := v.NewCode(ctx, purpose, 8, 15*time.Minute, 3)
			if err != nil || len(plain) != 8 {
				t.Fatalf("%q, %v", plain, err)
			}
			return plain
		}
		use := func(purpose, plain string, want bool) {
			t.Helper()
			if right, err := v.UseCode(ctx, purpose, plain); right != want || err != nil {
				t.Errorf("the code of %s is right: %v, %v; want %v", purpose, right, err, want)
			}
		}
		first := fresh("anna")
		use("berta", first, false)
		use("anna", "", false)
		use("anna", first, true)
		use("anna", first, false)
		old, now := fresh("anna"), fresh("anna")
		if old != now { // once in a hundred million they are equal
			use("anna", old, false)
		}
		use("anna", "x"+now, false)
		use("anna", now, true)
		spent := fresh("anna")
		for range 3 {
			use("anna", "not this", false)
		}
		use("anna", spent, false)
		late := fresh("anna")
		c.t = c.t.Add(15 * time.Minute)
		use("anna", late, false)
		if err := v.DropExpiredCodes(ctx); err != nil {
			t.Fatal(err)
		}
		gone := fresh("anna")
		if err := v.DropCode(ctx, "anna"); err != nil {
			t.Fatal(err)
		}
		use("anna", gone, false)
	})
}

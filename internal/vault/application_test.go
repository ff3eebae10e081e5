package vault_test

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// TestApplications: whoever has applied for a login logs in with their own password, next
// to the account that has it, until somebody proves it.
func TestApplications(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, _ *clock) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		who := vault.Candidates{Account: "anna", Applied: "login of anna", Blind: true}
		gets := func(login vault.Candidates, password, want string) {
			t.Helper()
			account, token, right, err := v.LogIn(ctx, login, password, vault.NewSession{TTL: time.Hour})
			if err != nil || account != want || right != (want != "") || right != (token != "") {
				t.Errorf("%s gets %q, %v, %v; want %q", password, account, right, err, want)
			}
			if of, err := v.Session(ctx, token); right && (err != nil || of != want) {
				t.Errorf("the session is of %q, %v", of, err)
			}
		}
		must(v.SetPassword(ctx, "anna", "annas own password"))
		for account, password := range map[string]string{"mallory": "mallorys password", "eve": "eves long password"} {
			must(v.Apply(ctx, account, "login of anna", password))
		}
		if err := v.Apply(ctx, "eve", "login of anna", "another password"); !errors.Is(err, vault.ErrApplied) {
			t.Errorf("applying again: %v", err)
		}
		gets(who, "annas own password", "anna")
		gets(who, "mallorys password", "mallory")
		gets(who, "eves long password", "eve")
		gets(who, "another password", "")
		gets(vault.Candidates{Applied: "login of anna"}, "eves long password", "eve")
		gets(vault.Candidates{Applied: "login of bob", Blind: true}, "eves long password", "")
		gets(vault.Candidates{Account: "anna"}, "eves long password", "")

		// A password that is changed is the account's, and no other.
		change, err := v.PreparePassword(ctx, "eve", "eves long password", "eves next password")
		must(err)
		_, err = change.Commit(ctx, nil)
		must(err)
		gets(who, "eves long password", "")
		gets(who, "eves next password", "eve")

		// Whoever is locked out is, and a password of the account that has the login goes first.
		must(v.LockOut(ctx, "mallory"))
		gets(who, "mallorys password", "")
		must(v.Apply(ctx, "dora", "login of anna", "annas own password"))
		gets(who, "annas own password", "anna")

		must(v.Apply(ctx, "fred", "login of bob", "freds long password"))
		must(v.EndApplications(ctx, "login of anna"))
		gets(who, "eves next password", "")
		gets(vault.Candidates{Account: "eve"}, "eves next password", "eve")
		bob := vault.Candidates{Applied: "login of bob", Blind: true}
		gets(bob, "freds long password", "fred")
	})
}

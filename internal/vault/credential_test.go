package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// onBoth runs a test over a vault on SQLite and one on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, v *vault.Vault, c *clock)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { v, _, c := fresh(t); f(t, v, c) })
	t.Run("postgres", func(t *testing.T) { v, _, c := onPostgres(t); f(t, v, c) })
}

func logIn(t *testing.T, v *vault.Vault, password string) (token string, right bool) {
	t.Helper()
	_, token, right, err := v.LogIn(t.Context(), vault.Candidates{Account: "anna"}, password, vault.NewSession{TTL: time.Hour, Network: "192.0.2.1"})
	if err != nil || right != (token != "") {
		t.Fatalf("LogIn = %q, %v, %v", token, right, err)
	}
	return token, right
}

func TestChangedPassword(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(v.SetPassword(ctx, "anna", plain))
		old, _ := logIn(t, v, plain)
		other, err := v.NewSession(ctx, "berta", vault.NewSession{TTL: time.Hour})
		must(err)
		if change, err := v.PreparePassword(ctx, "anna", "wrong", "another one"); change != nil || err != nil {
			t.Fatalf("a wrong password: %v, %v", change, err)
		}
		before, err := v.Taken(ctx)
		must(err)
		first, err := v.PreparePassword(ctx, "anna", plain, "the first")
		must(err)
		second, err := v.PreparePassword(ctx, "anna", plain, "the second")
		must(err)
		token, err := first.Commit(ctx, &vault.NewSession{TTL: time.Hour})
		must(err)
		if _, err := second.Commit(ctx, nil); !errors.Is(err, vault.ErrPasswordChanged) {
			t.Errorf("the second change of one password: %v", err)
		}
		for _, s := range []struct{ token, account string }{{old, ""}, {token, "anna"}, {other, "berta"}} {
			if account, err := v.Session(ctx, s.token); account != s.account || (err == nil) != (s.account != "") {
				t.Errorf("a session of %q: %q, %v", s.account, account, err)
			}
		}
		for password, want := range map[string]bool{plain: false, "the second": false, "the first": true} {
			if _, right := logIn(t, v, password); right != want {
				t.Errorf("%q is right: %v", password, right)
			}
		}
		if after, err := v.Taken(ctx); err != nil || after <= before {
			t.Errorf("taken %d, then %d, %v", before, after, err)
		}
	})
}

// TestNoSessionOfAnOldPassword: a log-in that was under way when the password changed
// makes no session.
func TestNoSessionOfAnOldPassword(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, _ *clock) {
		ctx := t.Context()
		if err := v.SetPassword(ctx, "anna", plain); err != nil {
			t.Fatal(err)
		}
		vault.AfterCheck(t, v, func() {
			if err := v.SetPassword(context.Background(), "anna", "another one"); err != nil {
				t.Error(err)
			}
		})
		if token, right := logIn(t, v, plain); right {
			t.Errorf("the session %s came of a password that had been changed", token)
		}
	})
}

func TestListOfSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		var tokens []string
		for _, network := range []string{"192.0.2.1", "192.0.2.2"} {
			token, err := v.NewSession(ctx, "anna", vault.NewSession{TTL: time.Hour, Network: network})
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, token)
			c.t = c.t.Add(time.Minute)
		}
		foreign, err := v.NewSession(ctx, "berta", vault.NewSession{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Session(ctx, tokens[0]); err != nil {
			t.Fatal(err)
		}
		for range 2 { // from memory, then from the table
			list, err := v.SessionsOf(ctx, "anna", tokens[1], "192.0.2.1")
			if err != nil || len(list) != 2 {
				t.Fatalf("%+v, %v", list, err)
			}
			used, current := list[0], list[1]
			if !used.SameNetwork || used.Current || current.SameNetwork || !current.Current || !used.Used.Equal(c.t) || !used.Created.Equal(c.t.Add(-2*time.Minute)) {
				t.Errorf("%+v", list)
			}
			if err := v.NoteUses(ctx); err != nil {
				t.Fatal(err)
			}
		}
		list, err := v.SessionsOf(ctx, "berta", foreign, "")
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if ended, err := v.EndSessionOf(ctx, "anna", list[0].ID); ended || err != nil {
			t.Errorf("ending somebody else's session: %v, %v", ended, err)
		}
		if err := v.EndOtherSessions(ctx, "anna", tokens[1]); err != nil {
			t.Fatal(err)
		}
		_, first := v.Session(ctx, tokens[0])
		_, second := v.Session(ctx, tokens[1])
		_, third := v.Session(ctx, foreign)
		if !errors.Is(first, vault.ErrNoSession) || second != nil || third != nil {
			t.Errorf("%v, %v, %v", first, second, third)
		}
		if ended, err := v.EndSessionOf(ctx, "berta", list[0].ID); !ended || err != nil {
			t.Errorf("ending a session: %v, %v", ended, err)
		}
	})
}

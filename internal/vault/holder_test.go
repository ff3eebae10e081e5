package vault_test

import (
	"errors"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/vault"
)

const login = "login-0123456789abcdef0123456789abcdef"

// forgetHolder destroys the keys that texts about whoever holds an address are
// sealed with, and returns their names.
func forgetHolder(t *testing.T, v *vault.Vault) []string {
	t.Helper()
	names, err := v.KeysOf(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := v.Forget(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestNextHolderOfAnAddress: what was said about the first holder is forgotten, and
// text about the next one is sealed and opens, however often that happens, and
// however often the first is forgotten again, as after a restore.
func TestNextHolderOfAnAddress(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx, key := t.Context(), vault.NewMasterKey()
		v := opened(t, db, key)
		var texts, names []string
		for holder := range 3 {
			text := sealed(t, v, login, "+49 30 123")
			if again := sealed(t, v, login, "+49 30 123"); again != text {
				t.Errorf("holder %d: the same text is sealed in two ways", holder)
			}
			for _, name := range names {
				if err := v.Forget(ctx, name); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := v.Unseal(ctx, field, text); err != nil || got != "+49 30 123" {
				t.Errorf("holder %d: %q, %v", holder, got, err)
			}
			if erased, err := v.Erased(ctx, login); err != nil || erased {
				t.Errorf("the address counts as erased: %v, %v", erased, err)
			}
			texts = append(texts, text)
			names = append(names, forgetHolder(t, v)...)
			for _, v := range []*vault.Vault{v, opened(t, db, key)} {
				for _, text := range texts {
					if _, err := v.Unseal(ctx, field, text); !errors.Is(err, vault.ErrForgotten) {
						t.Errorf("text about an earlier holder: %v", err)
					}
				}
			}
		}
		if len(names) != 3 {
			t.Errorf("the keys were %v", names)
		}
		if names, err := v.KeysOf(ctx, login); err != nil || len(names) != 0 {
			t.Errorf("keys of nobody: %v, %v", names, err)
		}
		taken, err := v.Taken(ctx)
		if err != nil || taken != 3 {
			t.Errorf("%d were forgotten, %v; want 3", taken, err)
		}
	})
}

// TestForgettingAKeyThatIsNotThere, as of an older vault that was put back: its
// text is forgotten, not unreadable.
func TestForgettingAKeyThatIsNotThere(t *testing.T) {
	v, _, _ := fresh(t)
	other, _, _ := fresh(t)
	text := sealed(t, other, login, "anna@example.com")
	names, err := other.KeysOf(t.Context(), login)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	if err := v.Forget(t.Context(), names[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Unseal(t.Context(), field, text); !errors.Is(err, vault.ErrForgotten) {
		t.Errorf("%v", err)
	}
	if _, err := v.Seal(t.Context(), login, field, "bea@example.com"); err != nil {
		t.Errorf("text about the next holder: %v", err)
	}
}

// TestKeysOfEarlierVersionsAreForgottenAlone: they have no tag.
func TestKeysOfEarlierVersionsAreForgottenAlone(t *testing.T) {
	v, _, _ := fresh(t)
	text := vault.SealAsBefore(t, v, login, "anna@example.com")
	if names := forgetHolder(t, v); len(names) != 1 || names[0] != login+":" {
		t.Errorf("the keys were %q", names)
	}
	if _, err := v.Unseal(t.Context(), field, text); !errors.Is(err, vault.ErrForgotten) {
		t.Errorf("text about the first holder: %v", err)
	}
	next := sealed(t, v, login, "bea@example.com")
	if got, err := v.Unseal(t.Context(), field, next); err != nil || got != "bea@example.com" {
		t.Errorf("text about the next holder: %q, %v", got, err)
	}
	if err := v.Forget(t.Context(), login); err != nil { // for good
		t.Fatal(err)
	}
	if _, err := v.Seal(t.Context(), login, field, "more"); !errors.Is(err, vault.ErrForgotten) {
		t.Errorf("sealing about somebody who was erased: %v", err)
	}
	if erased, err := v.Erased(t.Context(), login); err != nil || !erased {
		t.Errorf("erased: %v, %v", erased, err)
	}
}

// TestTextIsBoundToItsField: what was sealed for one field opens for no other.
// Text of earlier versions opens for any.
func TestTextIsBoundToItsField(t *testing.T) {
	v, _, _ := fresh(t)
	before := vault.SealAsBefore(t, v, "anna", "The neighbour")
	remark, err := v.Seal(t.Context(), "anna", "share remark", "The neighbour")
	if err != nil {
		t.Fatal(err)
	}
	name, err := v.Seal(t.Context(), "anna", "device name", "The neighbour")
	if err != nil || name == remark || before == remark {
		t.Errorf("the text looks the same in two fields, or as before: %v", err)
	}
	for _, c := range []struct {
		field, sealed string
		opens         bool
	}{
		{"share remark", remark, true}, {"device name", remark, false}, {"", remark, false},
		{"device name", name, true}, {"share remark", name, false},
		{"share remark", before, true}, {"device name", before, true},
	} {
		got, err := v.Unseal(t.Context(), c.field, c.sealed)
		if c.opens && (err != nil || got != "The neighbour") || !c.opens && !errors.Is(err, vault.ErrUnreadable) {
			t.Errorf("%s as a %s: %q, %v", c.sealed, c.field, got, err)
		}
	}
}

// TestErasedPersonCannotLogIn: with the keys go the password and the sessions.
func TestErasedPersonCannotLogIn(t *testing.T) {
	v, _, _ := fresh(t)
	ctx := t.Context()
	tokens := map[string]string{}
	for _, account := range []string{"anna", "bea"} {
		if err := v.SetPassword(ctx, account, "a long password"); err != nil {
			t.Fatal(err)
		}
		var err error
		if tokens[account], err = v.NewSession(ctx, account, vault.NewSession{TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Forget(ctx, "anna"); err != nil {
		t.Fatal(err)
	}
	for account, left := range map[string]bool{"anna": false, "bea": true} {
		has, err := v.HasPassword(ctx, account)
		if _, session := v.Session(ctx, tokens[account]); err != nil || has != left || (session == nil) != left {
			t.Errorf("%s has a password: %v, a session: %v, %v", account, has, session, err)
		}
	}
}

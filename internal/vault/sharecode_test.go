package vault_test

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// TestShareCodes: a code is used once, by one; only whoever made it sees and ends it.
func TestShareCodes(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vault.Vault, c *clock) {
		ctx := t.Context()
		fresh := func(content, repeat string) (vault.ShareCode, string, error) {
			return v.MakeShareCode(ctx, vault.NewShareCode{Kind: "offer", Account: "anna", Content: []byte(content), TTL: time.Hour, Most: 3, Repeat: repeat})
		}
		claim := func(kind, code, by, want string) {
			t.Helper()
			got, ok, err := v.ClaimShareCode(ctx, kind, code, by)
			if err != nil || ok != (want != "") || string(got.Content) != want || ok && got.Account != "anna" {
				t.Errorf("%+v, %v, %v; want %q", got, ok, err, want)
			}
		}
		made, code, err := fresh("one", "key")
		if err != nil || len(code) < 32 || string(made.Content) != "one" || made.Used {
			t.Fatalf("%+v, %q, %v", made, code, err)
		}
		if again, same, err := fresh("one", "key"); err != nil || same != code || again.ID != made.ID {
			t.Errorf("repeated: %+v, %q, %v", again, same, err)
		}
		if _, _, err := fresh("other", "key"); !errors.Is(err, vault.ErrOtherCode) {
			t.Errorf("another request with the key: %v", err)
		}
		claim("own", code, "bert", "")
		claim("offer", code+"x", "bert", "")
		claim("offer", "", "bert", "")
		claim("offer", code, "bert", "one")
		claim("offer", code, "bert", "one")
		claim("offer", code, "carl", "")
		if err := v.ReleaseShareCode(ctx, "offer", code, "carl"); err != nil {
			t.Fatal(err)
		}
		claim("offer", code, "carl", "")
		if err := v.ReleaseShareCode(ctx, "offer", code, "bert"); err != nil {
			t.Fatal(err)
		}
		claim("offer", code, "carl", "one")
		if revoked, err := v.RevokeShareCode(ctx, "anna", "offer", made.ID); revoked || err != nil {
			t.Errorf("a used code is revoked: %v, %v", revoked, err)
		}

		two, second, _ := fresh("two", "")
		if revoked, err := v.RevokeShareCode(ctx, "bert", "offer", two.ID); revoked || err != nil {
			t.Errorf("another account revokes it: %v, %v", revoked, err)
		}
		if revoked, err := v.RevokeShareCode(ctx, "anna", "offer", two.ID); !revoked || err != nil {
			t.Errorf("%v, %v", revoked, err)
		}
		claim("offer", second, "bert", "")
		for range 3 {
			if _, _, err := fresh("more", ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := fresh("more", ""); !errors.Is(err, vault.ErrTooManyCodes) {
			t.Errorf("one too many: %v", err)
		}
		if list, err := v.ShareCodes(ctx, "anna", "offer"); err != nil || len(list) != 4 {
			t.Errorf("%+v, %v", list, err)
		}

		own := func() string {
			t.Helper()
			_, code, err := v.MakeShareCode(ctx, vault.NewShareCode{Kind: "own", Account: "anna", Content: []byte("me"), TTL: time.Minute, Most: 1})
			if err != nil {
				t.Fatal(err)
			}
			return code
		}
		before, now := own(), own()
		claim("own", before, "bert", "")
		c.t = c.t.Add(time.Minute)
		claim("own", now, "bert", "")
		if err := v.Forget(ctx, "anna"); err != nil {
			t.Fatal(err)
		}
		if list, err := v.ShareCodes(ctx, "anna", "offer"); err != nil || len(list) != 0 {
			t.Errorf("of somebody who was erased: %+v, %v", list, err)
		}
		if err := v.DropExpiredShareCodes(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

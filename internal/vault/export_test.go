package vault

import (
	"context"
	"encoding/base64"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/uptrace/bun"

	"latchkey/internal/hashing"
)

// Todays are the parameters of new hashes.
func Todays() argon2id.Params { return todays }

// RestOf returns what a wrong password is hashed with after a weaker hash.
func RestOf(p argon2id.Params) (argon2id.Params, bool) { return restOf(p) }

// Hashing returns the queue for hashing.
func (v *Vault) Hashing() *hashing.Queue { return v.hashing }

// SealAsBefore gives a person the key that earlier versions made, without a tag,
// and seals a text with it as they did.
func SealAsBefore(t *testing.T, v *Vault, name, plain string) string {
	t.Helper()
	key := randomKey()
	row := &subject{Subject: name, Key: v.box.seal("subject "+name, key)}
	err := v.durably(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + base64.RawURLEncoding.EncodeToString(newSIV(key).seal(name, plain))
}

// MACOfPassword binds a hash to its account.
func (v *Vault) MACOfPassword(account, hash string) string { return v.macOfPassword(account, hash) }

// Unbind makes a vault one whose rows are not bound, as earlier versions left it.
func Unbind(t *testing.T, v *Vault) {
	t.Helper()
	row := &setting{Name: settingNaming, Value: v.box.seal("setting "+settingNaming, v.naming)}
	if _, err := v.db.NewUpdate().Model(row).WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// AfterCheck runs f once, after the next password was found right and before its session
// is made.
func AfterCheck(t *testing.T, v *Vault, f func()) {
	t.Helper()
	v.afterCheck = func() { v.afterCheck = nil; f() }
}

package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"
)

// Rows that identify people are bound to the vault's key, so that write access to the
// database without the key is not enough to forge a session or a password: a row carries
// a MAC over all its fields, and a session is found by a keyed hash of its token. Sealed
// values are bound by their sealing already.

// mac returns a MAC of 192 bits over the fields of a row of some kind.
func (v *Vault) mac(kind string, fields ...string) string {
	h := hmac.New(sha256.New, v.binding)
	for _, f := range append([]string{kind}, fields...) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(f)))
		h.Write(length[:])
		h.Write([]byte(f))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:24])
}

// macOfSession has the fields of earlier versions for the rows that they made.
func (v *Vault) macOfSession(s *session) string {
	if s.Created != 0 || s.Network != "" {
		return v.mac("session 2", s.Token, s.Account, strconv.FormatInt(s.Expires, 10), strconv.FormatInt(s.Created, 10), s.Network)
	}
	return v.mac("session", s.Token, s.Account, strconv.FormatInt(s.Expires, 10))
}

func (v *Vault) macOfPassword(account, hash string) string { return v.mac("password", account, hash) }

func equal(mac, other string) bool { return hmac.Equal([]byte(mac), []byte(other)) }

// boundNaming is the name under which the naming key is sealed in a vault whose rows are
// bound. Without the key, a bound vault cannot be turned into an unbound one, whose rows
// would be bound as they are.
const boundNaming = "setting " + settingNaming + ", with rows that are bound"

// namingOf returns the naming key of a vault, and whether its rows are bound.
func (v *Vault) namingOf(ctx context.Context, db bun.IDB) (naming []byte, bound bool, err error) {
	row := &setting{Name: settingNaming}
	if err := db.NewSelect().Model(row).WherePK().Scan(ctx); err != nil {
		return nil, false, fmt.Errorf("reading the vault's naming key: %w", err)
	}
	if naming, err = v.box.open(boundNaming, row.Value); err == nil {
		return naming, true, nil
	}
	if naming, err = v.box.open("setting "+settingNaming, row.Value); err != nil {
		return nil, false, fmt.Errorf("opening the vault: %w", ErrWrongKey)
	}
	return naming, false, nil
}

// bindRows binds the rows of a vault that an earlier version wrote. It happens once.
func (v *Vault) bindRows(ctx context.Context) error {
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		if !v.sqlite {
			if _, err := tx.ExecContext(ctx, "LOCK TABLE vault_settings IN EXCLUSIVE MODE"); err != nil {
				return err
			}
		}
		naming, bound, err := v.namingOf(ctx, tx)
		if err != nil || bound { // another process was faster
			return err
		}
		if err := v.bindPasswords(ctx, tx); err != nil {
			return err
		}
		if err := v.bindSessions(ctx, tx); err != nil {
			return err
		}
		row := &setting{Name: settingNaming, Value: v.box.seal(boundNaming, naming)}
		_, err = tx.NewUpdate().Model(row).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("binding the vault's rows to its key: %w", err)
	}
	return nil
}

func (v *Vault) bindPasswords(ctx context.Context, tx bun.Tx) error {
	var rows []password
	if err := tx.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return err
	}
	for i := range rows {
		rows[i].MAC = v.macOfPassword(rows[i].Account, rows[i].Hash)
		if _, err := tx.NewUpdate().Model(&rows[i]).WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vault) bindSessions(ctx context.Context, tx bun.Tx) error {
	var rows []session
	if err := tx.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return err
	}
	for i := range rows {
		before := rows[i].Token
		rows[i].Token = v.mac("token", before)
		rows[i].MAC = v.macOfSession(&rows[i])
		_, err := tx.NewUpdate().Model((*session)(nil)).Set("token = ?, mac = ?", rows[i].Token, rows[i].MAC).Where("token = ?", before).Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

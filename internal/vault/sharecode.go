package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/uptrace/bun"
)

// shareCode is a code that one person gives another, to share with each other. It is kept
// as a keyed hash only, and what it is about is sealed.
type shareCode struct {
	bun.BaseModel `bun:"table:vault_share_codes"`

	ID      string `bun:"id,pk"`
	Hash    string `bun:"hash,notnull,unique"`
	Kind    string `bun:"kind,notnull"`
	Account string `bun:"account,notnull"` // that made it
	Content []byte `bun:"content,notnull"`
	Created int64  `bun:"created,notnull"` // Unix milliseconds
	Expires int64  `bun:"expires,notnull"` // Unix milliseconds
	By      string `bun:"used_by,notnull"` // keyed hash of who used it, and how; "" for nobody
	MAC     string `bun:"mac,notnull"`     // without By
}

// NewShareCode is a code to make. Repeat, if not empty, names the request: the same one
// of the same account makes the same code.
type NewShareCode struct {
	Kind, Account string
	Content       []byte
	TTL           time.Duration
	Most          int // codes of the kind that an account may have; with 1 a new one replaces the one before
	Repeat        string
}

// ShareCode is a code as whoever made it may see it.
type ShareCode struct {
	ID               string
	Account          string
	Content          []byte
	Created, Expires time.Time
	Used             bool
}

// The refusals of NewShareCode.
var (
	ErrTooManyCodes = errors.New("the account has too many codes")
	ErrOtherCode    = errors.New("the request made another code before")
)

// revokedCode is in the place of whoever used a code that nobody may use any more. The
// row stays, so that a repeated request does not make the code again.
const revokedCode = "revoked"

// expiredKept is how long a code is kept after it expired, for the same reason.
const expiredKept = 48 * time.Hour

func (s *shareCode) name() string { return "share code " + s.ID }

func (v *Vault) hashOfShareCode(kind, code string) string { return v.mac("share code", kind, code) }

func (v *Vault) macOfShareCode(s *shareCode) string {
	return v.mac("row of a share code", s.ID, s.Hash, s.Kind, s.Account, string(s.Content), strconv.FormatInt(s.Created, 10), strconv.FormatInt(s.Expires, 10))
}

// MakeShareCode makes a code, and returns it; it is not kept. Errors: ErrTooManyCodes,
// ErrOtherCode.
func (v *Vault) MakeShareCode(ctx context.Context, n NewShareCode) (made ShareCode, code string, err error) {
	seed := n.Repeat
	if seed == "" {
		seed = "\x00" + rand.Text()
	}
	code = v.mac("new share code", n.Kind, n.Account, seed) // of 192 bits that nobody without the key can guess
	now := v.now()
	row := &shareCode{
		ID: v.mac("id of a share code", code)[:16], Hash: v.hashOfShareCode(n.Kind, code), Kind: n.Kind, Account: n.Account,
		Created: now.UnixMilli(), Expires: now.Add(n.TTL).UnixMilli(),
	}
	row.Content = v.box.seal(row.name(), n.Content)
	row.MAC = v.macOfShareCode(row)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		there := &shareCode{}
		switch err := tx.NewSelect().Model(there).Where("id = ?", row.ID).Scan(ctx); {
		case err == nil:
			made, err = v.openShareCode(there)
			if err == nil && string(made.Content) != string(n.Content) {
				err = ErrOtherCode
			}
			return err
		case !notFound(err):
			return err
		}
		if err := v.roomForCode(ctx, tx, n, now); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		made, err = v.openShareCode(row)
		return err
	})
	if err != nil {
		return ShareCode{}, "", fmt.Errorf("making a code: %w", err)
	}
	return made, code, nil
}

func (v *Vault) roomForCode(ctx context.Context, tx bun.Tx, n NewShareCode, now time.Time) error {
	if n.Most == 1 {
		_, err := tx.NewUpdate().Model((*shareCode)(nil)).Set("used_by = ?", revokedCode).Where("account = ? AND kind = ? AND used_by = ''", n.Account, n.Kind).Exec(ctx)
		return err
	}
	count, err := tx.NewSelect().Model((*shareCode)(nil)).Where("account = ? AND kind = ? AND used_by = '' AND expires > ?", n.Account, n.Kind, now.UnixMilli()).Count(ctx)
	if err == nil && int(count) >= n.Most {
		err = ErrTooManyCodes
	}
	return err
}

func (v *Vault) openShareCode(row *shareCode) (ShareCode, error) {
	if !equal(row.MAC, v.macOfShareCode(row)) {
		return ShareCode{}, fmt.Errorf("the row of the code %s is damaged", row.ID)
	}
	content, err := v.box.open(row.name(), row.Content)
	if err != nil {
		return ShareCode{}, fmt.Errorf("opening the code %s: %w", row.ID, err)
	}
	return ShareCode{
		ID: row.ID, Account: row.Account, Content: content,
		Created: time.UnixMilli(row.Created).UTC(), Expires: time.UnixMilli(row.Expires).UTC(), Used: row.By != "",
	}, nil
}

// ShareCodes lists the codes of a kind of an account that have not expired, the newest
// first.
func (v *Vault) ShareCodes(ctx context.Context, account, kind string) ([]ShareCode, error) {
	var rows []shareCode
	err := v.db.NewSelect().Model(&rows).Where("account = ? AND kind = ? AND expires > ? AND used_by <> ?", account, kind, v.now().UnixMilli(), revokedCode).
		OrderExpr("created DESC, id").Scan(ctx)
	list := make([]ShareCode, len(rows))
	for i := range rows {
		if err == nil {
			list[i], err = v.openShareCode(&rows[i])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing codes: %w", err)
	}
	return list, nil
}

// ClaimShareCode uses up a code. by is who uses it, and how: the same one may use it
// again, if what it was for was cut off. false: it is unknown, used, expired or revoked.
func (v *Vault) ClaimShareCode(ctx context.Context, kind, code, by string) (claimed ShareCode, ok bool, err error) {
	hash, by := v.hashOfShareCode(kind, code), v.hidden("user of a share code", by)
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		ok = false
		row := &shareCode{}
		used, err := changed(tx.NewUpdate().Model(row).Set("used_by = ?", by).
			Where("hash = ? AND kind = ? AND (used_by = '' AND expires > ? OR used_by = ?)", hash, kind, v.now().UnixMilli(), by).Exec(ctx))
		if err != nil || !used {
			return false, err
		}
		if err := tx.NewSelect().Model(row).Where("hash = ?", hash).Scan(ctx); err != nil {
			return false, err
		}
		claimed, err = v.openShareCode(row)
		ok = err == nil
		return ok, err
	})
	if err != nil {
		return ShareCode{}, false, fmt.Errorf("using a code: %w", err)
	}
	return claimed, ok, nil
}

// ReleaseShareCode gives a code back that was used for something that was refused.
func (v *Vault) ReleaseShareCode(ctx context.Context, kind, code, by string) error {
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*shareCode)(nil)).Set("used_by = ''").
			Where("hash = ? AND used_by = ?", v.hashOfShareCode(kind, code), v.hidden("user of a share code", by)).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("giving a code back: %w", err)
	}
	return nil
}

// RevokeShareCode ends a code of an account that was not used; false: there is none.
func (v *Vault) RevokeShareCode(ctx context.Context, account, kind, id string) (revoked bool, err error) {
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		revoked, err = changed(tx.NewUpdate().Model((*shareCode)(nil)).Set("used_by = ?", revokedCode).
			Where("id = ? AND account = ? AND kind = ? AND used_by = '' AND expires > ?", id, account, kind, v.now().UnixMilli()).Exec(ctx))
		return revoked, err
	})
	if err != nil {
		return false, fmt.Errorf("revoking a code: %w", err)
	}
	return revoked, nil
}

// forgetShareCodes ends every code of an account.
func forgetShareCodes(ctx context.Context, tx bun.Tx, account string) error {
	_, err := tx.NewDelete().Model((*shareCode)(nil)).Where("account = ?", account).Exec(ctx)
	return err
}

// DropExpiredShareCodes deletes codes that nobody can use any more.
func (v *Vault) DropExpiredShareCodes(ctx context.Context) error {
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*shareCode)(nil)).Where("expires <= ?", v.now().Add(-expiredKept).UnixMilli()).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("dropping expired codes: %w", err)
	}
	return nil
}

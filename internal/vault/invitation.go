package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/uptrace/bun"
)

// invitation lets one person register. Its token is kept as a keyed hash only.
type invitation struct {
	bun.BaseModel `bun:"table:vault_invitations"`

	ID      string `bun:"id,pk"`
	Hash    string `bun:"hash,notnull,unique"`
	Account string `bun:"account,notnull"` // that invites; "" for the set-up of a service
	Created int64  `bun:"created,notnull"` // Unix seconds
	Expires int64  `bun:"expires,notnull"` // Unix seconds
	By      string `bun:"used_by,notnull"` // keyed hash of the address that used it; "" for nobody
	MAC     string `bun:"mac,notnull"`     // without By, Attempt and Claimed
	Attempt string `bun:"attempt,notnull"` // keyed hash of the registration that claimed it last
	// Claimed is when the address claimed it for a registration that has not ended, in Unix
	// seconds; 0: it has used it up.
	Claimed int64 `bun:"claimed,notnull"`
}

// claimLasts is how long a claim keeps an invitation from other addresses if it is never
// settled: longer than a registration may take.
const claimLasts = 2 * time.Minute

// givenBack is the time of a claim that was given back: it has lapsed.
const givenBack = 1

// unused is the condition that an invitation was not used up.
const unused = "(used_by = '' OR claimed > 0)"

// InvitationView is an invitation as whoever made it may see it.
type InvitationView struct {
	ID               string
	Created, Expires time.Time
	Used             bool
}

func (v *Vault) macOfInvitation(i *invitation) string {
	return v.mac("invitation", i.ID, i.Hash, i.Account, strconv.FormatInt(i.Created, 10), strconv.FormatInt(i.Expires, 10))
}

// NewInvitation makes an invitation that one address can use within a time, and returns
// its token, which is not kept. ok is false if the account has so many that were not used
// and have not expired. That for the set-up, of no account, replaces the one before.
func (v *Vault) NewInvitation(ctx context.Context, account string, ttl time.Duration, most int) (made InvitationView, token string, ok bool, err error) {
	token = rand.Text()
	now := v.now()
	row := &invitation{ID: rand.Text()[:16], Hash: v.mac("token of an invitation", token), Account: account, Created: now.Unix(), Expires: now.Add(ttl).Unix()}
	row.MAC = v.macOfInvitation(row)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		ok = false
		if account == "" {
			if _, err := tx.NewDelete().Model((*invitation)(nil)).Where("account = ''").Exec(ctx); err != nil {
				return err
			}
		}
		n, err := tx.NewSelect().Model((*invitation)(nil)).Where("account = ? AND expires > ?", account, now.Unix()).Where(unused).Count(ctx)
		if err != nil || int(n) >= most {
			return err
		}
		ok = true
		_, err = tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		return made, "", false, fmt.Errorf("making an invitation: %w", err)
	}
	return row.view(), token, ok, nil
}

func (i *invitation) view() InvitationView {
	return InvitationView{ID: i.ID, Created: unixTime(i.Created), Expires: unixTime(i.Expires), Used: i.By != "" && i.Claimed == 0}
}

// Invitations lists the invitations of an account that have not expired, the newest first.
func (v *Vault) Invitations(ctx context.Context, account string) ([]InvitationView, error) {
	var rows []invitation
	err := v.db.NewSelect().Model(&rows).Where("account = ? AND expires > ?", account, v.now().Unix()).OrderExpr("created DESC, id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing invitations: %w", err)
	}
	list := make([]InvitationView, len(rows))
	for i := range rows {
		list[i] = rows[i].view()
	}
	return list, nil
}

// RevokeInvitation ends an invitation of an account that was not used; false: there is
// none.
func (v *Vault) RevokeInvitation(ctx context.Context, account, id string) (revoked bool, err error) {
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		revoked, err = changed(tx.NewDelete().Model((*invitation)(nil)).Where("id = ? AND account = ?", id, account).Where(unused).Exec(ctx))
		return revoked, err
	})
	if err != nil {
		return false, fmt.Errorf("revoking an invitation: %w", err)
	}
	return revoked, nil
}

// ClaimInvitation claims an invitation for the registration of an address, which must be
// settled: SettleInvitation. The same address may claim it again, also after it was used;
// others once the claim was given back or has lapsed. setup: it is that for the set-up of
// the service. That one is worth nothing once there is an account, however the account was
// made.
func (v *Vault) ClaimInvitation(ctx context.Context, token, address, attempt string) (valid, setup bool, err error) {
	hash, by := v.mac("token of an invitation", token), v.hidden("address of an invitation", address)
	now := v.now()
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		valid, setup = false, false
		row := &invitation{}
		if err := tx.NewSelect().Model(row).Where("hash = ?", hash).Scan(ctx); err != nil {
			if notFound(err) {
				return nil
			}
			return err
		}
		if row.Account == "" && (row.By != by || row.Claimed == givenBack) { // a repeat of what was cut off has made the account itself
			if late, err := tx.NewSelect().Model((*password)(nil)).Exists(ctx); err != nil || late {
				return err
			}
		}
		// Who has used it up does not give it back by claiming it again.
		claimed, err := changed(tx.NewUpdate().Model(row).
			Set("claimed = CASE WHEN used_by = ? AND claimed = 0 THEN 0 ELSE ? END", by, now.Unix()).
			Set("used_by = ?", by).Set("attempt = ?", v.hidden("attempt of an invitation", attempt)).
			Where("hash = ? AND expires > ?", hash, now.Unix()).
			Where("(used_by IN ('', ?) OR claimed > 0 AND claimed <= ?)", by, now.Add(-claimLasts).Unix()).Exec(ctx))
		if err != nil || !claimed {
			return err
		}
		valid = equal(row.MAC, v.macOfInvitation(row))
		setup = valid && row.Account == ""
		return nil
	})
	if err != nil {
		return false, false, fmt.Errorf("claiming an invitation: %w", err)
	}
	return valid, setup, nil
}

// SettleInvitation uses up an invitation that an address has claimed, or gives it back if
// the attempt was refused and no other one has claimed it since.
func (v *Vault) SettleInvitation(ctx context.Context, token, address, attempt string, used bool) error {
	hash, by := v.mac("token of an invitation", token), v.hidden("address of an invitation", address)
	// To use it up takes it away: an older copy of the vault must not revive it.
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		q := tx.NewUpdate().Model((*invitation)(nil)).Where("hash = ? AND used_by = ? AND claimed > 0", hash, by)
		if used {
			q = q.Set("claimed = 0")
		} else { // anybody may claim it
			q = q.Set("claimed = ?", givenBack).Where("attempt = ?", v.hidden("attempt of an invitation", attempt))
		}
		settled, err := changed(q.Exec(ctx))
		return settled && used, err
	})
	if err != nil {
		return fmt.Errorf("settling an invitation: %w", err)
	}
	return nil
}

// DropExpiredInvitations deletes invitations that nobody can use any more.
func (v *Vault) DropExpiredInvitations(ctx context.Context) error {
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*invitation)(nil)).Where("expires <= ?", v.now().Unix()).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("dropping expired invitations: %w", err)
	}
	return nil
}

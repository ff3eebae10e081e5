package projections

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/privilege"
	"latchkey/eventstore"
)

// Ending is a device of a live share that ends at a time, or a part of what it gives: by
// the share's terms, its own, or a limit of one of its privileges.
type Ending struct {
	Share   string
	Owner   string // account
	Login   string // keyed hash of the recipient's address
	Account string // that has accepted it
	Device  string
	Until   time.Time // the first end
}

// SharesEnding lists the accepted devices of live shares of which something ends after one
// time and not after another, for reminders, by its first end between them. It reads every
// row with terms or limits. For atLeast see Page.
func (s *Store) SharesEnding(ctx context.Context, after, until time.Time, atLeast eventstore.Position) (list []Ending, err error) {
	err = s.Read(ctx, []string{SentShares}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		var rows []struct {
			Ending
			ShareTerms, Terms Terms
			Grants            Grants
		}
		err := tx.NewSelect().TableExpr("sent_share_devices AS d").Join("JOIN sent_shares AS s ON s.share = d.share").
			ColumnExpr("s.share, s.owner, s.login, d.account, d.device, s.terms AS share_terms, d.terms, d.grants").
			Where("d.status = 'accepted' AND (s.terms <> '' OR d.terms <> '' OR d.grants LIKE ?)", "%until%").OrderExpr("s.opened, d.added, d.device").Scan(ctx, &rows)
		for _, r := range rows {
			r.Until = privilege.EndOf(privilege.Terms(r.ShareTerms), privilege.Terms(r.Terms), r.Grants, after)
			if !r.Until.IsZero() && !r.Until.After(until) {
				list = append(list, r.Ending)
			}
		}
		return err
	})
	return list, wrapped("listing the shares that end", err)
}

package projections

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Ending is a device of a live share that ends at a time, by the share's terms or its own.
type Ending struct {
	Share  string
	Owner  string // account
	Login  string // keyed hash of the recipient's address
	Device string
	Until  time.Time
}

// SharesEnding lists the accepted devices of live shares that end after one time and not
// after another, for reminders. It reads every row with terms. For atLeast see Page.
func (s *Store) SharesEnding(ctx context.Context, after, until time.Time, atLeast eventstore.Position) (list []Ending, err error) {
	err = s.Read(ctx, []string{SentShares}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		var rows []struct {
			Ending
			ShareTerms, Terms Terms
		}
		err := tx.NewSelect().TableExpr("sent_share_devices AS d").Join("JOIN sent_shares AS s ON s.share = d.share").
			ColumnExpr("s.share, s.owner, s.login, d.device, s.terms AS share_terms, d.terms").
			Where("d.status = 'accepted' AND (s.terms <> '' OR d.terms <> '')").OrderExpr("s.opened, d.added, d.device").Scan(ctx, &rows)
		for _, r := range rows {
			r.Until = r.Terms.Until
			if whole := r.ShareTerms.Until; r.Until.IsZero() || !whole.IsZero() && whole.Before(r.Until) {
				r.Until = whole
			}
			if r.Until.After(after) && !r.Until.After(until) {
				list = append(list, r.Ending)
			}
		}
		return err
	})
	return list, wrapped("listing the shares that end", err)
}

package projections

import (
	"context"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Holdings are what an account has, by ids.
type Holdings struct {
	Devices  []string
	Sent     []string // shares
	Received []string // shares with its addresses, verified or not
}

// HoldingsOf lists what an account has, whether it may see all of it or not. For atLeast
// see Page.
func (s *Store) HoldingsOf(ctx context.Context, account string, atLeast eventstore.Position) (h Holdings, err error) {
	err = s.Read(ctx, []string{SentShares, ReceivedShares, Devices, Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		h = Holdings{}
		for _, q := range []struct {
			into  *[]string
			query string
		}{
			{&h.Devices, "SELECT device FROM devices WHERE owner = ? AND removed_at = 0 ORDER BY device"},
			{&h.Sent, "SELECT share FROM sent_shares WHERE owner = ? ORDER BY share"},
			{&h.Received, "SELECT share FROM received_shares WHERE login IN (SELECT login FROM account_logins WHERE account = ?) ORDER BY share"},
		} {
			if err := tx.NewRaw(q.query, account).Scan(ctx, q.into); err != nil {
				return err
			}
		}
		return nil
	})
	return h, wrapped("listing what an account has", err)
}

// HoldingsOf is that of the store, once it has seen a position in the log.
func (r *Runner) HoldingsOf(ctx context.Context, account string, atLeast eventstore.Position) (h Holdings, err error) {
	err = r.ReadAt(ctx, func() (err error) {
		h, err = r.store.HoldingsOf(ctx, account, atLeast)
		return err
	})
	return h, err
}

package projections

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// Holdings are what an account has, by ids.
type Holdings struct {
	Devices  []string
	Sent     []string // shares
	Received []string // shares with its addresses, verified or not
	Accepted []string // shares in which it has accepted a device, by whatever address
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
			{&h.Accepted, "SELECT DISTINCT share FROM received_share_devices WHERE account = ? AND status = 'accepted' ORDER BY share"},
		} {
			if err := tx.NewRaw(q.query, account).Scan(ctx, q.into); err != nil {
				return err
			}
		}
		return nil
	})
	return h, wrapped("listing what an account has", err)
}

// HoldingsOf is that of the store, once it has seen a position in the log and every command
// that this process has acknowledged.
func (r *Runner) HoldingsOf(ctx context.Context, account string, atLeast eventstore.Position) (h Holdings, err error) {
	err = r.Read(ctx, atLeast, func(atLeast eventstore.Position) (err error) {
		h, err = r.store.HoldingsOf(ctx, account, atLeast)
		return err
	})
	return h, err
}

// OffersOf lists the offers of devices that an account has made and that have not ended,
// once the store has seen a position in the log and every command that this process has
// acknowledged.
func (r *Runner) OffersOf(ctx context.Context, account string, atLeast eventstore.Position) (list []string, err error) {
	err = r.Read(ctx, atLeast, func(atLeast eventstore.Position) error {
		return r.store.Read(ctx, []string{Transfers}, atLeast, func(ctx context.Context, tx bun.Tx) error {
			list = nil
			return tx.NewRaw("SELECT transfer FROM transfers WHERE owner = ? AND status = ? ORDER BY position", account, TransferWaits).Scan(ctx, &list)
		})
	})
	return list, wrapped("listing what an account offers", err)
}

// Stranded is a share in which an account has accepted devices, by an address whose login
// it does not have.
type Stranded struct{ Share, Account string }

// Stranded lists what accounts have accepted by an address whose login they do not have, ""
// for any address. For atLeast see Page.
func (s *Store) Stranded(ctx context.Context, login string, atLeast eventstore.Position) (list []Stranded, err error) {
	err = s.Read(ctx, []string{ReceivedShares, Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		q := tx.NewSelect().TableExpr("received_share_devices AS d").ColumnExpr("DISTINCT d.share, d.account").
			Join("JOIN received_shares AS s ON s.share = d.share").Where("d.status = 'accepted'").
			Where("NOT EXISTS (SELECT 1 FROM account_logins AS l WHERE l.login = s.login AND l.account = d.account)")
		if login != "" {
			q = q.Where("s.login = ?", login)
		}
		list = nil
		return q.OrderExpr("d.share, d.account").Scan(ctx, &list)
	})
	return list, wrapped("listing what was accepted by lost addresses", err)
}

// Stranded is that of the store, once it has seen a position in the log.
func (r *Runner) Stranded(ctx context.Context, login string, atLeast eventstore.Position) (list []Stranded, err error) {
	err = r.ReadAt(ctx, func() (err error) {
		list, err = r.store.Stranded(ctx, login, atLeast)
		return err
	})
	return list, err
}

// Unlisted is a device that an account has accepted in a share, while its privileges on the
// device are those of another share, or none.
type Unlisted struct{ Share, Account, Device string }

// settled is how long ago the last change must be for two read models to be compared.
const settled = time.Minute

// Unlisted lists the devices that accounts have accepted while their privileges are not
// those of that share. What was accepted after a time is left out: the read models may have
// seen different parts of the log. For atLeast see Page.
func (s *Store) Unlisted(ctx context.Context, before time.Time, atLeast eventstore.Position) (list []Unlisted, err error) {
	err = s.Read(ctx, []string{ReceivedShares, Privileges}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		list = nil
		return tx.NewSelect().TableExpr("received_share_devices AS d").ColumnExpr("d.share, d.account, d.device").
			Join("JOIN privilege_accounts AS a ON a.account = d.account").Join("JOIN privilege_devices AS v ON v.device = d.device AND v.live = 1").
			Join("LEFT JOIN privilege_shares AS p ON p.pair = (a.no << ?) | v.no", deviceBits).
			Where("d.status = 'accepted' AND d.answered < ? AND (p.share IS NULL OR p.share <> d.share)", micros(before)).
			OrderExpr("d.answered, d.share, d.device").Scan(ctx, &list)
	})
	return list, wrapped("comparing what is accepted with privileges", err)
}

// Unlisted is that of the store, for what was accepted a while ago.
func (r *Runner) Unlisted(ctx context.Context, atLeast eventstore.Position) (list []Unlisted, err error) {
	err = r.Read(ctx, atLeast, func(atLeast eventstore.Position) (err error) {
		list, err = r.store.Unlisted(ctx, time.Now().Add(-settled), atLeast)
		return err
	})
	return list, err
}

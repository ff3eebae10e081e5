package projections

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// Way is a way into a device: a share, or a stream key of its owner.
type Way struct {
	Place int64 // of the first invitation, or of the key's addition, in the log

	Share *SharedWay
	Key   *StreamKey
}

// SharedWay is the way into a device through a share.
type SharedWay struct {
	Share      string
	Kind       string // of the recipient's address: "email" or "phone"
	Recipient  string // sealed address
	Account    string // that accepted it; "" while it is invited
	Name       string // of that account, sealed
	Status     share.Status
	Paused     bool // the share, or the device in it
	Grants     Grants
	Terms      Terms // of the device in the share
	ShareTerms Terms
	InvitedAt  Micros `bun:"invited"`
	AnsweredAt Micros `bun:"answered"` // 0 until it is accepted or rejected
	Added      int64  // its place
	StreamKeys int    // of the account, that can open the device; 0 unless it is accepted

	Changed      Cause `bun:"embed:changed_"` // what gave the device its state in the share
	ShareChanged Cause `bun:"embed:whole_"`   // what paused or resumed the share
}

// Cause returns the event that gave the way its state.
func (w SharedWay) Cause() Cause { return w.Changed.later(w.ShareChanged) }

// wayList has its oldest row first, and newWayList its newest.
var (
	wayList    = engine.List[Way]{Name: "ways", Place: placeOfWay, Weight: weightOfWay}
	newWayList = engine.List[Way]{Name: "new ways", Start: engine.Newest, Place: placeOfWay, Weight: weightOfWay}
)

func placeOfWay(w Way) int64 { return w.Place }

func weightOfWay(w Way) int {
	if w.Share == nil {
		return weightOf(w.Key.Label, nil)
	}
	return weightOf(w.Share.Recipient+w.Share.Name, w.Share.Grants)
}

// WayQuery selects ways into a device of an owner.
type WayQuery struct {
	Owner, Device string
	At            time.Time  // stream keys that have expired then are left out
	Newest        bool       // first
	Match         Match[Way] // nil: all of them
}

// Ways lists the ways into a device of the owner, in the order in which they came to be:
// the shares that it is in, except those that it was removed from, and the owner's stream
// keys that open it. found is false if the owner has no such device.
func (s *Store) Ways(ctx context.Context, q WayQuery, p Page) (list []Way, next string, found bool, err error) {
	ways := wayList
	if q.Newest {
		ways = newWayList
	}
	if _, err := ways.After(p); err != nil {
		return nil, "", false, err
	}
	err = s.Read(ctx, []string{SentShares, Devices, Accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		if found, err = owns(ctx, tx, q.Owner, q.Device); err != nil || !found {
			return err
		}
		read := func(after, n int64) ([]Way, error) { return waysAfter(ctx, tx, q, after, n) }
		list, next, err = ways.Search(p, searched, read, q.Match, func([]Way) error { return nil })
		return err
	})
	return list, next, found, wrapped("listing the ways into a device", err)
}

func owns(ctx context.Context, tx bun.Tx, owner, device string) (bool, error) {
	return tx.NewSelect().TableExpr("devices").Where("device = ? AND owner = ? AND removed_at = 0", device, owner).Exists(ctx)
}

func waysAfter(ctx context.Context, tx bun.Tx, wanted WayQuery, after, n int64) ([]Way, error) {
	inOrder := func(q *bun.SelectQuery, place string) *bun.SelectQuery {
		if wanted.Newest {
			return q.Where(place+" < ?", after).OrderExpr(place + " DESC").Limit(n)
		}
		return q.Where(place+" > ?", after).OrderExpr(place).Limit(n)
	}
	shares, err := sharedWays(ctx, tx, wanted.Owner, wanted.Device, wanted.At, func(q *bun.SelectQuery) *bun.SelectQuery {
		return inOrder(q.Where("d.status <> ?", string(share.StatusRemoved)), "d.added")
	})
	if err != nil {
		return nil, err
	}
	var keys []StreamKey
	err = inOrder(tx.NewSelect().Model(&keys).Where("k.account = ?", wanted.Owner).Where(opens, wanted.Device, micros(wanted.At)), "k.position").Scan(ctx)
	if err != nil {
		return nil, err
	}
	ways := make([]Way, 0, len(shares)+len(keys))
	for i := range shares {
		ways = append(ways, Way{Place: shares[i].Added, Share: &shares[i]})
	}
	for i := range keys {
		ways = append(ways, Way{Place: keys[i].Position, Key: &keys[i]})
	}
	slices.SortFunc(ways, func(a, b Way) int { return cmp.Compare(a.Place, b.Place) })
	if wanted.Newest {
		slices.Reverse(ways)
	}
	return ways[:min(int64(len(ways)), n)], nil
}

// opens is the condition that a stream key opens a device and has not expired.
const opens = "(k.device = '' OR k.device = ?) AND (k.expires = 0 OR k.expires > ?)"

// sharedWays reads the shares of an owner's device that match a condition.
func sharedWays(ctx context.Context, tx bun.Tx, owner, device string, at time.Time, where func(*bun.SelectQuery) *bun.SelectQuery) (rows []SharedWay, err error) {
	keys := tx.NewSelect().TableExpr("stream_keys AS k").ColumnExpr("count(*)").Where("k.account = d.account").Where(opens, device, micros(at))
	err = tx.NewSelect().TableExpr("sent_share_devices AS d").
		Join("JOIN sent_shares AS s ON s.share = d.share AND s.owner = ?", owner).
		ColumnExpr("d.share, s.kind, s.recipient, d.account, d.status, d.grants, d.terms, s.terms AS share_terms, d.invited, d.answered, d.added").
		ColumnExpr("(d.paused <> 0 OR s.paused <> 0) AS paused").
		ColumnExpr("coalesce((SELECT a.name FROM account_people AS a WHERE a.account = d.account), '') AS name").
		ColumnExpr("CASE WHEN d.status = ? THEN (?) ELSE 0 END AS stream_keys", string(share.StatusAccepted), keys).
		ColumnExpr("d.changed_event, d.changed_type, d.changed_at, d.changed_pos").
		ColumnExpr("s.changed_event AS whole_event, s.changed_type AS whole_type, s.changed_at AS whole_at, s.changed_pos AS whole_pos").
		Where("d.device = ?", device).Apply(where).Scan(ctx, &rows)
	return rows, err
}

// Holder is whoever used a device: its owner, or the recipient of a share.
type Holder struct {
	Account   string
	Share     string // "" for the owner
	Kind      string
	Recipient string // sealed address
	Name      string // of the account, sealed
	Open      bool   // the device is accepted in the share; it may be paused
}

// Holders tells an owner whose accounts these are, by the shares that they accepted,
// also if the device was taken out of them, or the share was deleted. Accounts that are
// unknown to the owner are left out. found is false if the owner has no such device.
func (s *Store) Holders(ctx context.Context, owner, device string, accounts []string, atLeast eventstore.Position) (list []Holder, found bool, err error) {
	err = s.Read(ctx, []string{SentShares, ShareHistory, Devices, Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		list = nil
		if found, err = owns(ctx, tx, owner, device); err != nil || !found || len(accounts) == 0 {
			return err
		}
		rows, err := sharedWays(ctx, tx, owner, device, time.Time{}, func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.Where("d.account IN (?)", bun.List(accounts)).OrderExpr("d.account, CASE WHEN d.status = ? THEN 0 ELSE 1 END, d.share", string(share.StatusAccepted))
		})
		if err != nil {
			return err
		}
		for _, r := range rows {
			list = append(list, Holder{Account: r.Account, Share: r.Share, Kind: r.Kind, Recipient: r.Recipient, Name: r.Name, Open: r.Status == share.StatusAccepted})
		}
		list = slices.CompactFunc(list, func(a, b Holder) bool { return a.Account == b.Account })
		gone, err := goneHolders(ctx, tx, owner, unknown(accounts, list))
		list = append(list, gone...)
		return err
	})
	if slices.Contains(accounts, owner) {
		list = append(list, Holder{Account: owner})
	}
	return list, found, wrapped("looking up who used a device", err)
}

func unknown(accounts []string, list []Holder) []string {
	return slices.DeleteFunc(slices.Clone(accounts), func(a string) bool {
		return slices.ContainsFunc(list, func(h Holder) bool { return h.Account == a })
	})
}

// goneHolders finds accounts by the addresses that an owner shares, or shared, with.
func goneHolders(ctx context.Context, tx bun.Tx, owner string, accounts []string) (list []Holder, err error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	var logins []struct{ Login, Account string }
	err = tx.NewSelect().TableExpr("account_logins").Column("login", "account").Where("account IN (?)", bun.List(accounts)).OrderExpr("account, login").Scan(ctx, &logins)
	if err != nil || len(logins) == 0 {
		return nil, err
	}
	of := make(map[string]string, len(logins)) // share -> account
	ids := make([]string, len(logins))
	for i, l := range logins {
		ids[i] = share.ID(owner, l.Login)
		of[ids[i]] = l.Account
	}
	for _, table := range []string{"sent_shares", "share_history"} {
		var rows []Holder
		err = tx.NewSelect().TableExpr(table).Column("share", "kind", "recipient").Where("share IN (?) AND owner = ?", bun.List(ids), owner).OrderExpr("share").Scan(ctx, &rows)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			r.Account = of[r.Share]
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b Holder) int { return strings.Compare(a.Account, b.Account) })
	return slices.CompactFunc(list, func(a, b Holder) bool { return a.Account == b.Account }), nil
}

// AcceptedDevice is a device of an owner that an account has accepted in a share.
type AcceptedDevice struct {
	Share, Device, Account string
	At                     Micros `bun:"answered"`
}

// AcceptedDevices lists the devices that are accepted in shares of an owner, who still has
// them. Shares of others are left out.
func (s *Store) AcceptedDevices(ctx context.Context, owner string, shares []string, atLeast eventstore.Position) (list []AcceptedDevice, err error) {
	err = s.Read(ctx, []string{SentShares, Devices}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		list = nil
		return tx.NewSelect().TableExpr("sent_share_devices AS d").
			Join("JOIN sent_shares AS s ON s.share = d.share AND s.owner = ?", owner).
			Join("JOIN devices AS v ON v.device = d.device AND v.owner = s.owner AND v.removed_at = 0").
			ColumnExpr("d.share, d.device, d.account, d.answered").
			Where("d.share IN (?) AND d.status = ?", bun.List(shares), string(share.StatusAccepted)).
			OrderExpr("d.share, d.added").Scan(ctx, &list)
	})
	return list, wrapped("looking up accepted devices", err)
}

// Having is who has a device.
type Having struct {
	Owner    string
	Channels []int // in order
	Accepted []AcceptedBy
}

// AcceptedBy is an account that has accepted a device through a share. What it may do on
// it now is up to the privilege index.
type AcceptedBy struct{ Account, Share string }

// HavingDevice returns who has a device; false: it is in no account.
func (s *Store) HavingDevice(ctx context.Context, id string) (h Having, found bool, err error) {
	err = s.Read(ctx, []string{Devices, SentShares}, 0, func(ctx context.Context, tx bun.Tx) error {
		var rows []Device
		h, found = Having{}, false
		if err := tx.NewSelect().Model(&rows).Where("d.device = ? AND d.removed_at = 0", id).Scan(ctx); err != nil || len(rows) == 0 {
			return err
		}
		h.Owner, found = rows[0].Owner, true
		for _, c := range rows[0].Channels {
			h.Channels = append(h.Channels, c.Channel)
		}
		slices.Sort(h.Channels)
		return tx.NewSelect().TableExpr("sent_share_devices").ColumnExpr("account, share").
			Where("device = ? AND status = ?", id, string(share.StatusAccepted)).OrderExpr("account").Scan(ctx, &h.Accepted)
	})
	return h, found, wrapped("looking up who has a device", err)
}

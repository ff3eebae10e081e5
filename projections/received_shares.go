package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
)

// receivedShares is what others have shared with a login, whether an account has
// it yet or not. It knows no remark: that is the owner's.
var receivedShares = &projection{
	name:   ReceivedShares,
	tables: []*table{receivedTable, receivedDeviceTable},
	events: shareEvents,
	joins:  []string{Devices, Accounts},
	reducer: func() reducer {
		return folding{[]*table{receivedTable, receivedDeviceTable}, func(rows []*fold, e recorded) { received(rows[0], rows[1], e) }}
	},
}

var receivedTable = &table{
	name: "received_shares", keys: 1,
	columns: []column{
		text("share"), text("owner"), text("login"), text("kind"), text("recipient"), number("opened"), number("revision"),
	},
	indexes: [][]string{{"login", "opened"}},
}

var receivedDeviceTable = &table{
	name: "received_share_devices", keys: 2, wide: true,
	columns: []column{
		text("share"), text("device"), text("status"), text("grants"), text("domain"), number("invited"), number("answered"),
		{name: "added", number: true, first: true}, number("revision"),
	},
}

const receivedRevision = 6

const (
	receivedStatus = 2 + iota
	receivedGrants
	receivedDomain
	_
	receivedAnswered
	_
	receivedDeviceRevision
)

func received(shares, devices *fold, e recorded) {
	set := func(share, device string, cells ...cell) {
		devices.set(key{share, device}, append(cells, cell{receivedDeviceRevision, e.revision})...)
	}
	switch v := e.event.(type) {
	case share.Opened:
		shares.put(v.Share, v.Owner, v.Login, v.Kind, v.Recipient, e.position, e.revision)
	case share.RemarkChanged: // the remark is the owner's, the revision everybody's
		shares.set(key{v.Share}, cell{receivedRevision, e.revision})
	case share.Invited:
		devices.put(v.Share, v.Device, string(share.StatusInvited), grantsText(v.Grants), "", micros(v.At), int64(0), e.position, e.revision)
	case share.Accepted:
		set(v.Share, v.Device, cell{receivedStatus, string(share.StatusAccepted)}, cell{receivedGrants, grantsText(v.Grants)}, cell{receivedAnswered, micros(v.At)})
	case share.PrivilegesEdited:
		set(v.Share, v.Device, cell{receivedGrants, grantsText(v.Grants)})
	case share.Rejected:
		set(v.Share, v.Device, cell{receivedStatus, string(share.StatusRejected)}, cell{receivedGrants, ""}, cell{receivedDomain, ""}, cell{receivedAnswered, micros(v.At)})
	case share.DeviceRemoved:
		set(v.Share, v.Device, cell{receivedStatus, string(share.StatusRemoved)}, cell{receivedGrants, ""}, cell{receivedDomain, ""})
	case share.Left:
		set(v.Share, v.Device, cell{receivedStatus, string(share.StatusLeft)}, cell{receivedGrants, ""}, cell{receivedDomain, ""})
	case share.DomainSet:
		set(v.Share, v.Device, cell{receivedDomain, v.Domain})
	case share.Deleted:
		shares.drop(key{v.Share})
		devices.empty(v.Share)
	}
}

// receivedShareRow is a row of received_shares.
type receivedShareRow struct {
	bun.BaseModel `bun:"table:received_shares,alias:s"`

	Share, Owner, Login, Kind, Recipient string
	Opened, Revision                     int64

	From Person `bun:"embed:from_"`
}

// receivedRows selects rows with their owners.
func receivedRows(tx bun.Tx, rows *[]receivedShareRow) *bun.SelectQuery {
	return tx.NewSelect().Model(rows).ColumnExpr("s.*").
		ColumnExpr("coalesce(f.kind, '') AS from_kind, coalesce(f.address, '') AS from_address, coalesce(f.name, '') AS from_name").
		Join("LEFT JOIN account_logins AS f ON f.account = s.owner AND f.kind <> ''")
}

// active is the condition that a share has something for its recipient.
const active = "EXISTS (SELECT 1 FROM received_share_devices AS d WHERE d.share = s.share AND d.status IN ('invited', 'accepted'))"

// ReceivedShares lists the shares that an account was given and that hold a
// device which it has or may accept, the newest first, with those devices.
func (s *Store) ReceivedShares(ctx context.Context, account string, p Page) (list []Share, next string, err error) {
	err = s.reading(ctx, []*projection{receivedShares, devices, accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = gather(p, "received", newest, func(before int64, n int) ([]placed[Share], error) {
			var rows []receivedShareRow
			err := receivedRows(tx, &rows).
				Where("s.login IN (SELECT login FROM account_logins WHERE account = ?) AND s.opened < ?", account, before).
				Where(active).OrderExpr("s.opened DESC").Limit(int64(n)).Scan(ctx)
			if err != nil {
				return nil, err
			}
			shares, err := receivedOf(ctx, tx, rows)
			return inPlace(shares, rows, func(r receivedShareRow) int64 { return r.Opened }), err
		}, Share.weight)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing received shares: %w", err)
	}
	return list, next, nil
}

// receivedOf completes shares with their devices.
func receivedOf(ctx context.Context, tx bun.Tx, rows []receivedShareRow) ([]Share, error) {
	list := make([]Share, len(rows))
	for i, r := range rows {
		list[i] = Share{ID: r.Share, Owner: r.Owner, Login: r.Login, Kind: r.Kind, Recipient: r.Recipient, From: r.From, Revision: r.Revision}
	}
	var devices []shareDeviceRow
	err := shareDevices(ctx, tx, list, &devices, tx.NewSelect().TableExpr("received_share_devices AS d").
		ColumnExpr("d.share, d.device, d.status, d.grants, d.domain, d.invited, d.answered, d.revision"))
	if err != nil {
		return nil, err
	}
	addDevices(list, devices, func(status string) bool { return share.Device{Status: share.Status(status)}.Active() })
	return list, nil
}

// Share returns a live share, as its owner or its recipient may see it; for
// anybody else it is not found. For atLeast see Page.
func (s *Store) Share(ctx context.Context, account, id string, atLeast uint64) (found Share, ok bool, err error) {
	err = s.reading(ctx, []*projection{sentShares, receivedShares, devices, accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		var list []Share
		var sent []sentShareRow
		err := tx.NewSelect().Model(&sent).Where("s.share = ? AND s.owner = ?", id, account).Scan(ctx)
		if err == nil && len(sent) == 1 {
			list, err = sentOf(ctx, tx, sent)
		} else if err == nil {
			list, err = receivedBy(ctx, tx, account, id)
		}
		if err == nil && len(list) == 1 {
			found, ok = list[0], true
		}
		return err
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Share{}, false, fmt.Errorf("reading a share: %w", err)
	}
	return found, ok, nil
}

func receivedBy(ctx context.Context, tx bun.Tx, account, id string) ([]Share, error) {
	var rows []receivedShareRow
	err := receivedRows(tx, &rows).Where("s.share = ? AND s.login IN (SELECT login FROM account_logins WHERE account = ?)", id, account).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return receivedOf(ctx, tx, rows)
}

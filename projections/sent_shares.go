package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
)

// sentShares is what an owner has shared: the live shares, with the devices that
// are or were in each. A deleted share is gone from it.
var sentShares = &projection{
	name:   SentShares,
	tables: []*table{sentTable, sentDeviceTable},
	events: shareEvents,
	joins:  []string{Devices},
	reducer: func() reducer {
		return folding{[]*table{sentTable, sentDeviceTable}, func(rows []*fold, e recorded) { sent(rows[0], rows[1], e) }}
	},
}

var sentTable = &table{
	name: "sent_shares", keys: 1,
	columns: []column{
		text("share"), text("owner"), text("login"), text("kind"), text("recipient"), text("remark"),
		number("opened"),   // position of the event: the order of the list
		number("revision"), // of the last event that changed this row
	},
	indexes: [][]string{{"owner", "opened"}},
}

const (
	sentRemark   = 5
	sentRevision = 7
)

var sentDeviceTable = &table{
	name: "sent_share_devices", keys: 2, wide: true,
	columns: []column{
		text("share"), text("device"), text("status"), text("grants"), number("invited"), number("answered"),
		{name: "added", number: true, first: true}, // position of the first invitation: the order in the share
		number("revision"),
	},
	indexes: [][]string{{"device"}},
}

const (
	sentStatus = 2 + iota
	sentGrants
	_
	sentAnswered
	_
	sentDeviceRevision
)

func sent(shares, devices *fold, e recorded) {
	set := func(share, device string, cells ...cell) {
		devices.set(key{share, device}, append(cells, cell{sentDeviceRevision, e.revision})...)
	}
	switch v := e.event.(type) {
	case share.Opened:
		shares.put(v.Share, v.Owner, v.Login, v.Kind, v.Recipient, v.Remark, e.position, e.revision)
	case share.RemarkChanged:
		shares.set(key{v.Share}, cell{sentRemark, v.Remark})
		shares.set(key{v.Share}, cell{sentRevision, e.revision})
	case share.Invited:
		devices.put(v.Share, v.Device, string(share.StatusInvited), grantsText(v.Grants), micros(v.At), int64(0), e.position, e.revision)
	case share.Accepted:
		set(v.Share, v.Device, cell{sentStatus, string(share.StatusAccepted)}, cell{sentGrants, grantsText(v.Grants)}, cell{sentAnswered, micros(v.At)})
	case share.PrivilegesEdited:
		set(v.Share, v.Device, cell{sentGrants, grantsText(v.Grants)})
	case share.Rejected:
		set(v.Share, v.Device, cell{sentStatus, string(share.StatusRejected)}, cell{sentGrants, ""}, cell{sentAnswered, micros(v.At)})
	case share.DeviceRemoved:
		set(v.Share, v.Device, cell{sentStatus, string(share.StatusRemoved)}, cell{sentGrants, ""})
	case share.Left:
		set(v.Share, v.Device, cell{sentStatus, string(share.StatusLeft)}, cell{sentGrants, ""})
	case share.DomainSet:
		set(v.Share, v.Device)
	case share.Deleted:
		shares.drop(key{v.Share})
		devices.empty(v.Share)
	}
}

// sentShareRow is a row of sent_shares.
type sentShareRow struct {
	bun.BaseModel `bun:"table:sent_shares,alias:s"`

	Share, Owner, Login, Kind, Recipient, Remark string
	Opened, Revision                             int64
}

// SentShares lists the live shares of an owner, the newest first, with every
// device that was not taken out again.
func (s *Store) SentShares(ctx context.Context, owner string, p Page) (list []Share, next string, err error) {
	err = s.reading(ctx, []*projection{sentShares, devices}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = gather(p, "sent", newest, func(before int64, n int) ([]placed[Share], error) {
			var rows []sentShareRow
			if err := tx.NewSelect().Model(&rows).Where("s.owner = ? AND s.opened < ?", owner, before).OrderExpr("s.opened DESC").Limit(int64(n)).Scan(ctx); err != nil {
				return nil, err
			}
			shares, err := sentOf(ctx, tx, rows)
			return inPlace(shares, rows, func(r sentShareRow) int64 { return r.Opened }), err
		}, Share.weight)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing sent shares: %w", err)
	}
	return list, next, nil
}

// sentOf completes shares with their devices.
func sentOf(ctx context.Context, tx bun.Tx, rows []sentShareRow) ([]Share, error) {
	list := make([]Share, len(rows))
	for i, r := range rows {
		list[i] = Share{ID: r.Share, Owner: r.Owner, Login: r.Login, Kind: r.Kind, Recipient: r.Recipient, Remark: r.Remark, Revision: r.Revision}
	}
	var devices []shareDeviceRow
	err := shareDevices(ctx, tx, list, &devices, tx.NewSelect().TableExpr("sent_share_devices AS d").
		ColumnExpr("d.share, d.device, d.status, d.grants, d.invited, d.answered, d.revision"))
	if err != nil {
		return nil, err
	}
	addDevices(list, devices, func(status string) bool { return status != string(share.StatusRemoved) })
	return list, nil
}

// DeviceShares are the live shares of a device.
type DeviceShares struct {
	Holding []string // those that hold it, whatever became of it there
	Lost    []string // those that it was taken out of
	Seen    uint64   // the position in the log that the rows have seen
}

// SharesWithDevice lists the live shares of a device. For atLeast see Page.
func (s *Store) SharesWithDevice(ctx context.Context, device string, atLeast uint64) (DeviceShares, error) {
	found, err := s.sharesWithDevice(ctx, device)
	if err == nil && found.Seen < atLeast {
		err = &behindError{projection: SentShares, at: found.Seen, want: atLeast}
	}
	if err != nil {
		return DeviceShares{}, fmt.Errorf("listing the shares of a device: %w", err)
	}
	return found, nil
}

// sharesOfDevice is one statement, as a removal waits for it: what it reads is of
// one state.
const sharesOfDevice = `SELECT c.position, coalesce(d.share, ''), coalesce(d.status, '')
	FROM projection_checkpoints AS c LEFT JOIN sent_share_devices AS d ON d.device = $1 WHERE c.name = $2 ORDER BY d.share`

func (s *Store) sharesWithDevice(ctx context.Context, device string) (found DeviceShares, err error) {
	stmt, err := s.asked.get(ctx, s.placed(sharesOfDevice)) //nolint:sqlclosecheck // it is kept
	if err != nil {
		return DeviceShares{}, err
	}
	rows, err := stmt.QueryContext(ctx, device, SentShares)
	if err != nil {
		return DeviceShares{}, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id, status string
		if err := rows.Scan(&found.Seen, &id, &status); err != nil {
			return DeviceShares{}, err
		}
		switch {
		case id == "":
		case status == string(share.StatusRemoved):
			found.Lost = append(found.Lost, id)
		default:
			found.Holding = append(found.Holding, id)
		}
	}
	return found, rows.Err()
}

package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// SentShares is the read model of what owners have shared.
const SentShares = "sent_shares"

// sentShares is what an owner has shared: the live shares, with the devices that are or
// were in each. Deleted shares are removed.
var sentShares = &engine.Projection{
	Name:   SentShares,
	Tables: []*engine.Table{sentTable, sentDeviceTable},
	Events: shareEvents,
	Joins:  []string{Devices, Accounts},
	Of:     senderOf,
	Fold:   func(rows []*engine.Fold, e engine.Record) { sent(rows[0], rows[1], e) },
}

var sentTable = &engine.Table{
	Name: "sent_shares", Keys: 1,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("owner"), engine.Text("login"), engine.Text("kind"), engine.Text("recipient"), engine.Text("remark"),
		engine.Number("opened"),   // position of the event: the order of the list
		engine.Number("revision"), // of the last event that changed this row
		engine.Number("paused"), engine.Text("terms"),
		// The event that paused or resumed the share, or changed its terms; "" for none.
		engine.Text("changed_event"), engine.Text("changed_type"), engine.Number("changed_at"), engine.Number("changed_pos"),
	},
	Indexes: [][]string{{"owner", "opened"}},
}

const (
	sentRemark   = 5
	sentRevision = 7
	sentPaused   = 8
	sentTerms    = 9
	sentChanged  = 10 // and the three columns after it
)

var sentDeviceTable = &engine.Table{
	Name: "sent_share_devices", Keys: 2, Wide: true,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("device"), engine.Text("status"), engine.Text("grants"), engine.Number("invited"), engine.Number("answered"),
		{Name: "added", Number: true, First: true}, // position of the first invitation: the order in the share
		engine.Number("revision"), engine.Number("paused"), engine.Text("terms"),
		engine.Text("account"), // that accepted it, also after it lost it; "" for none
		// The event that gave it its state: status, grants, terms and whether it is paused.
		engine.Text("changed_event"), engine.Text("changed_type"), engine.Number("changed_at"), engine.Number("changed_pos"),
	},
	Indexes: [][]string{{"device"}},
}

const (
	sentStatus = 2 + iota
	sentGrants
	_
	sentAnswered
	_
	sentDeviceRevision
	sentDevicePaused
	sentDeviceTerms
	sentAccount
	sentDeviceChanged // and the three columns after it
)

// changedBy returns the cells of the event that gave a row its state, from a column on.
func changedBy(column int, e engine.Record) []engine.Cell {
	return []engine.Cell{
		engine.To(column, e.Raw.ID.String()), engine.To(column+1, e.Raw.Type), engine.To(column+2, micros(e.Raw.Created)), engine.To(column+3, e.Position),
	}
}

func sent(shares, devices *engine.Fold, e engine.Record) {
	set := func(share, device string, cells ...engine.Cell) {
		cells = append(cells, changedBy(sentDeviceChanged, e)...)
		devices.Set(engine.Key{share, device}, append(cells, engine.To(sentDeviceRevision, e.Revision))...)
	}
	pause := func(share, device string, paused int64) {
		if device != "" {
			set(share, device, engine.To(sentDevicePaused, paused))
			return
		}
		shares.Set(engine.Key{share}, append(changedBy(sentChanged, e), engine.To(sentPaused, paused), engine.To(sentRevision, e.Revision))...)
	}
	switch v := e.Event.(type) {
	case share.Opened:
		shares.Put(v.Share, v.Owner, v.Login, v.Kind, v.Recipient, v.Remark, e.Position, e.Revision, int64(0), termsText(v.Terms),
			"", "", int64(0), int64(0))
	case share.RemarkChanged:
		shares.Set(engine.Key{v.Share}, engine.To(sentRemark, v.Remark))
		shares.Set(engine.Key{v.Share}, engine.To(sentRevision, e.Revision))
	case share.Invited:
		devices.Put(v.Share, v.Device, string(share.StatusInvited), grantsText(v.Grants), micros(v.At), int64(0), e.Position, e.Revision, int64(0), termsText(v.Terms),
			"", e.Raw.ID.String(), e.Raw.Type, micros(e.Raw.Created), e.Position)
	case share.Accepted:
		set(v.Share, v.Device, engine.To(sentStatus, string(share.StatusAccepted)), engine.To(sentGrants, grantsText(v.Grants)), engine.To(sentDeviceTerms, termsText(v.Terms)),
			engine.To(sentAnswered, micros(v.At)), engine.To(sentAccount, v.Account))
	case share.PrivilegesEdited:
		set(v.Share, v.Device, engine.To(sentGrants, grantsText(v.Grants)), engine.To(sentDeviceTerms, termsText(v.Terms)))
	case share.Rejected:
		set(v.Share, v.Device, engine.To(sentStatus, string(share.StatusRejected)), engine.To(sentGrants, ""), engine.To(sentDevicePaused, int64(0)), engine.To(sentDeviceTerms, ""), engine.To(sentAnswered, micros(v.At)))
	case share.DeviceRemoved:
		set(v.Share, v.Device, engine.To(sentStatus, string(share.StatusRemoved)), engine.To(sentGrants, ""), engine.To(sentDevicePaused, int64(0)), engine.To(sentDeviceTerms, ""))
	case share.Left:
		set(v.Share, v.Device, engine.To(sentStatus, string(share.StatusLeft)), engine.To(sentGrants, ""), engine.To(sentDevicePaused, int64(0)), engine.To(sentDeviceTerms, ""))
	case share.DomainSet:
		devices.Set(engine.Key{v.Share, v.Device}, engine.To(sentDeviceRevision, e.Revision))
	case share.Dismissed: // only the revision is of interest
		devices.Set(engine.Key{v.Share, v.Device}, engine.To(sentDeviceRevision, e.Revision))
	case share.Paused:
		pause(v.Share, v.Device, 1)
	case share.Resumed:
		pause(v.Share, v.Device, 0)
	case share.TermsChanged:
		shares.Set(engine.Key{v.Share}, append(changedBy(sentChanged, e), engine.To(sentTerms, termsText(v.Terms)), engine.To(sentRevision, e.Revision))...)
	case share.Deleted:
		shares.Drop(engine.Key{v.Share})
		devices.Empty(v.Share)
	}
}

// senderOf returns the owner whose sent shares an event changes. Events whose effect is not
// certain to end at that owner's list are everybody's: those that are not listed here.
func senderOf(e engine.Record) string {
	switch v := e.Event.(type) {
	case share.Opened, share.RemarkChanged, share.Invited, share.Accepted, share.PrivilegesEdited, share.Rejected,
		share.DeviceRemoved, share.Left, share.DomainSet, share.Dismissed, share.Paused, share.Resumed, share.TermsChanged, share.Deleted:
		return v.(share.Event).Subjects().Owner
	}
	return ""
}

var sentList = engine.List[Share]{Name: "sent", Start: engine.Newest, Place: opened, Weight: Share.weight}

// SentShares lists the live shares of an owner, the newest first, with every device that
// was not removed again. It sets the Seen of the page.
func (s *Store) SentShares(ctx context.Context, owner string, p Page) (list []Share, next string, err error) {
	err = s.ReadPage(ctx, []string{SentShares, Devices}, p, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = sentList.Page(p, func(before, n int64) ([]Share, error) {
			return sentBy(ctx, tx, func(q *bun.SelectQuery) *bun.SelectQuery {
				return q.Where("s.owner = ? AND s.opened < ?", owner, before).OrderExpr("s.opened DESC").Limit(n)
			})
		})
		return err
	})
	return list, next, wrapped("listing sent shares", err)
}

// sentBy reads the sent shares that match a condition, with their devices.
func sentBy(ctx context.Context, tx bun.Tx, where func(*bun.SelectQuery) *bun.SelectQuery) (list []Share, err error) {
	err = tx.NewSelect().Model(&list).ModelTableExpr("sent_shares AS s").ColumnExpr("s.*").Apply(where).Scan(ctx)
	if err != nil {
		return nil, err
	}
	devices := tx.NewSelect().TableExpr("sent_share_devices AS d").
		ColumnExpr("d.share, d.device, d.status, d.grants, d.invited, d.answered, d.revision, d.paused, d.terms")
	return list, addDevices(ctx, list, devices, func(status share.Status) bool { return status != share.StatusRemoved })
}

// DeviceShares are the live shares of a device.
type DeviceShares struct {
	Holding []string            // those that hold it, in any status
	Lost    []string            // those that it was removed from
	Seen    eventstore.Position // the position in the log that the rows have seen
}

// SharesWithDevice lists the live shares of a device. For atLeast see Page.
func (s *Store) SharesWithDevice(ctx context.Context, device string, atLeast eventstore.Position) (DeviceShares, error) {
	found, err := s.sharesWithDevice(ctx, device)
	if err == nil && found.Seen < atLeast {
		err = engine.Behind(SentShares, found.Seen, atLeast)
	}
	if err != nil {
		return DeviceShares{}, fmt.Errorf("listing the shares of a device: %w", err)
	}
	return found, nil
}

// sharesOfDevice is one statement, as a removal waits for it: it reads one state.
const sharesOfDevice = `SELECT c.position, coalesce(d.share, ''), coalesce(d.status, '')
	FROM projection_checkpoints AS c LEFT JOIN sent_share_devices AS d ON d.device = $1 WHERE c.name = $2 ORDER BY d.share`

func (s *Store) sharesWithDevice(ctx context.Context, device string) (found DeviceShares, err error) {
	stmt, err := s.Prepared(ctx, sharesOfDevice) //nolint:sqlclosecheck // it is kept
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

// SharesWithDevice lists the live shares that hold a device, in any status, when the read
// model has seen a position, and those that it may have been removed from after that.
// ErrBehind: the context ended first.
//
// It does not wait for a checkpoint to be written: if this process has read the log up to
// the position, the rows at its checkpoint are complete.
func (r *Runner) SharesWithDevice(ctx context.Context, device string, atLeast eventstore.Position) (holding, lost []string, err error) {
	if err := r.Covered(ctx, SentShares, atLeast); err != nil {
		return nil, nil, fmt.Errorf("listing the shares of a device: %w", err)
	}
	written := min(atLeast, r.Written(SentShares))
	err = r.ReadAt(ctx, func() error {
		found, err := r.store.SharesWithDevice(ctx, device, written)
		holding, lost = found.Holding, found.Lost
		if found.Seen <= atLeast {
			lost = nil
		}
		return err
	})
	return holding, lost, err
}

// SharesHolding lists the live shares that hold a device, and waits until the rows have
// seen the position.
func (r *Runner) SharesHolding(ctx context.Context, device string, atLeast eventstore.Position) (shares []string, err error) {
	err = r.ReadAt(ctx, func() error {
		found, err := r.store.SharesWithDevice(ctx, device, atLeast)
		shares = found.Holding
		return err
	})
	return shares, err
}

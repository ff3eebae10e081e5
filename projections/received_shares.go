package projections

import (
	"context"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// ReceivedShares is the read model of what was shared with logins.
const ReceivedShares = "received_shares"

// receivedShares is what others have shared with a login, whether it has an account yet
// or not. It does not contain the remark: that is only for the owner.
var receivedShares = &engine.Projection{
	Name:   ReceivedShares,
	Tables: []*engine.Table{receivedTable, receivedDeviceTable},
	Events: shareEvents,
	Joins:  []string{Devices, Accounts},
	Fold:   func(rows []*engine.Fold, e engine.Record) { received(rows[0], rows[1], e) },
}

var receivedTable = &engine.Table{
	Name: "received_shares", Keys: 1,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("owner"), engine.Text("login"), engine.Text("kind"), engine.Text("recipient"), engine.Number("opened"), engine.Number("revision"), engine.Number("paused"), engine.Text("terms"),
	},
	Indexes: [][]string{{"login", "opened"}},
}

var receivedDeviceTable = &engine.Table{
	Name: "received_share_devices", Keys: 2, Wide: true,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("device"), engine.Text("status"), engine.Text("grants"), engine.Text("domain"), engine.Number("invited"), engine.Number("answered"),
		{Name: "added", Number: true, First: true}, engine.Number("revision"), engine.Number("paused"), engine.Text("terms"),
		engine.Text("account"), // that answered last, also after it lost the device; "" for none
	},
	Indexes: [][]string{{"account"}},
}

const (
	receivedRevision = 6
	receivedPaused   = 7
	receivedTerms    = 8
)

const (
	receivedStatus = 2 + iota
	receivedGrants
	receivedDomain
	_
	receivedAnswered
	_
	receivedDeviceRevision
	receivedDevicePaused
	receivedDeviceTerms
	receivedAccount
)

func received(shares, devices *engine.Fold, e engine.Record) {
	set := func(share, device string, cells ...engine.Cell) {
		devices.Set(engine.Key{share, device}, append(cells, engine.To(receivedDeviceRevision, e.Revision))...)
	}
	pause := func(share, device string, paused int64) {
		if device != "" {
			set(share, device, engine.To(receivedDevicePaused, paused))
			return
		}
		shares.Set(engine.Key{share}, engine.To(receivedPaused, paused), engine.To(receivedRevision, e.Revision))
	}
	switch v := e.Event.(type) {
	case share.Opened:
		shares.Put(v.Share, v.Owner, v.Login, v.Kind, v.Recipient, e.Position, e.Revision, int64(0), termsText(v.Terms))
	case share.RemarkChanged: // the remark is only for the owner, the revision for both
		shares.Set(engine.Key{v.Share}, engine.To(receivedRevision, e.Revision))
	case share.Invited:
		devices.Put(v.Share, v.Device, string(share.StatusInvited), grantsText(v.Grants), "", micros(v.At), int64(0), e.Position, e.Revision, int64(0), termsText(v.Terms), "")
	case share.Accepted:
		set(v.Share, v.Device, engine.To(receivedStatus, string(share.StatusAccepted)), engine.To(receivedGrants, grantsText(v.Grants)), engine.To(receivedDeviceTerms, termsText(v.Terms)), engine.To(receivedAnswered, micros(v.At)), engine.To(receivedAccount, v.Account))
	case share.PrivilegesEdited:
		set(v.Share, v.Device, engine.To(receivedGrants, grantsText(v.Grants)), engine.To(receivedDeviceTerms, termsText(v.Terms)))
	case share.Rejected:
		set(v.Share, v.Device, engine.To(receivedStatus, string(share.StatusRejected)), engine.To(receivedGrants, ""), engine.To(receivedDomain, ""), engine.To(receivedDevicePaused, int64(0)), engine.To(receivedDeviceTerms, ""), engine.To(receivedAnswered, micros(v.At)), engine.To(receivedAccount, v.Account))
	case share.DeviceRemoved:
		set(v.Share, v.Device, engine.To(receivedStatus, string(share.StatusRemoved)), engine.To(receivedGrants, ""), engine.To(receivedDomain, ""), engine.To(receivedDevicePaused, int64(0)), engine.To(receivedDeviceTerms, ""))
	case share.Left:
		set(v.Share, v.Device, engine.To(receivedStatus, string(share.StatusLeft)), engine.To(receivedGrants, ""), engine.To(receivedDomain, ""), engine.To(receivedDevicePaused, int64(0)), engine.To(receivedDeviceTerms, ""), engine.To(receivedAccount, v.Account))
	case share.DomainSet:
		set(v.Share, v.Device, engine.To(receivedDomain, v.Domain))
	case share.Dismissed: // only the revision is of interest
		set(v.Share, v.Device)
	case share.Paused:
		pause(v.Share, v.Device, 1)
	case share.Resumed:
		pause(v.Share, v.Device, 0)
	case share.TermsChanged:
		shares.Set(engine.Key{v.Share}, engine.To(receivedTerms, termsText(v.Terms)), engine.To(receivedRevision, e.Revision))
	case share.Deleted:
		shares.Drop(engine.Key{v.Share})
		devices.Empty(v.Share)
	}
}

// mine is the condition that a share is for an account.
func (s *Store) mine() string {
	return "s.login IN (SELECT login FROM account_logins WHERE " + s.ofAccount() + ")"
}

// active is the condition that a share has something for an account that has the address:
// a device that waits for it, or that it has accepted.
const active = "EXISTS (SELECT 1 FROM received_share_devices AS d WHERE d.share = s.share AND (d.status = 'invited' OR d.status = 'accepted' AND d.account = ?))"

// concerns is the condition that a share is any of an account's that has the address: it is
// not if only earlier holders of the address have answered it. See
// share.State.ConcernsRecipient.
const concerns = `(EXISTS (SELECT 1 FROM received_share_devices AS d WHERE d.share = s.share AND (d.status = 'invited' OR d.account = ?))
	OR NOT EXISTS (SELECT 1 FROM received_share_devices AS d WHERE d.share = s.share AND d.account <> ''))`

var receivedList = engine.List[Share]{Name: "received", Start: engine.Newest, Place: opened, Weight: Share.weight}

// ReceivedShares lists an account's received shares that have a device which it has or
// may accept, the newest first, with those devices. One that the account made itself, with
// an address that became its own later, is not received. It sets the Seen of the page.
func (s *Store) ReceivedShares(ctx context.Context, account string, p Page) (list []Share, next string, err error) {
	err = s.ReadPage(ctx, []string{ReceivedShares, Devices, Accounts}, p, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = receivedList.Page(p, func(before, n int64) ([]Share, error) {
			return receivedBy(ctx, tx, account, func(q *bun.SelectQuery) *bun.SelectQuery {
				return q.Where(s.mine()+" AND s.owner <> ? AND s.opened < ?", account, account, before).Where(active, account).OrderExpr("s.opened DESC").Limit(n)
			})
		})
		return err
	})
	return list, next, wrapped("listing received shares", err)
}

// receivedBy reads the received shares that match a condition, with their owners and the
// devices that an account may see: not those that earlier holders of the address answered.
func receivedBy(ctx context.Context, tx bun.Tx, account string, where func(*bun.SelectQuery) *bun.SelectQuery) (list []Share, err error) {
	err = tx.NewSelect().Model(&list).ModelTableExpr("received_shares AS s").ColumnExpr("s.*").
		ColumnExpr("coalesce(f.kind, '') AS from_kind, coalesce(f.address, '') AS from_address, coalesce(f.name, '') AS from_name").
		Join("LEFT JOIN account_people AS f ON f.account = s.owner").Apply(where).Scan(ctx)
	if err != nil {
		return nil, err
	}
	devices := tx.NewSelect().TableExpr("received_share_devices AS d").
		ColumnExpr("d.share, d.device, d.status, d.grants, d.domain, d.invited, d.answered, d.revision, d.paused, d.terms").
		Where("d.account IN ('', ?)", account)
	return list, addDevices(ctx, list, devices, func(status share.Status) bool { return share.Device{Status: status}.Active() })
}

// Share returns a live share, as its owner or its recipient may see it; for others it is
// not found. For atLeast see Page.
func (s *Store) Share(ctx context.Context, account, id string, atLeast eventstore.Position) (found Share, ok bool, err error) {
	var list []Share
	err = s.Read(ctx, []string{SentShares, ReceivedShares, Devices, Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		list, err = sentBy(ctx, tx, func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.Where("s.share = ? AND s.owner = ?", id, account)
		})
		if err == nil && len(list) == 0 {
			list, err = receivedBy(ctx, tx, account, func(q *bun.SelectQuery) *bun.SelectQuery {
				return q.Where("s.share = ? AND "+s.mine(), id, account).Where(concerns, account)
			})
		}
		if err != nil || len(list) != 1 {
			return err
		}
		return addCameras(ctx, tx, &list[0])
	})
	if err != nil || len(list) != 1 {
		return Share{}, false, wrapped("reading a share", err)
	}
	return list[0], true, nil
}

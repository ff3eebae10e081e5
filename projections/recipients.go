package projections

import (
	"context"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
	"latchkey/projections/engine"
)

// Recipients is the read model of everybody with whom owners have shared.
const Recipients = "recipients"

// recipients has one row for each owner and recipient, whether the share is live or was
// deleted, until the owner forgets the recipient. The devices are those that were invited
// or accepted when the share was last live.
var recipients = &engine.Projection{
	Name:   Recipients,
	Tables: []*engine.Table{recipientTable, recipientDeviceTable},
	Events: []string{
		share.Opened{}.Type(), share.RemarkChanged{}.Type(), share.TermsChanged{}.Type(), share.Invited{}.Type(), share.PrivilegesEdited{}.Type(), share.Rejected{}.Type(),
		share.Left{}.Type(), share.DeviceRemoved{}.Type(), share.Deleted{}.Type(), share.RecipientForgotten{}.Type(),
	},
	Joins: []string{Devices},
	Fold:  func(rows []*engine.Fold, e engine.Record) { recipientRows(rows[0], rows[1], e) },
}

var recipientTable = &engine.Table{
	Name: "recipients", Keys: 1,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("owner"), engine.Text("kind"), engine.Text("recipient"), engine.Text("remark"), engine.Number("used_at"),
		engine.Number("position"),   // of the last use: the order of the list
		engine.Number("deleted_at"), // 0: the share is live
		engine.Text("terms"),        // of the whole share
	},
	Indexes: [][]string{{"owner", "position"}},
}

const (
	recipientRemark = 4 + iota
	recipientUsedAt
	recipientPosition
	recipientDeletedAt
	recipientTerms
)

var recipientDeviceTable = &engine.Table{
	Name: "recipient_devices", Keys: 2, Wide: true,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("device"), engine.Text("grants"),
		{Name: "added", Number: true, First: true}, // position of the first invitation: the order in the share
		engine.Text("terms"),
	},
}

const (
	recipientGrants      = 2
	recipientDeviceTerms = 4
)

func recipientRows(rows, devices *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case share.Opened:
		rows.Put(v.Share, v.Owner, v.Kind, v.Recipient, v.Remark, micros(v.At), e.Position, int64(0), termsText(v.Terms))
		devices.Empty(v.Share)
	case share.RemarkChanged:
		rows.Set(engine.Key{v.Share}, engine.To(recipientRemark, v.Remark))
	case share.TermsChanged:
		rows.Set(engine.Key{v.Share}, engine.To(recipientTerms, termsText(v.Terms)))
	case share.Invited:
		rows.Set(engine.Key{v.Share}, engine.To(recipientUsedAt, micros(v.At)), engine.To(recipientPosition, e.Position))
		devices.Put(v.Share, v.Device, grantsText(v.Grants), e.Position, termsText(v.Terms))
	case share.PrivilegesEdited:
		devices.Set(engine.Key{v.Share, v.Device}, engine.To(recipientGrants, grantsText(v.Grants)), engine.To(recipientDeviceTerms, termsText(v.Terms)))
	case share.Rejected:
		devices.Drop(engine.Key{v.Share, v.Device})
	case share.Left:
		devices.Drop(engine.Key{v.Share, v.Device})
	case share.DeviceRemoved:
		if v.Reason != share.ShareDeleted { // otherwise it is kept, to share it again
			devices.Drop(engine.Key{v.Share, v.Device})
		}
	case share.Deleted:
		rows.Set(engine.Key{v.Share}, engine.To(recipientDeletedAt, max(micros(v.At), 1)))
	case share.RecipientForgotten:
		rows.Drop(engine.Key{v.Share})
		devices.Empty(v.Share)
	}
}

// Recipient is somebody with whom an owner has shared.
type Recipient struct {
	bun.BaseModel `bun:"table:recipients,alias:r"`

	Share     string
	Owner     string // account
	Kind      string // "email" or "phone"
	Recipient string // sealed
	Remark    string // sealed
	UsedAt    Micros // when something was last shared with them
	Position  int64  // of that, in the log
	DeletedAt Micros // 0: the share is live
	Terms     Terms  // of the whole share

	Devices []RecipientDevice `bun:"-"`
}

func (r *Recipient) formOf() (string, *[]RecipientDevice) { return r.Share, &r.Devices }

// RecipientDevice is a device as it was last shared with a recipient, and that the owner
// still has.
type RecipientDevice struct {
	Share  string
	Device string
	Name   string // sealed
	Grants Grants
	Terms  Terms
}

// Match reports whether a row is wanted.
type Match[Row any] func(Row) (bool, error)

// searched is how many rows a page of a search looks at. It may then have fewer rows than
// wanted, and still have a next page.
const searched = 1000

var recipientList = engine.List[Recipient]{
	Name: "recipients", Start: engine.Newest, Place: func(r Recipient) int64 { return r.Position },
	Weight: func(r Recipient) int { return len(r.Recipient) + len(r.Remark) + weightOfForm(r.Devices) },
}

func weightOfForm(devices []RecipientDevice) (w int) {
	for _, d := range devices {
		w += weightOf(d.Name, d.Grants)
	}
	return w
}

// Recipients lists everybody with whom an owner has shared, the last used first. match
// may be nil: then everybody is wanted.
func (s *Store) Recipients(ctx context.Context, owner string, p Page, match Match[Recipient]) (list []Recipient, next string, err error) {
	if _, err := recipientList.After(p); err != nil {
		return nil, "", err
	}
	err = s.Read(ctx, []string{Recipients, Devices}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		read := func(before, n int64) (rows []Recipient, err error) {
			err = tx.NewSelect().Model(&rows).Where("r.owner = ? AND r.position < ?", owner, before).OrderExpr("r.position DESC").Limit(n).Scan(ctx)
			return rows, err
		}
		fill := func(rows []Recipient) error { return addForms(ctx, tx, owner, rows, (*Recipient).formOf) }
		list, next, err = recipientList.Search(p, searched, read, match, fill)
		return err
	})
	return list, next, wrapped("listing recipients", err)
}

// addForms adds to each row the devices that its share has, or had when it was last
// live, as far as the owner still has them.
func addForms[Row any](ctx context.Context, tx bun.Tx, owner string, rows []Row, of func(*Row) (share string, devices *[]RecipientDevice)) error {
	if len(rows) == 0 {
		return nil
	}
	ids := make([]string, len(rows))
	into := make(map[string]*[]RecipientDevice, len(rows))
	for i := range rows {
		id, devices := of(&rows[i])
		ids[i], into[id] = id, devices
	}
	var devices []RecipientDevice
	err := tx.NewSelect().TableExpr("recipient_devices AS d").ColumnExpr("d.share, d.device, d.grants, d.terms, n.name").
		Join("JOIN devices AS n ON n.device = d.device AND n.owner = ? AND n.removed_at = 0", owner).
		Where("d.share IN (?)", bun.List(ids)).OrderExpr("d.added, d.device").Scan(ctx, &devices)
	if err != nil {
		return err
	}
	for _, d := range devices {
		*into[d.Share] = append(*into[d.Share], d)
	}
	return nil
}

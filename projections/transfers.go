package projections

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/device"
	"latchkey/projections/engine"
)

// Transfers is the read model of devices that are offered to other accounts.
const Transfers = "transfers"

// transfers has one row for each offer, for whoever holds the login that it was made to.
var transfers = &engine.Projection{
	Name:   Transfers,
	Tables: []*engine.Table{transferTable},
	Events: []string{device.TransferOffered{}.Type(), device.TransferEnded{}.Type(), device.Removed{}.Type()},
	Joins:  []string{Devices, Accounts},
	Fold:   func(rows []*engine.Fold, e engine.Record) { transferRows(rows[0], e) },
}

var transferTable = &engine.Table{
	Name: "transfers", Keys: 2,
	Columns: []engine.Column{
		engine.Text("device"), engine.Text("transfer"), engine.Text("owner"), engine.Text("login"), engine.Text("kind"), engine.Text("recipient"), engine.Text("shares"),
		engine.Number("offered_at"), engine.Number("until"),
		engine.Text("status"), engine.Number("ended_at"),
		engine.Number("position"), // of the offer: the order of the list
	},
	Indexes: [][]string{{"owner", "position"}, {"login", "position"}},
}

const (
	transferStatus  = 9
	transferEndedAt = 10
)

// The statuses of an offer. One that has expired is still waiting here: time passes
// without an event.
const (
	TransferWaits    = "waiting"
	TransferAccepted = "accepted"
	TransferExpired  = "expired"
)

func transferRows(rows *engine.Fold, e engine.Record) {
	ended := func(id string, number int, status string, at time.Time) {
		rows.Set(engine.Key{id, device.TransferID(id, number)}, engine.To(transferStatus, status), engine.To(transferEndedAt, micros(at)))
	}
	switch v := e.Event.(type) {
	case device.TransferOffered:
		t := v.Transfer
		rows.Put(v.Device, device.TransferID(v.Device, t.Number), v.Owner, t.Login, t.Kind, t.To, string(t.Shares), micros(t.At), micros(t.Until), TransferWaits, int64(0), e.Position)
	case device.TransferEnded:
		ended(v.Device, v.Number, string(v.Why), v.At)
	case device.Removed:
		switch {
		case v.Transfer == 0:
		case v.How == device.ByTransfer:
			ended(v.Device, v.Transfer, TransferAccepted, v.At)
		default:
			ended(v.Device, v.Transfer, string(device.Withdrawn), v.At)
		}
	}
}

// Transfer is an offer of a device, as its owner and whom it was made to see it.
type Transfer struct {
	bun.BaseModel `bun:"table:transfers,alias:t"`

	Device    string
	ID        string `bun:"transfer"`
	Owner     string // account
	Login     string
	Kind      string // of the address: "email" or "phone"
	Recipient string // sealed address
	Shares    string
	OfferedAt Micros
	Until     Micros
	Status    string
	EndedAt   Micros // 0: it has not
	Position  int64  // of the offer, in the log
	From      Person `bun:"embed:from_"` // the owner
	Name      string // of the device, sealed
	Model     string // "" if it is not known
}

var transferList = engine.List[Transfer]{
	Name: "transfers", Start: engine.Newest, Place: func(t Transfer) int64 { return t.Position },
	Weight: func(t Transfer) int { return len(t.Name) + len(t.Recipient) + len(t.From.Name) + len(t.From.Address) },
}

// Transfers lists the offers that an account has made, and those that wait for its
// decision at a time, the newest first.
func (s *Store) Transfers(ctx context.Context, account string, now time.Time, p Page) (list []Transfer, next string, err error) {
	if _, err := transferList.After(p); err != nil {
		return nil, "", err
	}
	// Whoever holds the login later must not see what became of the offers of before.
	const waits = "t.status = '" + TransferWaits + "' AND t.until > ? AND n.removed_at = 0 AND t.owner <> ?"
	forMe := "t.login IN (SELECT login FROM account_logins WHERE " + s.ofAccount() + ")"
	err = s.Read(ctx, []string{Transfers, Devices, Accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = transferList.Page(p, func(before, n int64) (rows []Transfer, err error) {
			err = tx.NewSelect().Model(&rows).ColumnExpr("t.*").
				ColumnExpr("coalesce(f.kind, '') AS from_kind, coalesce(f.address, '') AS from_address, coalesce(f.name, '') AS from_name, n.name AS name, n.model AS model").
				Join("LEFT JOIN account_people AS f ON f.account = t.owner").
				Join("JOIN devices AS n ON n.device = t.device").
				Where("t.owner = ? OR ("+forMe+" AND "+waits+")", account, account, micros(now), account).
				Where("t.position < ?", before).OrderExpr("t.position DESC").Limit(n).Scan(ctx)
			return rows, err
		})
		return err
	})
	return list, next, wrapped("listing transfers", err)
}

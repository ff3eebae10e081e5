package projections

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/device"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/projections/engine"
)

// Reclaims is the read model of claims to devices of other accounts.
const Reclaims = "reclaims"

// reclaims has one row for each device and each account that claims it: the last claim.
var reclaims = &engine.Projection{
	Name:   Reclaims,
	Tables: []*engine.Table{reclaimTable},
	Events: []string{reclaim.Claimed{}.Type(), reclaim.Ended{}.Type(), device.Removed{}.Type()},
	Joins:  []string{Devices, Accounts},
	Fold:   func(rows []*engine.Fold, e engine.Record) { reclaimRows(rows[0], e) },
}

var reclaimTable = &engine.Table{
	Name: "reclaims", Keys: 2,
	Columns: []engine.Column{
		engine.Text("device"), engine.Text("account"), engine.Text("serial"), engine.Text("owner"), engine.Number("claimed_at"), engine.Number("ready_at"),
		engine.Text("ended"), engine.Number("ended_at"),
		engine.Number("position"), // of the claim: the order of the lists
	},
	Indexes: [][]string{{"owner", "position"}, {"account", "position"}},
}

const (
	reclaimEnded   = 6
	reclaimEndedAt = 7
)

func reclaimRows(rows *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case reclaim.Claimed:
		rows.Put(v.Device, v.Account, v.Serial, v.Owner, micros(v.At), micros(v.Ready), "", int64(0), e.Position)
	case reclaim.Ended:
		rows.Set(engine.Key{v.Device, v.Account}, engine.To(reclaimEnded, string(v.Why)), engine.To(reclaimEndedAt, micros(v.At)))
	case device.Removed:
		if v.How != device.ByReclaim { // else the owner before can read who got it
			rows.Empty(v.Device)
		}
	}
}

// Reclaim is a claim to a device, as its owner and the claimant see it.
type Reclaim struct {
	bun.BaseModel `bun:"table:reclaims,alias:r"`

	Device    string
	Account   string // that claims
	Serial    string // canonical
	Owner     string
	ClaimedAt Micros
	ReadyAt   Micros
	Ended     string // "" if it has not
	EndedAt   Micros
	Position  int64  // of the claim, in the log
	Gone      bool   // the device is not its owner's any more
	From      Person `bun:"embed:from_"` // the claimant
	Name      string // of the device, sealed
	Model     string // "" if it is not known
}

// ID returns the id of the claim.
func (r Reclaim) ID() string { return request.ID(r.Serial, r.Account) }

var reclaimList = engine.List[Reclaim]{
	Name: "reclaims", Start: engine.Newest, Place: func(r Reclaim) int64 { return r.Position },
	Weight: func(r Reclaim) int { return len(r.Name) + len(r.From.Name) + len(r.From.Address) },
}

// Reclaims lists the claims to devices of an account, and those that it has made, the
// newest first.
func (s *Store) Reclaims(ctx context.Context, account string, p Page) (list []Reclaim, next string, err error) {
	if _, err := reclaimList.After(p); err != nil {
		return nil, "", err
	}
	err = s.Read(ctx, []string{Reclaims, Devices, Accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = reclaimList.Page(p, func(before, n int64) (rows []Reclaim, err error) {
			err = tx.NewSelect().Model(&rows).ColumnExpr("r.*").
				ColumnExpr("coalesce(f.kind, '') AS from_kind, coalesce(f.address, '') AS from_address, coalesce(f.name, '') AS from_name, n.name AS name, n.model AS model, n.removed_at <> 0 AS gone").
				Join("LEFT JOIN account_people AS f ON f.account = r.account").
				Join("JOIN devices AS n ON n.device = r.device").
				Where("r.owner = ? OR r.account = ?", account, account).
				Where("r.position < ?", before).OrderExpr("r.position DESC").Limit(n).Scan(ctx)
			return rows, err
		})
		return err
	})
	return list, next, wrapped("listing claims to devices", err)
}

// ReclaimsOf counts the claims to a device that wait at a time.
func (s *Store) ReclaimsOf(ctx context.Context, device string, now time.Time) (n int, err error) {
	err = s.Read(ctx, []string{Reclaims}, 0, func(ctx context.Context, tx bun.Tx) error {
		count, err := tx.NewSelect().Model((*Reclaim)(nil)).Where("r.device = ? AND r.ended = '' AND r.ready_at > ?", device, micros(now.Add(-reclaim.Lasts))).Count(ctx)
		n = int(count)
		return err
	})
	return n, wrapped("counting claims to a device", err)
}

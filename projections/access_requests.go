package projections

import (
	"context"

	"github.com/uptrace/bun"

	"latchkey/domain/device"
	"latchkey/domain/request"
	"latchkey/projections/engine"
)

// AccessRequests is the read model of requests for access to devices of others.
const AccessRequests = "access_requests"

// accessRequests has one row for each request that its owner has not dismissed. What was
// asked for a serial that no account had is in no row.
var accessRequests = &engine.Projection{
	Name:   AccessRequests,
	Tables: []*engine.Table{accessRequestTable},
	Events: []string{request.Requested{}.Type(), request.Dismissed{}.Type(), device.Removed{}.Type()},
	Joins:  []string{Devices, Accounts, SentShares},
	Fold:   func(rows []*engine.Fold, e engine.Record) { accessRequestRows(rows[0], e) },
}

var accessRequestTable = &engine.Table{
	Name: "access_requests", Keys: 2,
	Columns: []engine.Column{
		engine.Text("device"), engine.Text("account"), engine.Text("serial"), engine.Text("owner"), engine.Text("message"), engine.Number("asked_at"),
		engine.Number("position"), // of the request: the order of the list
	},
	Indexes: [][]string{{"owner", "position"}},
}

func accessRequestRows(rows *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case request.Requested:
		if v.Device != "" {
			rows.Put(v.Device, v.Account, v.Serial, v.Owner, v.Message, micros(v.At), e.Position)
		}
	case request.Dismissed:
		rows.Drop(engine.Key{v.Device, v.Account})
	case device.Removed:
		rows.Empty(v.Device)
	}
}

// AccessRequest is a request for access to a device, as its owner sees it.
type AccessRequest struct {
	bun.BaseModel `bun:"table:access_requests,alias:r"`

	Device   string
	Account  string // that asks
	Serial   string // canonical
	Owner    string
	Message  string // sealed
	AskedAt  Micros
	Position int64  // of the request, in the log
	From     Person `bun:"embed:from_"` // who asks
	Name     string // of the device, sealed
	Model    string // "" if it is not known
}

// ID returns the id of the request.
func (r AccessRequest) ID() string { return request.ID(r.Serial, r.Account) }

var accessRequestList = engine.List[AccessRequest]{
	Name: "access requests", Start: engine.Newest, Place: func(r AccessRequest) int64 { return r.Position },
	Weight: func(r AccessRequest) int {
		return len(r.Name) + len(r.Message) + len(r.From.Name) + len(r.From.Address)
	},
}

// notShared is the condition that who asks has not got the device from its owner, and is
// not invited to it.
const notShared = `NOT EXISTS (SELECT 1 FROM sent_share_devices AS d JOIN sent_shares AS s ON s.share = d.share
	WHERE d.device = r.device AND d.status IN ('invited', 'accepted')
	AND (d.account = r.account OR s.login IN (SELECT login FROM account_logins WHERE account = r.account)))`

// AccessRequests lists the requests for access to an account's devices that wait, the
// newest first: those that it has neither dismissed nor answered with a share.
func (s *Store) AccessRequests(ctx context.Context, owner string, p Page) (list []AccessRequest, next string, err error) {
	if _, err := accessRequestList.After(p); err != nil {
		return nil, "", err
	}
	err = s.Read(ctx, []string{AccessRequests, Devices, Accounts, SentShares}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = accessRequestList.Page(p, func(before, n int64) (rows []AccessRequest, err error) {
			err = tx.NewSelect().Model(&rows).ColumnExpr("r.*").
				ColumnExpr("f.kind AS from_kind, f.address AS from_address, f.name AS from_name, n.name AS name, n.model AS model").
				Join("JOIN account_people AS f ON f.account = r.account").
				Join("JOIN devices AS n ON n.device = r.device AND n.owner = r.owner AND n.removed_at = 0").
				Where("r.owner = ? AND r.position < ?", owner, before).Where(notShared).OrderExpr("r.position DESC").Limit(n).Scan(ctx)
			return rows, err
		})
		return err
	})
	return list, next, wrapped("listing access requests", err)
}

// AccessRequestsFor counts the requests for access to a device that were not dismissed.
func (s *Store) AccessRequestsFor(ctx context.Context, device string) (n int, err error) {
	err = s.Read(ctx, []string{AccessRequests}, 0, func(ctx context.Context, tx bun.Tx) error {
		count, err := tx.NewSelect().Model((*AccessRequest)(nil)).Where("r.device = ?", device).Count(ctx)
		n = int(count)
		return err
	})
	return n, wrapped("counting access requests", err)
}

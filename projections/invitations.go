package projections

import (
	"context"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
	"latchkey/projections/engine"
)

// Invitations is the read model of the devices that wait for a recipient's decision.
const Invitations = "invitations"

// invitations has one row for each device that a login is invited to, whether the login
// has an account yet or not.
var invitations = &engine.Projection{
	Name:   Invitations,
	Tables: []*engine.Table{invitationTable},
	Events: []string{
		share.Invited{}.Type(), share.PrivilegesEdited{}.Type(), share.Dismissed{}.Type(), share.Accepted{}.Type(), share.Rejected{}.Type(),
		share.Left{}.Type(), share.DeviceRemoved{}.Type(), share.Deleted{}.Type(),
	},
	Joins: []string{ReceivedShares, Devices, Accounts},
	Fold:  func(rows []*engine.Fold, e engine.Record) { invitationRows(rows[0], e) },
}

var invitationTable = &engine.Table{
	Name: "invitations", Keys: 2, Wide: true,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("device"), engine.Text("owner"), engine.Text("login"), engine.Text("grants"), engine.Number("invited"),
		engine.Number("position"),  // of the invitation: the order of the list
		engine.Number("dismissed"), // 0: it is new
		engine.Text("terms"),       // of the device
	},
	Indexes: [][]string{{"login", "position"}},
}

const (
	invitationGrants    = 4
	invitationDismissed = 7
	invitationTerms     = 8
)

func invitationRows(rows *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case share.Invited:
		rows.Put(v.Share, v.Device, v.Owner, v.Login, grantsText(v.Grants), micros(v.At), e.Position, int64(0), termsText(v.Terms))
	case share.PrivilegesEdited:
		rows.Set(engine.Key{v.Share, v.Device}, engine.To(invitationGrants, grantsText(v.Grants)), engine.To(invitationTerms, termsText(v.Terms)))
	case share.Dismissed:
		rows.Set(engine.Key{v.Share, v.Device}, engine.To(invitationDismissed, max(micros(v.At), 1)))
	case share.Accepted:
		rows.Drop(engine.Key{v.Share, v.Device})
	case share.Rejected:
		rows.Drop(engine.Key{v.Share, v.Device})
	case share.Left:
		rows.Drop(engine.Key{v.Share, v.Device})
	case share.DeviceRemoved:
		rows.Drop(engine.Key{v.Share, v.Device})
	case share.Deleted:
		rows.Empty(v.Share)
	}
}

// Invitation is a device that waits for a recipient's decision.
type Invitation struct {
	bun.BaseModel `bun:"table:invitations,alias:i"`

	Share     string
	Device    string
	Name      string // sealed
	Model     string // "" if it is not known
	Owner     string // account
	Login     string // keyed hash of the recipient's address
	From      Person `bun:"embed:from_"` // the owner
	Grants    Grants
	InvitedAt Micros `bun:"invited"`
	Position  int64  // of the invitation, in the log
	Dismissed Micros // 0: it is new
	Terms     Terms
	OfShare   Terms // that hold for the whole share
}

var invitationList = engine.List[Invitation]{
	Name: "invitations", Start: engine.Newest, Place: func(i Invitation) int64 { return i.Position },
	Weight: func(i Invitation) int { return weightOf(i.Name, i.Grants) },
}

// waiting is the condition that an invitation is for an account, and not from it, and new or
// dismissed. Its arguments are the account, again, and whether it was dismissed.
func (s *Store) waiting() string {
	return "i.login IN (SELECT login FROM account_logins WHERE " + s.ofAccount() + ") AND i.owner <> ? AND (i.dismissed <> 0) = ?"
}

// Invitations lists the devices that wait for an account's decision, the newest first:
// the new ones, or those that were dismissed. count is how many there are on all pages.
func (s *Store) Invitations(ctx context.Context, account string, dismissed bool, p Page) (list []Invitation, count int64, next string, err error) {
	if _, err := invitationList.After(p); err != nil {
		return nil, 0, "", err
	}
	err = s.Read(ctx, []string{Invitations, ReceivedShares, Devices, Accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		if count, err = tx.NewSelect().Model((*Invitation)(nil)).Where(s.waiting(), account, account, dismissed).Count(ctx); err != nil {
			return err
		}
		list, next, err = invitationList.Page(p, func(before, n int64) (rows []Invitation, err error) {
			err = tx.NewSelect().Model(&rows).ColumnExpr("i.*").
				ColumnExpr("coalesce(f.kind, '') AS from_kind, coalesce(f.address, '') AS from_address, coalesce(f.name, '') AS from_name, coalesce(n.name, '') AS name, coalesce(n.model, '') AS model, coalesce(s.terms, '') AS of_share").
				Join("LEFT JOIN account_people AS f ON f.account = i.owner").
				Join("LEFT JOIN devices AS n ON n.device = i.device").
				Join("LEFT JOIN received_shares AS s ON s.share = i.share").
				Where(s.waiting(), account, account, dismissed).Where("i.position < ?", before).OrderExpr("i.position DESC").Limit(n).Scan(ctx)
			return rows, err
		})
		return err
	})
	return list, count, next, wrapped("listing invitations", err)
}

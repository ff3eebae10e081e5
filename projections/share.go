package projections

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
)

// Share is a live share as its owner or its recipient sees it.
type Share struct {
	ID        string
	Owner     string // account
	Login     string // keyed hash of the recipient's address
	Kind      string // of that address: "email" or "phone"
	Recipient string // sealed address
	Remark    string // sealed; for the owner only
	From      Person // the owner; for the recipient only
	Revision  int64  // of the share's stream
	Devices   []ShareDevice
}

func (s Share) weight() int {
	w := len(s.Recipient) + len(s.Remark)
	for _, d := range s.Devices {
		w += weightOf(d.Name, d.Grants)
	}
	return w
}

// weightOf is about how many bytes tell of a device what is granted on it.
func weightOf(name string, grants []share.Grant) int { return 200 + len(name) + 64*len(grants) }

// ShareDevice is a device in a share, in the order of first invitations.
type ShareDevice struct {
	Device     string
	Name       string // sealed
	Status     string // a share.Status
	Grants     []share.Grant
	Domain     string // the recipient's own name for it; for the recipient only
	InvitedAt  time.Time
	AnsweredAt time.Time // zero until it is accepted or rejected
}

// shareDeviceRow is a device of a sent or a received share, with its name.
type shareDeviceRow struct {
	Share, Device, Name, Status, Grants, Domain string
	Invited, Answered, Revision                 int64
}

// shareDevices reads the devices of shares; q is a query for them without a
// condition.
func shareDevices(ctx context.Context, tx bun.Tx, list []Share, rows *[]shareDeviceRow, q *bun.SelectQuery) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return q.ColumnExpr("coalesce(n.name, '') AS name").Join("LEFT JOIN devices AS n ON n.device = d.device").
		Where("d.share IN (?)", bun.List(ids)).OrderExpr("d.added, d.device").Scan(ctx, rows)
}

// addDevices gives each share the devices whose status is wanted. A share's
// revision is that of the last event that concerned it, or a device in it.
func addDevices(list []Share, rows []shareDeviceRow, wanted func(status string) bool) {
	for _, r := range rows {
		i := slices.IndexFunc(list, func(s Share) bool { return s.ID == r.Share })
		if i < 0 {
			continue
		}
		s := &list[i]
		s.Revision = max(s.Revision, r.Revision)
		if !wanted(r.Status) {
			continue
		}
		s.Devices = append(s.Devices, ShareDevice{
			Device: r.Device, Name: r.Name, Status: r.Status, Grants: fromGrantsText(r.Grants), Domain: r.Domain,
			InvitedAt: fromMicros(r.Invited), AnsweredAt: fromMicros(r.Answered),
		})
	}
}

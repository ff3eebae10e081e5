package projections

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// shareEvents are all events of shares.
var shareEvents = catalogue.Names(func(e event.Event) bool {
	_, is := e.(share.Event)
	return is
})

// Share is a live share as its owner or its recipient sees it.
type Share struct {
	bun.BaseModel `bun:"alias:s"`

	ID        string `bun:"share"`
	Owner     string // account
	Login     string // keyed hash of the recipient's address
	Kind      string // of that address: "email" or "phone"
	Recipient string // sealed address
	Remark    string // sealed; for the owner only
	Opened    int64  // position of the event that opened it, in the log
	Revision  int64  // of the share's stream
	Paused    bool   // nothing that it gives is in force
	Terms     Terms
	Changed   Cause `bun:"embed:changed_"` // what paused or resumed it; for the owner only

	From    Person        `bun:"embed:from_"` // the owner; for the recipient only
	Devices []ShareDevice `bun:"-"`
}

// Cause is the event that gave something its state; the zero Cause for none.
type Cause struct {
	Event string // id
	Type  string
	At    Micros // when it was written to the log
	Pos   int64  // in the log
}

// later returns the later one of two causes.
func (c Cause) later(other Cause) Cause {
	if other.Pos > c.Pos {
		return other
	}
	return c
}

func (s Share) weight() int {
	w := len(s.Recipient) + len(s.Remark)
	for _, d := range s.Devices {
		w += weightOf(d.Name, d.Grants)
	}
	return w
}

// weightOf returns roughly how many bytes a device and its grants take.
func weightOf(name string, grants []share.Grant) int { return 200 + len(name) + 64*len(grants) }

func opened(s Share) int64 { return s.Opened }

// ShareDevice is a device in a share.
type ShareDevice struct {
	Share      string
	Device     string
	Name       string // sealed
	Status     share.Status
	Grants     Grants
	Domain     string // the recipient's own name for it; for the recipient only
	InvitedAt  Micros `bun:"invited"`
	AnsweredAt Micros `bun:"answered"` // 0 until it is accepted or rejected
	Revision   int64  // of the last event that concerned it, in the share's stream
	Paused     bool   // by itself, whatever the share is
	Terms      Terms

	// Of a single share only: what the device is, and all of its channels.
	Model   string   `bun:"-"` // "" if it is not known
	Cameras Channels `bun:"-"`
}

// addCameras adds to the devices of a share what they are.
func addCameras(ctx context.Context, tx bun.Tx, s *Share) error {
	ids := make([]string, len(s.Devices))
	for i, d := range s.Devices {
		ids[i] = d.Device
	}
	var rows []Device
	if len(ids) > 0 {
		if err := tx.NewSelect().Model(&rows).Column("device", "model", "channels").Where("d.device IN (?)", bun.List(ids)).Scan(ctx); err != nil {
			return err
		}
	}
	for _, r := range rows {
		d := &s.Devices[slices.Index(ids, r.ID)]
		d.Model, d.Cameras = r.Model, r.Channels
	}
	return nil
}

// addDevices adds to each share those of its devices whose status is wanted, in the order
// of first invitations. A share's revision becomes that of the last event that concerned
// it, or a device in it. q is a query for the devices without a condition.
func addDevices(ctx context.Context, list []Share, q *bun.SelectQuery, wanted func(share.Status) bool) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	var rows []ShareDevice
	err := q.ColumnExpr("coalesce(n.name, '') AS name").Join("LEFT JOIN devices AS n ON n.device = d.device").
		Where("d.share IN (?)", bun.List(ids)).OrderExpr("d.added, d.device").Scan(ctx, &rows)
	if err != nil {
		return err
	}
	for _, r := range rows {
		i := slices.Index(ids, r.Share)
		if i < 0 {
			continue
		}
		s := &list[i]
		s.Revision = max(s.Revision, r.Revision)
		if wanted(r.Status) {
			s.Devices = append(s.Devices, r)
		}
	}
	return nil
}

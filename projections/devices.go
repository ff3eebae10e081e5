package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/device"
)

// devices is who has which device. A removed one stays, so that a share that it
// was in still has its name; nobody has it any more.
var devices = &projection{
	name:   Devices,
	tables: []*table{deviceTable},
	events: []string{device.Added{}.Type(), device.Removed{}.Type()},
	reducer: func() reducer {
		return folding{[]*table{deviceTable}, func(rows []*fold, e recorded) { deviceRows(rows[0], e) }}
	},
}

var deviceTable = &table{
	name: "devices", keys: 1, wide: true,
	columns: []column{
		text("device"), text("serial"), number("generation"), text("owner"), text("name"), text("channels"), number("added_at"),
		number("position"), // of the addition: the order of the list
		number("removed_at"),
	},
	indexes: [][]string{{"owner", "position"}},
}

const deviceRemovedAt = 8

func deviceRows(rows *fold, e recorded) {
	switch v := e.event.(type) {
	case device.Added:
		channels, err := json.Marshal(v.Channels)
		if err != nil { // they were read from JSON
			panic(fmt.Sprintf("projections: channels of a device cannot be written: %v", err))
		}
		rows.put(v.Device, v.Serial, int64(v.Generation), v.Owner, v.Name, string(channels), micros(v.At), e.position, int64(0))
	case device.Removed:
		rows.set(key{v.Device}, cell{deviceRemovedAt, max(micros(v.At), 1)})
	}
}

// Device is a device as its owner sees it.
type Device struct {
	ID         string
	Serial     string
	Generation int
	Name       string // sealed
	AddedAt    time.Time
	Channels   []device.Channel // names sealed
}

type deviceRow struct {
	bun.BaseModel `bun:"table:devices,alias:d"`

	Device, Serial, Name, Channels string
	Generation, AddedAt, Position  int64
}

func (r deviceRow) device() (Device, error) {
	d := Device{ID: r.Device, Serial: r.Serial, Generation: int(r.Generation), Name: r.Name, AddedAt: fromMicros(r.AddedAt)}
	if err := json.Unmarshal([]byte(r.Channels), &d.Channels); err != nil {
		return Device{}, fmt.Errorf("reading the channels of device %s: %w", r.Device, err)
	}
	return d, nil
}

// Devices lists the devices that an account owns, in the order in which they
// were added.
func (s *Store) Devices(ctx context.Context, owner string, p Page) (list []Device, next string, err error) {
	var rows []deviceRow
	err = s.reading(ctx, []*projection{devices}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		rows, next, err = gather(p, "devices", 0, func(after int64, n int) ([]placed[deviceRow], error) {
			var rows []deviceRow
			err := tx.NewSelect().Model(&rows).Where("d.owner = ? AND d.position > ? AND d.removed_at = 0", owner, after).OrderExpr("d.position").Limit(int64(n)).Scan(ctx)
			return inPlace(rows, rows, func(r deviceRow) int64 { return r.Position }), err
		}, func(r deviceRow) int { return len(r.Name) + len(r.Channels) })
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing devices: %w", err)
	}
	for _, r := range rows {
		d, err := r.device()
		if err != nil {
			return nil, "", err
		}
		list = append(list, d)
	}
	return list, next, nil
}

// Device returns a device that the account owns; any other is not found. For
// atLeast see Page.
func (s *Store) Device(ctx context.Context, owner, id string, atLeast uint64) (found Device, ok bool, err error) {
	var rows []deviceRow
	err = s.reading(ctx, []*projection{devices}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().Model(&rows).Where("d.device = ? AND d.owner = ? AND d.removed_at = 0", id, owner).Scan(ctx)
	})
	if err != nil {
		return Device{}, false, fmt.Errorf("reading a device: %w", err)
	}
	if len(rows) == 0 {
		return Device{}, false, nil
	}
	found, err = rows[0].device()
	return found, err == nil, err
}

// RemovedDevices returns those of the devices that were removed; their ids do
// not return. For atLeast see Page.
func (s *Store) RemovedDevices(ctx context.Context, ids []string, atLeast uint64) (removed []string, err error) {
	err = s.reading(ctx, []*projection{devices}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("devices").Column("device").Where("device IN (?) AND removed_at <> 0", bun.List(ids)).OrderExpr("device").Scan(ctx, &removed)
	})
	return removed, wrapped("looking for devices that were removed", err)
}

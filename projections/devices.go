package projections

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/domain/device"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// Devices is the read model of devices.
const Devices = "devices"

// devices has the owner of each device. A removed one stays, so that a share that it was
// in still has its name; it has no owner any more.
var devices = &engine.Projection{
	Name:   Devices,
	Tables: []*engine.Table{deviceTable},
	Events: []string{device.Added{}.Type(), device.Removed{}.Type(), device.Renamed{}.Type(), device.FactsChanged{}.Type()},
	Fold:   func(rows []*engine.Fold, e engine.Record) { deviceRows(rows[0], e) },
}

var deviceTable = &engine.Table{
	Name: "devices", Keys: 1, Wide: true,
	Columns: []engine.Column{
		engine.Text("device"), engine.Text("serial"), engine.Number("generation"), engine.Text("owner"), engine.Text("name"), engine.Text("channels"), engine.Number("added_at"),
		engine.Number("position"), // of the addition: the order of the list
		engine.Number("removed_at"), engine.Text("model"), engine.Text("firmware"), engine.Number("proven_at"),
	},
	Indexes: [][]string{{"owner", "position"}},
}

// The places of columns that change.
const (
	deviceName      = 4
	deviceChannels  = 5
	deviceRemovedAt = 8
	deviceModel     = 9
	deviceFirmware  = 10
	deviceProvenAt  = 11
)

func deviceRows(rows *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case device.Added:
		rows.Put(v.Device, v.Serial, int64(v.Generation), v.Owner, v.Name, channelsText(v.Channels), micros(v.At), e.Position, int64(0), v.Model, v.Firmware, micros(v.ProvenAt))
	case device.Renamed:
		rows.Set(engine.Key{v.Device}, engine.To(deviceName, v.Name), engine.To(deviceChannels, channelsText(v.Channels)))
	case device.FactsChanged:
		rows.Set(engine.Key{v.Device}, engine.To(deviceModel, v.Model), engine.To(deviceFirmware, v.Firmware), engine.To(deviceProvenAt, micros(v.ProvenAt)))
	case device.Removed:
		rows.Set(engine.Key{v.Device}, engine.To(deviceRemovedAt, max(micros(v.At), 1)))
	}
}

// Device is a device as its owner sees it.
type Device struct {
	bun.BaseModel `bun:"table:devices,alias:d"`

	ID         string `bun:"device"`
	Serial     string
	Generation int
	Owner      string // account
	Name       string // sealed
	Channels   Channels
	AddedAt    Micros
	Position   int64  // of the addition, in the log
	RemovedAt  Micros // 0: it is in the account

	Model, Firmware string // "": it did not say
	ProvenAt        Micros // 0: it was not asked
}

// Channels are stored as JSON; their names are sealed.
type Channels []device.Channel

func channelsText(list []device.Channel) string {
	text, err := json.Marshal(list)
	if err != nil { // they were read from JSON
		panic(fmt.Sprintf("projections: channels of a device cannot be written: %v", err))
	}
	return string(text)
}

// Scan reads the stored form.
func (c *Channels) Scan(src any) error {
	text, err := textOf(src)
	if err == nil {
		err = json.Unmarshal([]byte(text), (*[]device.Channel)(c))
	}
	return wrapped("reading the channels of a device", err)
}

var deviceList = engine.List[Device]{
	Name:   "devices",
	Place:  func(d Device) int64 { return d.Position },
	Weight: func(d Device) int { return len(d.Name) + len(channelsText(d.Channels)) },
}

// Devices lists the devices that an account owns, in the order in which they
// were added.
func (s *Store) Devices(ctx context.Context, owner string, p Page) (list []Device, next string, err error) {
	err = s.Read(ctx, []string{Devices}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = deviceList.Page(p, func(after, n int64) (rows []Device, err error) {
			err = tx.NewSelect().Model(&rows).Where("d.owner = ? AND d.position > ? AND d.removed_at = 0", owner, after).OrderExpr("d.position").Limit(n).Scan(ctx)
			return rows, err
		})
		return err
	})
	return list, next, wrapped("listing devices", err)
}

// Device returns a device that the account owns; others are not found. For atLeast see
// Page.
func (s *Store) Device(ctx context.Context, owner, id string, atLeast eventstore.Position) (found Device, ok bool, err error) {
	var rows []Device
	err = s.Read(ctx, []string{Devices}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().Model(&rows).Where("d.device = ? AND d.owner = ? AND d.removed_at = 0", id, owner).Scan(ctx)
	})
	if err != nil || len(rows) == 0 {
		return Device{}, false, wrapped("reading a device", err)
	}
	return rows[0], true, nil
}

// RemovedDevices returns those of the devices that were removed; their ids are never
// reused. For atLeast see Page.
func (s *Store) RemovedDevices(ctx context.Context, ids []string, atLeast eventstore.Position) (removed []string, err error) {
	err = s.Read(ctx, []string{Devices}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("devices").Column("device").Where("device IN (?) AND removed_at <> 0", bun.List(ids)).OrderExpr("device").Scan(ctx, &removed)
	})
	return removed, wrapped("looking for devices that were removed", err)
}

// DevicesAfter lists devices in accounts in the order of their ids, after one of them ("" is
// before all).
func (s *Store) DevicesAfter(ctx context.Context, after string, most int) (ids []string, err error) {
	err = s.Read(ctx, []string{Devices}, 0, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("devices").Column("device").Where("device > ? AND removed_at = 0", after).OrderExpr("device").Limit(int64(most)).Scan(ctx, &ids)
	})
	return ids, wrapped("listing every device", err)
}

// RemovedDevices is the store's, but waits until the rows have seen the position.
func (r *Runner) RemovedDevices(ctx context.Context, ids []string, atLeast eventstore.Position) (removed []string, err error) {
	err = r.ReadAt(ctx, func() (err error) {
		removed, err = r.store.RemovedDevices(ctx, ids, atLeast)
		return err
	})
	return removed, err
}

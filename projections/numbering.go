package projections

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"latchkey/internal/sum"
	"latchkey/projections/engine"
)

// find looks up the numbers of all accounts and devices.
func (b *grantBatch) find(effects []grantEffect) error {
	var accounts, devices []string // those not in the cache
	account := func(id string) *grantAccount {
		a := b.granting.accounts[id]
		if a == nil && id != "" {
			id = strings.Clone(id) // it is part of the event's text, which must not stay with it
			a = &grantAccount{id: id}
			b.granting.accounts[id] = a
			accounts = append(accounts, id)
		}
		return a
	}
	for i := range effects {
		e := &effects[i]
		e.account, e.owner, e.device = account(string(e.Account)), account(string(e.Owner)), b.granting.devices[string(e.Device)]
		if e.device == nil && e.Device != "" {
			id := strings.Clone(string(e.Device))
			e.device = &grantDevice{id: id}
			b.granting.devices[id] = e.device
			devices = append(devices, id)
		}
	}
	if err := b.findAccounts(accounts); err != nil {
		return err
	}
	return b.findDevices(devices)
}

func (b *grantBatch) findAccounts(ids []string) error {
	return b.lookUp(grantAccountTable, "account", ids, func(rows *sql.Rows) error {
		var no, kept int64
		var id string
		if err := rows.Scan(&no, &id, &kept); err != nil {
			return err
		}
		if kept != sum.Of(no, id) {
			return engine.ErrDamaged
		}
		b.granting.accounts[id].no = no
		return nil
	})
}

func (b *grantBatch) findDevices(ids []string) error {
	return b.lookUp(grantDeviceTable, "device", ids, func(rows *sql.Rows) error {
		var d grantDevice
		var live, kept int64
		if err := rows.Scan(&d.no, &d.id, &d.owner, &live, &kept); err != nil {
			return err
		}
		if kept != sum.Of(d.no, d.id, d.owner, live) {
			return engine.ErrDamaged
		}
		d.live = live != 0
		*b.granting.devices[d.id] = d
		return nil
	})
}

// lookUp reads the complete rows of some ids.
func (b *grantBatch) lookUp(t *engine.Table, column string, ids []string, each func(*sql.Rows) error) (err error) {
	if len(ids) == 0 {
		return nil
	}
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	rows, err := b.w.Among(fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(names, ", "), b.w.Name(t), column), ids)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("looking up in %s: %w", t.Name, err)
		}
	}
	return wrapped("looking up in "+t.Name, rows.Err())
}

// numberAccount assigns a number to an account if it has none; it returns false if none
// is left.
func (b *grantBatch) numberAccount(a *grantAccount) (ok bool, err error) {
	if a.no != 0 {
		return true, nil
	}
	a.no, err = b.next(grantAccountTable, &b.w.Counts.Accounts, &b.counted.accounts)
	if a.no == 0 {
		return false, err
	}
	b.accounts = append(b.accounts, sum.Row(a.no, a.id))
	return true, nil
}

func (b *grantBatch) numberDevice(d *grantDevice) (ok bool, err error) {
	if d.no != 0 {
		return true, nil
	}
	d.no, err = b.next(grantDeviceTable, &b.w.Counts.Devices, &b.counted.devices)
	if d.no == 0 {
		return false, err
	}
	b.changed[d] = struct{}{}
	return true, nil
}

func (b *grantBatch) numberBoth(a *grantAccount, d *grantDevice) (ok bool, err error) {
	if ok, err = b.numberAccount(a); !ok {
		return false, err
	}
	return b.numberDevice(d)
}

// next assigns the next number, 0 if there is none. given is how many there are by the
// checkpoint: if a row was lost, its number must not be assigned again. The rows are
// compared with that before the batch writes new ones.
func (b *grantBatch) next(t *engine.Table, given *int64, counted *bool) (int64, error) {
	if !*counted {
		var last int64
		ctx, tx := b.w.Tx()
		if err := tx.NewSelect().TableExpr(b.w.Name(t)).ColumnExpr("coalesce(max(no), 0)").Scan(ctx, &last); err != nil {
			return 0, fmt.Errorf("reading the last number of %s: %w", t.Name, err)
		}
		if last != *given {
			return 0, fmt.Errorf("numbering in %s: %w: the last number is %d, but %d were assigned", t.Name, engine.ErrDamaged, last, *given)
		}
		*counted = true
	}
	if *given >= b.limit {
		return 0, nil
	}
	*given++
	return *given, nil
}

package projections

import (
	"context"
	"encoding/json"
	"fmt"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
	"latchkey/internal/sum"
	"latchkey/projections/access"
	"latchkey/projections/engine"
)

// LoadPrivileges passes the rows of the privileges read model to the loader, with the log
// position that it returns, and their mark. If one of them is damaged, the read model is
// emptied, to be rebuilt from the log.
func (s *Store) LoadPrivileges(ctx context.Context, l access.Loader) (position eventstore.Position, mark eventstore.Mark, err error) {
	scan := engine.Scan{Again: l.Again, Rows: func(q *engine.Scanner) error { return load(q, l) }}
	if l.Begin != nil {
		scan.Begin = func(c engine.Checkpoint) error { return l.Begin(c.Position, c.Counts.Lacks != 0) }
	}
	c, err := s.ScanAll(ctx, Privileges, scan)
	return c.Position, c.Mark, wrapped("loading privileges", err)
}

// namesQuery reads the accounts' names of live devices; a removed one must not keep its
// name from another.
var namesQuery = fmt.Sprintf(`SELECT s.pair, d.device, s.domain FROM privilege_shares AS s
	JOIN privilege_devices AS d ON d.no = s.pair & %d AND d.live = 1 WHERE s.domain <> ''`, maxNumber)

// load reads every table. Every numbered account and device must be there.
func load(q *engine.Scanner, l access.Loader) error {
	var accounts, devices int64
	for _, t := range []struct {
		query string
		row   func(r *engine.Cells)
	}{
		{"SELECT entry, mask FROM privileges", func(r *engine.Cells) {
			entry := r.Number(0)
			mask, ok := sum.MaskOf(entry, r.Number(1))
			if r.Check(ok) {
				l.Grant(uint32(entry>>(deviceBits+channelBits)), uint32(entry>>channelBits&maxNumber), uint16(entry&(1<<channelBits-1)), mask)
			}
		}},
		{"SELECT pair, conditions, sum FROM privilege_limits", func(r *engine.Cells) {
			pair, text := r.Number(0), r.Text(1)
			var list []privilege.Condition
			if r.Check(r.Number(2) == sum.Of(pair, text) && json.Unmarshal([]byte(text), &list) == nil) {
				l.Conditions(uint32(pair>>deviceBits), uint32(pair&maxNumber), list)
			}
		}},
		{"SELECT no, account, sum FROM privilege_accounts", func(r *engine.Cells) {
			no, id := r.Number(0), r.Text(1)
			if r.Check(r.Number(2) == sum.Of(no, id)) {
				accounts++
				l.Account(uint32(no), ids.Account(id))
			}
		}},
		{"SELECT no, device, owner, live, sum FROM privilege_devices", func(r *engine.Cells) {
			no, id, owner, live := r.Number(0), r.Text(1), r.Number(2), r.Number(3)
			if r.Check(r.Number(4) == sum.Of(no, id, owner, live)) {
				devices++
				l.Device(uint32(no), ids.Device(id), uint32(owner), live != 0)
			}
		}},
		{namesQuery, func(r *engine.Cells) {
			l.Domain(uint32(r.Number(0)>>deviceBits), uint32(r.Number(0)&maxNumber), ids.Device(r.Text(1)), r.Text(2))
		}},
		{"SELECT k.name, k.account, k.device, k.expires, k.sum, coalesce(a.account, '') FROM privilege_keys AS k LEFT JOIN privilege_accounts AS a ON a.no = k.account", func(r *engine.Cells) {
			name, account, device, expires := r.Text(0), r.Number(1), r.Text(2), r.Number(3)
			if r.Check(r.Number(4) == sum.Of(name, account, device, expires)) {
				l.Key(ids.Key(name), ids.Account(r.Text(5)), ids.Device(device), engine.Micros(expires).Time())
			}
		}},
	} {
		if err := q.Each(t.query, t.row); err != nil {
			return err
		}
	}
	if n := q.Checkpoint.Counts; accounts != n.Accounts || devices != n.Devices {
		return fmt.Errorf("%w: there are %d accounts and %d devices, but %d and %d have a number", engine.ErrDamaged, accounts, devices, n.Accounts, n.Devices)
	}
	return nil
}

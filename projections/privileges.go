package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// Privileges is the read model of privileges.
const Privileges = "privileges"

// privileges has who may do what: the rows from which the privilege index is loaded.
// Accounts and devices have small numbers here, and what an account may do on a channel
// is one number and a mask, so that millions load in seconds. Events declare their
// effects themselves, for the index, too. There are that many numbers for accounts, and
// as many for devices.
func privileges(numbers int64) *engine.Projection {
	return &engine.Projection{
		Name:   Privileges,
		Tables: []*engine.Table{grantTable, grantLimitTable, grantAccountTable, grantDeviceTable, grantShareTable, grantKeyTable},
		Events: catalogue.Names(func(e event.Event) bool { return e.Effect().Kind != event.Nothing }),
		Joins:  []string{Devices, SentShares, Accounts},
		Reducer: func() engine.Reducer {
			g := &granting{limit: numbers}
			g.Forget()
			return g
		},
		// If events had no effect for lack of numbers, and there are some again.
		Lacking: func(n engine.Counts) bool { return n.Lacks > 0 && !few(max(n.Accounts, n.Devices), numbers) },
	}
}

// An entry is (account's number << 33 | device's number << 9 | channel), a pair the same
// without the channel. An entry means that the account sees the device; if it has no
// privilege on one of the first eight channels there is one of channel 0, as the index
// needs it.
var grantTable = &engine.Table{
	Name: "privileges", Keys: 1,
	Columns: []engine.Column{engine.Number("entry"), engine.Number("mask")}, // the mask with its sum above it
}

// grantLimitTable has the conditions of a pair whose masks have access.LimitedMask, as
// JSON.
var grantLimitTable = &engine.Table{
	Name: "privilege_limits", Keys: 1,
	Columns: []engine.Column{engine.Number("pair"), engine.Text("conditions"), engine.Number("sum")},
}

var grantAccountTable = &engine.Table{
	Name: "privilege_accounts", Keys: 1,
	Columns: []engine.Column{engine.Number("no"), engine.Text("account"), engine.Number("sum")},
	Indexes: [][]string{{"account"}},
}

// A removed device stays until the next renumbering; its id is never reused.
var grantDeviceTable = &engine.Table{
	Name: "privilege_devices", Keys: 1,
	Columns: []engine.Column{engine.Number("no"), engine.Text("device"), engine.Number("owner"), engine.Number("live"), engine.Number("sum")},
	Indexes: [][]string{{"device"}},
}

// grantShareTable has through which share an account has a device, its name for it, and
// whether it is paused.
var grantShareTable = &engine.Table{
	Name: "privilege_shares", Keys: 1,
	Columns: []engine.Column{engine.Number("pair"), engine.Text("share"), {Name: "domain", First: true}, engine.Number("paused")},
}

// A revoked key stays, with account 0, until the next renumbering; its name is never
// reused.
var grantKeyTable = &engine.Table{
	Name: "privilege_keys", Keys: 1,
	Columns: []engine.Column{engine.Text("name"), engine.Number("account"), engine.Text("device"), engine.Number("expires"), engine.Number("sum")},
}

// grantKeyAdded is the same table for added keys: an existing one is kept.
var grantKeyAdded = &engine.Table{
	Name: grantKeyTable.Name, Keys: 1,
	Columns: []engine.Column{
		engine.Text("name"), {Name: "account", Number: true, First: true}, {Name: "device", First: true}, {Name: "expires", Number: true, First: true},
		{Name: "sum", Number: true, First: true},
	},
}

const (
	channelBits = 9
	deviceBits  = 24
	maxNumber   = 1<<24 - 1 // of accounts, and of devices

	firstChannels = 8
)

func pairOf(account, device int64) int64 { return account<<deviceBits | device }

// DevicePrivileges is what an account may do on one device.
type DevicePrivileges struct {
	Pair   int64 // its place in the list
	Device string
	Name   string        // sealed
	Share  string        // through which; "" for the owner
	Domain string        // the account's own name for the device
	Paused bool          // no privilege is in force
	Grants []share.Grant `bun:"-"`

	Cameras Channels // of the device, also those that the account may not see
	From    Person   `bun:"embed:from_"` // the owner; the zero Person for the owner

	Conditions []privilege.Condition `bun:"-"` // under which they hold

	Changed      Cause `bun:"embed:changed_"` // what gave the device its state in the share
	ShareChanged Cause `bun:"embed:whole_"`   // what paused or resumed the share
}

// Cause returns the event that gave what the account may do; the zero Cause for the
// owner.
func (d DevicePrivileges) Cause() Cause { return d.Changed.later(d.ShareChanged) }

var privilegeList = engine.List[DevicePrivileges]{
	Name:   "privileges",
	Place:  func(d DevicePrivileges) int64 { return d.Pair & maxNumber },
	Weight: func(d DevicePrivileges) int { return weightOf(d.Name, d.Grants) + len(channelsText(d.Cameras)) },
}

// Role is what an account is to a device that it may see.
type Role string

// The roles.
const (
	AnyRole     Role = ""
	AsOwner     Role = "owner"
	AsRecipient Role = "recipient"
)

// Privileges lists the devices that an account may see, of one role or of any, and what it
// may do.
func (s *Store) Privileges(ctx context.Context, account string, role Role, p Page) (list []DevicePrivileges, next string, err error) {
	err = s.Read(ctx, []string{Privileges, Devices, SentShares, Accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		no, err := accountNumber(ctx, tx, account)
		if err != nil || no == 0 {
			return err
		}
		list, next, err = privilegeList.Page(p, func(after, n int64) ([]DevicePrivileges, error) {
			rows, err := livePairs(ctx, tx, no, role, after, n)
			if err != nil {
				return nil, err
			}
			if err := addGrants(ctx, tx, rows); err != nil {
				return nil, err
			}
			return rows, addConditions(ctx, tx, rows)
		})
		return err
	})
	return list, next, wrapped("listing privileges", err)
}

// PrivilegesOn returns what an account may do on one device; found is false if it may not
// see it. For atLeast see Page.
func (s *Store) PrivilegesOn(ctx context.Context, account, device string, atLeast eventstore.Position) (d DevicePrivileges, found bool, err error) {
	err = s.Read(ctx, []string{Privileges, Devices, SentShares, Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		found = false
		no, err := accountNumber(ctx, tx, account)
		if err != nil || no == 0 {
			return err
		}
		var of int64
		err = tx.NewSelect().TableExpr("privilege_devices").Column("no").Where("device = ?", device).Scan(ctx, &of)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		rows, err := livePairs(ctx, tx, no, AnyRole, of-1, 1)
		if err != nil || len(rows) == 0 || rows[0].Device != device {
			return err
		}
		if err := addGrants(ctx, tx, rows); err != nil {
			return err
		}
		if err := addConditions(ctx, tx, rows); err != nil {
			return err
		}
		d, found = rows[0], true
		return nil
	})
	return d, found, wrapped("reading the privileges on a device", err)
}

func accountNumber(ctx context.Context, tx bun.IDB, account string) (no int64, err error) {
	err = tx.NewSelect().TableExpr("privilege_accounts").Column("no").Where("account = ?", account).Scan(ctx, &no)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return no, err
}

// livePairs returns the devices of an account after a device's number. It owns those that
// it does not have through a share.
func livePairs(ctx context.Context, tx bun.Tx, account int64, role Role, after, limit int64) (rows []DevicePrivileges, err error) {
	seen := tx.NewSelect().TableExpr("privileges").ColumnExpr("DISTINCT entry >> ? AS pair", channelBits).
		Where("entry >= ? AND entry < ?", pairOf(account, after+1)<<channelBits, pairOf(account+1, 0)<<channelBits)
	query := tx.NewSelect().TableExpr("(?) AS p", seen).
		ColumnExpr("p.pair, d.device, coalesce(n.name, '') AS name, coalesce(s.share, '') AS share, coalesce(s.domain, '') AS domain, coalesce(s.paused, 0) <> 0 AS paused").
		ColumnExpr("coalesce(n.channels, '[]') AS cameras").
		ColumnExpr("coalesce(f.kind, '') AS from_kind, coalesce(f.address, '') AS from_address, coalesce(f.name, '') AS from_name").
		ColumnExpr("coalesce(v.changed_event, '') AS changed_event, coalesce(v.changed_type, '') AS changed_type, coalesce(v.changed_at, 0) AS changed_at, coalesce(v.changed_pos, 0) AS changed_pos").
		ColumnExpr("coalesce(w.changed_event, '') AS whole_event, coalesce(w.changed_type, '') AS whole_type, coalesce(w.changed_at, 0) AS whole_at, coalesce(w.changed_pos, 0) AS whole_pos").
		Join("JOIN privilege_devices AS d ON d.no = p.pair & ? AND d.live = 1", maxNumber).
		Join("LEFT JOIN devices AS n ON n.device = d.device").
		Join("LEFT JOIN privilege_shares AS s ON s.pair = p.pair").
		Join("LEFT JOIN sent_share_devices AS v ON v.share = s.share AND v.device = d.device").
		Join("LEFT JOIN sent_shares AS w ON w.share = s.share").
		Join("LEFT JOIN account_people AS f ON f.account = w.owner")
	switch role {
	case AsOwner:
		query.Where("s.share IS NULL")
	case AsRecipient:
		query.Where("s.share IS NOT NULL")
	case AnyRole:
	}
	err = query.OrderExpr("p.pair").Limit(limit).Scan(ctx, &rows)
	return rows, err
}

// addGrants reads the grants on each channel of each of the devices.
func addGrants(ctx context.Context, tx bun.Tx, list []DevicePrivileges) error {
	if len(list) == 0 {
		return nil
	}
	at := make(map[int64]int, len(list))
	for i, r := range list {
		at[r.Pair] = i
	}
	var rows []struct{ Entry, Mask int64 }
	err := tx.NewSelect().TableExpr("privileges").Column("entry", "mask").
		Where("entry >= ? AND entry < ?", list[0].Pair<<channelBits, (list[len(list)-1].Pair+1)<<channelBits).OrderExpr("entry").Scan(ctx, &rows)
	if err != nil {
		return err
	}
	for _, r := range rows {
		i, ok := at[r.Entry>>channelBits]
		if channel := r.Entry & (1<<channelBits - 1); ok && channel != 0 {
			list[i].Grants = append(list[i].Grants, share.Grant{Channel: int(channel), Privileges: privilege.Set(r.Mask) & privilege.All})
		}
	}
	return nil
}

// addConditions reads the conditions of each of the devices.
func addConditions(ctx context.Context, tx bun.Tx, list []DevicePrivileges) error {
	if len(list) == 0 {
		return nil
	}
	var rows []struct {
		Pair       int64
		Conditions string
	}
	err := tx.NewSelect().TableExpr("privilege_limits").Column("pair", "conditions").
		Where("pair >= ? AND pair <= ?", list[0].Pair, list[len(list)-1].Pair).Scan(ctx, &rows)
	if err != nil {
		return err
	}
	for _, r := range rows {
		i := slices.IndexFunc(list, func(d DevicePrivileges) bool { return d.Pair == r.Pair })
		if i < 0 {
			continue
		}
		if err := json.Unmarshal([]byte(r.Conditions), &list[i].Conditions); err != nil {
			return fmt.Errorf("reading conditions: %w", err)
		}
	}
	return nil
}

// DomainTaken reports whether another device of the account has the name.
func (s *Store) DomainTaken(ctx context.Context, account ids.Account, domain string, device ids.Device) (taken bool, err error) {
	var no int64
	found, err := s.Ask(ctx, &no, "SELECT no FROM privilege_accounts WHERE account = $1", string(account))
	if err == nil && found {
		_, err = s.Ask(ctx, &taken, domainTaken, pairOf(no, 0), pairOf(no+1, 0), domain, string(device))
	}
	return taken, wrapped("looking a device domain up", err)
}

// domainTaken is a separate query from the account's number: with both in one statement
// PostgreSQL cannot estimate how few pairs an account has, and reads every device.
var domainTaken = fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM privilege_shares AS s
	JOIN privilege_devices AS d ON d.no = s.pair & %d
	WHERE s.pair >= $1 AND s.pair < $2 AND s.domain = $3 AND d.device <> $4 AND d.live = 1)`, maxNumber)

package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/sum"
)

// privileges is who may do what: the rows from which the privilege index is
// loaded. Accounts and devices have small numbers here, and what an account may
// do on a channel is one number and a mask, so that millions load in seconds.
// What an event does to them the event says itself, for the index too.
var privileges = &projection{
	name:   Privileges,
	tables: []*table{grantTable, grantAccountTable, grantDeviceTable, grantShareTable, grantKeyTable},
	events: catalogue.Names(func(e event.Event) bool { return e.Effect().Kind != event.Nothing }),
	joins:  []string{Devices},
	reducer: func() reducer {
		g := &granting{}
		g.forget()
		return g
	},
}

// An entry is (account's number << 33 | device's number << 9 | channel), a pair
// the same without the channel. That there is an entry says that the account sees
// the device; where it has no privilege on one of the first eight channels there
// is one of channel 0, as the index needs it.
var grantTable = &table{
	name: "privileges", keys: 1,
	columns: []column{number("entry"), number("mask")}, // the mask with its sum above it
}

var grantAccountTable = &table{
	name: "privilege_accounts", keys: 1,
	columns: []column{number("no"), text("account"), number("sum")},
	indexes: [][]string{{"account"}},
}

// A device that is not live stays until numbers are given again; its id does not
// return.
var grantDeviceTable = &table{
	name: "privilege_devices", keys: 1,
	columns: []column{number("no"), text("device"), number("owner"), number("live"), number("sum")},
	indexes: [][]string{{"device"}},
}

// grantShareTable says through which share an account has a device, and what it
// calls it.
var grantShareTable = &table{
	name: "privilege_shares", keys: 1,
	columns: []column{number("pair"), text("share"), {name: "domain", first: true}},
}

// A key that was revoked stays, with account 0, until numbers are given again; its
// name does not return.
var grantKeyTable = &table{
	name: "privilege_keys", keys: 1,
	columns: []column{text("name"), number("account"), text("device"), number("expires"), number("sum")},
}

// grantKeyAdded is the same table for keys that were added: one that is there
// already stays.
var grantKeyAdded = &table{
	name: grantKeyTable.name, keys: 1,
	columns: []column{
		text("name"), {name: "account", number: true, first: true}, {name: "device", first: true}, {name: "expires", number: true, first: true},
		{name: "sum", number: true, first: true},
	},
}

const (
	channelBits = 9
	deviceBits  = 24
	maxNumber   = 1<<24 - 1 // of accounts, and of devices

	firstChannels = 8
)

func pairOf(account, device int64) int64 { return account<<deviceBits | device }

// granting is the reducer of privileges. It remembers numbers and devices that
// it has met, and those that have no number too.
type granting struct {
	accounts map[string]*grantAccount
	devices  map[string]*grantDevice
	wear
}

type grantAccount struct {
	id string
	no int64
}

type grantDevice struct {
	id        string
	no, owner int64
	live      bool
}

// remembered is the most that granting remembers before it begins anew.
const remembered = 200_000

func (g *granting) forget() {
	g.accounts, g.devices = map[string]*grantAccount{}, map[string]*grantDevice{}
}

func (g *granting) reduce(w *writer, events []recorded) error {
	if len(g.accounts)+len(g.devices) > remembered {
		g.forget()
	}
	effects := make([]grantEffect, len(events))
	for i, e := range events {
		var err error
		if effects[i].Effect, err = event.EffectOf(e.event); err != nil {
			return fmt.Errorf("the event at position %d: %w", e.position, err)
		}
	}
	for len(effects) > 0 {
		n, err := g.some(w, effects)
		if err != nil {
			return err
		}
		effects = effects[n:]
	}
	return nil
}

// some applies as many of the effects as there are numbers for: mostly all, and
// one at least.
func (g *granting) some(w *writer, effects []grantEffect) (n int, err error) {
	b := &grantBatch{granting: g, w: w}
	b.clear()
	if err := b.find(effects); err != nil {
		return 0, err
	}
	if err := b.makeRoom(effects); err != nil {
		return 0, err
	}
	n = max(b.fitting(effects), 1)
	for i := range effects[:n] {
		if err := b.apply(&effects[i]); err != nil {
			return 0, err
		}
	}
	return n, b.write()
}

// grantEffect is an effect with those whom it concerns; nil for none.
type grantEffect struct {
	event.Effect
	account, owner *grantAccount
	device         *grantDevice
}

// grantBatch gathers what a batch of events does.
type grantBatch struct {
	*granting
	w        *writer
	accounts [][]any                   // new ones
	changed  map[*grantDevice]struct{} // devices, new and changed ones
	pairs    map[int64]*grantPair
	order    []int64                          // of pairs
	keys     map[string][]any                 // by name
	counted  struct{ accounts, devices bool } // the rows were compared with how many have a number
}

// grantPair is what an account may do on a device after the batch.
type grantPair struct {
	has    bool
	own    bool // by ownership, not by a share
	grants []share.Grant
	share  string
	fresh  bool // what the account called the device before does not count
}

func (b *grantBatch) clear() {
	b.accounts, b.order = nil, nil
	b.changed, b.pairs, b.keys = map[*grantDevice]struct{}{}, map[int64]*grantPair{}, map[string][]any{}
}

// find looks the numbers of all accounts and devices up.
func (b *grantBatch) find(effects []grantEffect) error {
	var accounts, devices []string // those that were not met before
	account := func(id string) *grantAccount {
		a := b.granting.accounts[id]
		if a == nil && id != "" {
			id = strings.Clone(id) // it is a part of the event's text, which must not stay with it
			a = &grantAccount{id: id}
			b.granting.accounts[id] = a
			accounts = append(accounts, id)
		}
		return a
	}
	for i := range effects {
		e := &effects[i]
		e.account, e.owner, e.device = account(e.Account), account(e.Owner), b.granting.devices[e.Device]
		if e.device == nil && e.Device != "" {
			id := strings.Clone(e.Device)
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
			return errDamaged
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
			return errDamaged
		}
		d.live = live != 0
		*b.granting.devices[d.id] = d
		return nil
	})
}

// lookUp reads the rows of some ids, whole.
func (b *grantBatch) lookUp(t *table, column string, ids []string, each func(*sql.Rows) error) (err error) {
	if len(ids) == 0 {
		return nil
	}
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	rows, err := b.w.among(fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(names, ", "), b.w.name(t), column), ids)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("looking up in %s: %w", t.name, err)
		}
	}
	return wrapped("looking up in "+t.name, rows.Err())
}

// numberAccount gives an account a number if it has none; false if there is none
// left.
func (b *grantBatch) numberAccount(a *grantAccount) (ok bool, err error) {
	if a.no != 0 {
		return true, nil
	}
	a.no, err = b.next(grantAccountTable, &b.w.numbers.accounts, &b.counted.accounts)
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
	d.no, err = b.next(grantDeviceTable, &b.w.numbers.devices, &b.counted.devices)
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

// next gives the next number, 0 if there is none. given is how many there are by
// the checkpoint: if a row was lost, its number must not be given again. The rows
// are compared with that before the batch writes new ones.
func (b *grantBatch) next(t *table, given *int64, counted *bool) (int64, error) {
	if !*counted {
		var last int64
		if err := b.w.tx.NewSelect().TableExpr(b.w.name(t)).ColumnExpr("coalesce(max(no), 0)").Scan(b.w.ctx, &last); err != nil {
			return 0, fmt.Errorf("reading the last number of %s: %w", t.name, err)
		}
		if last != *given {
			return 0, fmt.Errorf("numbering in %s: %w: the last number is %d, and %d were given", t.name, errDamaged, last, *given)
		}
		*counted = true
	}
	if *given >= b.w.store.limit {
		return 0, nil
	}
	*given++
	return *given, nil
}

// lacks notes that an event gave nothing.
func (b *grantBatch) lacks() { b.w.numbers.lacks++ }

// pair is what the account may do on the device; whoever asks changes it.
func (b *grantBatch) pair(account, device int64) *grantPair {
	no := pairOf(account, device)
	p, ok := b.pairs[no]
	if !ok {
		p = &grantPair{}
		b.pairs[no] = p
		b.order = append(b.order, no)
	}
	return p
}

// apply gives a number only to those whom something is given to, and to a device
// that is removed before it was known.
func (b *grantBatch) apply(e *grantEffect) error {
	d := e.device
	switch e.Kind {
	case event.Added:
		if d.owner == 0 {
			return b.add(e)
		}
	case event.Removed:
		return b.remove(e)
	case event.Granted:
		if d.live && d.owner == e.owner.no && e.owner != e.account {
			return b.grant(e)
		}
	case event.Cleared:
		b.ended()
		if e.account.no != 0 && d.no != 0 && d.owner != e.account.no {
			*b.pair(e.account.no, d.no) = grantPair{fresh: true}
		}
	case event.Named:
		if d.live && e.account.no != 0 && d.owner != e.account.no {
			return b.named(e.account.no, d.no, e.Domain)
		}
	case event.KeyAdded:
		if b.keys[e.Key.Name] == nil {
			return b.addKey(e)
		}
	case event.KeyRevoked:
		b.ended()
		b.keys[e.Key.Name] = sum.Row(e.Key.Name, int64(0), "", int64(0))
	}
	return nil
}

func (b *grantBatch) add(e *grantEffect) error {
	d := e.device
	ok, err := b.numberBoth(e.owner, d)
	if !ok {
		b.lacks()
		return err
	}
	d.owner, d.live = e.owner.no, true
	b.changed[d] = struct{}{}
	*b.pair(d.owner, d.no) = grantPair{has: true, own: true, grants: e.Grants}
	return nil
}

// remove needs no number if the device is not known: then nobody may do anything
// on it. It is remembered all the same while there is one.
func (b *grantBatch) remove(e *grantEffect) error {
	b.ended()
	d := e.device
	if d.owner == 0 {
		if ok, err := b.numberBoth(e.owner, d); !ok {
			return err
		}
		d.owner = e.owner.no
	}
	d.live = false
	b.changed[d] = struct{}{}
	*b.pair(d.owner, d.no) = grantPair{own: true}
	return nil
}

func (b *grantBatch) grant(e *grantEffect) error {
	ok, err := b.numberAccount(e.account)
	if !ok {
		b.lacks()
		return err
	}
	p := b.pair(e.account.no, e.device.no)
	*p = grantPair{has: true, grants: e.Grants, share: e.Share, fresh: p.fresh}
	return nil
}

func (b *grantBatch) addKey(e *grantEffect) error {
	var account int64
	if e.account != nil {
		ok, err := b.numberAccount(e.account)
		if !ok {
			b.lacks()
			return err
		}
		account = e.account.no
	}
	b.keys[e.Key.Name] = sum.Row(e.Key.Name, account, e.Key.Device, micros(e.Key.Expires))
	return nil
}

// named writes a name at once, behind what was gathered: it depends on whether
// the account has the device now, and takes the name from another device.
func (b *grantBatch) named(account, device int64, domain string) error {
	if err := b.write(); err != nil {
		return err
	}
	t, pair := b.w.name(grantShareTable), pairOf(account, device)
	q := b.w.tx.NewUpdate().TableExpr(t).Set("domain = CASE WHEN pair = ? THEN ? ELSE '' END", pair, domain).
		Where("pair >= ? AND pair < ?", pairOf(account, 0), pairOf(account+1, 0)).
		Where("pair = ? OR domain = ?", pair, domain).
		Where("EXISTS (SELECT 1 FROM ? WHERE pair = ?)", bun.Safe(t), pair)
	if _, err := q.Exec(b.w.ctx); err != nil {
		return fmt.Errorf("naming a device: %w", err)
	}
	return nil
}

// write writes what was gathered and begins to gather anew.
func (b *grantBatch) write() error {
	var cleared, entries, gone, shares [][]any
	for _, no := range b.order {
		p := b.pairs[no]
		cleared = append(cleared, []any{no << channelBits})
		if p.fresh {
			gone = append(gone, []any{no})
		}
		if !p.has {
			continue
		}
		if !p.own {
			shares = append(shares, []any{no, p.share, ""})
		}
		first := false
		for _, g := range p.grants {
			entries = append(entries, grantRow(no<<channelBits|int64(g.Channel), int64(g.Privileges)))
			first = first || g.Channel <= firstChannels && g.Privileges != privilege.None
		}
		if !first {
			entries = append(entries, grantRow(no<<channelBits, 0))
		}
	}
	var devices, added, revoked [][]any
	for d := range b.changed {
		devices = append(devices, sum.Row(d.no, d.id, d.owner, numberOf(d.live)))
	}
	for _, k := range b.keys {
		if k[1] == int64(0) {
			revoked = append(revoked, k)
		} else {
			added = append(added, k)
		}
	}
	accounts := b.accounts
	b.clear()
	return b.writeAll(accounts, devices, cleared, entries, gone, shares, added, revoked)
}

func (b *grantBatch) writeAll(accounts, devices, cleared, entries, gone, shares, added, revoked [][]any) error {
	for _, step := range []func() error{
		func() error { return b.w.insert(grantAccountTable, accounts) },
		func() error { return b.w.put(grantDeviceTable, devices) },
		func() error { return b.w.deleteRanges(grantTable, cleared, 1<<channelBits) },
		func() error { return b.w.insert(grantTable, entries) },
		func() error { return b.w.delete(grantShareTable, 1, gone) },
		func() error { return b.w.put(grantShareTable, shares) },
		func() error { return b.w.put(grantKeyAdded, added) },
		func() error { return b.w.put(grantKeyTable, revoked) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func grantRow(entry, mask int64) []any { return []any{entry, sum.Mask(entry, uint8(mask))} }

func numberOf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// DevicePrivileges is what an account may do on one device.
type DevicePrivileges struct {
	Device string
	Name   string // sealed
	Share  string // through which; "" for the owner
	Domain string // the account's own name for the device
	Grants []share.Grant
}

// Privileges lists the devices that an account may see, and what it may do.
func (s *Store) Privileges(ctx context.Context, account string, p Page) (list []DevicePrivileges, next string, err error) {
	err = s.reading(ctx, []*projection{privileges, devices}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		no, err := accountNumber(ctx, tx, account)
		if err != nil || no == 0 {
			return err
		}
		list, next, err = gather(p, "privileges", 0, func(after int64, n int) ([]placed[DevicePrivileges], error) {
			pairs, err := livePairs(ctx, tx, no, after, n)
			if err != nil {
				return nil, err
			}
			rows, err := grantsOf(ctx, tx, pairs)
			return inPlace(rows, pairs, func(r pairRow) int64 { return r.Pair & maxNumber }), err
		}, func(d DevicePrivileges) int { return weightOf(d.Name, d.Grants) })
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing privileges: %w", err)
	}
	return list, next, nil
}

func accountNumber(ctx context.Context, tx bun.IDB, account string) (no int64, err error) {
	err = tx.NewSelect().TableExpr("privilege_accounts").Column("no").Where("account = ?", account).Scan(ctx, &no)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return no, err
}

type pairRow struct {
	Pair                        int64
	Device, Name, Share, Domain string
}

// livePairs are the devices of an account behind a device's number.
func livePairs(ctx context.Context, tx bun.Tx, account, after int64, limit int) (rows []pairRow, err error) {
	seen := tx.NewSelect().TableExpr("privileges").ColumnExpr("DISTINCT entry >> ? AS pair", channelBits).
		Where("entry >= ? AND entry < ?", pairOf(account, after+1)<<channelBits, pairOf(account+1, 0)<<channelBits)
	err = tx.NewSelect().TableExpr("(?) AS p", seen).
		ColumnExpr("p.pair, d.device, coalesce(n.name, '') AS name, coalesce(s.share, '') AS share, coalesce(s.domain, '') AS domain").
		Join("JOIN privilege_devices AS d ON d.no = p.pair & ? AND d.live = 1", maxNumber).
		Join("LEFT JOIN devices AS n ON n.device = d.device").
		Join("LEFT JOIN privilege_shares AS s ON s.pair = p.pair").
		OrderExpr("p.pair").Limit(int64(limit)).Scan(ctx, &rows)
	return rows, err
}

// grantsOf reads what is granted on each channel of each of the devices.
func grantsOf(ctx context.Context, tx bun.Tx, pairs []pairRow) ([]DevicePrivileges, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	numbers, at := make([]int64, len(pairs)), make(map[int64]int, len(pairs))
	list := make([]DevicePrivileges, len(pairs))
	for i, r := range pairs {
		numbers[i], at[r.Pair] = r.Pair, i
		list[i] = DevicePrivileges{Device: r.Device, Name: r.Name, Share: r.Share, Domain: r.Domain}
	}
	var rows []struct{ Entry, Mask int64 }
	err := tx.NewSelect().TableExpr("privileges").Column("entry", "mask").
		Where("entry >= ? AND entry < ?", numbers[0]<<channelBits, (numbers[len(numbers)-1]+1)<<channelBits).OrderExpr("entry").Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		i, ok := at[r.Entry>>channelBits]
		if channel := r.Entry & (1<<channelBits - 1); ok && channel != 0 {
			list[i].Grants = append(list[i].Grants, share.Grant{Channel: int(channel), Privileges: privilege.Set(r.Mask) & privilege.All})
		}
	}
	return list, nil
}

// DomainTaken reports whether a device other than the given one has the name among
// those that the account has.
func (s *Store) DomainTaken(ctx context.Context, account, domain, device string) (taken bool, err error) {
	var no int64
	found, err := s.ask(ctx, &no, "SELECT no FROM privilege_accounts WHERE account = $1", account)
	if err == nil && found {
		_, err = s.ask(ctx, &taken, domainTaken, pairOf(no, 0), pairOf(no+1, 0), domain, device)
	}
	return taken, wrapped("looking a device domain up", err)
}

// domainTaken is apart from the account's number: with both in one statement
// PostgreSQL cannot tell how few pairs an account has, and reads every device.
var domainTaken = fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM privilege_shares AS s
	JOIN privilege_devices AS d ON d.no = s.pair & %d
	WHERE s.pair >= $1 AND s.pair < $2 AND s.domain = $3 AND d.device <> $4 AND d.live = 1)`, maxNumber)

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

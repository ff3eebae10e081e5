package projections

import (
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/sum"
	"latchkey/projections/access"
	"latchkey/projections/engine"
)

// granting is the reducer of privileges. It caches the numbers and devices that it has
// met, including those without a number.
type granting struct {
	limit    int64 // maximum number of accounts, and of devices, with a number
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

// remembered is the maximum size of granting's cache before it is cleared.
const remembered = 200_000

// Forget clears the cache of rows.
func (g *granting) Forget() {
	g.accounts, g.devices = map[string]*grantAccount{}, map[string]*grantDevice{}
}

// Reduce applies the effects of events.
func (g *granting) Reduce(w *engine.Writer, events []engine.Record) error {
	if len(g.accounts)+len(g.devices) > remembered {
		g.Forget()
	}
	effects := make([]grantEffect, 0, len(events))
	var each []event.Effect // of one event
	for _, e := range events {
		var err error
		if each, err = event.AppendEffects(each[:0], e.Event.(event.Event)); err != nil {
			return engine.Unreadable(e, err)
		}
		for _, f := range each {
			effects = append(effects, grantEffect{Effect: f})
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

// some applies as many of the effects as there are numbers for: usually all, and at least
// one.
func (g *granting) some(w *engine.Writer, effects []grantEffect) (n int, err error) {
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

// grantEffect is an effect with its accounts and device; nil for none.
type grantEffect struct {
	event.Effect
	account, owner *grantAccount
	device         *grantDevice
}

// grantBatch collects the effects of a batch of events.
type grantBatch struct {
	*granting
	w        *engine.Writer
	accounts [][]any                   // new ones
	changed  map[*grantDevice]struct{} // devices, new and changed ones
	pairs    map[int64]*grantPair
	order    []int64                          // of pairs
	keys     map[string][]any                 // by name
	counted  struct{ accounts, devices bool } // the rows were compared with the number assigned
}

// grantPair is what an account may do on a device after the batch.
type grantPair struct {
	has    bool
	own    bool // by ownership, not by a share
	grants []share.Grant
	share  string
	paused bool
	limits []privilege.Condition
	fresh  bool // ignores the account's earlier name of the device
}

func (b *grantBatch) clear() {
	b.accounts, b.order = nil, nil
	b.changed, b.pairs, b.keys = map[*grantDevice]struct{}{}, map[int64]*grantPair{}, map[string][]any{}
}

// lacks records that an event had no effect for lack of numbers.
func (b *grantBatch) lacks() { b.w.Counts.Lacks++ }

// pair returns what the account may do on the device, to be changed by the caller.
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

// apply only assigns a number to accounts that are granted something, and to a device
// that is removed before it was known.
func (b *grantBatch) apply(e *grantEffect) error {
	d := e.device
	switch e.Kind {
	case event.Nothing:
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
		if b.keys[string(e.Key.Name)] == nil {
			return b.addKey(e)
		}
	case event.KeyRevoked:
		b.ended()
		name := string(e.Key.Name)
		b.keys[name] = sum.Row(name, int64(0), "", int64(0))
	default: // a new kind is handled here
		return fmt.Errorf("an effect of kind %d: %w", e.Kind, event.ErrImpossible)
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

// remove needs no number if the device is unknown: then nobody has access to it. It is
// recorded all the same while there are numbers.
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
	*p = grantPair{has: true, grants: e.Grants, share: string(e.Share), paused: e.Paused, limits: e.Conditions, fresh: p.fresh}
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
	name := string(e.Key.Name)
	b.keys[name] = sum.Row(name, account, string(e.Key.Device), micros(e.Key.Expires))
	return nil
}

// named writes a name at once, after what was collected: it depends on whether the
// account has the device now, and takes the name from another device.
func (b *grantBatch) named(account, device int64, domain string) error {
	if err := b.write(); err != nil {
		return err
	}
	t, pair := b.w.Name(grantShareTable), pairOf(account, device)
	ctx, tx := b.w.Tx()
	q := tx.NewUpdate().TableExpr(t).Set("domain = CASE WHEN pair = ? THEN ? ELSE '' END", pair, domain).
		Where("pair >= ? AND pair < ?", pairOf(account, 0), pairOf(account+1, 0)).
		Where("pair = ? OR domain = ?", pair, domain).
		Where("EXISTS (SELECT 1 FROM ? WHERE pair = ?)", bun.Safe(t), pair)
	if _, err := q.Exec(ctx); err != nil {
		return fmt.Errorf("naming a device: %w", err)
	}
	return nil
}

// write writes what was collected and starts a new collection.
func (b *grantBatch) write() error {
	var cleared, entries, gone, shares, unlimited, limited [][]any
	for _, no := range b.order {
		p := b.pairs[no]
		cleared = append(cleared, []any{no << channelBits})
		unlimited = append(unlimited, []any{no})
		if p.fresh {
			gone = append(gone, []any{no})
		}
		if !p.has {
			continue
		}
		if !p.own {
			shares = append(shares, []any{no, p.share, "", numberOf(p.paused)})
		}
		first := false
		for _, g := range p.grants {
			entries = append(entries, grantRow(no<<channelBits|int64(g.Channel), maskOf(g, p.limits)))
			first = first || g.Channel <= firstChannels && g.Privileges != privilege.None
		}
		if len(p.limits) > 0 {
			text, err := json.Marshal(p.limits)
			if err != nil {
				return fmt.Errorf("encoding conditions: %w", err)
			}
			limited = append(limited, sum.Row(no, string(text)))
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
	return b.writeAll(accounts, devices, cleared, entries, unlimited, limited, gone, shares, added, revoked)
}

func (b *grantBatch) writeAll(accounts, devices, cleared, entries, unlimited, limited, gone, shares, added, revoked [][]any) error {
	for _, step := range []func() error{
		func() error { return b.w.Insert(grantAccountTable, accounts) },
		func() error { return b.w.Put(grantDeviceTable, devices) },
		func() error { return b.w.DeleteRanges(grantTable, cleared, 1<<channelBits) },
		func() error { return b.w.Insert(grantTable, entries) },
		func() error { return b.w.Delete(grantLimitTable, 1, unlimited) },
		func() error { return b.w.Insert(grantLimitTable, limited) },
		func() error { return b.w.Delete(grantShareTable, 1, gone) },
		func() error { return b.w.Put(grantShareTable, shares) },
		func() error { return b.w.Put(grantKeyAdded, added) },
		func() error { return b.w.Put(grantKeyTable, revoked) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// maskOf is the mask of a grant, with a bit more if a condition concerns it.
func maskOf(g share.Grant, limits []privilege.Condition) int64 {
	if g.Privileges != privilege.None && privilege.Concern(limits, g.Channel) {
		return int64(g.Privileges) | access.LimitedMask
	}
	return int64(g.Privileges)
}

func grantRow(entry, mask int64) []any { return []any{entry, sum.Mask(entry, uint8(mask))} }

func numberOf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

package projections

import (
	"fmt"
	"math/bits"
	"slices"

	"latchkey/domain/event"
	"latchkey/internal/sum"
	"latchkey/projections/engine"
)

// The numbers of accounts and devices have 24 bits each, and deleted ones keep theirs. So
// live ones are renumbered from 1 to n from time to time, in the same order, and all
// other rows are deleted: in the transaction of a batch of events, before them. Numbers
// have different meanings before and after, so cached ones must not be used any more: the
// reducer forgets them, another process notices that the checkpoint moved, and an index
// has its own numbers.
//
// This takes two passes over the rows, and on SQLite the other read models wait for it;
// so it happens only if it frees much, or if no number is left.

// wear is what the reducer knows, between batches, about deleted rows.
type wear struct {
	looked bool  // the rows were counted
	since  int64 // revoking events since they were counted
	spare  int64 // such events since the last renumbering
}

func (g *wear) ended() { g.since++; g.spare++ }

// few reports whether the remaining numbers may not suffice for all events in progress.
func few(highest, limit int64) bool { return highest+limit>>14 >= limit }

// makeRoom renumbers if that is worthwhile.
func (b *grantBatch) makeRoom(effects []grantEffect) error {
	worth, err := b.worth(effects)
	if err != nil || !worth {
		return err
	}
	b.wear = wear{looked: true}
	changed, err := compact(b.w)
	if err != nil || !changed {
		return wrapped("giving numbers again", err)
	}
	b.w.Logger().Info("accounts and devices were renumbered", "accounts", b.w.Counts.Accounts, "devices", b.w.Counts.Devices)
	b.w.Renewed()
	b.Forget()
	return b.find(effects)
}

// worth reports whether more numbers may be needed than are left, or a 256th of all
// numbers is on deleted rows and these are half of the rows.
func (b *grantBatch) worth(effects []grantEffect) (bool, error) {
	n, limit := b.w.Counts, b.limit
	accounts, devices := newcomers(effects)
	few, least := few(max(n.Accounts+accounts, n.Devices+devices), limit), max(limit>>8, 1)
	switch {
	case b.fitting(effects) == 0 && (!b.looked || b.spare >= max(limit>>14, 1)):
		return true, nil
	case (few || n.Lacks > 0) && (!b.looked || b.spare >= least):
		return true, nil
	case b.looked && b.since < least:
		return false, nil
	}
	gone, all, err := countGone(b.w)
	if err != nil {
		return false, err
	}
	if !b.looked {
		b.spare = gone
	}
	b.looked, b.since = true, 0
	return gone >= least && 2*gone >= all, nil
}

// newcomers returns the maximum number of numbers that effects may need.
func newcomers(effects []grantEffect) (accounts, devices int64) {
	for i := range effects {
		a, d := effects[i].newcomers()
		accounts, devices = accounts+a, devices+d
	}
	return accounts, devices
}

func (e *grantEffect) newcomers() (accounts, devices int64) {
	switch e.Kind {
	case event.Added, event.Granted, event.KeyAdded:
	default:
		return 0, 0
	}
	if e.account != nil && e.account.no == 0 {
		accounts = 1
	}
	if e.Kind == event.Added && e.device.no == 0 {
		devices = 1
	}
	return accounts, devices
}

// fitting returns how many of the first effects there are numbers for.
func (b *grantBatch) fitting(effects []grantEffect) int {
	accounts, devices := b.w.Counts.Accounts, b.w.Counts.Devices
	for i := range effects {
		a, d := effects[i].newcomers()
		accounts, devices = accounts+a, devices+d
		if a > 0 && accounts > b.limit || d > 0 && devices > b.limit {
			return i
		}
	}
	return len(effects)
}

// countGone counts the devices and stream keys, and the deleted ones among them.
func countGone(w *engine.Writer) (gone, all int64, err error) {
	ctx, tx := w.Tx()
	for t, where := range map[*engine.Table]string{grantDeviceTable: "live = 0", grantKeyTable: "account = 0"} {
		var some, of int64
		q := fmt.Sprintf("SELECT count(*) FILTER (WHERE %s), count(*) FROM %s", where, w.Name(t))
		if err := tx.Tx.QueryRowContext(ctx, q).Scan(&some, &of); err != nil {
			return 0, 0, fmt.Errorf("counting removed rows in %s: %w", t.Name, err)
		}
		gone, all = gone+some, all+of
	}
	return gone, all, nil
}

// compaction renumbers.
type compaction struct {
	w                 *engine.Writer
	accounts, devices renumbering
	ended             bool // there are revoked keys
}

// compact renumbers live ones from 1 to n and deletes the other rows. An account is
// live while it has a device, may see one, or has a key. It reports whether there was
// anything to do.
func compact(w *engine.Writer) (changed bool, err error) {
	n := w.Counts
	c := &compaction{w: w, accounts: newRenumbering(n.Accounts), devices: newRenumbering(n.Devices)}
	if err := c.survey(); err != nil {
		return false, err
	}
	accounts, devices := c.accounts.count(), c.devices.count()
	if accounts == n.Accounts && devices == n.Devices && !c.ended {
		return false, nil
	}
	for _, step := range []struct {
		t    *engine.Table
		next func(row []any) []any
	}{
		{grantAccountTable, c.account}, {grantDeviceTable, c.device}, {grantTable, c.entry}, {grantLimitTable, c.limit}, {grantShareTable, c.share}, {grantKeyTable, c.key},
	} {
		if err := c.rewrite(step.t, step.next); err != nil {
			return false, fmt.Errorf("%s: %w", step.t.Name, err)
		}
	}
	n.Accounts, n.Devices = accounts, devices
	return true, nil
}

// survey finds what is live. A damaged or missing row ends it: otherwise wrong ownership
// would be written with a valid sum.
func (c *compaction) survey() error {
	n := *c.w.Counts
	var accounts, devices int64
	for _, step := range []struct {
		t    *engine.Table
		each func(row []any) bool
	}{
		{grantDeviceTable, func(row []any) bool {
			devices++
			no, owner, live := row[0].(int64), row[2].(int64), row[3].(int64)
			return fits(row) && no <= n.Devices && (live == 0 || c.devices.mark(no) && c.accounts.mark(owner))
		}},
		{grantAccountTable, func(row []any) bool {
			accounts++
			return fits(row) && row[0].(int64) <= n.Accounts
		}},
		{grantTable, func(row []any) bool {
			entry := row[0].(int64)
			_, ok := sum.MaskOf(entry, row[1].(int64))
			account, device := split(entry >> channelBits)
			return ok && device <= n.Devices && (!c.devices.lives(device) || c.accounts.mark(account))
		}},
		{grantLimitTable, fits},
		{grantKeyTable, func(row []any) bool {
			account := row[1].(int64)
			c.ended = c.ended || account == 0
			return fits(row) && (account == 0 || c.accounts.mark(account))
		}},
	} {
		err := c.w.Pages(step.t, pageRows, func(rows [][]any) error {
			if slices.ContainsFunc(rows, func(row []any) bool { return !step.each(row) }) {
				return engine.ErrDamaged
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", step.t.Name, err)
		}
	}
	if accounts != n.Accounts || devices != n.Devices {
		return fmt.Errorf("%w: there are %d accounts and %d devices, but %d and %d have a number", engine.ErrDamaged, accounts, devices, n.Accounts, n.Devices)
	}
	return nil
}

// fits reports whether the last cell is the sum of those before it.
func fits(row []any) bool {
	last := len(row) - 1
	return row[last].(int64) == sum.Of(row[:last]...)
}

func split(pair int64) (account, device int64) { return pair >> deviceBits, pair & maxNumber }

// The rows after compaction, nil for none.

func (c *compaction) account(row []any) []any {
	if no := c.accounts.next(row[0].(int64)); no != 0 {
		return sum.Row(no, row[1])
	}
	return nil
}

func (c *compaction) device(row []any) []any {
	if no := c.devices.next(row[0].(int64)); no != 0 {
		return sum.Row(no, row[1], c.accounts.next(row[2].(int64)), row[3])
	}
	return nil
}

func (c *compaction) entry(row []any) []any {
	entry := row[0].(int64)
	pair := c.pair(entry >> channelBits)
	if pair == 0 {
		return nil
	}
	return grantRow(pair<<channelBits|entry&(1<<channelBits-1), int64(uint8(row[1].(int64))))
}

func (c *compaction) limit(row []any) []any {
	if pair := c.pair(row[0].(int64)); pair != 0 {
		return sum.Row(pair, row[1])
	}
	return nil
}

func (c *compaction) share(row []any) []any {
	if pair := c.pair(row[0].(int64)); pair != 0 {
		return []any{pair, row[1], row[2], row[3]}
	}
	return nil
}

func (c *compaction) key(row []any) []any {
	if account := c.accounts.next(row[1].(int64)); account != 0 {
		return sum.Row(row[0], account, row[2], row[3])
	}
	return nil
}

// pair returns 0 if the account or the device is deleted.
func (c *compaction) pair(old int64) int64 {
	account, device := split(old)
	account, device = c.accounts.next(account), c.devices.next(device)
	if account == 0 || device == 0 {
		return 0
	}
	return pairOf(account, device)
}

// pageRows is how many rows are in memory at once.
const pageRows = 1 << 13

// rewrite replaces the rows of a table. New numbers are at most the old ones and in the
// same order, so a row never gets the key of another that has not been processed.
func (c *compaction) rewrite(t *engine.Table, next func(row []any) []any) error {
	return c.w.Pages(t, pageRows, func(rows [][]any) error {
		moved := make([][]any, 0, len(rows))
		for _, row := range rows {
			if now := next(row); now != nil {
				moved = append(moved, now)
			}
		}
		if slices.EqualFunc(moved, rows, slices.Equal) {
			return nil
		}
		if err := c.w.DeleteBetween(t, rows[0][0], rows[len(rows)-1][0]); err != nil {
			return err
		}
		return c.w.Insert(t, moved)
	})
}

// renumbering has the live numbers of 1 to last, one bit each, and their new ones.
type renumbering struct {
	last   int64
	living []uint64
	before []int64 // live numbers before each word of living, once counted
}

func newRenumbering(last int64) renumbering {
	return renumbering{last: last, living: make([]uint64, last/64+1)}
}

// mark marks a number as live; it returns false if it was never assigned.
func (r *renumbering) mark(no int64) bool {
	if no < 1 || no > r.last {
		return false
	}
	r.living[no/64] |= 1 << (no % 64)
	return true
}

func (r *renumbering) lives(no int64) bool {
	return no >= 1 && no <= r.last && r.living[no/64]&(1<<(no%64)) != 0
}

// count returns how many are live. next may be called after it.
func (r *renumbering) count() (n int64) {
	r.before = make([]int64, len(r.living))
	for i, word := range r.living {
		r.before[i] = n
		n += int64(bits.OnesCount64(word))
	}
	return n
}

// next returns the new number, 0 if it is not live.
func (r *renumbering) next(no int64) int64 {
	if !r.lives(no) {
		return 0
	}
	return r.before[no/64] + int64(bits.OnesCount64(r.living[no/64]&(1<<(no%64)-1))) + 1
}

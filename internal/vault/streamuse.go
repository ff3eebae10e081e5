package vault

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// streamUse is when a device was last used. It is kept here, not in the log, so that it
// can be forgotten.
type streamUse struct {
	bun.BaseModel `bun:"table:vault_stream_uses"`

	Device     string `bun:"device,pk"`
	Account    string `bun:"account,pk"`
	Key        string `bun:"stream_key,pk"` // "": by the account, with any key
	Channel    int64  `bun:"channel,notnull"`
	Privileges int64  `bun:"privileges,notnull"`
	At         int64  `bun:"at,notnull"` // Unix seconds, a whole minute
}

// StreamUse is the last use of a device by an account, with one of its stream keys or
// with any.
type StreamUse struct {
	Device, Account string
	Key             string // "": with any key
	Channel         int
	Privileges      uint8
	At              time.Time // to the minute
}

const (
	// streamUsesMost is the maximum number of uses remembered between two writes. Others
	// are not recorded.
	streamUsesMost = 65_536
	// streamUseKept is how long the last use of a device is kept.
	streamUseKept = 365 * 24 * time.Hour
)

// streamUses remembers uses until NoteStreamUses writes them: a viewer must not wait for
// a write.
type streamUses struct {
	writing sync.RWMutex // held while writing, and shared while forgetting, so that nothing forgotten is written again

	mu      sync.Mutex
	noted   map[streamUseOf]streamUse // not yet written
	taken   []streamUse               // being written: neither noted nor in the table yet
	written map[streamUseOf]int64     // the minute that was last written
}

type streamUseOf struct{ device, account, key string }

func (u *streamUse) of() streamUseOf { return streamUseOf{u.Device, u.Account, u.Key} }

// NoteStreamUse remembers a use of a device with a stream key. It does not block: the
// minute of the use is written by the next NoteStreamUses, once.
func (v *Vault) NoteStreamUse(u StreamUse) {
	row := streamUse{Device: u.Device, Account: u.Account, Key: u.Key, Channel: int64(u.Channel), Privileges: int64(u.Privileges), At: u.At.Truncate(time.Minute).Unix()}
	v.streamUses.note(row)
	if u.Key != "" {
		row.Key = ""
		v.streamUses.note(row)
	}
}

func (s *streamUses) note(row streamUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := row.of()
	if s.written[of] >= row.At {
		return
	}
	if s.noted == nil {
		s.noted = make(map[streamUseOf]streamUse)
	}
	if there, ok := s.noted[of]; ok && there.At > row.At || !ok && len(s.noted) >= streamUsesMost {
		return
	}
	s.noted[of] = row
}

// take returns what is to be written. It counts as written from now on.
func (s *streamUses) take() []streamUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.written) > streamUsesMost {
		s.written = nil
	}
	if s.written == nil {
		s.written = make(map[streamUseOf]int64)
	}
	var rows []streamUse
	for of, row := range s.noted {
		rows = append(rows, row)
		s.written[of] = row.At
	}
	s.noted, s.taken = nil, rows
	return rows
}

// done says that what was taken is written, or noted again.
func (s *streamUses) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = nil
}

// drop forgets what is remembered and matches.
func (s *streamUses) drop(match func(streamUseOf) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of := range s.noted {
		if match(of) {
			delete(s.noted, of)
		}
	}
	for of := range s.written {
		if match(of) {
			delete(s.written, of)
		}
	}
}

// pending returns what is remembered and matches.
func (s *streamUses) pending(match func(streamUseOf) bool) (rows []streamUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range s.taken {
		if _, later := s.noted[row.of()]; match(row.of()) && !later {
			rows = append(rows, row)
		}
	}
	for of, row := range s.noted {
		if match(of) {
			rows = append(rows, row)
		}
	}
	return rows
}

// NoteStreamUses writes the remembered uses: at most once a minute for each device and
// key. A crash only loses those since the last call.
func (v *Vault) NoteStreamUses(ctx context.Context) error {
	v.streamUses.writing.Lock()
	defer v.streamUses.writing.Unlock()
	rows := v.streamUses.take()
	if len(rows) == 0 {
		return nil
	}
	defer v.streamUses.done()
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		for i := range rows {
			_, err := tx.NewInsert().Model(&rows[i]).On("CONFLICT (device, account, stream_key) DO UPDATE").
				Set("channel = EXCLUDED.channel, privileges = EXCLUDED.privileges, at = EXCLUDED.at").
				Where("?TableAlias.at < EXCLUDED.at").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		v.streamUses.again(rows)
		return fmt.Errorf("recording the use of devices: %w", err)
	}
	return nil
}

// again remembers rows that could not be written, unless there was a later use.
func (s *streamUses) again(rows []streamUse) {
	s.mu.Lock()
	for i := range rows {
		delete(s.written, rows[i].of())
	}
	s.mu.Unlock()
	for _, row := range rows {
		s.note(row)
	}
}

// StreamUses lists the last uses of a device, the newest first: a row for each account
// that used it, and one for each of its stream keys that was not revoked.
func (v *Vault) StreamUses(ctx context.Context, device string) ([]StreamUse, error) {
	rows := v.streamUses.pending(func(of streamUseOf) bool { return of.device == device })
	list, err := latestUses(ctx, rows, v.db.NewSelect().Where("device = ?", device))
	if err != nil {
		return nil, fmt.Errorf("reading the use of device %s: %w", device, err)
	}
	return list, nil
}

// StreamUsesBy lists the last uses of devices by accounts, with any key, the newest first.
func (v *Vault) StreamUsesBy(ctx context.Context, devices, accounts []string) ([]StreamUse, error) {
	if len(devices) == 0 || len(accounts) == 0 {
		return nil, nil
	}
	rows := v.streamUses.pending(func(of streamUseOf) bool {
		return of.key == "" && slices.Contains(devices, of.device) && slices.Contains(accounts, of.account)
	})
	list, err := latestUses(ctx, rows, v.db.NewSelect().
		Where("device IN (?) AND account IN (?) AND stream_key = ''", bun.List(devices), bun.List(accounts)))
	if err != nil {
		return nil, fmt.Errorf("reading the use of %d devices: %w", len(devices), err)
	}
	return list, nil
}

// latestUses returns what was remembered together with what a query finds in the table.
func latestUses(ctx context.Context, rows []streamUse, query *bun.SelectQuery) ([]StreamUse, error) {
	var stored []streamUse
	if err := query.Model(&stored).Scan(ctx); err != nil {
		return nil, err
	}
	at := make(map[streamUseOf]int, len(rows))
	for i := range rows {
		at[rows[i].of()] = i
	}
	for _, row := range stored {
		i, remembered := at[row.of()]
		switch {
		case !remembered:
			rows = append(rows, row)
		case rows[i].At < row.At:
			rows[i] = row
		}
	}
	slices.SortFunc(rows, func(a, b streamUse) int {
		return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Device, b.Device))
	})
	list := make([]StreamUse, len(rows))
	for i, r := range rows {
		list[i] = StreamUse{Device: r.Device, Account: r.Account, Key: r.Key, Channel: int(r.Channel), Privileges: uint8(r.Privileges), At: unixTime(r.At)}
	}
	return list, nil
}

// forgetStreamUses deletes the uses in a column, "device", "account" or "stream_key", that
// have a value. The uses that are remembered are dropped before; the caller shares writing.
func forgetStreamUses(ctx context.Context, tx bun.Tx, column, value string) (bool, error) {
	return changed(tx.NewDelete().Model((*streamUse)(nil)).Where("? = ?", bun.Ident(column), value).Exec(ctx))
}

// DropOldStreamUses deletes uses that are older than a year.
func (v *Vault) DropOldStreamUses(ctx context.Context) error {
	before := v.now().Add(-streamUseKept).Unix()
	some, err := v.db.NewSelect().Model((*streamUse)(nil)).Where("at < ?", before).Exists(ctx)
	if err == nil && some {
		err = v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
			return changed(tx.NewDelete().Model((*streamUse)(nil)).Where("at < ?", before).Exec(ctx))
		}, true)
	}
	if err != nil {
		return fmt.Errorf("dropping old uses of devices: %w", err)
	}
	return nil
}

package vault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// Alarm is one that a device raised.
type Alarm struct {
	ID  string
	Seq int64 // grows with each alarm; its place in the order of arrival
	// Device and Channel are where it happened; channel 0 is the device itself.
	Device  string
	Channel int
	// By is the channel whose privilege it takes to know of it.
	By     int
	Kind   string
	Source string    // on which way it came, and to which process
	Raised time.Time // when it arrived
	Camera time.Time // the device's own time; zero if it said none that can be believed
}

// AlarmCopy is an alarm as an account has it that held the privilege when it was raised.
type AlarmCopy struct {
	Alarm
	Account      string
	Acknowledged time.Time // zero: it is not
}

// alarmRow is the row of an Alarm. Times are Unix milliseconds.
type alarmRow struct {
	bun.BaseModel `bun:"table:vault_alarms,alias:a"`

	ID      string `bun:"id,pk"`
	Seq     int64  `bun:"seq,notnull"`
	Device  string `bun:"device,notnull"`
	Channel int    `bun:"channel,notnull"`
	By      int    `bun:"by_channel,notnull"`
	Kind    string `bun:"kind,notnull"`
	Source  string `bun:"source,notnull"`
	Raised  int64  `bun:"raised,notnull"`
	Camera  int64  `bun:"camera,notnull"`
}

// alarmCopy says that an account has an alarm.
type alarmCopy struct {
	bun.BaseModel `bun:"table:vault_alarm_copies,alias:c"`

	Account      string `bun:"account,pk"`
	Seq          int64  `bun:"seq,pk"`
	Acknowledged int64  `bun:"acknowledged,notnull"` // Unix milliseconds; 0: it is not
}

// alarmCount has the number of the last alarm. It never goes back: clients continue after
// a number that they have.
type alarmCount struct {
	bun.BaseModel `bun:"table:vault_alarm_count"`

	ID   int   `bun:"id,pk"`
	Last int64 `bun:"last,notnull"`
}

func (r *alarmRow) alarm() Alarm {
	return Alarm{
		ID: r.ID, Seq: r.Seq, Device: r.Device, Channel: r.Channel, By: r.By, Kind: r.Kind, Source: r.Source,
		Raised: millis(r.Raised), Camera: millis(r.Camera),
	}
}

// RaisedAlarm is an alarm to keep.
type RaisedAlarm struct {
	Alarm
	Accounts []string // that have it
	Notices  []Notice // that are kept with it
	// Again is for how long after one the same of a device, from another source, is not
	// another: two ways on which it tells of its alarms tell of one.
	Again time.Duration
	Most  int // of a device; the oldest make room
}

// copiesAtOnce is how many rows one statement inserts.
const copiesAtOnce = 300

// RaiseAlarm keeps an alarm and gives it its number. False: it is the same as one that
// was just raised. Numbers are given in the order in which alarms become visible.
func (v *Vault) RaiseAlarm(ctx context.Context, n RaisedAlarm) (raised Alarm, ok bool, err error) {
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		// With PostgreSQL this row keeps others waiting until the transaction has ended.
		var last int64
		err := tx.NewRaw("INSERT INTO vault_alarm_count (id, last) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET last = vault_alarm_count.last + 1 RETURNING last").Scan(ctx, &last)
		if err != nil {
			return err
		}
		if ok, err = firstAlarm(ctx, tx, n); err != nil || !ok {
			return err
		}
		raised = n.Alarm
		raised.Seq = last
		row := &alarmRow{
			ID: n.ID, Seq: last, Device: n.Device, Channel: n.Channel, By: n.By, Kind: n.Kind, Source: n.Source, Raised: n.Raised.UnixMilli(),
		}
		if !n.Camera.IsZero() {
			row.Camera = n.Camera.UnixMilli()
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		for at := 0; at < len(n.Accounts); at += copiesAtOnce {
			some := n.Accounts[at:min(at+copiesAtOnce, len(n.Accounts))]
			rows := make([]alarmCopy, len(some))
			for i, account := range some {
				rows[i] = alarmCopy{Account: account, Seq: last}
			}
			if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
				return err
			}
		}
		if err := enqueueNotices(ctx, tx, n.Notices); err != nil {
			return err
		}
		return trimAlarms(ctx, tx, n.Device, n.Most)
	})
	if err != nil {
		return Alarm{}, false, fmt.Errorf("keeping an alarm of %s: %w", n.Device, err)
	}
	return raised, ok, nil
}

// firstAlarm reports whether the same did not come from another source a moment ago.
func firstAlarm(ctx context.Context, tx bun.Tx, n RaisedAlarm) (bool, error) {
	same, err := tx.NewSelect().Model((*alarmRow)(nil)).Where("device = ? AND channel = ? AND kind = ?", n.Device, n.Channel, n.Kind).
		Where("raised > ? AND source <> ?", n.Raised.Add(-n.Again).UnixMilli(), n.Source).Exists(ctx)
	return !same, err
}

// trimAlarms drops the oldest alarms of a device.
func trimAlarms(ctx context.Context, tx bun.Tx, device string, most int) error {
	var over []int64
	err := tx.NewSelect().Model((*alarmRow)(nil)).Column("seq").Where("device = ?", device).OrderExpr("seq DESC").Offset(int64(most)).Limit(100).Scan(ctx, &over)
	if err != nil || len(over) == 0 {
		return err
	}
	return dropAlarms(ctx, tx, over)
}

func dropAlarms(ctx context.Context, tx bun.Tx, numbers []int64) error {
	if _, err := tx.NewDelete().Model((*alarmCopy)(nil)).Where("seq IN (?)", bun.List(numbers)).Exec(ctx); err != nil {
		return err
	}
	_, err := tx.NewDelete().Model((*alarmRow)(nil)).Where("seq IN (?)", bun.List(numbers)).Exec(ctx)
	return err
}

// DropAlarms drops the alarms that were raised before a time. Nobody asked for it, so the
// files are not rewritten each time.
func (v *Vault) DropAlarms(ctx context.Context, before time.Time) error {
	for more := true; more; {
		var old []int64
		err := v.db.NewSelect().Model((*alarmRow)(nil)).Column("seq").Where("raised < ?", before.UnixMilli()).OrderExpr("seq").Limit(copiesAtOnce).Scan(ctx, &old)
		if err == nil && len(old) > 0 {
			err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error { return dropAlarms(ctx, tx, old) })
		}
		if err != nil {
			return fmt.Errorf("dropping old alarms: %w", err)
		}
		more = len(old) == copiesAtOnce
	}
	return nil
}

// forgetAlarmsOf drops what is kept of a device's alarms.
func forgetAlarmsOf(ctx context.Context, tx bun.Tx, device string) (some bool, err error) {
	of := tx.NewSelect().Model((*alarmRow)(nil)).Column("seq").Where("device = ?", device)
	if _, err := tx.NewDelete().Model((*alarmCopy)(nil)).Where("seq IN (?)", of).Exec(ctx); err != nil {
		return false, err
	}
	some, err = changed(tx.NewDelete().Model((*alarmRow)(nil)).Where("device = ?", device).Exec(ctx))
	if err != nil {
		return false, err
	}
	had, err := changed(tx.NewDelete().Model((*alarmReceiver)(nil)).Where("device = ?", device).Exec(ctx))
	return some || had, err
}

// LastAlarm returns the number of the last alarm, 0 if there was none.
func (v *Vault) LastAlarm(ctx context.Context) (int64, error) {
	row := &alarmCount{ID: 1}
	err := v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if err != nil && !notFound(err) {
		return 0, fmt.Errorf("reading the number of the last alarm: %w", err)
	}
	return row.Last, nil
}

// AlarmQuery selects alarms of an account.
type AlarmQuery struct {
	Account      string
	After        int64 // number: those after it
	Before       int64 // number: those before it; 0: all
	Device       string
	Channel      *int
	Acknowledged *bool
	From, To     time.Time // raised; zero: without an end
	OldestFirst  bool
	Most         int
}

// AlarmsOf lists alarms of an account.
func (v *Vault) AlarmsOf(ctx context.Context, q AlarmQuery) ([]AlarmCopy, error) {
	order := "c.seq DESC"
	if q.OldestFirst {
		order = "c.seq"
	}
	return v.copies(ctx, func(s *bun.SelectQuery) *bun.SelectQuery {
		s = s.Where("c.account = ? AND c.seq > ?", q.Account, q.After).OrderExpr(order).Limit(int64(q.Most))
		if q.Before > 0 {
			s = s.Where("c.seq < ?", q.Before)
		}
		if q.Device != "" {
			s = s.Where("a.device = ?", q.Device)
		}
		if q.Channel != nil {
			s = s.Where("a.channel = ?", *q.Channel)
		}
		if q.Acknowledged != nil {
			s = s.Where("(c.acknowledged <> 0) = ?", *q.Acknowledged)
		}
		if !q.From.IsZero() {
			s = s.Where("a.raised >= ?", q.From.UnixMilli())
		}
		if !q.To.IsZero() {
			s = s.Where("a.raised < ?", q.To.UnixMilli())
		}
		return s
	})
}

// NewAlarms lists the copies of the alarms after a number up to another one, in their
// order.
func (v *Vault) NewAlarms(ctx context.Context, after, until int64) ([]AlarmCopy, error) {
	return v.copies(ctx, func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("c.seq > ? AND c.seq <= ?", after, until).OrderExpr("c.seq, c.account")
	})
}

// AlarmOf returns an account's copy of an alarm. ErrNotFound: it has none.
func (v *Vault) AlarmOf(ctx context.Context, account, id string) (AlarmCopy, error) {
	list, err := v.copies(ctx, func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("c.account = ? AND a.id = ?", account, id) })
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return AlarmCopy{}, fmt.Errorf("reading an alarm: %w", err)
	}
	return list[0], nil
}

func (v *Vault) copies(ctx context.Context, where func(*bun.SelectQuery) *bun.SelectQuery) ([]AlarmCopy, error) {
	var rows []struct {
		alarmRow
		Account      string
		Acknowledged int64
	}
	err := v.db.NewSelect().TableExpr("vault_alarm_copies AS c").Join("JOIN vault_alarms AS a ON a.seq = c.seq").
		ColumnExpr("a.*, c.account, c.acknowledged").Apply(where).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("listing alarms: %w", err)
	}
	list := make([]AlarmCopy, len(rows))
	for i := range rows {
		list[i] = AlarmCopy{Alarm: rows[i].alarm(), Account: rows[i].Account, Acknowledged: millis(rows[i].Acknowledged)}
	}
	return list, nil
}

// AcknowledgeAlarms notes that an account has seen its copies of alarms; the first time of
// each counts.
func (v *Vault) AcknowledgeAlarms(ctx context.Context, account string, numbers ...int64) error {
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		for some := range slices.Chunk(numbers, copiesAtOnce) {
			_, err := tx.NewUpdate().Model((*alarmCopy)(nil)).Set("acknowledged = ?", v.now().UnixMilli()).
				Where("account = ? AND seq IN (?) AND acknowledged = 0", account, bun.List(some)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("acknowledging alarms: %w", err)
	}
	return nil
}

// UnacknowledgeAlarm forgets that an account has seen its copy of an alarm.
func (v *Vault) UnacknowledgeAlarm(ctx context.Context, account string, seq int64) error {
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*alarmCopy)(nil)).Set("acknowledged = 0").Where("account = ? AND seq = ?", account, seq).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("taking the acknowledgement of an alarm back: %w", err)
	}
	return nil
}

// alarmReceiver is the key with which a device tells of its alarms. The row is bound: see
// bind.go.
type alarmReceiver struct {
	bun.BaseModel `bun:"table:vault_alarm_receivers"`

	Device  string `bun:"device,pk"`
	Owner   string `bun:"owner,notnull"`
	Key     string `bun:"key,notnull"`     // a keyed hash
	Created int64  `bun:"created,notnull"` // Unix milliseconds
	Used    int64  `bun:"used,notnull"`    // roughly the last use; not in the MAC
	MAC     string `bun:"mac,notnull"`
}

func (v *Vault) macOfReceiver(r *alarmReceiver) string {
	return v.mac("alarm receiver", r.Device, r.Owner, r.Key, fmt.Sprint(r.Created))
}

// AlarmReceiver is the key of a device without the key.
type AlarmReceiver struct {
	Device, Owner string
	Created       time.Time
	Used          time.Time // zero: it was never used
}

// SetAlarmReceiver gives a device a key, in place of the one that it had.
func (v *Vault) SetAlarmReceiver(ctx context.Context, device, owner, key string) error {
	row := &alarmReceiver{Device: device, Owner: owner, Key: v.mac("key of an alarm receiver", key), Created: v.now().UnixMilli()}
	row.MAC = v.macOfReceiver(row)
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		had, err := changed(tx.NewDelete().Model((*alarmReceiver)(nil)).Where("device = ?", device).Exec(ctx))
		if err == nil {
			_, err = tx.NewInsert().Model(row).Exec(ctx)
		}
		return had, err
	})
	if err != nil {
		return fmt.Errorf("giving %s a key for its alarms: %w", device, err)
	}
	return nil
}

// AlarmReceiverOf returns what is known of a device's key. ErrNotFound: it has none.
func (v *Vault) AlarmReceiverOf(ctx context.Context, device string) (AlarmReceiver, error) {
	return v.receiver(ctx, "device = ?", device)
}

// AlarmReceiverBy returns the device with a key. ErrNotFound: none has it.
func (v *Vault) AlarmReceiverBy(ctx context.Context, key string) (AlarmReceiver, error) {
	return v.receiver(ctx, "key = ?", v.mac("key of an alarm receiver", key))
}

func (v *Vault) receiver(ctx context.Context, where, value string) (AlarmReceiver, error) {
	var row alarmReceiver
	err := v.db.NewSelect().Model(&row).Where(where, value).Scan(ctx)
	if notFound(err) || err == nil && !equal(row.MAC, v.macOfReceiver(&row)) {
		err = ErrNotFound
	}
	if err != nil {
		return AlarmReceiver{}, fmt.Errorf("looking up the key for the alarms of a device: %w", err)
	}
	return AlarmReceiver{Device: row.Device, Owner: row.Owner, Created: millis(row.Created), Used: millis(row.Used)}, nil
}

// UsedAlarmReceiver notes that a device used its key.
func (v *Vault) UsedAlarmReceiver(ctx context.Context, device string) error {
	return v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*alarmReceiver)(nil)).Set("used = ?", v.now().UnixMilli()).Where("device = ?", device).Exec(ctx)
		return err
	})
}

// RevokeAlarmReceiver ends a device's key; false: it has none.
func (v *Vault) RevokeAlarmReceiver(ctx context.Context, device string) (had bool, err error) {
	err = v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		had, err = changed(tx.NewDelete().Model((*alarmReceiver)(nil)).Where("device = ?", device).Exec(ctx))
		return had, err
	})
	if err != nil {
		return false, fmt.Errorf("revoking the key for the alarms of %s: %w", device, err)
	}
	return had, nil
}

// lease says which process does something that only one may do.
type lease struct {
	bun.BaseModel `bun:"table:vault_leases,alias:lease"`

	Name   string `bun:"name,pk"`
	Holder string `bun:"holder,notnull"`
	Until  int64  `bun:"until,notnull"` // Unix milliseconds
}

// Lease takes or renews a lease for a time, and reports whether the holder has it.
func (v *Vault) Lease(ctx context.Context, name, holder string, lasts time.Duration) (has bool, err error) {
	now := v.now()
	row := &lease{Name: name, Holder: holder, Until: now.Add(lasts).UnixMilli()}
	err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		has, err = changed(tx.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").Set("holder = EXCLUDED.holder, until = EXCLUDED.until").
			Where("?TableAlias.holder = ? OR ?TableAlias.until <= ?", holder, now.UnixMilli()).Exec(ctx))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("taking the lease %q: %w", name, err)
	}
	return has, nil
}

// EndLease gives a lease back.
func (v *Vault) EndLease(ctx context.Context, name, holder string) error {
	return v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*lease)(nil)).Where("name = ? AND holder = ?", name, holder).Exec(ctx)
		return err
	})
}

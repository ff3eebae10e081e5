package alarms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/alert"
	"latchkey/internal/rates"
	"latchkey/internal/vault"
	"latchkey/projections/access"
)

// What is kept: so long, and so many of a device.
const (
	Kept       = 30 * 24 * time.Hour
	MostOfOne  = 1000
	again      = 5 * time.Second
	believable = 10 * time.Minute // between the camera's time and the arrival
	// A device raises so many alarms at once, and one more each two seconds. One that
	// many accounts have counts more.
	burst, every = 1200, 2 * time.Second
	holdersOfOne = 50
	known        = 50_000 // devices whose rate is remembered
	maxHolders   = 10_000
)

// Alarm is one that a device raised.
type Alarm = vault.Alarm

// Copy is an alarm as an account has it.
type Copy = vault.AlarmCopy

// Holder is an account that may have the device.
type Holder struct {
	Account string
	Share   string // through which; "" for the owner
}

// Having is who has a device.
type Having struct {
	Owner    string
	Channels []int    // that it has, in order
	Shared   []Holder // that accepted it; they may have any privileges, or none now
}

// Index knows who may do what.
type Index interface {
	Check(account ids.Account, device ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict
}

// Store keeps alarms.
type Store interface {
	RaiseAlarm(ctx context.Context, n vault.RaisedAlarm) (raised Alarm, ok bool, err error)
	AlarmsOf(ctx context.Context, q vault.AlarmQuery) ([]Copy, error)
	AlarmOf(ctx context.Context, account, id string) (Copy, error)
	AcknowledgeAlarms(ctx context.Context, account string, numbers ...int64) error
	UnacknowledgeAlarm(ctx context.Context, account string, seq int64) error
	NewAlarms(ctx context.Context, after, until int64) ([]Copy, error)
	LastAlarm(ctx context.Context) (int64, error)

	AlarmReceiverOf(ctx context.Context, device string) (vault.AlarmReceiver, error)
	AlarmReceiverBy(ctx context.Context, key string) (vault.AlarmReceiver, error)
	SetAlarmReceiver(ctx context.Context, device, owner, key string) error
	UsedAlarmReceiver(ctx context.Context, device string) error
	RevokeAlarmReceiver(ctx context.Context, device string) (bool, error)
}

// Config is what a Desk needs.
type Config struct {
	Store Store
	Index Index
	// Having returns who has a device; false: it is in no account.
	Having func(ctx context.Context, device string) (Having, bool, error)
	// Notices returns what is to be sent to accounts of an alarm; nil: nothing.
	Notices func(ctx context.Context, a Alarm, to []Holder) ([]vault.Notice, error)
	// Raised is called after an alarm was kept.
	Raised func()
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger
}

// Desk takes what cameras say. It is safe for concurrent use.
type Desk struct {
	cfg     Config
	edges   edges
	rates   *rates.Rates
	process string // its name among others

	kept, left atomic.Uint64
}

// NewDesk makes a desk.
func NewDesk(cfg Config) *Desk {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Raised == nil {
		cfg.Raised = func() {}
	}
	return &Desk{cfg: cfg, rates: rates.New(every, burst, known), process: rand.Text()}
}

// Take takes what a device says. zone is its time zone, for times that have none; nil: UTC.
func (d *Desk) Take(ctx context.Context, device string, list []alert.Alert, zone *time.Location) error {
	return d.take(ctx, "listening", device, list, zone)
}

func (d *Desk) take(ctx context.Context, way, device string, list []alert.Alert, zone *time.Location) error {
	var faults []error
	for _, a := range list {
		now := d.cfg.Now()
		if a.Unzoned && zone != nil {
			a.At = inZone(a.At, zone)
		}
		if !d.edges.rises(device, a, now) {
			continue
		}
		if err := d.raise(ctx, way, device, a, now); err != nil {
			d.edges.again(device, a) // it may be repeated
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Counts returns how many alarms were kept, and how many left out because a device raised
// too many.
func (d *Desk) Counts() (kept, left uint64) { return d.kept.Load(), d.left.Load() }

// inZone is a time that was read as UTC, in another zone.
func inZone(at time.Time, zone *time.Location) time.Time {
	return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), zone).UTC()
}

// Forget forgets what a device said.
func (d *Desk) Forget(device string) { d.edges.forget(device) }

func (d *Desk) raise(ctx context.Context, way, device string, a alert.Alert, now time.Time) error {
	having, ok, err := d.cfg.Having(ctx, device)
	if err != nil || !ok {
		return err
	}
	alarm := Alarm{ID: uuid.NewString(), Device: device, Kind: string(a.Kind), Source: way + " " + d.process, Raised: now.UTC()}
	if !a.At.IsZero() && a.At.Sub(now).Abs() <= believable {
		alarm.Camera = a.At.UTC()
	}
	var to []Holder
	if alarm.Channel, alarm.By, to, err = d.holders(device, a, having, now); err != nil || len(to) == 0 {
		return err
	}
	if wait := d.rates.TakeN(device, 1+len(to)/holdersOfOne, now); wait > 0 {
		d.left.Add(1)
		d.cfg.Logger.DebugContext(ctx, "a device raises too many alarms; one is left out", "device", device, "kind", a.Kind)
		return nil
	}
	n := vault.RaisedAlarm{Alarm: alarm, Again: again, Most: MostOfOne}
	for _, h := range to {
		n.Accounts = append(n.Accounts, h.Account)
	}
	if d.cfg.Notices != nil {
		if n.Notices, err = d.cfg.Notices(ctx, alarm, to); err != nil {
			return fmt.Errorf("addressing an alarm of %s: %w", device, err)
		}
	}
	if _, ok, err = d.cfg.Store.RaiseAlarm(ctx, n); err == nil && ok {
		d.kept.Add(1)
		d.cfg.Raised()
	}
	return err
}

// holders returns the channel that an alarm is of, the channel whose privilege it takes,
// and who holds that now.
func (d *Desk) holders(device string, a alert.Alert, having Having, now time.Time) (channel, by int, to []Holder, err error) {
	channel = channelOf(a, having.Channels)
	may := func(account string, channel int) bool {
		v := d.cfg.Index.Check(ids.Account(account), ids.Device(device), channel, privilege.Alarm, now)
		if v == access.Unavailable {
			err = ErrUnknown
		}
		return v == access.Allowed
	}
	if by = channel; by == 0 { // of the device itself only its owner is told
		for _, c := range having.Channels {
			if may(having.Owner, c) {
				return 0, c, []Holder{{Account: having.Owner}}, nil
			}
		}
		return 0, 0, nil, err
	}
	asked := map[string]bool{} // until it is put in order, an account may have the device through two shares
	for _, h := range append([]Holder{{Account: having.Owner}}, having.Shared...) {
		if len(to) < maxHolders && !asked[h.Account] && may(h.Account, by) {
			to = append(to, h)
		}
		asked[h.Account] = true
	}
	return channel, by, to, err
}

// channelOf returns the channel that an alarm is of; 0: the device itself. The only
// channel of a camera is meant if it names none. Some recorders count their linked cameras
// from 33.
func channelOf(a alert.Alert, channels []int) int {
	const linked = 32
	switch {
	case slices.Contains(channels, a.Channel):
		return a.Channel
	case slices.Contains(channels, a.Channel-linked):
		return a.Channel - linked
	case len(channels) == 1 && a.Channel == 0:
		return channels[0]
	}
	return 0
}

// Query selects alarms of an account.
type Query struct {
	Device       string
	Channel      *int
	Acknowledged *bool
	From, To     time.Time // when it arrived; zero: without an end
	Before       int64     // number: only alarms before it
	Most         int
}

const (
	// scanned limits how many alarms are looked at for one answer: an account may have
	// many that it may not know of now.
	scanned     = 50_000
	scannedOnce = 200
)

// List lists the alarms that an account has and may know of now, the newest first.
func (d *Desk) List(ctx context.Context, account string, q Query) (list []Copy, err error) {
	now, may := d.cfg.Now(), map[way]access.Verdict{}
	page := vault.AlarmQuery{Account: account, Before: q.Before, Device: q.Device, Channel: q.Channel, Acknowledged: q.Acknowledged, From: q.From, To: q.To}
	page.Most = max(q.Most, scannedOnce)
	for looked := 0; looked < scanned; looked += page.Most {
		rows, err := d.cfg.Store.AlarmsOf(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			of := way{row.Device, row.By}
			v, asked := may[of]
			if !asked {
				v = d.cfg.Index.Check(ids.Account(account), ids.Device(row.Device), row.By, privilege.Alarm, now)
				may[of] = v
			}
			switch v {
			case access.Unavailable:
				return nil, ErrUnknown
			case access.Allowed:
				list = append(list, row)
			}
			if page.Before = row.Seq; len(list) == q.Most {
				return list, nil
			}
		}
		if len(rows) < page.Most {
			break
		}
	}
	return list, nil
}

// way is a channel of a device.
type way struct {
	device  string
	channel int
}

// ErrNoAlarm is returned for an alarm that the account does not have, or may not know of
// now.
var ErrNoAlarm = errors.New("there is no such alarm")

// Get returns an alarm of an account: ErrNoAlarm.
func (d *Desk) Get(ctx context.Context, account, id string) (Copy, error) {
	row, err := d.cfg.Store.AlarmOf(ctx, account, id)
	if errors.Is(err, vault.ErrNotFound) {
		return Copy{}, ErrNoAlarm
	}
	if err != nil {
		return Copy{}, err
	}
	switch d.cfg.Index.Check(ids.Account(account), ids.Device(row.Device), row.By, privilege.Alarm, d.cfg.Now()) {
	case access.Allowed:
	case access.Unavailable:
		return Copy{}, ErrUnknown
	default:
		return Copy{}, ErrNoAlarm
	}
	return row, nil
}

// Acknowledge notes that an account has seen an alarm, or has not: ErrNoAlarm.
func (d *Desk) Acknowledge(ctx context.Context, account, id string, seen bool) (Copy, error) {
	row, err := d.Get(ctx, account, id)
	if err != nil || seen != row.Acknowledged.IsZero() {
		return row, err
	}
	if seen {
		err = d.cfg.Store.AcknowledgeAlarms(ctx, account, row.Seq)
	} else {
		err = d.cfg.Store.UnacknowledgeAlarm(ctx, account, row.Seq)
	}
	if err != nil {
		return Copy{}, err
	}
	return d.cfg.Store.AlarmOf(ctx, account, id)
}

// AcknowledgeUpTo notes that an account has seen the alarms that a query selects, which it
// may know of now, up to one of its alarms. It returns how many it had not seen:
// ErrNoAlarm.
func (d *Desk) AcknowledgeUpTo(ctx context.Context, account, id string, q Query) (int, error) {
	last, err := d.Get(ctx, account, id)
	if err != nil {
		return 0, err
	}
	unseen := false
	q.Acknowledged, q.Before, q.Most = &unseen, last.Seq+1, scanned
	list, err := d.List(ctx, account, q)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	numbers := make([]int64, len(list))
	for i, row := range list {
		numbers[i] = row.Seq
	}
	return len(list), d.cfg.Store.AcknowledgeAlarms(ctx, account, numbers...)
}

// ErrNoReceiver is returned for a key that no device has.
var ErrNoReceiver = errors.New("no device has this key")

// receiver returns the device and owner of a key, if the owner has not changed since.
func (d *Desk) receiver(ctx context.Context, key string) (Receiver, error) {
	of, err := d.cfg.Store.AlarmReceiverBy(ctx, key)
	if errors.Is(err, vault.ErrNotFound) {
		return Receiver{}, ErrNoReceiver
	}
	if err != nil {
		return Receiver{}, err
	}
	having, ok, err := d.cfg.Having(ctx, of.Device)
	if err != nil {
		return Receiver{}, err
	}
	if !ok || having.Owner != of.Owner {
		return Receiver{}, ErrNoReceiver
	}
	return of, nil
}

// Receive takes what a device posts with its key: ErrNoReceiver, before the body is read
// and after it, which may take minutes; alert.ErrUnreadable, alert.ErrTooLarge.
func (d *Desk) Receive(ctx context.Context, key, contentType string, body io.Reader) error {
	if _, err := d.receiver(ctx, key); err != nil {
		return err
	}
	list, err := alert.Read(contentType, body)
	if err != nil {
		return err
	}
	of, err := d.receiver(ctx, key)
	if err != nil {
		return err
	}
	if d.cfg.Now().Sub(of.Used) > time.Minute {
		if err := d.cfg.Store.UsedAlarmReceiver(ctx, of.Device); err != nil {
			return err
		}
	}
	return d.take(ctx, "posting", of.Device, list, nil)
}

// Receiver is the key of a device for its alarms, without the key.
type Receiver = vault.AlarmReceiver

// MakeReceiver gives a device of an owner a key, in place of the one that it had.
func (d *Desk) MakeReceiver(ctx context.Context, owner, device string) (Receiver, string, error) {
	key := rand.Text()
	if err := d.cfg.Store.SetAlarmReceiver(ctx, device, owner, key); err != nil {
		return Receiver{}, "", err
	}
	made, err := d.cfg.Store.AlarmReceiverOf(ctx, device)
	return made, key, err
}

// ReceiverOf returns the key of a device of an owner, without the key; false: it has none.
func (d *Desk) ReceiverOf(ctx context.Context, owner, device string) (Receiver, bool, error) {
	of, err := d.cfg.Store.AlarmReceiverOf(ctx, device)
	if errors.Is(err, vault.ErrNotFound) {
		return Receiver{}, false, nil
	}
	return of, err == nil && of.Owner == owner, err
}

// RevokeReceiver ends the key of a device; false: it has none.
func (d *Desk) RevokeReceiver(ctx context.Context, device string) (bool, error) {
	return d.cfg.Store.RevokeAlarmReceiver(ctx, device)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/eventstore"
	"latchkey/internal/alarms"
	"latchkey/internal/alert"
	"latchkey/internal/mail"
	"latchkey/internal/notices"
	"latchkey/internal/outbox"
	"latchkey/internal/push"
	"latchkey/internal/vault"
	"latchkey/projections"
	"latchkey/projections/access"
	"latchkey/streaming/device"
)

const (
	// pushesAtOnce is how many push services are called at the same time.
	pushesAtOnce = 32
	// mostBrowsers is how many browsers an account is notified on.
	mostBrowsers = 32
	// mostListened limits the devices whose alarms are listened to: each takes a
	// connection.
	mostListened = 1024
	// alarmLease is the lease of the process that listens.
	alarmLease = "alarms of devices"
	// noContact is where push services reach an operator who has named no address.
	noContact = "https://latchkey.invalid"
)

// alarmRoom is what takes alarms from devices and lets accounts know of them.
type alarmRoom struct {
	*alarms.Desk
	*alarms.Hub
	*alarms.Sends
	vault.Numbers
	index *access.Index
	vault *vault.Vault
	push  *push.Client
	watch *device.AlarmWatch
	ended func(context.Context) // is called after a key was revoked
}

// newAlarms makes the room. The teller is told of alarms, and asks sends whom it may tell.
func newAlarms(o options, p *opened, x *access.Index, sends *alarms.Sends, tell *teller, client *device.Client, logger *slog.Logger) *alarmRoom {
	r := &alarmRoom{index: x, Sends: sends, Numbers: p.vault.Numbers(), vault: p.vault, push: p.push, ended: p.sessionEnded, Hub: alarms.NewHub(p.vault, logger)}
	r.Desk = alarms.NewDesk(alarms.Config{
		Store: p.vault, Index: x, Logger: logger,
		Having: func(ctx context.Context, id string) (alarms.Having, bool, error) { return having(ctx, p.store, id) },
		Notices: func(ctx context.Context, a alarms.Alarm, to []alarms.Holder) ([]vault.Notice, error) {
			list := make([]notices.To, len(to))
			for i, h := range to {
				list[i] = notices.To(h)
			}
			return tell.OfAlarm(ctx, notices.Alarm{ID: a.ID, Device: a.Device, Channel: a.Channel, By: a.By, Kind: a.Kind, At: a.Raised}, list)
		},
		Raised: func() { r.Hub.Wake(); tell.hooks.Wake(); tell.pushes.Wake() },
	})
	holder := uuid.NewString()
	r.watch = device.NewAlarmWatch(device.AlarmWatchConfig{
		Listen: client.Alarms, Devices: p.store.DevicesAfter, Logger: logger, Most: min(mostListened, max(1, o.connections/4)),
		Target: func(ctx context.Context, id string) (device.AlarmTarget, bool, error) {
			return alarmTarget(ctx, p.vault, x, id)
		},
		Told: func(ctx context.Context, id string, list []alert.Alert, zone *time.Location) {
			if err := r.Desk.Take(ctx, id, list, zone); err != nil && ctx.Err() == nil {
				logger.Warn("an alarm could not be kept", "device", id, "error", err)
			}
		},
		Lease: func(ctx context.Context, lasts time.Duration) (bool, error) {
			return p.vault.Lease(ctx, alarmLease, holder, lasts)
		},
		EndLease: func(ctx context.Context) error { return p.vault.EndLease(ctx, alarmLease, holder) },
	})
	return r
}

func having(ctx context.Context, store *projections.Store, id string) (alarms.Having, bool, error) {
	row, found, err := store.HavingDevice(ctx, id)
	h := alarms.Having{Owner: row.Owner, Channels: row.Channels}
	for _, a := range row.Accepted {
		h.Shared = append(h.Shared, alarms.Holder(a))
	}
	return h, found, err
}

// errNotLive lets the watch look again soon.
var errNotLive = errors.New("it is not known at the moment which devices there are")

// alarmTarget returns where a device is asked for its alarms; false: it is in no account,
// or has no such address.
func alarmTarget(ctx context.Context, v *vault.Vault, x *access.Index, id string) (t device.AlarmTarget, there bool, err error) {
	if !x.Live(time.Now()) {
		return t, false, errNotLive
	}
	if x.Owner(ids.Device(id)) == 0 {
		return t, false, nil
	}
	camera, err := v.Camera(ctx, id)
	if errors.Is(err, vault.ErrNotFound) {
		return t, false, nil
	}
	t = device.AlarmTarget{Username: camera.Username, Password: camera.Password, ISAPIURL: camera.ISAPIURL, ONVIFURL: camera.ONVIFURL, Certificate: confirmed(camera)}
	return t, t.ISAPIURL != "" || t.ONVIFURL != "", err
}

// changed lets the watch look at a device that a command has changed.
func (r *alarmRoom) changed(ctx context.Context, id string, at eventstore.Position) {
	if err := r.index.WaitFor(ctx, at); err == nil { // otherwise it is seen with the next look
		r.watch.Changed(id)
	}
}

// gone forgets what devices said that were removed.
func (r *alarmRoom) gone(c access.Change) {
	if c.Device != "" && c.Account == "" && c.Key == "" {
		r.Desk.Forget(string(c.Device))
		r.watch.Changed(string(c.Device))
	}
}

// registerMetrics registers what the room counts.
func (r *alarmRoom) registerMetrics(m prometheus.Registerer) {
	m.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "latchkey_alarms_total", Help: "Alarms of devices that were kept."},
			func() float64 { kept, _ := r.Counts(); return float64(kept) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "latchkey_alarms_left_out_total", Help: "Alarms that were left out because a device raised too many."},
			func() float64 { _, left := r.Counts(); return float64(left) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_alarm_devices", Help: "Devices whose alarms this process listens to, or tries to."},
			func() float64 { return float64(r.watch.Listened()) }),
	)
}

// startAlarms runs the parts of the room.
func (s *runningService) startAlarms(r *alarmRoom) {
	s.run("alarms", r.Hub.Run)
	s.run("alarms of devices", r.watch.Run)
}

// newPush makes what sends to browsers. Push services reach the operator at the address
// that mail comes from.
func newPush(o options, p *opened) *push.Client {
	contact := ""
	if server, ok := o.senders[emailKind].(*mail.Server); ok {
		contact = server.Address()
	}
	return push.New(push.Config{Hooks: p.webhooks, Key: p.vault.PushKey, Contact: cmp.Or(contact, noContact)})
}

// newPushes makes the outbox of messages to browsers.
func newPushes(p *opened, n *notices.Notifier) *outbox.Outbox {
	pushes := notices.NewPushes(n, p.push)
	return outbox.New(outbox.Config{
		Store: pushes, Senders: map[string]outbox.Sender{notices.PushKind: pushes}, Logger: p.logger, AtOnce: pushesAtOnce, Interrupt: true,
	})
}

// Begin implements api.Alarms.
func (r *alarmRoom) Begin(ctx context.Context, account, device string, channel int, by string) (context.Context, func(), error) {
	return r.Sends.Begin(ctx, account, device, channel, by)
}

// MakeReceiver is the desk's; the key before must not come back with an older vault.
func (r *alarmRoom) MakeReceiver(ctx context.Context, owner, device string) (alarms.Receiver, string, error) {
	made, key, err := r.Desk.MakeReceiver(ctx, owner, device)
	if err == nil {
		r.ended(ctx)
	}
	return made, key, err
}

// RevokeReceiver is the desk's, as above.
func (r *alarmRoom) RevokeReceiver(ctx context.Context, device string) (bool, error) {
	had, err := r.Desk.RevokeReceiver(ctx, device)
	if had {
		r.ended(ctx)
	}
	return had, err
}

// CheckBrowser implements api.Alarms.
func (r *alarmRoom) CheckBrowser(b api.Browser) (field, why string) {
	return r.push.Check(push.Browser(b))
}

// AddBrowser implements api.Alarms.
func (r *alarmRoom) AddBrowser(ctx context.Context, account, token string, b api.Browser) (api.BrowserView, error) {
	added, err := r.vault.AddPush(ctx, token, vault.Push{Account: account, Endpoint: b.Endpoint, P256DH: b.P256DH, Auth: b.Auth}, mostBrowsers)
	return api.BrowserView{ID: added.ID, Created: added.Created, Current: added.Current}, err
}

// Browsers implements api.Alarms.
func (r *alarmRoom) Browsers(ctx context.Context, account, token string) (list []api.BrowserView, publicKey string, err error) {
	if publicKey, err = r.push.PublicKey(ctx); err != nil {
		return nil, "", err
	}
	rows, err := r.vault.Pushes(ctx, account, token)
	for _, row := range rows {
		list = append(list, api.BrowserView{ID: row.ID, Created: row.Created, Current: row.Current})
	}
	return list, publicKey, err
}

// RemoveBrowser implements api.Alarms.
func (r *alarmRoom) RemoveBrowser(ctx context.Context, account, id string) (bool, error) {
	return r.vault.ForgetPush(ctx, account, id)
}

// dropAlarms forgets alarms that are too old, and browsers whose sessions have ended.
func (k *vaultKeeper) dropAlarms(ctx context.Context) error {
	return errors.Join(k.opened.vault.DropAlarms(ctx, time.Now().Add(-alarms.Kept)), k.opened.vault.DropPushes(ctx))
}

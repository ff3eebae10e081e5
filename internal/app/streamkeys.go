package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// StreamKeys creates and revokes stream keys.
type StreamKeys struct {
	core    *core
	secrets StreamSecrets
}

// NewStreamKey is a stream key to create.
type NewStreamKey struct {
	Label   string
	Device  string     // "" for every device
	Publish int        `json:",omitempty"` // the channel of the device that it publishes to; 0: it watches
	Expires *time.Time // nil: never; the zero time is one that is long past
}

// Add creates a stream key. Its secret is stored before the key is in the log; its name
// is new each time, so nothing can be overwritten. A repeat with the same idempotency key
// returns the same secret.
func (k *StreamKeys) Add(ctx context.Context, m Meta, n NewStreamKey) (StreamKeyAdded, error) {
	if n.Expires != nil {
		expires := n.Expires.UTC().Truncate(time.Microsecond)
		n.Expires = &expires
	}
	n.Device = device.Canonical(n.Device)
	c, err := k.core.begin(m, "add stream key", n)
	if err != nil {
		return StreamKeyAdded{}, err
	}
	f := faults{}
	f.text("label", n.Label, maxLabel)
	if n.Publish != 0 && (n.Publish < 1 || n.Publish > privilege.MaxChannel) {
		f.add("publish_channel", "must be from 1 to "+strconv.Itoa(privilege.MaxChannel))
	}
	if n.Publish != 0 && n.Device == "" {
		f.add("device", "is required: a publishing key is for one channel of one device")
	}
	if err := f.err(); err != nil {
		return StreamKeyAdded{}, err
	}
	add := account.AddKey{Device: n.Device, Channel: n.Publish, Expires: n.Expires, Most: k.core.most(QuotaStreamKeys), At: c.at}
	if add.Label, err = k.core.seal(ctx, c.Account, event.FieldLabel, n.Label); err != nil {
		return StreamKeyAdded{}, err
	}
	var secret string
	if add.Key, secret, err = k.core.newKey(n.Publish); err != nil {
		return StreamKeyAdded{}, err
	}
	done, err := run(ctx, k.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return k.decide(ctx, there.state, add, secret)
	})
	if surelyUnused(add.Key, done, err) {
		_ = k.secrets.ForgetStreamSecret(ctx, add.Key) // it is unused; at worst it stays as garbage
	}
	if errors.Is(err, account.ErrTooManyKeys) {
		return StreamKeyAdded{}, exceeded(&Exceeded{Quota: QuotaStreamKeys, Most: cmp.Or(add.Most, account.MaxKeys)})
	}
	if errors.Is(err, account.ErrKeyExpired) {
		return StreamKeyAdded{}, point(err, "expires")
	}
	if err != nil {
		return StreamKeyAdded{}, err
	}
	return k.added(ctx, done)
}

// decide stores the secret once only the log can still refuse the key.
func (k *StreamKeys) decide(ctx context.Context, there account.State, add account.AddKey, secret string) ([]account.Event, error) {
	if add.Device != "" {
		if err := k.mayHave(ctx, there, add); err != nil {
			return nil, err
		}
	}
	events, err := account.Decide(there, add)
	if err != nil {
		return nil, err
	}
	if err := k.core.spend(there.Account, QuotaKeysMade, "", 1); err != nil {
		return nil, err
	}
	if err := k.secrets.SetStreamSecret(ctx, add.Key, secret); err != nil {
		return nil, unavailable(fmt.Errorf("storing the secret of a stream key: %w", err))
	}
	return events, nil
}

// mayHave refuses a key of a device that the account does not see, and a publishing key of
// one that it does not own, or of a channel that the device does not have.
func (k *StreamKeys) mayHave(ctx context.Context, there account.State, add account.AddKey) error {
	may, err := k.core.maySee(ctx, ids.Account(there.Account), there.Login, ids.Device(add.Device))
	if err != nil {
		return err
	}
	if !may {
		return share.ErrDeviceNotFound
	}
	if add.Channel == 0 {
		return nil
	}
	d, err := k.core.loadDevice(ctx, add.Device)
	switch {
	case err != nil:
		return err
	case !d.Live || d.Owner != there.Account:
		return share.ErrNotOwner
	}
	if !slices.ContainsFunc(d.Channels, func(c device.Channel) bool { return c.Channel == add.Channel }) {
		return invalid(map[Field]string{"publish_channel": "is not a channel of the device"})
	}
	return nil
}

// surelyUnused reports whether a key of that name cannot be in the log: the command was
// refused or overtaken, or was a repeat. After any other error it may be there.
func surelyUnused(key string, done outcome[account.State, account.Event], err error) bool {
	if err == nil {
		_, ours := done.state.Find(key)
		return !ours
	}
	e, ok := errors.AsType[*Error](err)
	return errors.Is(err, ErrConflict) || ok && e.Kind != Unavailable
}

// added returns the key and its secret as stored: for a repeat they are not the ones just
// generated. A key revoked since then has no secret any more.
func (k *StreamKeys) added(ctx context.Context, done outcome[account.State, account.Event]) (StreamKeyAdded, error) {
	var name string
	switch added := done.events[0].(type) {
	case account.StreamKeyAdded:
		name = added.Key
	case account.PublishingKeyAdded:
		name = added.Key
	default:
		return StreamKeyAdded{}, fmt.Errorf("adding a stream key returned a %T", added)
	}
	if _, live := done.latest.Find(name); !live {
		return StreamKeyAdded{}, refused(account.ErrKeyNotFound)
	}
	key, _ := done.state.Find(name)
	secret, err := k.secrets.StreamSecret(ctx, name)
	if err != nil {
		return StreamKeyAdded{}, unavailable(fmt.Errorf("reading the secret of a stream key: %w", err))
	}
	return StreamKeyAdded{Position: done.position, Key: key, Secret: secret}, nil
}

// Revoke ends a stream key of the caller's.
func (k *StreamKeys) Revoke(ctx context.Context, m Meta, name string) (Done, error) {
	c, err := k.core.begin(m, "revoke stream key", name)
	if err != nil {
		return Done{}, err
	}
	done, err := run(ctx, k.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.RevokeKey{Key: name, At: c.at})
	})
	if err != nil {
		return Done{}, err
	}
	k.core.afterwards(ctx, "forgetting the secret of a revoked stream key", func(ctx context.Context) error {
		return k.secrets.ForgetStreamSecret(ctx, name)
	})
	return Done{Position: done.position}, nil
}

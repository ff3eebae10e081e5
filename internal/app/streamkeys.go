package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
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
	if err := f.err(); err != nil {
		return StreamKeyAdded{}, err
	}
	add := account.AddKey{Device: n.Device, Expires: n.Expires, Most: k.core.most(QuotaStreamKeys), At: c.at}
	if add.Label, err = k.core.seal(ctx, c.Account, event.FieldLabel, n.Label); err != nil {
		return StreamKeyAdded{}, err
	}
	var secret string
	if add.Key, secret, err = k.core.newKey(); err != nil {
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
		may, err := k.core.maySee(ctx, ids.Account(there.Account), there.Login, ids.Device(add.Device))
		if err != nil {
			return nil, err
		}
		if !may {
			return nil, share.ErrDeviceNotFound
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
	added, ok := done.events[0].(account.StreamKeyAdded)
	if !ok {
		return StreamKeyAdded{}, fmt.Errorf("adding a stream key returned a %T", done.events[0])
	}
	if _, live := done.latest.Find(added.Key); !live {
		return StreamKeyAdded{}, refused(account.ErrKeyNotFound)
	}
	key, _ := done.state.Find(added.Key)
	secret, err := k.secrets.StreamSecret(ctx, added.Key)
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

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
	"latchkey/domain/share"
)

// AddStreamKey makes a stream key. Its secret is kept before the log says that
// the key exists; its name is new each time, so nothing can be overwritten. A
// repeat with the same Idempotency-Key answers the same secret.
func (s *Service) AddStreamKey(ctx context.Context, m Meta, k NewStreamKey) (Result, error) {
	if k.Expires != nil {
		expires := k.Expires.UTC().Truncate(time.Microsecond)
		k.Expires = &expires
	}
	k.Device = device.Canonical(k.Device)
	c, err := s.begin(m, "add stream key", k)
	if err != nil {
		return Result{}, err
	}
	f := faults{}
	f.text("/label", k.Label, maxLabel)
	if err := f.err(); err != nil {
		return Result{}, err
	}
	add := account.AddKey{Device: k.Device, Expires: k.Expires, Most: s.most(QuotaStreamKeys), At: c.at}
	if add.Label, err = s.seal(ctx, c.Account, event.FieldLabel, k.Label); err != nil {
		return Result{}, err
	}
	var secret string
	if add.Key, secret, err = s.newKey(); err != nil {
		return Result{}, err
	}
	done, err := run(ctx, s, c, accountStream(c.Account), account.Evolve, func(there stream[account.State]) ([]account.Event, error) {
		return s.decideKey(ctx, there.state, add, secret)
	})
	if surelyUnused(add.Key, done, err) {
		_ = s.streamSecrets.ForgetStreamSecret(ctx, add.Key) // it opens nothing; what stays is rubbish only
	}
	if errors.Is(err, account.ErrTooManyKeys) {
		return Result{}, exceeded(&Exceeded{Quota: QuotaStreamKeys, Most: cmp.Or(add.Most, account.MaxKeys)})
	}
	if errors.Is(err, account.ErrKeyExpired) {
		return Result{}, point(err, "/expires_at")
	}
	if err != nil {
		return Result{}, err
	}
	return s.keyAnswer(ctx, done)
}

// surelyUnused reports whether a key of that name cannot be in the log: the
// command was refused or overtaken, or was a repeat. After any other fault it
// may be there.
func surelyUnused(key string, done outcome[account.State, account.Event], err error) bool {
	if err == nil {
		_, ours := done.state.Find(key)
		return !ours
	}
	e, ok := errors.AsType[*Error](err)
	return errors.Is(err, ErrConflict) || ok && e.Kind != Unavailable
}

// keyAnswer has the key and its secret, as they were kept: those of a repeat
// are not the ones that were just made. A key that was revoked since then has
// no secret any more.
func (s *Service) keyAnswer(ctx context.Context, done outcome[account.State, account.Event]) (Result, error) {
	added, ok := done.events[0].(account.StreamKeyAdded)
	if !ok {
		return Result{}, fmt.Errorf("adding a stream key gave a %T", done.events[0])
	}
	if _, live := done.latest.Find(added.Key); !live {
		return Result{}, refused(account.ErrKeyNotFound)
	}
	key, _ := done.state.Find(added.Key)
	secret, err := s.streamSecrets.StreamSecret(ctx, added.Key)
	if err != nil {
		return Result{}, unavailable(fmt.Errorf("reading the secret of a stream key: %w", err))
	}
	return Result{Position: done.position, Revision: done.revision, Created: true, Key: &key, Secret: secret}, nil
}

// RevokeStreamKey ends a stream key of the caller's.
func (s *Service) RevokeStreamKey(ctx context.Context, m Meta, name string) (Result, error) {
	c, err := s.begin(m, "revoke stream key", name)
	if err != nil {
		return Result{}, err
	}
	done, err := run(ctx, s, c, accountStream(c.Account), account.Evolve, func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.RevokeKey{Key: name, At: c.at})
	})
	if err != nil {
		return Result{}, err
	}
	s.afterwards(ctx, "forgetting the secret of a revoked stream key", func(ctx context.Context) error {
		return s.streamSecrets.ForgetStreamSecret(ctx, name)
	})
	return Result{Position: done.position, Revision: done.revision}, nil
}

// decideKey keeps the secret once nothing but the log can refuse the key.
func (s *Service) decideKey(ctx context.Context, there account.State, add account.AddKey, secret string) ([]account.Event, error) {
	if add.Device != "" {
		may, err := s.maySee(ctx, there.Account, there.Login, add.Device)
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
	if err := s.streamSecrets.SetStreamSecret(ctx, add.Key, secret); err != nil {
		return nil, unavailable(fmt.Errorf("keeping the secret of a stream key: %w", err))
	}
	return events, nil
}

// maySee reports whether the device is the account's, or is shared with its login
// and accepted.
func (s *Service) maySee(ctx context.Context, account, login, id string) (bool, error) {
	d, err := s.loadDevice(ctx, id)
	if err != nil || !d.Live || account == "" {
		return false, err
	}
	if d.Owner == account {
		return true, nil
	}
	given, err := s.loadShare(ctx, share.ID(d.Owner, login))
	if err != nil {
		return false, err
	}
	in, ok := given.state.Find(id)
	return ok && given.state.Live && in.Status == share.StatusAccepted && in.Account == account, nil
}

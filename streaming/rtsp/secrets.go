package rtsp

import (
	"context"
	"errors"
	"time"

	"latchkey/domain/ids"
)

// The door remembers the secrets of stream keys for when the database is unavailable.
const (
	// MaxSecrets is the number of stream keys whose secrets are remembered.
	MaxSecrets = 16384

	secretWithin = 5 * time.Second // for the secret of a key to be read

	// forgetEvery is how often the secrets of expired keys are dropped.
	forgetEvery = time.Minute
)

// Learn stores the secret of a stream key before its first use. It does not grant access
// by itself: the key must be known to Access.
func (d *Door) Learn(key ids.Key, secret string) {
	if secret != "" {
		d.secrets.Put(string(key), []byte(secret))
	}
}

// secret returns the secret of a stream key: remembered, as it never changes, or read; a
// random one for a key that is not live, so that a wrong name takes as long as a wrong
// secret.
func (d *Door) secret(ctx context.Context, name ids.Key, live bool) (string, error) {
	if !live {
		return newNonce(), nil
	}
	if secret, ok := d.secrets.Get(string(name)); ok {
		return string(secret), nil
	}
	ctx, cancel := context.WithTimeout(ctx, secretWithin)
	defer cancel()
	secret, err := d.cfg.Secrets.Secret(ctx, name)
	if err != nil {
		return "", err
	}
	if secret == "" {
		return "", errors.New("it is empty")
	}
	d.Learn(name, secret)
	return secret, nil
}

// Forget drops the secret of a revoked stream key. It is called with the change that
// revoked it.
func (d *Door) Forget(key ids.Key) {
	if _, live := d.cfg.Access.Key(key); !live {
		d.secrets.Forget(string(key))
	}
}

// forgetDead drops the secrets of keys that are revoked or expired. While it is not known
// what is permitted, none is dropped, and none grants access.
func (d *Door) forgetDead(now time.Time) {
	if !d.cfg.Access.Live(now) {
		return
	}
	d.secrets.Retain(func(name string) bool {
		key, live := d.cfg.Access.Key(ids.Key(name))
		return live && !key.Expired(now)
	})
}

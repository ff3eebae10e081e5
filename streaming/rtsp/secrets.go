package rtsp

import (
	"context"
	"errors"
	"time"
)

// What the door knows while the database is away: the secrets of stream keys, as they
// were last read.
const (
	// MaxSecrets is how many stream keys' secrets are remembered.
	MaxSecrets = 16384

	secretWithin = 5 * time.Second // for the secret of a key to be read

	// forgetEvery is how often the secrets of keys that have expired are dropped.
	forgetEvery = time.Minute
)

// Learn makes the secret of a stream key known before its first use. It opens
// nothing by itself: the key must be known to Access.
func (d *Door) Learn(key, secret string) {
	if secret != "" {
		d.secrets.Put(key, []byte(secret))
	}
}

// secret is the secret of a stream key: as it is remembered, for it never
// changes, or read; a random one for a key that is not live, so that a wrong
// name costs what a wrong secret does.
func (d *Door) secret(ctx context.Context, name string, live bool) (string, error) {
	if !live {
		return newNonce(), nil
	}
	if secret, ok := d.secrets.Get(name); ok {
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

// Forget drops the secret of a stream key that was revoked. It is called with the change
// that revoked it.
func (d *Door) Forget(key string) {
	if _, live := d.cfg.Access.Key(key); !live {
		d.secrets.Forget(key)
	}
}

// forgetDead drops the secrets of keys that are revoked or have expired. While it
// is not known what is permitted, none is dropped, and none opens anything.
func (d *Door) forgetDead(now time.Time) {
	if !d.cfg.Access.Live(now) {
		return
	}
	d.secrets.Retain(func(name string) bool {
		key, live := d.cfg.Access.Key(name)
		return live && !key.Expired(now)
	})
}

package streaming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What the door knows while the database is away: the secrets of stream keys and
// where cameras are, as they were last read.
const (
	// MaxSecrets is how many stream keys' secrets are remembered.
	MaxSecrets = 16384
	maxSources = 4096 // streams of cameras

	secretWithin = 5 * time.Second // for the secret of a key to be read
	sourceWithin = 2 * time.Second // for where a camera is, before what is remembered is used

	// forgetEvery is how often the secrets of keys that have expired are dropped.
	forgetEvery = time.Minute
)

// Learn makes the secret of a stream key known before its first use. It opens
// nothing by itself: the Authorizer must know the key.
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
	secret, err := d.cfg.Authorizer.Secret(ctx, name)
	if err != nil {
		return "", err
	}
	if secret == "" {
		return "", errors.New("it is empty")
	}
	d.Learn(name, secret)
	return secret, nil
}

// source is where a camera's stream is. It is read at each dial, as it may have
// changed, and is what it was when it cannot be read.
func (d *Door) source(ctx context.Context, of upstreamOf) (Source, error) {
	within, cancel := context.WithTimeout(ctx, sourceWithin)
	defer cancel()
	source, err := d.cfg.Cameras.Camera(within, of.device, of.channel, of.quality)
	switch {
	case err == nil:
		if text, err := json.Marshal(source); err == nil {
			d.sources.Put(of.name(), text)
		}
		if ctx.Err() != nil { // the camera may have been left, and what is known of it dropped, just before
			d.sources.Forget(of.name())
		}
		return source, nil
	case errors.Is(err, ErrNoCamera), errors.Is(err, ErrNoStream):
		d.sources.Forget(of.name())
		return Source{}, err
	}
	text, ok := d.sources.Get(of.name())
	if !ok || json.Unmarshal(text, &source) != nil {
		return Source{}, err
	}
	d.log.Warn("where a camera is could not be read; the door uses what it was", "device", of.device, "channel", of.channel)
	return source, nil
}

// name is unique: a device's id holds no slash.
func (of upstreamOf) name() string {
	return fmt.Sprintf("%s/%d/%s", of.device, of.channel, of.quality)
}

// forgetWhat drops what a change may have taken away for good: the secret of a
// key that is revoked, and where the cameras are of a device that changed for
// everybody.
func (d *Door) forgetWhat(account, device, key string) {
	if key != "" {
		if _, live := d.cfg.Authorizer.Key(key); !live {
			d.secrets.Forget(key)
		}
	}
	if device != "" && account == "" {
		d.sources.Retain(func(name string) bool { return !strings.HasPrefix(name, device+"/") })
	}
}

// forgetDead drops the secrets of keys that are revoked or have expired. While it
// is not known what is permitted, none is dropped, and none opens anything.
func (d *Door) forgetDead(now time.Time) {
	if !d.cfg.Authorizer.Live(now) {
		return
	}
	d.secrets.Retain(func(name string) bool {
		key, live := d.cfg.Authorizer.Key(name)
		return live && !key.expired(now)
	})
}

package rtsp

import (
	"context"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// Access decides who may use a camera, and issues the permits that viewers hold;
// access.Index implements it. Key and Resolve are called at each request, so they must be
// quick.
type Access interface {
	// Live reports whether it is known now what is permitted. It is called for each
	// packet: it must not lock. A process that was paused finds out here that its
	// knowledge is stale.
	Live(now time.Time) bool
	// Key returns the stream key of that name; false for one that was revoked or never
	// existed.
	Key(name ids.Key) (access.Key, bool)
	// Resolve returns the device id for an id or the account's own device domain.
	Resolve(account ids.Account, name string) (device ids.Device, ok bool)
	// Owns reports whether a device is in an account.
	Owns(account ids.Account, device ids.Device) bool
	// Playable returns the first interval of the recordings within another one that an
	// account may play back now; see access.Index.
	Playable(account ids.Account, device ids.Device, channel int, within privilege.Interval, now time.Time, hold time.Duration) (privilege.Interval, bool)
	// Acquire returns a permit, or the verdict that refuses it. revoked is called when
	// the permit is revoked.
	Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict)
}

// Uses records when cameras are used.
type Uses interface {
	// Used is called before the first packet of a viewer, every half minute while it
	// watches, and at its end. It must not block.
	Used(use access.Use, at time.Time)
}

// Secrets has the secrets of stream keys.
type Secrets interface {
	// Secret returns the secret that the player must prove to know, in clear: Digest
	// needs it. It is called once per key, and again only if it was dropped.
	Secret(ctx context.Context, key ids.Key) (string, error)
}

package rtsp

import (
	"context"
	"time"

	"latchkey/projections/access"
)

// Access decides who may use a camera, and gives out the permits that viewers hold; an
// access.Index does. Key and Resolve are asked at each request, so they must be quick.
type Access interface {
	// Live reports whether it is known at this time what is permitted. It is asked for
	// each packet: it must take no lock. A process that was stopped for a while finds
	// out here that it knows nothing any more.
	Live(now time.Time) bool
	// Key returns the stream key of that name; false for one that was revoked or never
	// existed.
	Key(name string) (access.Key, bool)
	// Resolve makes a device id of an id or of the account's own device domain.
	Resolve(account, name string) (device string, ok bool)
	// Acquire returns a permit, or the verdict that refuses it. revoked is called when
	// the permit is revoked.
	Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict)
}

// Secrets are those of stream keys.
type Secrets interface {
	// Secret returns what the player must prove to know, in clear: Digest needs it. It
	// is asked once for each key, and again only for one that was forgotten.
	Secret(ctx context.Context, key string) (string, error)
}

package rtsp

import (
	"context"
	"time"

	"latchkey/domain/privilege"
)

// Verdict reports whether an account may do something now. The zero value
// denies.
type Verdict uint8

// The verdicts, from the one that knows least to the only one that permits.
const (
	Unavailable Verdict = iota // not known now: 503
	NotFound                   // the account may not even see the device: 404
	Forbidden                  // it sees the device and lacks the privilege: 403
	Allowed
)

// String is the verdict in one word.
func (v Verdict) String() string {
	switch v {
	case NotFound:
		return "not found"
	case Forbidden:
		return "forbidden"
	case Allowed:
		return "allowed"
	default:
		return "unavailable"
	}
}

// Key is a live stream key: what a player shows instead of a session.
type Key struct {
	Name    string
	Account string
	Device  string    // the only device it opens; "" is any that the account may see
	Expires time.Time // zero: never
}

// expired reports whether the key has run out at the given time.
func (k Key) expired(now time.Time) bool {
	return !k.Expires.IsZero() && !now.Before(k.Expires)
}

// Authorizer knows keys and privileges. Key, Resolve and Check are asked at each
// request, for each viewer at each Recheck and once a second, so they must be quick.
type Authorizer interface {
	// Live reports whether the Authorizer knows at this time what is permitted;
	// while it does not, every other answer is a no. It is asked for each packet:
	// it must take no lock. A process that was stopped for a while finds out here
	// that it knows nothing any more.
	Live(now time.Time) bool
	// Key is the live stream key of that name; false for one that is revoked
	// or never was.
	Key(name string) (Key, bool)
	// Resolve makes a device id of an id or of the account's own device domain.
	Resolve(account, name string) (device string, ok bool)
	// Check reports whether the account may do p on the channel now.
	Check(account, device string, channel int, p privilege.Set, now time.Time) Verdict
	// Secret is what the player must prove to know, in clear: Digest needs it. It
	// is asked once for each key, and again only for one that was forgotten.
	Secret(ctx context.Context, key string) (string, error)
}

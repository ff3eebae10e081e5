package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/domain/share"
	"latchkey/internal/position"
)

// The quotas of an account that commands check, by their public names. QuotaLogBytes,
// QuotaAdditions, QuotaGenerations and QuotaRequests are per day, QuotaInvitations and
// QuotaKeysMade per hour.
const (
	QuotaDevices     = "devices"
	QuotaShares      = "shares"
	QuotaStreamKeys  = "stream_keys"
	QuotaAdditions   = "devices_added"
	QuotaGenerations = "serial_added" // per serial
	QuotaLogBytes    = "log_bytes"
	QuotaRequests    = "access_requests" // for devices of others
	QuotaInvitations = "invitations"     // devices that are offered
	QuotaKeysMade    = "stream_keys_made"
	QuotaOfShare     = "devices_of_share"
)

// Quotas limit what one account may have and its rates. Revocations are not subject to
// them.
type Quotas interface {
	// Most returns the limit of a quota.
	Most(quota string) int
	// Hold reserves room for one more of what an account has. settle must be called with
	// the log position at which it was added; 0: it was not. *Exceeded: there is no room.
	Hold(ctx context.Context, account, quota string) (settle func(position position.Position), err error)
	// Freed reports that the account has fewer of it since a position in the log.
	Freed(account, quota string, position position.Position)
	// Spend uses up n of a rate quota of an account; of is what it concerns if the quota
	// counts that separately. *Exceeded: not enough is left.
	Spend(account, quota, of string, n int) error
}

// RequestKind is what a request may do. Those that revoke, or may, do not wait for the
// others.
type RequestKind uint8

// The kinds of requests.
const (
	Reads     RequestKind = iota
	Gives                 // may grant something
	Changes               // may grant, revoke, or both
	TakesAway             // only revokes
)

// Exceeded is the error of a quota that is used up.
type Exceeded struct {
	Quota      string
	Most       int
	RetryAfter time.Duration // 0: not before something is given up
}

// Error names the quota.
func (e *Exceeded) Error() string {
	return fmt.Sprintf("the quota %s, %d, is used up", e.Quota, e.Most)
}

// Refusal returns the refusal of a command for which a quota is used up.
func (e *Exceeded) Refusal() *Error {
	kind, message := Exhausted, fmt.Sprintf("Your account has reached its limit: the quota %s is %d.", e.Quota, e.Most)
	if e.RetryAfter > 0 {
		kind, message = TooSoon, fmt.Sprintf("Your account has reached its limit for now: the quota %s is %d.", e.Quota, e.Most)
	}
	return &Error{Code: "quota_exceeded", Kind: kind, Message: message, Quota: e.Quota, RetryAfter: e.RetryAfter, Cause: e}
}

func exceeded(err error) error {
	e, ok := errors.AsType[*Exceeded](err)
	if !ok {
		return unavailable(fmt.Errorf("checking a quota: %w", err))
	}
	return e.Refusal()
}

// room is what a command holds of a quota until its outcome is known. A retried command
// holds it once.
type room struct {
	core           *core
	account, quota string
	settle         func(position.Position)
}

func (s *core) room(account, quota string) *room {
	return &room{core: s, account: account, quota: quota}
}

// take takes the room, and spends what goes with it.
func (r *room) take(ctx context.Context, spend ...func() error) error {
	if r.settle != nil || r.core.quotas == nil {
		return nil
	}
	settle, err := r.core.quotas.Hold(ctx, r.account, r.quota)
	if err != nil {
		return exceeded(err)
	}
	for _, f := range spend {
		if err := f(); err != nil {
			settle(0)
			return err
		}
	}
	r.settle = settle
	return nil
}

// settled must be called with the outcome of the command.
func (r *room) settled(position position.Position, err error) {
	if r.settle == nil {
		return
	}
	if err != nil {
		position = 0
	}
	r.settle(position)
}

func (s *core) spend(account, quota, of string, n int) error {
	if s.quotas == nil || account == "" {
		return nil
	}
	if err := s.quotas.Spend(account, quota, of, n); err != nil {
		return exceeded(err)
	}
	return nil
}

// most returns the limit of a quota, 0 if none is configured.
func (s *core) most(quota string) int {
	if s.quotas == nil {
		return 0
	}
	return s.quotas.Most(quota)
}

func (s *core) freed(account, quota string, position position.Position) {
	if s.quotas != nil {
		s.quotas.Freed(account, quota, position)
	}
}

// remarkChanged is the type of an event that grants nothing.
var remarkChanged = share.RemarkChanged{}.Type()

// spendLog uses up the bytes that events take in the log, unless they only revoke.
func (s *core) spendLog(account string, events []Pending) error {
	size, gives, takes := 0, false, false
	for _, e := range events {
		size += len(e.Type) + len(e.Data) + len(e.Metadata) + eventHead
		takes = takes || e.TakesAway
		gives = gives || !e.TakesAway && e.Type != remarkChanged
	}
	if takes && !gives {
		return nil
	}
	return s.spend(account, QuotaLogBytes, "", size)
}

// eventHead is roughly the overhead of an event in the log, in bytes.
const eventHead = 128

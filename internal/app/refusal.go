package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/domain/share"
)

// Kind classifies an Error for the caller.
type Kind uint8

// The kinds of Error. The zero value is not one of them.
const (
	Invalid Kind = iota + 1
	Unauthenticated
	Forbidden
	NotFound
	Conflict
	Precondition
	Unavailable
	// Exhausted is a quota that is used up for good, TooSoon one that refills.
	Exhausted
	TooSoon
)

// Error is a refusal that the caller may see. Other errors of a use case are internal.
type Error struct {
	Code    string // stable
	Kind    Kind
	Message string           // for people; holds no secret
	Fields  map[Field]string // reasons by field
	Cause   error            // for the log; may be nil

	Current    *ShareChanged // of revision_changed: the share as it is
	Quota      string        // the one that is used up, "" for none
	Shares     []string      // that are in the way, by their ids
	RetryAfter time.Duration // of TooSoon
	// Certificate is the SHA-256 that the owner may confirm, of certificate_not_trusted.
	Certificate string
}

// Error returns the code and, for the log, the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Code + ": " + e.Message
	}
	return e.Code + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// refusals maps the errors of deciders to codes.
var refusals = []struct {
	cause error
	kind  Kind
	code  string
}{
	{share.ErrNotFound, NotFound, "share_not_found"},
	{share.ErrNotOwner, Forbidden, "not_the_owner"},
	{share.ErrNotRecipient, Forbidden, "not_the_recipient"},
	{share.ErrOwnLogin, Invalid, "own_login"},
	{share.ErrDeviceNotFound, NotFound, "device_not_found"},
	{share.ErrDeviceTwice, Invalid, "device_twice"},
	{share.ErrTooManyDevices, Invalid, "too_many_devices"},
	{share.ErrAlreadyShared, Conflict, "already_shared"},
	{share.ErrNotInShare, NotFound, "device_not_in_share"},
	{share.ErrNotInvited, Conflict, "not_invited"},
	{share.ErrNotAccepted, Conflict, "not_accepted"},
	{share.ErrNoChannels, Invalid, "no_channels"},
	{share.ErrChannelTwice, Invalid, "channel_twice"},
	{share.ErrUnknownChannel, Invalid, "unknown_channel"},
	{share.ErrFirmwareTooOld, Invalid, "firmware_too_old"},
	{share.ErrBeyondCapability, Invalid, "beyond_capability"},
	{share.ErrBadDomain, Invalid, "invalid_domain"},
	{share.ErrDomainTaken, Conflict, "domain_taken"},
	{errCode, NotFound, "code_invalid"},
	{errNoAddress, Forbidden, "no_verified_address"},
	{share.ErrNoRecipient, NotFound, "recipient_not_found"},
	{share.ErrStillShared, Conflict, "still_shared"},
	{errNameUsed, Conflict, "name_used"},
	{device.ErrTaken, Conflict, "device_taken"},
	{device.ErrAlreadyAdded, Conflict, "device_already_added"},
	{device.ErrNotFound, NotFound, "device_not_found"},
	{device.ErrNoChannels, Invalid, "no_channels"},
	{device.ErrBadChannel, Invalid, "unknown_channel"},
	{device.ErrNoSuchChannel, Invalid, "unknown_channel"},
	{device.ErrChannelTwice, Invalid, "channel_twice"},
	{device.ErrNoTransfer, NotFound, "transfer_not_found"},
	{device.ErrNotOffered, Forbidden, "not_the_recipient"},
	{device.ErrTransferPending, Conflict, "transfer_pending"},
	{device.ErrTransferExpired, Conflict, "transfer_expired"},
	{device.ErrOwnAddress, Invalid, "own_login"},
	{device.ErrBadTransfer, Invalid, "invalid_body"},
	{reclaim.ErrNotFound, NotFound, "reclaim_not_found"},
	{reclaim.ErrObjected, Conflict, "reclaim_objected"},
	{reclaim.ErrTooSoon, Conflict, "reclaim_too_soon"},
	{reclaim.ErrWaiting, Conflict, "reclaim_waiting"},
	{reclaim.ErrLapsed, Conflict, "reclaim_expired"},
	{reclaim.ErrTaken, Conflict, "reclaim_completed"},
	{errNotTaken, Conflict, "device_not_taken"},
	{errClaims, Conflict, "too_many_claims"},
	{errSerialUnsaid, Invalid, "serial_not_proven"},
	{errStillReached, Conflict, "device_still_reached"},
	{device.ErrBadCapability, Invalid, "unknown_capability"},
	{request.ErrNotFound, NotFound, "access_request_not_found"},
	{account.ErrLoginTaken, Conflict, "login_taken"},
	{account.ErrNotRegistered, NotFound, "account_not_found"},
	{account.ErrAddressNotFound, NotFound, "address_not_found"},
	{account.ErrLastAddress, Conflict, "last_address"},
	{account.ErrUnverified, Forbidden, "address_not_verified"},
	{account.ErrTooManyAddresses, Invalid, "too_many_addresses"},
	{account.ErrKeyNotFound, NotFound, "stream_key_not_found"},
	{account.ErrKeyExpired, Invalid, "invalid_expiry"},
	{account.ErrNoWebhook, NotFound, "webhook_not_found"},
	{account.ErrTooManyMuted, Invalid, "too_many_muted"},
	{ErrTooLarge, Invalid, "too_large"},
}

// refused converts an error of a decider to an Error; other errors are unchanged.
func refused(err error) error {
	if fault, ok := errors.AsType[*share.Fault](err); ok && fault.Field != "" {
		return &Error{Code: "invalid_terms", Kind: Invalid, Message: sentence(fault.Error()), Cause: err}
	}
	for _, r := range refusals {
		if errors.Is(err, r.cause) {
			e := &Error{Code: r.code, Kind: r.kind, Message: sentence(err.Error()), Cause: err}
			if errors.Is(r.cause, share.ErrTooManyDevices) {
				e.Quota = QuotaOfShare
			}
			return e
		}
	}
	return err
}

// unavailable returns the refusal for the failure of a port.
func unavailable(err error) error {
	message := "The service cannot do this right now."
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		message = "The request took too long."
	}
	return &Error{Code: "unavailable", Kind: Unavailable, Message: message, Cause: err}
}

// busy returns the refusal if others changed a stream during every attempt.
func busy(err error) error {
	return &Error{Code: "busy", Kind: Unavailable, Message: "Others are changing this at the same time. Try again.", Cause: err}
}

// invalid returns the refusal for invalid fields.
func invalid(fields map[Field]string) error {
	return &Error{Code: "invalid_body", Kind: Invalid, Message: "The request is not valid for this command.", Fields: fields}
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

package event

import (
	"github.com/google/uuid"
)

// Revocation describes what an event revokes, by ids only. Fields that its kind does not
// need are "".
type Revocation struct {
	Kind    RevocationKind
	Event   uuid.UUID // the event that revoked it
	Share   string
	Device  string
	Account string
	Key     string // a stream key, the id of an offer of a device, or the hash of an address
}

// NoRevocation is the revocation of an event that revokes nothing.
var NoRevocation = Revocation{}

// RevocationKind is the kind of thing that was revoked. Its values are stored.
type RevocationKind string

// The kinds of revocations.
const (
	// ShareDeviceTaken is a device of a share: removed, left, rejected, or with other
	// privileges than before.
	ShareDeviceTaken RevocationKind = "share_device"
	// SharePaused is a device of a share that was paused, or without a device the whole
	// share.
	SharePaused RevocationKind = "share_paused"
	// ShareEmptied is every device of a share; the share itself stays.
	ShareEmptied RevocationKind = "share_emptied"
	// ShareEnded is a whole share.
	ShareEnded RevocationKind = "share"
	// DeviceTaken is a device that its owner removed.
	DeviceTaken RevocationKind = "device"
	// StreamKeyTaken is a stream key.
	StreamKeyTaken RevocationKind = "stream_key"
	// PasswordTaken is the password that an account had before. It is in the vault, so a
	// vault that was written after the event has lost it already.
	PasswordTaken RevocationKind = "password"
	// OfferTaken is an offer to hand a device over that was withdrawn or rejected.
	OfferTaken RevocationKind = "transfer"
	// AddressTaken is an address that an account removed.
	AddressTaken RevocationKind = "address"
)

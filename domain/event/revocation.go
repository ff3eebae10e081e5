package event

import (
	"github.com/google/uuid"
)

// Revocation is what an event takes away, by ids only. Fields that its kind does not
// need are "".
type Revocation struct {
	Kind    RevocationKind
	Event   uuid.UUID // the event that took it away
	Share   string
	Device  string
	Account string
	Key     string
}

// NoRevocation is that of an event that takes nothing away.
var NoRevocation = Revocation{}

// RevocationKind is what a revocation took away. Its values are stored.
type RevocationKind string

// The kinds of revocations.
const (
	// ShareDeviceTaken is a device of a share: taken back, left, rejected, or with
	// other privileges than before.
	ShareDeviceTaken RevocationKind = "share_device"
	// ShareEmptied is every device of a share that itself stays.
	ShareEmptied RevocationKind = "share_emptied"
	// ShareEnded is a whole share.
	ShareEnded RevocationKind = "share"
	// DeviceTaken is a device that its owner removed.
	DeviceTaken RevocationKind = "device"
	// StreamKeyTaken is a stream key.
	StreamKeyTaken RevocationKind = "stream_key"
)

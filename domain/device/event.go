package device

import (
	"time"

	"latchkey/domain/privilege"
)

// Event is something that happened to a device. The set is closed.
type Event interface{ deviceEvent() }

// Channel is one camera of a device.
type Channel struct {
	Channel      int           `json:"channel"`        // 1 to MaxChannel
	Name         string        `json:"name,omitempty"` // sealed
	Capabilities privilege.Set `json:"capabilities"`
}

// Added gives a device to its owner and begins a generation: the time until it
// is removed. Each generation has a device id of its own, which never returns.
type Added struct {
	Device     string    `json:"device"`     // the id: the normalised serial, from the second generation on with ".2", ".3"...
	Serial     string    `json:"serial"`     // as it was typed
	Generation int       `json:"generation"` // from 1
	Owner      string    `json:"owner"`
	Name       string    `json:"name"` // sealed
	Channels   []Channel `json:"channels"`
	At         time.Time `json:"at"`
}

// Removed ends the device's generation; nobody may do anything on it any more.
type Removed struct {
	Device string    `json:"device"`
	Owner  string    `json:"owner"`
	At     time.Time `json:"at"`
}

func (Added) deviceEvent()   {}
func (Removed) deviceEvent() {}

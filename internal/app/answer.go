package app

import (
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// A repeat has the result of the original command. Positions are those of the last event
// in the log that the command wrote or needed.

// Done is the result of commands that return only their position.
type Done struct {
	Position position.Position
}

// Registered is the result of Accounts.Register.
type Registered struct {
	Position position.Position
	Account  string
}

// DeviceChanged is the result of the commands that change a device.
type DeviceChanged struct {
	Position position.Position
	Device   device.State
	Unproven bool // nobody has seen whether the device is there
}

// DeviceAdded is the result of Devices.Add.
type DeviceAdded struct {
	Position position.Position
	Device   device.State
	Unproven bool // nobody has seen whether the device is there
}

// ShareSaved is the result of Shares.Save.
type ShareSaved struct {
	ShareChanged
	Created bool // the share was opened
}

// ShareChanged is the result of commands that change a share.
type ShareChanged struct {
	Position position.Position
	Revision int64 // of the share's stream
	Share    share.State
	Names    map[string]string // sealed, by device id
	Devices  map[string]device.State
}

// StreamKeyAdded is the result of StreamKeys.Add.
type StreamKeyAdded struct {
	Position position.Position
	Key      account.Key
	Secret   string
}

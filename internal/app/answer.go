package app

import (
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/share"
)

// The answer of a repeat is that of the original command. Positions are those of
// the last event in the log that the command wrote or needed.

// Done is the answer of the commands that return nothing but their position.
type Done struct {
	Position uint64
}

// Registered is the answer of Accounts.Register.
type Registered struct {
	Position uint64
	Account  string
}

// DeviceAdded is the answer of Devices.Add.
type DeviceAdded struct {
	Position uint64
	Device   device.State
}

// ShareSaved is the answer of Shares.Save.
type ShareSaved struct {
	ShareChanged
	Created bool // the share was opened
}

// ShareChanged is the answer of the commands that change what is in a share.
type ShareChanged struct {
	Position uint64
	Revision int64 // of the share's stream
	Share    share.State
	Names    map[string]string // sealed, by device id
}

// StreamKeyAdded is the answer of StreamKeys.Add.
type StreamKeyAdded struct {
	Position uint64
	Key      account.Key
	Secret   string
}

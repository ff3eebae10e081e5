package api

import (
	"context"
	"time"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// Meta says who gives a command, and under which conditions.
type Meta struct {
	Account        string // who acts; "" for registering
	IdempotencyKey string // "" for none
	IfMatch        *int64 // the revision that the share must have; nil: any
}

// Result is what a command did.
type Result struct {
	Position uint64     // of its last event in the log
	Created  bool       // whether what it names is new
	Account  string     // of Register
	Share    ShareView  // of the commands on shares
	Device   DeviceView // of AddDevice
	Key      KeyView    // of AddStreamKey
	Secret   string     // of AddStreamKey
}

// Kind is what an Error means for the one who asked.
type Kind uint8

// The kinds of Error. The zero value is none of them.
const (
	Invalid Kind = iota + 1
	Unauthenticated
	Forbidden
	NotFound
	Conflict
	Precondition
	Unavailable
)

// Error is a refusal that the caller may see. Every other error of a port is
// answered as a fault of the server and told to nobody but the log.
type Error struct {
	Code    string // stable
	Kind    Kind
	Message string            // for people
	Fields  map[string]string // what is wrong with which field
	Cause   error             // for the log
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Code + ": " + e.Message
	}
	return e.Code + ": " + e.Cause.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Registration is a new account; one of Email and Phone is set.
type Registration struct {
	Email, Phone   string
	Password, Name string
}

// NewDevice is a device to add.
type NewDevice struct {
	Name, Serial       string // Serial "": it gets an id of its own
	Username, Password string
	RTSPURL            string // of channel 1, where Channels is empty
	ISAPIURL, ONVIFURL string
	Channels           []NewChannel
}

// NewChannel is a channel of a device to add.
type NewChannel struct {
	Channel             int
	Name                string
	MainURL, SubURL     string
	Capabilities        privilege.Set
	CapabilitiesUnknown bool // the owner did not declare them
}

// DeviceGrants is what is given on one device.
type DeviceGrants struct {
	Device string
	Grants []share.Grant
}

// NewShare is what to share with whom; one of Email and Phone is set.
type NewShare struct {
	Email, Phone string
	Remark       string
	Devices      []DeviceGrants
}

// NewStreamKey is a stream key to make.
type NewStreamKey struct {
	Label   string
	Device  string    // "" for every device
	Expires time.Time // zero: never
}

// Accounts makes and finds accounts.
type Accounts interface {
	Register(ctx context.Context, m Meta, r Registration) (Result, error)
	// AccountByLogin answers "" where nobody has the address, and where it is
	// none. kind is "email" or "phone".
	AccountByLogin(ctx context.Context, kind, address string) (account string, err error)
}

// Devices adds and removes devices.
type Devices interface {
	AddDevice(ctx context.Context, m Meta, d NewDevice) (Result, error)
	RemoveDevice(ctx context.Context, m Meta, device string) (Result, error)
}

// Shares changes whole shares. DeleteShare deletes for the owner and leaves
// for the recipient.
type Shares interface {
	SaveShare(ctx context.Context, m Meta, s NewShare) (Result, error)
	ReplaceShare(ctx context.Context, m Meta, share, remark string, devices []DeviceGrants) (Result, error)
	DeleteShare(ctx context.Context, m Meta, share string) (Result, error)
}

// ShareDevices changes single devices of a share. RemoveShareDevice takes
// back for the owner and gives up for the recipient.
type ShareDevices interface {
	PutShareDevice(ctx context.Context, m Meta, share string, d DeviceGrants) (Result, error)
	RemoveShareDevice(ctx context.Context, m Meta, share, device string) (Result, error)
}

// Invitations is the recipient's side of a share.
type Invitations interface {
	Accept(ctx context.Context, m Meta, share, device string) (Result, error)
	Reject(ctx context.Context, m Meta, share, device string) (Result, error)
	SetDomain(ctx context.Context, m Meta, share, device, domain string) (Result, error)
}

// StreamKeys makes and revokes stream keys.
type StreamKeys interface {
	AddStreamKey(ctx context.Context, m Meta, k NewStreamKey) (Result, error)
	RevokeStreamKey(ctx context.Context, m Meta, name string) (Result, error)
}

// ShareQueries reads shares. What an account may not see is not there.
type ShareQueries interface {
	SentShares(ctx context.Context, account string, p Page) (rows []ShareView, next string, err error)
	ReceivedShares(ctx context.Context, account string, p Page) (rows []ShareView, next string, err error)
	History(ctx context.Context, account string, p Page) (rows []HistoryView, next string, err error)
	// Share is for its owner and its recipient; to others it is not found.
	Share(ctx context.Context, account, share string) (row ShareView, found bool, err error)
}

// Queries reads what else an account has.
type Queries interface {
	Devices(ctx context.Context, account string, p Page) (rows []DeviceView, next string, err error)
	Device(ctx context.Context, account, device string) (row DeviceView, found bool, err error)
	StreamKeys(ctx context.Context, account string, p Page) (rows []KeyView, next string, err error)
	Privileges(ctx context.Context, account string, p Page) (rows []PrivilegeView, next string, err error)
}

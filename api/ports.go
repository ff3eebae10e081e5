package api

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/app"
)

// ErrNoSession says that a token is nobody's, or no longer anybody's.
var ErrNoSession = errors.New("no such session")

// ErrForgotten says that a sealed text can never be read again, because the
// person that it is about was erased.
var ErrForgotten = errors.New("forgotten")

// ErrUnreadable says that a sealed text cannot be read, although the person that
// it is about was not erased: its key is missing, or one of the two is damaged.
var ErrUnreadable = errors.New("unreadable")

// Accounts makes and finds accounts.
type Accounts interface {
	Register(ctx context.Context, m app.Meta, r app.Registration) (app.Result, error)
	// AccountByLogin answers "" where nobody has the address, and where it is
	// none. kind is "email" or "phone".
	AccountByLogin(ctx context.Context, kind, address string) (account string, err error)
}

// Devices adds and removes devices.
type Devices interface {
	AddDevice(ctx context.Context, m app.Meta, d app.NewDevice) (app.Result, error)
	RemoveDevice(ctx context.Context, m app.Meta, device string) (app.Result, error)
}

// Shares changes whole shares. DeleteShare deletes for the owner and leaves
// for the recipient.
type Shares interface {
	SaveShare(ctx context.Context, m app.Meta, s app.NewShare) (app.Result, error)
	ReplaceShare(ctx context.Context, m app.Meta, share, remark string, devices []app.DeviceGrants) (app.Result, error)
	DeleteShare(ctx context.Context, m app.Meta, share string) (app.Result, error)
}

// ShareDevices changes single devices of a share. RemoveShareDevice takes
// back for the owner and gives up for the recipient.
type ShareDevices interface {
	PutShareDevice(ctx context.Context, m app.Meta, share string, d app.DeviceGrants) (app.Result, error)
	RemoveShareDevice(ctx context.Context, m app.Meta, share, device string) (app.Result, error)
}

// Invitations is the recipient's side of a share.
type Invitations interface {
	Accept(ctx context.Context, m app.Meta, share, device string) (app.Result, error)
	Reject(ctx context.Context, m app.Meta, share, device string) (app.Result, error)
	SetDomain(ctx context.Context, m app.Meta, share, device, domain string) (app.Result, error)
}

// StreamKeys makes and revokes stream keys.
type StreamKeys interface {
	AddStreamKey(ctx context.Context, m app.Meta, k app.NewStreamKey) (app.Result, error)
	RevokeStreamKey(ctx context.Context, m app.Meta, name string) (app.Result, error)
}

// ShareQueries reads shares. What an account may not see is not there.
type ShareQueries interface {
	SentShares(ctx context.Context, account string, p Page) (rows []ShareView, next string, err error)
	ReceivedShares(ctx context.Context, account string, p Page) (rows []ShareView, next string, err error)
	History(ctx context.Context, account string, p Page) (rows []HistoryView, next string, err error)
	// Share is for its owner and its recipient; to others it is not found. For
	// atLeast see Page.
	Share(ctx context.Context, account, share string, atLeast uint64) (row ShareView, found bool, err error)
	// Person says who has an account. For atLeast see Page.
	Person(ctx context.Context, account string, atLeast uint64) (PersonView, error)
}

// Queries reads what else an account has.
type Queries interface {
	Devices(ctx context.Context, account string, p Page) (rows []DeviceView, next string, err error)
	Device(ctx context.Context, account, device string, atLeast uint64) (row DeviceView, found bool, err error)
	StreamKeys(ctx context.Context, account string, p Page) (rows []KeyView, next string, err error)
	Privileges(ctx context.Context, account string, p Page) (rows []PrivilegeView, next string, err error)
}

// Quotas bounds what one account may have, and do in a time.
type Quotas interface {
	// Begin counts a request of an account, and uses up a command if it is one, for
	// which it may wait for a moment; end must be called when it has been answered.
	// *app.Exceeded: there are too many. Each kind is counted apart from the others.
	Begin(ctx context.Context, account string, kind app.RequestKind) (end func(), err error)
	// QuotasOf tells how much of each quota an account has used up.
	QuotasOf(ctx context.Context, account string) ([]QuotaView, error)
}

// Sessions keeps who has logged in.
type Sessions interface {
	// NewSession answers the token of a new session, which ends after ttl.
	NewSession(ctx context.Context, account string, ttl time.Duration) (token string, err error)
	// Session answers whose session the token is. ErrNoSession: nobody's.
	Session(ctx context.Context, token string) (account string, err error)
	// EndSession ends a session; one that there is not is ended already.
	EndSession(ctx context.Context, token string) error
}

// Passwords checks passwords, with the same work for an account that there is
// not, "" among them. The context says for whom (hashing.For), and hashing.ErrBusy
// is returned at once when too many wait.
type Passwords interface {
	VerifyPassword(ctx context.Context, account, password string) (bool, error)
}

// Limits counts attempts for all processes that share a database. A name is
// whatever the caller counts by; it is kept as a keyed hash only.
type Limits interface {
	// Take uses up one of the burst, of which there is another one every so
	// often. It returns zero, or how long to wait; then nothing was used up.
	Take(ctx context.Context, name string, every time.Duration, burst int) (wait time.Duration, err error)
	// Forgive forgets what the name has used up.
	Forgive(ctx context.Context, name string) error
}

// Networks remembers from where people have logged in.
type Networks interface {
	KnownNetwork(ctx context.Context, login, network string) (bool, error)
	RememberNetwork(ctx context.Context, login, network string) error
}

// Opener reads sealed text. ErrForgotten: it can never be read again.
// ErrUnreadable: it cannot be read now.
type Opener interface {
	Unseal(ctx context.Context, field, sealed string) (plain string, err error)
}

// Fence waits until what stands in the log up to a position is in force on
// this node: privileges are applied, and viewers that lost one are cut. It
// returns an error when the context ends first.
type Fence interface {
	WaitFor(ctx context.Context, position uint64) error
}

// Progress lets queries see what they must see.
type Progress interface {
	// Acknowledged notes the position of a command that is answered: every
	// later Read sees it.
	Acknowledged(position uint64)
	// Read runs a query that must see a position and what was acknowledged. The
	// query is given the position to ask for; while it returns ErrBehind, it is
	// run again. ErrBehind: the context ended first.
	Read(ctx context.Context, atLeast uint64, query func(atLeast uint64) error) error
}

// ErrBehind is returned by a query whose rows have not seen the position that it
// was given.
var ErrBehind = errors.New("the rows are older than what was asked for")

// Page asks for a part of a list: at most Limit rows, from Cursor on, which is
// what the page before answered as next; "" is the beginning. A cursor that the
// query did not make is ErrCursor. AtLeast is the position in the log that the
// rows must have seen, else the query returns ErrBehind; 0 is any.
type Page struct {
	Limit   int
	Cursor  string
	AtLeast uint64
}

// ErrCursor says that a cursor is none of the query's.
var ErrCursor = errors.New("not a cursor of this list")

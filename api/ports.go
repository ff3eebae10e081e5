package api

import (
	"context"
	"errors"
	"time"
)

// ErrNoSession says that a token is nobody's, or no longer anybody's.
var ErrNoSession = errors.New("no such session")

// ErrForgotten says that a sealed text can never be read again, because the
// person that it is about was erased.
var ErrForgotten = errors.New("forgotten")

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
// not, "" among them.
type Passwords interface {
	VerifyPassword(ctx context.Context, account, password string) (bool, error)
}

// Opener reads sealed text. ErrForgotten: it can never be read again.
type Opener interface {
	Unseal(ctx context.Context, sealed string) (plain string, err error)
}

// Fence waits until what stands in the log up to a position is in force on
// this node: privileges are applied, and viewers that lost one are cut. It
// returns an error when the context ends first.
type Fence interface {
	WaitFor(ctx context.Context, position uint64) error
}

// Progress waits until a projection has reached a position. It returns an
// error when the context ends first.
type Progress interface {
	WaitFor(ctx context.Context, projection string, position uint64) error
}

// Page asks for a part of a list: at most Limit rows, from Cursor on, which is
// what the page before answered as next; "" is the beginning. A cursor that the
// query did not make is ErrCursor.
type Page struct {
	Limit  int
	Cursor string
}

// ErrCursor says that a cursor is none of the query's.
var ErrCursor = errors.New("not a cursor of this list")

// The names of the projections that the queries read.
const (
	sentShares     = "sent_shares"
	receivedShares = "received_shares"
	shareHistory   = "share_history"
	deviceList     = "devices"
	accountList    = "accounts"
	privilegeList  = "privileges"
)

package api

import (
	"context"
	"errors"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/privilege"
	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
)

// ErrNoSession is returned for a token that is unknown or no longer valid.
var ErrNoSession = errors.New("no such session")

// ErrForgotten is returned for sealed text that can never be read again, because the
// person that it is about was erased.
var ErrForgotten = errors.New("forgotten")

// ErrUnreadable is returned for sealed text that cannot be read, although the person that
// it is about was not erased: its key is missing, or key or text is damaged.
var ErrUnreadable = errors.New("unreadable")

// Accounts creates and finds accounts.
type Accounts interface {
	Register(ctx context.Context, m app.Meta, r app.Registration) (app.Registered, error)
	// Candidates returns the accounts that a log-in may be meant for, with the same work for
	// every login.
	Candidates(ctx context.Context, login string) (app.Candidates, error)
	ChangePassword(ctx context.Context, m app.Meta, n app.NewPassword) (app.PasswordChanged, error)
	// RequestReset takes its time, which would tell whether the login has an account.
	RequestReset(ctx context.Context, login string) error
	ConfirmReset(ctx context.Context, m app.Meta, r app.Reset) (app.Done, error)
	Close(ctx context.Context, m app.Meta, password string) (app.Done, error)
	Profile(ctx context.Context, account string) (app.Profile, error)
	SetProfile(ctx context.Context, m app.Meta, p app.ProfileChange) (app.Done, error)
	// Addresses are named by their logins.
	Addresses(ctx context.Context, account string) ([]app.AddressView, error)
	AddAddress(ctx context.Context, m app.Meta, email, phone string) (app.AddressAdded, error)
	SendCode(ctx context.Context, m app.Meta, login string) error
	VerifyAddress(ctx context.Context, m app.Meta, login, code string) (app.Done, error)
	MakePrimary(ctx context.Context, m app.Meta, login string) (app.Done, error)
	RemoveAddress(ctx context.Context, m app.Meta, login string, leaveShares bool) (app.Done, error)

	// Which notices the account is sent.
	Notices(ctx context.Context, account string) (account.Notices, error)
	SetNotices(ctx context.Context, m app.Meta, n app.NoticeChange) (app.NoticesChanged, error)
	// Webhook returns it without its secret.
	Webhook(ctx context.Context, account string) (app.Webhook, error)
	SetWebhook(ctx context.Context, m app.Meta, url string) (app.WebhookChanged, error)
	RemoveWebhook(ctx context.Context, m app.Meta) (app.Done, error)
	TestWebhook(ctx context.Context, account string) (app.WebhookTested, error)
}

// Devices adds and removes devices.
type Devices interface {
	Add(ctx context.Context, m app.Meta, d app.NewDevice) (app.DeviceAdded, error)
	Remove(ctx context.Context, m app.Meta, device string) (app.Done, error)
	Rename(ctx context.Context, m app.Meta, device string, n app.DeviceNames) (app.DeviceChanged, error)
	Refresh(ctx context.Context, m app.Meta, device string) (app.DeviceChanged, error)
	RequestAccess(ctx context.Context, m app.Meta, serial, message string) (app.Done, error)
	DismissRequest(ctx context.Context, m app.Meta, request string) (app.Done, error)
	SetCredentials(ctx context.Context, m app.Meta, device string, n app.NewCredentials) (app.DeviceChanged, error)

	// Offers to hand a device over to another account.
	OfferTransfer(ctx context.Context, m app.Meta, device string, n app.NewTransfer) (app.TransferMade, error)
	WithdrawTransfer(ctx context.Context, m app.Meta, device string) (app.Done, error)
	AcceptTransfer(ctx context.Context, m app.Meta, transfer string) (app.DeviceChanged, error)
	RejectTransfer(ctx context.Context, m app.Meta, transfer string) (app.Done, error)

	// Claims to devices of others, by who has them. The owner objects, the claimant
	// withdraws.
	StartReclaim(ctx context.Context, m app.Meta, d app.NewDevice) (app.Reclaimed, error)
	EndReclaim(ctx context.Context, m app.Meta, claim string, objects bool) (app.Done, error)
	CompleteReclaim(ctx context.Context, m app.Meta, claim string, d app.NewDevice) (app.DeviceChanged, error)
}

// Presence knows which devices respond.
type Presence interface {
	Of(device string) Online
}

// Online tells whether a device responds.
type Online struct {
	State  string    // "online", "offline" or "unknown"
	Since  time.Time // zero if unknown
	Reason string    // "" for nothing

	Interruptions Interruptions
}

// Interruptions are streams of a device that broke off of late.
type Interruptions struct {
	Count  int // 0: none
	Last   time.Time
	Reason string
}

// Shares changes shares. For the owner, Delete deletes the share and RemoveDevice removes
// a device; the recipient leaves the share and gives the device up.
type Shares interface {
	Save(ctx context.Context, m app.Meta, s app.NewShare) (app.ShareSaved, error)
	Replace(ctx context.Context, m app.Meta, share, remark string, terms *privilege.Terms, devices []app.DeviceGrants) (app.ShareChanged, error)
	Delete(ctx context.Context, m app.Meta, share string) (app.Done, error)
	PutDevice(ctx context.Context, m app.Meta, share string, d app.DeviceGrants) (app.ShareChanged, error)
	RemoveDevice(ctx context.Context, m app.Meta, share, device string) (app.Done, error)
	Pause(ctx context.Context, m app.Meta, share, device string) (app.ShareChanged, error)
	Resume(ctx context.Context, m app.Meta, share, device string) (app.ShareChanged, error)
	// For the recipient.
	Accept(ctx context.Context, m app.Meta, share, device string) (app.ShareChanged, error)
	Reject(ctx context.Context, m app.Meta, share, device string) (app.ShareChanged, error)
	SetDomain(ctx context.Context, m app.Meta, share, device, domain string) (app.ShareChanged, error)
	Dismiss(ctx context.Context, m app.Meta, share, device string) (app.Done, error)
	// DecideAll decides each invitation alone; the results are in the same order.
	DecideAll(ctx context.Context, m app.Meta, list []app.Decision) ([]app.Decided, error)

	// Codes with which people share: that of an owner, and that of a recipient.
	MakeCode(ctx context.Context, m app.Meta, n app.CodeTerms, ttl time.Duration) (app.CodeMade, error)
	Codes(ctx context.Context, owner string) ([]app.CodeView, error)
	RevokeCode(ctx context.Context, m app.Meta, id string) error
	Redeem(ctx context.Context, m app.Meta, code string) (app.ShareChanged, error)
	OwnCode(ctx context.Context, m app.Meta) (app.CodeMade, error)

	// Forget takes the recipient of a deleted share out of its owner's lists.
	Forget(ctx context.Context, m app.Meta, share string) (app.Done, error)
}

// StreamKeys creates and revokes stream keys.
type StreamKeys interface {
	Add(ctx context.Context, m app.Meta, k app.NewStreamKey) (app.StreamKeyAdded, error)
	Revoke(ctx context.Context, m app.Meta, name string) (app.Done, error)
}

// Queries reads what an account may see; the rest does not exist for it. The rows are
// those of the read models. A query whose rows have not reached the given position
// returns projections.ErrBehind; for a foreign cursor, projections.ErrCursor.
type Queries interface {
	SentShares(ctx context.Context, account string, p projections.Page) (rows []projections.Share, next string, err error)
	ReceivedShares(ctx context.Context, account string, p projections.Page) (rows []projections.Share, next string, err error)
	// History and Recipients return the rows that match; a nil match: all of them.
	History(ctx context.Context, account string, p projections.Page, match projections.Match[projections.HistoryEntry]) (rows []projections.HistoryEntry, next string, err error)
	Recipients(ctx context.Context, account string, p projections.Page, match projections.Match[projections.Recipient]) (rows []projections.Recipient, next string, err error)
	// Invitations returns the new ones, or those that were dismissed; count is how many
	// there are on all pages.
	Invitations(ctx context.Context, account string, dismissed bool, p projections.Page) (rows []projections.Invitation, count int64, next string, err error)
	// Share is for its owner and its recipient; for others it is not found.
	Share(ctx context.Context, account, share string, atLeast position.Position) (row projections.Share, found bool, err error)
	// Person returns the person of an account.
	Person(ctx context.Context, account string, atLeast position.Position) (projections.Person, error)
	Devices(ctx context.Context, account string, p projections.Page) (rows []projections.Device, next string, err error)
	Device(ctx context.Context, account, device string, atLeast position.Position) (row projections.Device, found bool, err error)
	// AccessRequests are those for the devices that the account owns.
	AccessRequests(ctx context.Context, owner string, p projections.Page) (rows []projections.AccessRequest, next string, err error)
	// Transfers are those that the account has made, and those that wait for it at a time.
	Transfers(ctx context.Context, account string, now time.Time, p projections.Page) (rows []projections.Transfer, next string, err error)
	// Reclaims are claims to devices of the account, and those that it has made.
	Reclaims(ctx context.Context, account string, p projections.Page) (rows []projections.Reclaim, next string, err error)
	StreamKeys(ctx context.Context, account string, p projections.Page) (rows []projections.StreamKey, next string, err error)
	Privileges(ctx context.Context, account string, role projections.Role, p projections.Page) (rows []projections.DevicePrivileges, next string, err error)
	PrivilegesOn(ctx context.Context, account, device string, atLeast position.Position) (row projections.DevicePrivileges, found bool, err error)
	// AcceptedDevices are those of an owner's shares.
	AcceptedDevices(ctx context.Context, owner string, shares []string, atLeast position.Position) ([]projections.AcceptedDevice, error)
	// Ways and Holders are for the owner of a device; for others it is not found.
	Ways(ctx context.Context, q projections.WayQuery, p projections.Page) (rows []projections.Way, next string, found bool, err error)
	Holders(ctx context.Context, owner, device string, accounts []string, atLeast position.Position) (rows []projections.Holder, found bool, err error)
}

// Quotas limits what one account may have, and its rates.
type Quotas interface {
	// Begin counts a request of an account, and uses up a command if it is one, for which
	// it may wait briefly; end must be called at the end of the request. *app.Exceeded:
	// there are too many. Each kind is counted separately.
	Begin(ctx context.Context, account string, kind app.RequestKind) (end func(), err error)
	// QuotasOf returns how much of each quota an account has used.
	QuotasOf(ctx context.Context, account string) ([]QuotaView, error)
}

// Sessions stores sessions.
type Sessions interface {
	// LogIn creates a session if the password is that of one of the candidates, with the
	// same work for an account that does not exist, such as "". The context has the caller
	// (hashing.For); hashing.ErrBusy is returned at once if too many wait.
	LogIn(ctx context.Context, who app.Candidates, password string, n app.NewSession) (account, token string, right bool, err error)
	// Session returns the account of the token's session. ErrNoSession: there is none.
	Session(ctx context.Context, token string) (account string, err error)
	// SessionsOf lists the sessions of an account, the most recently used first, marking
	// the one with the token and those created from the network.
	SessionsOf(ctx context.Context, account, token, network string) ([]SessionView, error)
	// EndSession ends a session; it is not an error if it does not exist.
	EndSession(ctx context.Context, token string) error
	// EndSessionOf ends a session of an account by its id; false: there is none.
	EndSessionOf(ctx context.Context, account, id string) (bool, error)
	// EndOtherSessions ends the sessions of an account except that of the token.
	EndOtherSessions(ctx context.Context, account, token string) error
}

// Invitations keeps invitations to register.
type Invitations interface {
	// NewInvitation makes one that can be used once, within a time; false: the account has
	// that many already.
	NewInvitation(ctx context.Context, account string, ttl time.Duration, most int) (made InvitationView, token string, ok bool, err error)
	// Invitations lists those that have not expired, the newest first.
	Invitations(ctx context.Context, account string) ([]InvitationView, error)
	// RevokeInvitation ends one that was not used; false: there is none.
	RevokeInvitation(ctx context.Context, account, id string) (bool, error)
}

// Unused reports whether a service has no account yet.
type Unused interface {
	Empty(ctx context.Context) (bool, error)
}

// InvitationView is an invitation as whoever made it sees it.
type InvitationView struct {
	ID               string
	Created, Expires time.Time
	Used             bool
}

// SessionView is a session as shown to its account.
type SessionView struct {
	ID            string
	Created, Used time.Time // zero: unknown
	Expires       time.Time
	SameNetwork   bool
	Current       bool
}

// Limits counts attempts for all processes that share a database. Names are chosen by the
// caller, and stored only as keyed hashes.
type Limits interface {
	// Take uses up one of the burst, of which one is refilled per interval. It returns
	// zero, or how long to wait; then nothing was used up.
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
	// Keep returns how long text that is opened after the call may be kept: until the
	// version of another call differs, or a time has come.
	Keep() (version uint64, until time.Time)
}

// Progress ensures that queries see what they must see.
type Progress interface {
	// Acknowledged records the position of a command that has returned: every later Read
	// sees it.
	Acknowledged(position position.Position)
	// Read runs a query that must see a position and everything acknowledged. The query
	// gets the position to reach; while it returns projections.ErrBehind, it is run
	// again. That error is returned if the context ends first.
	Read(ctx context.Context, atLeast position.Position, query func(atLeast position.Position) error) error
	// Unchanged reports whether rows of an account that were read when the read models
	// had seen that are still what a query returns; false if that is not known. Like a
	// query, it returns projections.ErrBehind before the position is reached.
	Unchanged(ctx context.Context, seen projections.Seen, account string, atLeast position.Position) (bool, error)
}

package app

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/ids"
	"latchkey/internal/position"
)

// The refusals of a Log.
var (
	// ErrConflict is returned by Append when the stream is not at the expected
	// revision. Nothing was written.
	ErrConflict = errors.New("the stream is at another revision")
	// ErrTooLarge is returned by Append when the events are too large for one
	// append. Nothing was written.
	ErrTooLarge = errors.New("too large for one append")
	// ErrFull is returned by Append when the disk of the log is nearly full and the
	// append does not only revoke. Nothing was written.
	ErrFull = errors.New("the disk of the log is nearly full")
	// ErrIndexFull is returned by Append when the privilege index has no room for what
	// the events add. Nothing was written.
	ErrIndexFull = errors.New("the privilege index is full")
	// ErrDiverged is returned by Append when the log is not the one that this server's
	// privileges were read from, or events that they saw are missing. What was written,
	// if anything, must not be acknowledged.
	ErrDiverged = errors.New("the log has diverged")
)

// ErrPasswordChanged is returned by PasswordChange.Commit.
var ErrPasswordChanged = errors.New("the password was changed in the meantime")

// Log is where events are. An Append whose error is none of the above may have
// been written.
type Log interface {
	// Load returns the events of a stream from a revision on, oldest first; none if the
	// stream ends before it or does not exist.
	Load(ctx context.Context, stream string, from int64) ([]Stored, error)
	// LoadBack returns the events of a stream, oldest first, from the last one for which
	// until returns true, or all of them. until gets how many bytes of data were read up
	// to the event, and must be a pure function.
	LoadBack(ctx context.Context, stream string, until func(e Stored, read int) bool) ([]Stored, error)
	// First and Last return one event of a stream without reading the others; ok is false
	// if the stream does not exist.
	First(ctx context.Context, stream string) (event Stored, ok bool, err error)
	Last(ctx context.Context, stream string) (event Stored, ok bool, err error)
	// Append writes the events together if the stream's last revision is the expected
	// one; -1: the stream does not exist. It returns the position of the last event.
	Append(ctx context.Context, stream string, expected int64, events []Pending) (position position.Position, err error)
	// Life changes whenever the log may have become another one, or was restored to an
	// earlier point: everything cached from it is then invalid.
	Life() uint64
}

// Stored is an event in the log.
type Stored struct {
	ID       uuid.UUID
	Revision int64             // in its stream, from 0
	Position position.Position // in the log
	Type     string
	Data     []byte
	Metadata []byte
}

// size returns roughly how many bytes it takes in memory.
func (e Stored) size() int { return len(e.Type) + len(e.Data) + len(e.Metadata) + eventHead }

// Pending is an event to append.
type Pending struct {
	ID       uuid.UUID
	Type     string
	Data     []byte
	Metadata []byte

	// TakesAway is set if the event only revokes. The log keeps a reserve for appends of
	// only such events.
	TakesAway bool
}

// Sealer makes personal text unreadable to anyone who only has the log.
type Sealer interface {
	// Seal returns the same sealed text for the same subject, field and text; "" is "".
	// It can be opened for the same field only.
	Seal(ctx context.Context, subject, field, plain string) (sealed string, err error)
	// Unseal opens what Seal sealed for the same field; an error if it cannot be read.
	Unseal(ctx context.Context, field, sealed string) (plain string, err error)
	// LoginHash is a keyed hash, 32 lower-case hexadecimal digits.
	LoginHash(kind, address string) string
	// Knows reports whether there is a key of the subject, or was one that was destroyed
	// on purpose. If neither, but the log has text of the subject, the Sealer has lost
	// data.
	Knows(ctx context.Context, subject string) (bool, error)
	// Erased reports whether every key of the subject was destroyed on purpose, and no
	// new one will be made.
	Erased(ctx context.Context, subject string) (bool, error)
}

// Passwords stores the passwords of accounts. Setting and checking one may have to wait
// for others, and is refused if too many do.
type Passwords interface {
	SetPassword(ctx context.Context, account, password string) error
	VerifyPassword(ctx context.Context, account, password string) (bool, error)
	// Apply sets the first password of an account that is registered with a login which
	// it has not proven. ErrApplied: it has one.
	Apply(ctx context.Context, account, login, password string) error
	// EndApplications ends all applications for a login: somebody has proven it.
	EndApplications(ctx context.Context, login string) error
	// HasPassword reports whether the account has one.
	HasPassword(ctx context.Context, account string) (bool, error)
	// VoidPassword leaves the account without a password that opens it, and ends its
	// sessions, until a new one is set. It reports whether that changed anything.
	VoidPassword(ctx context.Context, account string) (changed bool, err error)
	// PreparePassword checks the current password and hashes the next one. It changes
	// nothing; nil: the current one is wrong, which takes as long.
	PreparePassword(ctx context.Context, account, current, next string) (PasswordChange, error)
	// PrepareReset hashes the next password, whichever the account has now. The change is
	// made only while the account has that one.
	PrepareReset(ctx context.Context, account, next string) (PasswordChange, error)
}

// Candidates are the accounts that a log-in may be meant for.
type Candidates struct {
	Account string // that has the login; "" for none
	Applied string // login for which accounts may have applied; "" for none
	// Blind is set if the time must not tell whether any has applied.
	Blind bool
}

// PasswordChange is a change of a password that waits to be made.
type PasswordChange interface {
	// Commit makes the change together with the end of every session of the account,
	// and with a new session unless it is nil. ErrPasswordChanged: the password that was
	// checked is not the account's any more; nothing was changed.
	Commit(ctx context.Context, s *NewSession) (token string, err error)
}

// NewSession is a session to make.
type NewSession struct {
	TTL     time.Duration
	Network string // that it is made from
}

// Cameras stores the cameras of devices: their addresses and credentials.
//
// A camera is staged before its device is in the log: for the device's id and the command
// that adds it, so that concurrent commands do not overwrite each other's. Confirming
// makes it the device's.
type Cameras interface {
	SetCamera(ctx context.Context, device string, c Camera) error
	HasCamera(ctx context.Context, device string) (bool, error)
	// Camera returns how a device is reached; found is false if that is not known.
	Camera(ctx context.Context, device string) (c Camera, found bool, err error)
	ForgetCamera(ctx context.Context, device string) error
	StageCamera(ctx context.Context, device, command string, c Camera) error
	// ConfirmCamera reports whether the camera was staged.
	ConfirmCamera(ctx context.Context, device, command string) (staged bool, err error)
	DropStaged(ctx context.Context, device, command string) error
}

// Camera is how a device is reached. None of it may be in an event or a log.
type Camera struct {
	Username, Password string
	ISAPIURL, ONVIFURL string // "" for none
	Certificate        string // SHA-256 of the certificate confirmed for rtsps, in hexadecimal; "" for none
	Channels           []CameraChannel
}

// CameraChannel has the addresses of one channel's streams; "" for none.
type CameraChannel struct {
	Channel         int
	MainURL, SubURL string
}

// StreamSecrets stores the secrets of stream keys.
type StreamSecrets interface {
	SetStreamSecret(ctx context.Context, key, secret string) error
	StreamSecret(ctx context.Context, key string) (string, error)
	ForgetStreamSecret(ctx context.Context, key string) error
}

// Domains has the device domains of accounts, as of a read model.
type Domains interface {
	// DomainTaken reports whether the account has accepted another device with the
	// domain.
	DomainTaken(ctx context.Context, account ids.Account, domain string, device ids.Device) (bool, error)
}

// SharesOfDevice has the shares that hold a device, as of a read model.
type SharesOfDevice interface {
	// SharesWithDevice lists the live shares that hold the device, considering every
	// event up to a position of the log, and possibly shares that it was taken out of
	// after that. It waits for the position as long as the context allows.
	SharesWithDevice(ctx context.Context, device string, atLeast position.Position) (holding, lost []string, err error)
}

// AskedFor counts requests for access.
type AskedFor interface {
	// AccessRequestsFor returns how many requests for access to a device wait; it may be a
	// moment old.
	AccessRequestsFor(ctx context.Context, device string) (int, error)
}

// Requests remembers commands by their idempotency keys, for all processes on one log.
type Requests interface {
	// ClaimRequest takes the key for a command that is about to be carried out. It is the
	// command's (mine) if the key is unknown, has expired, or is that of the same command
	// whose claim has lapsed; otherwise the holder is returned.
	ClaimRequest(ctx context.Context, claim Request, now time.Time) (there Request, mine bool, err error)
	// FindRequest returns what is recorded for a key; found is false if nothing is.
	FindRequest(ctx context.Context, key string) (there Request, found bool, err error)
	// FinishRequest records the outcome of a claim, if it still has the key.
	FinishRequest(ctx context.Context, done Request) error
	// ReleaseRequest drops a claim, if it still has the key.
	ReleaseRequest(ctx context.Context, claim Request) error
}

// Request is a command with an idempotency key. None of its fields reveals the command's
// content.
type Request struct {
	Key         string // keyed hash of the account and the key
	Fingerprint string // keyed hash of the command
	Token       string // of this claim alone
	Stream      string // that the command concerns
	Until       time.Time
	Expires     time.Time

	Done     bool              // carried out, and nothing was written
	Revision int64             // of the stream then; -1 if it did not exist
	Position position.Position // that was returned
	Answers  string            // to the parts of a command that are refused one by one; "" for none
}

package app

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// What a Log refuses.
var (
	// ErrConflict is returned by Append when the stream is not at the expected
	// revision. Nothing was written.
	ErrConflict = errors.New("the stream is at another revision")
	// ErrTooLarge is returned by Append when the events are too large for one
	// append. Nothing was written.
	ErrTooLarge = errors.New("too large for one append")
	// ErrFull is returned by Append when the disk of the log is nearly full and
	// the append does not only take away. Nothing was written.
	ErrFull = errors.New("the disk of the log is nearly full")
	// ErrIndexFull is returned by Append when the privileges have no room for what
	// the events add. Nothing was written.
	ErrIndexFull = errors.New("the privilege index is full")
	// ErrDiverged is returned by Append when the log is not the one that this
	// server's privileges were read from, or lacks events that they saw. What was
	// written, if anything, must not be acknowledged.
	ErrDiverged = errors.New("the log has diverged")
)

// ErrPasswordChanged is returned by PasswordChange.Commit.
var ErrPasswordChanged = errors.New("the password was changed meanwhile")

// Log is where events are. An Append whose error is none of the above may have
// been written.
type Log interface {
	// Load gives the events of a stream from a revision on, oldest first; none if the
	// stream ends before it, or there is no such stream.
	Load(ctx context.Context, stream string, from int64) ([]Stored, error)
	// LoadBack gives the events of a stream, oldest first, from the last one for which
	// until reports true to the end, or all of them. until is given how many bytes of
	// data were read up to the event, and must be a function of what it is given.
	LoadBack(ctx context.Context, stream string, until func(e Stored, read int) bool) ([]Stored, error)
	// First and Last give one event of a stream without reading the others; ok is
	// false where there is no such stream.
	First(ctx context.Context, stream string) (event Stored, ok bool, err error)
	Last(ctx context.Context, stream string) (event Stored, ok bool, err error)
	// Append writes the events together, where the stream's last revision is
	// the expected one; -1: there is no such stream. It gives the position of
	// the last event.
	Append(ctx context.Context, stream string, expected int64, events []Pending) (position uint64, err error)
	// Life is another number whenever the log may have become another one, or one
	// that was restored to an earlier point: nothing that was known of it counts.
	Life() uint64
}

// Stored is an event in the log.
type Stored struct {
	ID       uuid.UUID
	Revision int64  // in its stream, from 0
	Position uint64 // in the log
	Type     string
	Data     []byte
	Metadata []byte
}

// size is about how many bytes it takes in memory.
func (e Stored) size() int { return len(e.Type) + len(e.Data) + len(e.Metadata) + eventHead }

// Pending is an event to append.
type Pending struct {
	ID       uuid.UUID
	Type     string
	Data     []byte
	Metadata []byte

	// TakesAway is set when the event takes something away from somebody and
	// gives nothing to anybody. The log keeps a reserve for an append of such
	// events only.
	TakesAway bool
}

// Sealer makes personal text unreadable to whoever has the log alone.
type Sealer interface {
	// Seal gives the same sealed text for the same subject, field and text; "" is "".
	// It is opened for the same field only.
	Seal(ctx context.Context, subject, field, plain string) (sealed string, err error)
	// Unseal opens what Seal sealed for the same field; an error if it cannot be read.
	Unseal(ctx context.Context, field, sealed string) (plain string, err error)
	// LoginHash is a keyed hash, 32 lower-case hexadecimal digits.
	LoginHash(kind, address string) string
	// Knows reports whether there is a key of the subject, or was one that was
	// destroyed on purpose. A subject with text in the log and without either was
	// lost, with a part of what the Sealer keeps.
	Knows(ctx context.Context, subject string) (bool, error)
	// Erased reports whether every key of the subject was destroyed on purpose, and
	// none will be made again.
	Erased(ctx context.Context, subject string) (bool, error)
}

// Passwords keeps the passwords of accounts. Setting and checking one may have to
// wait for others, and is refused if too many do.
type Passwords interface {
	SetPassword(ctx context.Context, account, password string) error
	VerifyPassword(ctx context.Context, account, password string) (bool, error)
	// HasPassword reports whether the account has one.
	HasPassword(ctx context.Context, account string) (bool, error)
	// PreparePassword checks the current password and hashes the next one. It changes
	// nothing; nil: the current one is wrong, which takes as long.
	PreparePassword(ctx context.Context, account, current, next string) (PasswordChange, error)
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

// Cameras keeps how devices are reached.
//
// A camera is staged before the log says that its device exists: for the device's
// id and the command that adds it, so that of several at once none overwrites
// another's. Confirming makes it the device's.
type Cameras interface {
	SetCamera(ctx context.Context, device string, c Camera) error
	HasCamera(ctx context.Context, device string) (bool, error)
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
	Channels           []CameraChannel
}

// CameraChannel is where one channel's streams are; "" for none.
type CameraChannel struct {
	Channel         int
	MainURL, SubURL string
}

// StreamSecrets keeps the secrets of stream keys.
type StreamSecrets interface {
	SetStreamSecret(ctx context.Context, key, secret string) error
	StreamSecret(ctx context.Context, key string) (string, error)
	ForgetStreamSecret(ctx context.Context, key string) error
}

// Domains knows which device domains an account has given, as far as a read
// model sees it.
type Domains interface {
	// DomainTaken reports whether a device other than the given one has the
	// domain among those that the account has accepted.
	DomainTaken(ctx context.Context, account, domain, device string) (bool, error)
}

// SharesOfDevice knows which shares hold a device, as far as a read model sees
// it.
type SharesOfDevice interface {
	// SharesWithDevice lists the live shares that hold the device, with every event
	// up to a position of the log taken into account, and those that it was perhaps
	// taken out of after that. It waits for that as long as the context does.
	SharesWithDevice(ctx context.Context, device string, atLeast uint64) (holding, lost []string, err error)
}

// Requests remembers commands by their idempotency keys, for all processes over
// one log.
type Requests interface {
	// ClaimRequest takes the key for a command that is about to be carried out. It
	// is the command's (mine) where the key is unknown, has expired, or is that of
	// the same command whose claim has lapsed; otherwise there is who has it.
	ClaimRequest(ctx context.Context, claim Request, now time.Time) (there Request, mine bool, err error)
	// FinishRequest notes what became of a claim, if it still has the key.
	FinishRequest(ctx context.Context, done Request) error
	// ReleaseRequest forgets a claim, if it still has the key.
	ReleaseRequest(ctx context.Context, claim Request) error
}

// Request is a command with an idempotency key. None of its fields tells what is
// in the command.
type Request struct {
	Key         string // keyed hash of the account and the key
	Fingerprint string // keyed hash of the command
	Token       string // of this claim alone
	Stream      string // that the command concerns
	Until       time.Time
	Expires     time.Time

	Done     bool   // carried out, and nothing was written
	Revision int64  // of the stream then; -1 where there was none
	Position uint64 // that was answered
}

package eventstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"latchkey/internal/position"
)

// Position is a place in $all: position.Position, which rooms that must not import this
// one use too.
type Position = position.Position

// Event is an event to append.
type Event struct {
	ID       uuid.UUID // must be set: it makes a repeated append harmless
	Type     string
	Data     []byte // JSON
	Metadata []byte // JSON, or empty
}

// Recorded is an event of the log.
type Recorded struct {
	ID       uuid.UUID
	Stream   string
	Revision uint64 // in its stream, from 0
	Position Position
	Created  time.Time
	Type     string
	Data     []byte
	Metadata []byte

	ContentType string // of Data; a Batch does not carry it
}

// Appended is the place of an append's last event.
type Appended struct {
	Revision uint64
	Position Position
}

// Expected is the revision that an append expects its stream to be at. The zero value is
// refused: forgetting to set it must not mean Any.
type Expected struct{ revision esdb.ExpectedRevision }

// NoStream expects that the stream has no events.
func NoStream() Expected { return Expected{esdb.NoStream{}} }

// Exactly expects the stream's last event to have this revision.
func Exactly(revision uint64) Expected { return Expected{esdb.Revision(revision)} }

// Any expects nothing: concurrency is not checked.
func Any() Expected { return Expected{esdb.Any{}} }

var (
	// ErrConflict: the stream is not at the expected revision.
	ErrConflict = errors.New("the stream has changed in the meantime")
	// ErrStreamNotFound: the stream has no events.
	ErrStreamNotFound = errors.New("no such stream")
	// ErrStreamDeleted: the stream was deleted for good.
	ErrStreamDeleted = errors.New("the stream is deleted")
	// ErrTooLarge: the events of one append are more than 1 MiB.
	ErrTooLarge = errors.New("the append is too large")
	// ErrInvalid: the call is invalid; nothing was sent.
	ErrInvalid = errors.New("invalid call")
	// ErrUnavailable: the log does not respond. An append may or may not have happened;
	// the same ids may be appended again.
	ErrUnavailable = errors.New("the log does not respond")
	// ErrFull is returned for an append that the node refused because its disk is nearly
	// full. Nothing was written. Appends with WithReserve are still accepted.
	ErrFull = errors.New("the disk of the log is nearly full")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the connection to the log is closed")
)

// invalid returns ErrInvalid with a reason.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func recorded(e *esdb.RecordedEvent) Recorded {
	return Recorded{
		ID: e.EventID, Stream: e.StreamID, Revision: e.EventNumber, Position: Position(e.Position.Commit),
		Created: e.CreatedDate, Type: e.EventType, Data: e.Data, Metadata: e.UserMetadata,
		ContentType: e.ContentType,
	}
}

package eventstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
)

// reserveKey is the gRPC metadata that requests the embedded node's disk reserve.
// EventStoreDB ignores it.
const reserveKey = "latchkey-reserve"

// reserve is the key of WithReserve in a context.
type reserve struct{}

// WithReserve marks the appends of a context as ones that only revoke. The embedded node
// writes them even if its disk is nearly full, into reserved space.
func WithReserve(ctx context.Context) context.Context {
	return context.WithValue(ctx, reserve{}, true)
}

// reserved returns the context of a call to the node, with the metadata of
// WithReserve.
func reserved(ctx context.Context) context.Context {
	if ctx.Value(reserve{}) == nil {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, reserveKey, "1")
}

// Append appends events at the expected revision, all or none. It repeats the
// append with the same ids when the connection fails, so the events are there
// once. Errors: ErrConflict, ErrStreamDeleted, ErrTooLarge, ErrInvalid, ErrFull,
// ErrUnavailable.
func (c *Client) Append(ctx context.Context, stream string, expected Expected, events ...Event) (Appended, error) {
	what := "appending to " + stream
	data, err := proposals(stream, expected, events)
	if err != nil {
		return Appended{}, fmt.Errorf("%s: %w", what, err)
	}
	done, err := call(ctx, c, what, func(ctx context.Context, conn *esdb.Client) (Appended, error) {
		if err := ctx.Err(); err != nil {
			return Appended{}, err
		}
		// If a context ends while the library sends, it has a data race: a call that was
		// begun continues until the deadline.
		r, err := conn.AppendToStream(reserved(context.WithoutCancel(ctx)), stream, esdb.AppendToStreamOptions{ExpectedRevision: expected.revision, Deadline: &c.timeout}, data...)
		if err != nil {
			return Appended{}, err
		}
		return Appended{Revision: r.NextExpectedVersion, Position: Position(r.CommitPosition)}, nil
	})
	c.noteAppend(ctx, err)
	return done, err
}

// noteAppend records for Health whether the log accepts appends. A conflict shows that it
// does; a cancelled call shows nothing.
func (c *Client) noteAppend(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil, errors.Is(err, ErrClosed):
	case errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable):
		c.health.appended(err)
	default:
		c.health.appended(nil)
	}
}

func proposals(stream string, expected Expected, events []Event) ([]esdb.EventData, error) {
	if stream == "" {
		return nil, invalid("the stream has no name")
	}
	if expected.revision == nil {
		return nil, invalid("an expected revision is required")
	}
	if len(events) == 0 {
		return nil, invalid("there is nothing to append")
	}
	data := make([]esdb.EventData, len(events))
	for i, e := range events {
		if e.ID == uuid.Nil || e.Type == "" {
			return nil, invalid("event %d needs an id and a type", i)
		}
		data[i] = esdb.EventData{EventID: e.ID, EventType: e.Type, ContentType: esdb.ContentTypeJson, Data: e.Data, Metadata: e.Metadata}
	}
	return data, nil
}

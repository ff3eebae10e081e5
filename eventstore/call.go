package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"latchkey/internal/pause"
)

// leaderOnly makes a node that is not the leader refuse the call instead of returning
// possibly stale data. The library's own option never reaches the node.
func leaderOnly(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

// call runs f until it succeeds, fails for good, or the time is over. f must be safe to
// repeat. what describes the operation in errors.
func call[T any](ctx context.Context, c *Client, what string, f func(context.Context, *esdb.Client) (T, error)) (T, error) {
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var zero T
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		answer, err := try(ctx, c, f)
		if err == nil {
			return answer, nil
		}
		if callers.Err() != nil { // the caller gave up; the log may be fine
			return zero, fmt.Errorf("%s: %w: %w", what, ErrUnavailable, callers.Err())
		}
		if !errors.Is(err, ErrUnavailable) || !about(ctx, wait) {
			return zero, fmt.Errorf("%s: %w", what, err)
		}
	}
}

// try runs f once, on the current connection or the next one.
func try[T any](ctx context.Context, c *Client, f func(context.Context, *esdb.Client) (T, error)) (T, error) {
	conn, err := c.connection(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return watched(ctx, c, conn, f)
}

// watched runs f on a connection and translates its error. The connection is probed when
// the response is slow, and taken out of use when the response shows that it is lost.
func watched[T any](ctx context.Context, c *Client, conn *connection, f func(context.Context, *esdb.Client) (T, error)) (T, error) {
	late := time.AfterFunc(patience, func() { c.doubt(conn) })
	defer late.Stop()
	answer, err := guarded(ctx, conn, f)
	if err == nil {
		return answer, nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.doubt(conn)
	}
	known, lost := translate(err)
	if lost {
		c.lose(conn, known)
	}
	return answer, known
}

// about pauses for about d, so that calls that failed together do not retry together; it
// returns false if the context ended first.
func about(ctx context.Context, d time.Duration) bool { return pause.For(ctx, d/2+rand.N(d)) }

// translate converts the library's errors into ours, once. lost reports that calls need a
// new connection.
func translate(err error) (known error, lost bool) {
	if errors.Is(err, errPanicked) || errors.Is(err, errNoAnswer) || errors.Is(err, errRetired) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err), false
	}
	if errors.Is(err, io.EOF) {
		// The node responded before the whole append was sent, and the library lost the
		// response.
		return fmt.Errorf("%w: %w", ErrUnavailable, err), false
	}
	if s, ok := answered(err); ok && strings.Contains(s.Message(), leaderInfo) {
		// An election is in progress, or the library did not follow it. The code would be
		// taken for that of a missing stream.
		return fmt.Errorf("%w: %w", ErrUnavailable, err), false
	}
	var e *esdb.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case esdb.ErrorCodeWrongExpectedVersion:
			return ErrConflict, false
		case esdb.ErrorCodeStreamDeleted:
			return ErrStreamDeleted, false
		case esdb.ErrorCodeResourceNotFound:
			return ErrStreamNotFound, false
		case esdb.ErrorCodeConnectionClosed, esdb.ErrorUnavailable:
			// The library would search for a node by itself, and leave the lost
			// connection open.
			return fmt.Errorf("%w: %w", ErrUnavailable, err), true
		case esdb.ErrorCodeNotLeader, esdb.ErrorAborted, esdb.ErrorCodeDeadlineExceeded:
			return fmt.Errorf("%w: %w", ErrUnavailable, err), false
		}
	}
	return translateStatus(err)
}

// nearlyFull is in the message of the embedded node when it refuses an append to keep its
// disk from filling up. EventStoreDB returns ResourceExhausted for other, transient
// reasons.
const nearlyFull = "nearly full"

// refusal is a known error in the words of the node.
type refusal struct {
	known error
	words string
}

func (r refusal) Error() string { return r.words }
func (r refusal) Unwrap() error { return r.known }

// translateStatus handles errors that the library does not name: some arrive as gRPC
// errors, some as code 0 with the server's message.
func translateStatus(err error) (known error, lost bool) {
	s, ok := answered(err)
	if !ok {
		return err, false
	}
	switch text := s.Message(); {
	case strings.Contains(text, "Maximum Append Size"), strings.Contains(text, "Maximum Append Event Size"):
		return ErrTooLarge, false
	case strings.Contains(text, "WrongExpectedVersion"):
		return ErrConflict, false
	case s.Code() == codes.ResourceExhausted && strings.Contains(text, nearlyFull):
		return refusal{ErrFull, text}, false
	}
	switch s.Code() {
	case codes.Unavailable:
		// gRPC would dial again by itself, after pauses of up to two minutes.
		return fmt.Errorf("%w: %w", ErrUnavailable, err), true
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.ResourceExhausted:
		return fmt.Errorf("%w: %w", ErrUnavailable, err), false
	}
	return err, false
}

// leaderInfo is in the message of a node that is not the leader, whether it
// knows the leader or not.
const leaderInfo = "eader info available"

// answered returns the gRPC status inside an error of the library.
func answered(err error) (*status.Status, bool) {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil, false
	}
	return s.GRPCStatus(), true
}

// inWords returns an error as one line, without the library's wrapping: the node's own
// message if it sent one.
func inWords(err error) string {
	text := err.Error()
	if s, ok := answered(err); ok {
		text = s.Message()
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}

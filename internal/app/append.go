package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"latchkey/internal/position"
)

// unwritten reports whether an error of append proves that nothing was written.
func unwritten(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrFull) || errors.Is(err, ErrIndexFull)
}

// append is Log.Append with the errors of a use case; ErrConflict is unchanged.
func (s *core) append(ctx context.Context, stream string, expected int64, events []Pending) (position.Position, error) {
	position, err := s.log.Append(ctx, stream, expected, events)
	switch {
	case err == nil:
		return position, nil
	case errors.Is(err, ErrConflict):
		return 0, err
	case errors.Is(err, ErrTooLarge):
		return 0, refused(err)
	case errors.Is(err, ErrFull):
		return 0, &Error{
			Code: "disk_full", Kind: Unavailable, Cause: err,
			Message: "The disk of the event log is nearly full. Until there is space again, you can only revoke, reject, leave and remove.",
		}
	case errors.Is(err, ErrIndexFull):
		return 0, &Error{
			Code: "index_full", Kind: Unavailable, Cause: err,
			Message: "This server has no room for more devices and accounts that use one. What you have keeps working, and you can revoke, reject, leave and remove.",
		}
	case errors.Is(err, ErrDiverged):
		return 0, &Error{
			Code: "log_diverged", Kind: Unavailable, Cause: err,
			Message: "Events that this server has seen are missing from the event log, so no changes are accepted. The operator must put the right log back.",
		}
	}
	return 0, unavailable(fmt.Errorf("appending to a stream: %w", err))
}

// appendOnce is append for a command. If the log already has the ids of an append, it
// takes it for a retry and checks no further: two concurrent commands with one
// idempotency key would both be reported as written. So the written events are read back;
// the command that was not written gets ErrConflict, and finds the other one at its next
// attempt.
func (s *core) appendOnce(ctx context.Context, c command, stream string, expected int64, events []Pending) (position.Position, error) {
	position, err := s.append(ctx, stream, expected, events)
	if err != nil || c.IdempotencyKey == "" {
		return position, err
	}
	there, err := s.log.Load(ctx, stream, expected+1)
	if err != nil {
		return 0, unavailable(fmt.Errorf("reading what was appended: %w", err))
	}
	if !slices.EqualFunc(there[:min(len(events), len(there))], events, Stored.is) {
		return 0, ErrConflict
	}
	return position, nil
}

// is reports whether the event is stored word for word.
func (e Stored) is(p Pending) bool {
	return e.ID == p.ID && bytes.Equal(e.Data, p.Data) && bytes.Equal(e.Metadata, p.Metadata)
}

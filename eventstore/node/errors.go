package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// trailer reports an error to the client, in the words of the real server.
func trailer(ctx context.Context, pairs ...string) {
	// It only fails outside a call.
	_ = grpc.SetTrailer(ctx, metadata.Pairs(pairs...))
}

// refuse translates an error of the store, once, for the client.
func refuse(ctx context.Context, err error) error {
	var damage *damageError
	var deleted *streamDeleted
	var wrong *wrongRevision
	switch {
	case errors.As(err, &deleted):
		trailer(ctx, "exception", "stream-deleted", "stream-name", headerText(deleted.stream))
		return status.Errorf(codes.FailedPrecondition, "Event stream '%s' is deleted.", deleted.stream)
	case errors.As(err, &wrong):
		trailer(ctx, "exception", "wrong-expected-version", "stream-name", headerText(wrong.stream),
			"expected-version", strconv.FormatInt(int64(wrong.expected), 10), "actual-version", strconv.FormatInt(wrong.actual, 10))
		return status.Errorf(codes.FailedPrecondition,
			"Delete failed due to WrongExpectedVersion. Stream: %s, Expected version: %d, Actual version: %d", wrong.stream, wrong.expected, wrong.actual)
	case errors.As(err, &damage):
		return status.Error(codes.DataLoss, damage.Error())
	case errors.Is(err, errFull):
		return status.Error(codes.ResourceExhausted, err.Error())
	case errors.Is(err, errClosed):
		return status.Error(codes.Unavailable, err.Error())
	case errors.Is(err, errReadOnly):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, errFailed):
		return status.Error(codes.Unavailable, err.Error())
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(codes.Unknown, oneLine(err.Error()))
}

// oneLine returns the first line of a text: Pebble's errors have several.
func oneLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func invalid(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, fmt.Sprintf(format, args...))
}

// headerText returns a name as the value of a trailer. HTTP/2 forbids control characters
// there, and one in a name would end the whole connection.
func headerText(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

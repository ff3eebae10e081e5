package api

import (
	"context"
	"errors"
	"net/http"

	"latchkey/internal/app"
)

// refusalOf converts a refusal of a use case to a problem: its status, its text and the
// names that fields have in a request.
func refusalOf(e *app.Error, away func(error) bool) *problem {
	p := &problem{code: e.Code, detail: detailOf(e), fields: pointers(e.Fields), quota: e.Quota, certificate: e.Certificate, shares: e.Shares, cause: e}
	switch e.Kind {
	case app.Invalid, app.Exhausted:
		p.status = http.StatusUnprocessableEntity
	case app.TooSoon:
		p.status, p.header = http.StatusTooManyRequests, retryAfter(e.RetryAfter)
	case app.Unauthenticated:
		return unauthenticated(e.Code, e.Message)
	case app.Forbidden:
		p.status = http.StatusForbidden
	case app.NotFound:
		p.status = http.StatusNotFound
	case app.Conflict:
		p.status = http.StatusConflict
	case app.Precondition:
		p.status = http.StatusPreconditionFailed
	case app.Unavailable:
		if e.Cause != nil && !errors.Is(e, context.DeadlineExceeded) && !errors.Is(e, context.Canceled) && away(e.Cause) {
			return databaseUnavailable(e)
		}
		return unavailable(e.Code, e.Message, e)
	default:
		return internal(e)
	}
	return p
}

// idempotencyKey is the header with a command's key.
const idempotencyKey = "Idempotency-Key"

// detailOf returns the message of a refusal, naming the header of a command's key.
func detailOf(e *app.Error) string {
	if e.Code == app.CodeKeyReused {
		return "The " + idempotencyKey + " was used for another request."
	}
	return e.Message
}

// inBody maps field names of the use cases to those in bodies, where they differ.
var inBody = map[string]string{"main_url": "rtsp_url", "sub_url": "sub_rtsp_url", "expires": "expires_at"}

// pointers names fields as a request does: by JSON pointer (RFC 6901) in the body,
// and the key of a command by its header.
func pointers(fields map[app.Field]string) map[string]string {
	out := make(map[string]string, len(fields))
	for field, reason := range fields {
		if field == app.FieldIdempotencyKey {
			out[idempotencyKey] = reason
			continue
		}
		steps := field.Steps()
		for i, name := range steps {
			if renamed, ok := inBody[name]; ok {
				steps[i] = renamed
			}
		}
		out[pointer(steps)] = reason
	}
	return out
}

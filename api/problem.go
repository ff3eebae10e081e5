package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
	"latchkey/internal/hashing"
	"latchkey/projections"
)

// problem is an error response. Its cause is logged, never sent to the caller.
type problem struct {
	status      int
	code        string
	detail      string
	fields      map[string]string
	quota       string
	certificate string   // the fingerprint that may be confirmed
	shares      []string // that are in the way
	header      http.Header

	current *rest.Share // of a command that lost a race: the share as it is
	etag    string      // of current

	cause error
}

// problemDocument is the JSON of a problem (RFC 9457, 3.1).
type problemDocument struct {
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Status      int               `json:"status"`
	Code        string            `json:"code"`
	Detail      string            `json:"detail,omitempty"`
	Errors      map[string]string `json:"errors,omitempty"`
	Quota       string            `json:"quota,omitempty"`
	Certificate string            `json:"certificate_sha256,omitempty"`
	Shares      []string          `json:"shares,omitempty"`
	RequestID   string            `json:"request_id"`
	Current     *rest.Share       `json:"current,omitempty"`
	ETag        string            `json:"etag,omitempty"`
}

func (p *problem) Error() string {
	if p.cause == nil {
		return p.code
	}
	return p.code + ": " + p.cause.Error()
}

func (p *problem) Unwrap() error { return p.cause }

func unauthenticated(code, detail string) *problem {
	return &problem{
		status: http.StatusUnauthorized, code: code, detail: detail,
		header: http.Header{"Www-Authenticate": {`Bearer realm="latchkey"`}},
	}
}

func unavailable(code, detail string, cause error) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: code, detail: detail, cause: cause,
		header: http.Header{"Retry-After": {"1"}},
	}
}

func internal(cause error) *problem {
	return &problem{
		status: http.StatusInternalServerError, code: "internal",
		detail: "An internal error occurred. The server's log has the cause under the request id.", cause: cause,
	}
}

// translate converts every error to a problem. It is the only place that does. away
// reports whether an error means that a database is locked or unavailable.
func translate(err error, away func(error) bool) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if errors.Is(err, hashing.ErrBusy) { // even inside an error of a use case
		return passwordsBusy(err)
	}
	if e, ok := errors.AsType[*app.Error](err); ok {
		return refusalOf(e, away)
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return translateEcho(e)
	}
	if errors.Is(err, projections.ErrCursor) {
		return &problem{
			status: http.StatusBadRequest, code: "invalid_cursor", detail: "The cursor does not belong to this list.",
			fields: map[string]string{"cursor": "is not the next cursor of a page of this list"},
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return unavailable("unavailable", "The request took too long.", err)
	}
	if away(err) {
		return databaseUnavailable(err)
	}
	return internal(err)
}

func databaseUnavailable(cause error) *problem {
	return unavailable("database_unavailable", "The database is unavailable. Try again.", cause)
}

func translateEcho(e *echo.HTTPError) *problem {
	switch e.Code {
	case http.StatusNotFound:
		return &problem{status: e.Code, code: "no_such_route", detail: "There is nothing at this path."}
	case http.StatusMethodNotAllowed:
		return &problem{status: e.Code, code: "method_not_allowed", detail: "This path does not support this method; see the Allow header."}
	case http.StatusBadRequest:
		return malformed("The request cannot be read.", e)
	}
	return internal(e)
}

// writeProblem is echo's error handler.
func (s *Server) writeProblem(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := translate(err, s.cfg.Away)
	if errors.Is(p, hashing.ErrBusy) {
		s.metrics.busy.Inc()
	}
	ctx := c.Request().Context()
	if p.status >= http.StatusInternalServerError {
		level := slog.LevelError
		if p.status == http.StatusServiceUnavailable || p.status == http.StatusBadGateway {
			level = slog.LevelWarn // including callers that disconnected, and cameras
		}
		s.log.LogAttrs(ctx, level, "request failed",
			slog.String("request", requestID(ctx)), slog.String("code", p.code), slog.Any("error", err))
	}
	h := c.Response().Header()
	maps.Copy(h, p.header)
	h.Set("Content-Type", "application/problem+json")
	if c.Request().ContentLength != 0 && !requestOf(ctx).read {
		h.Set("Connection", "close") // nothing waits for a body that is not read
	}
	c.Response().WriteHeader(p.status)
	_ = json.NewEncoder(c.Response()).Encode(p.document(requestID(ctx))) // the connection is gone
}

// document returns the problem as sent to the caller.
func (p *problem) document(requestID string) problemDocument {
	return problemDocument{
		Type: "about:blank", Title: http.StatusText(p.status), Status: p.status,
		Code: p.code, Detail: p.detail, Errors: inSentences(p.fields), Quota: p.quota, Certificate: p.certificate, Shares: p.shares, RequestID: requestID, Current: p.current, ETag: p.etag,
	}
}

func inSentences(fields map[string]string) map[string]string {
	out := make(map[string]string, len(fields))
	for at, reason := range fields {
		out[at] = sentence(reason)
	}
	return out
}

package api

import (
	"context"
	"errors"
	"fmt"

	"latchkey/api/internal/rest"
	"latchkey/domain/privilege"
	"latchkey/internal/app"
	"latchkey/projections"
)

// handlers implement the operations of the specification. Their requests have been
// authenticated and validated.
type handlers struct{ *Server }

var _ rest.StrictServerInterface = handlers{}

// defaultLimit is the page size if the request has none.
const defaultLimit = 50

func page(limit int, cursor string) projections.Page {
	if limit == 0 {
		limit = defaultLimit
	}
	return projections.Page{Limit: limit, Cursor: cursor}
}

// meta returns the acting account and the key.
func meta(ctx context.Context, idempotencyKey string) app.Meta {
	return app.Meta{Account: caller(ctx), IdempotencyKey: idempotencyKey}
}

// metaIf is meta with the revision that If-Match requires.
func metaIf(ctx context.Context, idempotencyKey, match string) (app.Meta, error) {
	revision, err := ifMatch(match)
	m := meta(ctx, idempotencyKey)
	m.Revision = revision
	return m, err
}

// done confirms a command that returns only its position.
func (h handlers) done(ctx context.Context, r app.Done, err error) (rest.DoneResponse, error) {
	if err != nil {
		return rest.DoneResponse{}, h.lost(ctx, err)
	}
	position, err := h.confirm(ctx, r.Position)
	return rest.DoneResponse{Headers: rest.DoneResponseHeaders{LatchkeyPosition: position}}, err
}

// holds reports whether a validity holds now, and records until when the answer that says
// so is right.
func (h handlers) holds(ctx context.Context, v privilege.Validity) bool {
	holds, until := v.Holding(h.cfg.Now())
	if req := requestOf(ctx); until != privilege.Forever && (req.until == 0 || until < req.until) {
		req.until = until
	}
	return holds
}

// reading opens the sealed text of one object. Erased text is "", as is unreadable text,
// which is then listed in unreadable.
type reading struct {
	ctx        context.Context
	opener     Opener
	unreadable bool
	err        error // the first error of another kind
}

func (h handlers) reading(ctx context.Context) *reading {
	return &reading{ctx: ctx, opener: h.cfg.Opener}
}

func (r *reading) text(field, sealed string) string {
	if r.err != nil {
		return ""
	}
	plain, err := r.opener.Unseal(r.ctx, field, sealed)
	switch {
	case errors.Is(err, ErrForgotten):
		return ""
	case errors.Is(err, ErrUnreadable):
		r.unreadable = true
		requestOf(r.ctx).unreadable = true
		return ""
	case err != nil:
		r.err = fmt.Errorf("opening sealed text: %w", err)
	}
	return plain
}

package api

import (
	"context"
	"errors"
	"fmt"

	"latchkey/api/internal/rest"
	"latchkey/domain"
)

// handlers do the operations of the specification. What reaches them has been
// authenticated and validated.
type handlers struct{ *Server }

var _ rest.StrictServerInterface = handlers{}

// defaultLimit is the size of a page where the request names none.
const defaultLimit = 50

func page(limit int, cursor string) Page {
	if limit == 0 {
		limit = defaultLimit
	}
	return Page{Limit: limit, Cursor: cursor}
}

// meta says who acts, under which key.
func meta(ctx context.Context, idempotencyKey string) domain.Meta {
	return domain.Meta{Account: caller(ctx), IdempotencyKey: idempotencyKey}
}

// metaIf is meta with the revision that If-Match demands.
func metaIf(ctx context.Context, idempotencyKey, match string) (domain.Meta, error) {
	revision, err := ifMatch(match)
	m := meta(ctx, idempotencyKey)
	m.IfMatch = revision
	return m, err
}

// done confirms a command that answers nothing but its position.
func (h handlers) done(ctx context.Context, r domain.Result, err error) (rest.DoneResponse, error) {
	if err != nil {
		return rest.DoneResponse{}, err
	}
	position, err := h.confirm(ctx, r.Position)
	return rest.DoneResponse{Headers: rest.DoneResponseHeaders{LatchkeyPosition: position}}, err
}

// open reads sealed text; what was erased is "".
func (h handlers) open(ctx context.Context, sealed string) (string, error) {
	plain, err := h.cfg.Opener.Unseal(ctx, sealed)
	if errors.Is(err, ErrForgotten) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("opening sealed text: %w", err)
	}
	return plain, nil
}

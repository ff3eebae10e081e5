package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/api/internal/rest"
)

// handlers do the operations of the specification. What reaches them has been
// authenticated and validated.
type handlers struct {
	*Server
	rest.StrictServerInterface
}

var _ rest.StrictServerInterface = handlers{}

// defaultLimit is the size of a page where the request names none.
const defaultLimit = 50

func page(limit int, cursor string) any {
	if limit == 0 {
		limit = defaultLimit
	}
	return limit
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

func utc(t time.Time) time.Time { return t.UTC() }

package api

import "context"

func (h handlers) accountOf(ctx context.Context, login string) (string, error) { return "", nil }

package main

import (
	"context"
	"errors"
	"fmt"

	"latchkey/internal/app"
	"latchkey/internal/vault"
)

// shareCodes keeps the codes with which people share for the use cases.
type shareCodes struct {
	vault *vault.Vault
	ended func(context.Context) // is called after a code was used or revoked
}

func (s shareCodes) MakeShareCode(ctx context.Context, n app.NewShareCode) (app.ShareCode, string, error) {
	made, code, err := s.vault.MakeShareCode(ctx, vault.NewShareCode(n))
	switch {
	case errors.Is(err, vault.ErrTooManyCodes):
		err = fmt.Errorf("%w: %w", app.ErrTooManyCodes, err)
	case errors.Is(err, vault.ErrOtherCode):
		err = fmt.Errorf("%w: %w", app.ErrOtherCode, err)
	}
	return app.ShareCode(made), code, err
}

func (s shareCodes) ShareCodes(ctx context.Context, account, kind string) ([]app.ShareCode, error) {
	rows, err := s.vault.ShareCodes(ctx, account, kind)
	list := make([]app.ShareCode, len(rows))
	for i, row := range rows {
		list[i] = app.ShareCode(row)
	}
	return list, err
}

func (s shareCodes) ClaimShareCode(ctx context.Context, kind, code, by string) (app.ShareCode, bool, error) {
	claimed, ok, err := s.vault.ClaimShareCode(ctx, kind, code, by)
	if ok {
		s.ended(ctx)
	}
	return app.ShareCode(claimed), ok, err
}

func (s shareCodes) ReleaseShareCode(ctx context.Context, kind, code, by string) error {
	return s.vault.ReleaseShareCode(ctx, kind, code, by)
}

func (s shareCodes) RevokeShareCode(ctx context.Context, account, kind, id string) (bool, error) {
	revoked, err := s.vault.RevokeShareCode(ctx, account, kind, id)
	if revoked {
		s.ended(ctx)
	}
	return revoked, err
}

package main

import (
	"context"
	"errors"

	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
)

// policies are the commands that follow from events.
type policies struct {
	*app.Devices
	*app.Accounts
	*teller
}

// holdings knows what accounts have.
type holdings struct{ runner *projections.Runner }

func (h holdings) HoldingsOf(ctx context.Context, account string, atLeast position.Position) (app.Holdings, error) {
	has, err := h.runner.HoldingsOf(ctx, account, atLeast)
	return app.Holdings(has), err
}

func (h holdings) OffersOf(ctx context.Context, account string, atLeast position.Position) ([]string, error) {
	return h.runner.OffersOf(ctx, account, atLeast)
}

func (h holdings) Stranded(ctx context.Context, login string, atLeast position.Position) ([]app.Stranded, error) {
	rows, err := h.runner.Stranded(ctx, login, atLeast)
	list := make([]app.Stranded, len(rows))
	for i, row := range rows {
		list[i] = app.Stranded(row)
	}
	return list, err
}

func (h holdings) Unlisted(ctx context.Context, atLeast position.Position) ([]app.Unlisted, error) {
	rows, err := h.runner.Unlisted(ctx, atLeast)
	list := make([]app.Unlisted, len(rows))
	for i, row := range rows {
		list[i] = app.Unlisted(row)
	}
	return list, err
}

// eraser forgets persons in the vault, and in the journal notes that they were, so that a
// copy of the vault that is put back forgets them again.
type eraser struct{ opened *opened }

// LockOut ends what an account logs in with.
func (e eraser) LockOut(ctx context.Context, account string) error {
	if err := e.opened.vault.LockOut(ctx, account); err != nil {
		return err
	}
	e.opened.sessionEnded(ctx)
	return nil
}

func (e eraser) Erase(ctx context.Context, account string, holders []string) error {
	names := []string{account}
	for _, holder := range holders { // the keys of now: the next holder gets another
		keys, err := e.opened.vault.KeysOf(ctx, holder)
		if err != nil {
			return err
		}
		names = append(names, keys...)
	}
	var faults []error
	for _, name := range names {
		if e.opened.erased != nil {
			faults = append(faults, e.opened.erased(name))
		}
		faults = append(faults, e.opened.vault.Forget(ctx, name))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	e.opened.sessionEnded(ctx)
	return nil
}

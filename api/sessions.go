package api

import (
	"context"
	"errors"
	"fmt"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
	"latchkey/internal/hashing"
)

// ChangePassword limits the attempts as for a log-in: a stolen session must not be enough
// to find the password.
func (h handlers) ChangePassword(ctx context.Context, r rest.ChangePasswordRequestObject) (rest.ChangePasswordResponseObject, error) {
	name := "account\x00" + caller(ctx)
	known, err := h.limitLogin(ctx, name)
	if err != nil {
		return nil, err
	}
	expires := h.cfg.Now().Add(h.cfg.SessionTTL)
	done, err := h.cfg.Accounts.ChangePassword(toHash(ctx, known), meta(ctx, r.Params.IdempotencyKey), app.NewPassword{
		Current: r.Body.Current, New: r.Body.New, Session: h.newSession(ctx),
	})
	if errors.Is(err, hashing.ErrBusy) { // nothing was tried
		h.logins.local.Refund(loginFrom(ctx, name), 1, h.cfg.Now())
	}
	if err != nil {
		return nil, err
	}
	h.loggedIn(ctx, name)
	position, err := h.confirm(ctx, done.Position)
	if err != nil {
		return nil, err
	}
	return rest.ChangePassword200JSONResponse{
		Body:    rest.Session{Token: done.Token, Account: caller(ctx), ExpiresAt: utc(expires)},
		Headers: rest.ChangePassword200ResponseHeaders{LatchkeyPosition: position},
	}, nil
}

// CloseAccount bounds the attempts as ChangePassword does.
func (h handlers) CloseAccount(ctx context.Context, r rest.CloseAccountRequestObject) (rest.CloseAccountResponseObject, error) {
	name := "account\x00" + caller(ctx)
	known, err := h.limitLogin(ctx, name)
	if err != nil {
		return nil, err
	}
	done, err := h.cfg.Accounts.Close(toHash(ctx, known), meta(ctx, r.Params.IdempotencyKey), r.Body.Password)
	if errors.Is(err, hashing.ErrBusy) { // nothing was tried
		h.logins.local.Refund(loginFrom(ctx, name), 1, h.cfg.Now())
	}
	return h.done(ctx, done, err)
}

// ListSessions lists the caller's sessions. No address is stored: a session only shows
// whether it was created from the caller's network.
func (h handlers) ListSessions(ctx context.Context, _ rest.ListSessionsRequestObject) (rest.ListSessionsResponseObject, error) {
	rows, err := h.cfg.Sessions.SessionsOf(ctx, caller(ctx), requestOf(ctx).token, requestOf(ctx).network)
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	items := make([]rest.SessionInfo, len(rows))
	for i, row := range rows {
		items[i] = rest.SessionInfo{ID: row.ID, ExpiresAt: utc(row.Expires), SameNetwork: row.SameNetwork, Current: row.Current}
		if !row.Created.IsZero() {
			items[i].CreatedAt = utc(row.Created)
		}
		if !row.Used.IsZero() {
			items[i].UsedAt = utc(row.Used)
		}
	}
	return rest.ListSessions200JSONResponse{Items: items}, nil
}

// EndSession ends one of the caller's sessions.
func (h handlers) EndSession(ctx context.Context, r rest.EndSessionRequestObject) (rest.EndSessionResponseObject, error) {
	ended, err := h.cfg.Sessions.EndSessionOf(ctx, caller(ctx), r.Session)
	if err != nil {
		return nil, fmt.Errorf("ending a session: %w", err)
	}
	if !ended {
		return nil, &problem{status: 404, code: "session_not_found", detail: "There is no such session."}
	}
	return rest.EndSession204Response{}, nil
}

// EndOtherSessions ends the caller's sessions except the current one.
func (h handlers) EndOtherSessions(ctx context.Context, _ rest.EndOtherSessionsRequestObject) (rest.EndOtherSessionsResponseObject, error) {
	if err := h.cfg.Sessions.EndOtherSessions(ctx, caller(ctx), requestOf(ctx).token); err != nil {
		return nil, fmt.Errorf("ending the other sessions: %w", err)
	}
	return rest.EndOtherSessions204Response{}, nil
}

// stillLoggedIn refuses what opens something by itself, a key, a code or an offer of a
// device, and was created by a session which has ended in the meantime, and takes it back. A
// change of password looks for them when no session is left; what comes after that is found here.
func (h handlers) stillLoggedIn(ctx context.Context, takeBack func() error) error {
	_, err := h.cfg.Sessions.Session(ctx, requestOf(ctx).token)
	if !errors.Is(err, ErrNoSession) {
		return err
	}
	if err := takeBack(); err != nil {
		return err
	}
	return unauthenticated("unauthenticated", "The session has ended.")
}

package api

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
	"latchkey/internal/hashing"
)

const (
	// resetWithin bounds what a request for a code does after its answer, and resetsAtOnce
	// how many do it at the same time.
	resetWithin  = 20 * time.Second
	resetsAtOnce = 64
	// resetAfter is how long it waits at least before it begins, and resetSpread how much
	// longer at most: the answer is gone by then, and what is done for a login that has an
	// account does not slow the answer down.
	resetAfter  = 50 * time.Millisecond
	resetSpread = 100 * time.Millisecond
)

// RequestPasswordReset answers before it looks whether the login has an account: neither
// the answer nor its time tells. Only the caller's own network is ever refused: how many
// codes a person is sent is counted for their account, and whoever asks is told nothing.
func (h handlers) RequestPasswordReset(ctx context.Context, r rest.RequestPasswordResetRequestObject) (rest.RequestPasswordResetResponseObject, error) {
	if wait := h.take(ctx, h.codesFrom, requestOf(ctx).network); wait > 0 {
		return nil, rateLimited(wait)
	}
	if wait := h.take(ctx, h.codes, loginFrom(ctx, "reset "+app.LoginName(r.Body.Login))); wait > 0 {
		return rest.RequestPasswordReset202Response{}, nil
	}
	select {
	case h.resets <- struct{}{}:
	default:
		return nil, unavailable("busy", "Too many codes are being sent; try again later.", nil)
	}
	login := r.Body.Login
	go func() {
		defer func() { <-h.resets }()
		select {
		case <-time.After(resetAfter + rand.N(resetSpread)):
		case <-h.stopping: // what was answered is done
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resetWithin)
		defer cancel()
		if err := h.cfg.Accounts.RequestReset(ctx, login); err != nil {
			h.log.LogAttrs(ctx, slog.LevelWarn, "a code for a new password was not sent", slog.Any("error", err))
		}
	}()
	return rest.RequestPasswordReset202Response{}, nil
}

// ConfirmPasswordReset takes the code and the new password. Attempts are counted for the
// caller's network, and for the login from it: those of strangers keep nobody from theirs.
func (h handlers) ConfirmPasswordReset(ctx context.Context, r rest.ConfirmPasswordResetRequestObject) (rest.ConfirmPasswordResetResponseObject, error) {
	name := "reset " + app.LoginName(r.Body.Login)
	if wait := h.take(ctx, h.logins, loginFrom(ctx, name)); wait > 0 {
		return nil, rateLimited(wait)
	}
	known := h.knownNetwork(ctx, app.LoginName(r.Body.Login), requestOf(ctx).network)
	done, err := h.cfg.Accounts.ConfirmReset(toHash(ctx, known), app.Meta{}, app.Reset{Login: r.Body.Login, Code: r.Body.Code, Password: r.Body.NewPassword})
	if errors.Is(err, hashing.ErrBusy) { // nothing was tried
		h.logins.local.Refund(loginFrom(ctx, name), 1, h.cfg.Now())
	}
	return h.done(ctx, done, err)
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/accept"
)

// LoginLinks are links that log in without a password, each once.
type LoginLinks interface {
	// Follow uses a link up; false: there is none with this secret.
	Follow(ctx context.Context, secret string) (LinkSession, bool, error)
}

// LinkSession is the session that a link begins.
type LinkSession struct {
	Token, Account string
	Expires        time.Time
}

// LogInByLink is for callers on this machine, as whoever reads what the demo prints is.
func (h handlers) LogInByLink(ctx context.Context, r rest.LogInByLinkRequestObject) (rest.LogInByLinkResponseObject, error) {
	refused := &problem{status: http.StatusForbidden, code: "login_link_invalid", detail: "This link does not log in, or not any more."}
	if h.cfg.LoginLinks == nil || !requestOf(ctx).address.IsLoopback() {
		return nil, refused
	}
	session, ok, err := h.cfg.LoginLinks.Follow(ctx, r.Body.Secret)
	if err != nil {
		return nil, fmt.Errorf("logging in by a link: %w", err)
	}
	if !ok {
		return nil, refused
	}
	requestOf(ctx).account = session.Account
	accept.HasSession(ctx)
	return rest.LogInByLink201JSONResponse{Token: session.Token, Account: session.Account, ExpiresAt: utc(session.Expires)}, nil
}

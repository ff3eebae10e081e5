package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"latchkey/api/internal/rest"
	"latchkey/internal/accept"
	"latchkey/internal/app"
	"latchkey/internal/hashing"
)

// maxToken is far longer than any token ever issued.
const maxToken = 128

// authenticate finds the account of the request's session, and records it.
func (s *Server) authenticate(r *http.Request) error {
	token, ok := bearer(r.Header.Values("Authorization"))
	if !ok {
		return unauthenticated("unauthenticated", "A session is required.")
	}
	account, err := s.cfg.Sessions.Session(r.Context(), token)
	if errors.Is(err, ErrNoSession) || err == nil && account == "" {
		p := unauthenticated("unauthenticated", "The session does not exist or has ended.")
		p.header.Set("Www-Authenticate", `Bearer realm="latchkey", error="invalid_token"`)
		return p
	}
	if err != nil {
		return fmt.Errorf("authenticating: %w", err)
	}
	req := requestOf(r.Context())
	req.account, req.token = account, token
	accept.HasSession(r.Context())
	return nil
}

// bearer reads the one Authorization header (RFC 6750, 2.1).
func bearer(headers []string) (string, bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken || !visibleASCII(token) {
		return "", false
	}
	return token, true
}

// LogIn does the same work for an unknown login as for a wrong password, and returns the
// same response.
func (h handlers) LogIn(ctx context.Context, r rest.LogInRequestObject) (rest.LogInResponseObject, error) {
	name := app.LoginName(r.Body.Login)
	known, err := h.limitLogin(ctx, name)
	if err != nil {
		return nil, err
	}
	who, err := h.cfg.Accounts.Candidates(ctx, r.Body.Login)
	if err != nil {
		return nil, err
	}
	expires := h.cfg.Now().Add(h.cfg.SessionTTL)
	account, token, right, err := h.cfg.Sessions.LogIn(toHash(ctx, known), who, r.Body.Password, h.newSession(ctx))
	if errors.Is(err, hashing.ErrBusy) { // nothing was tried
		h.logins.local.Refund(loginFrom(ctx, name), 1, h.cfg.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("logging in: %w", err)
	}
	if !right || account == "" {
		return nil, unauthenticated("invalid_credentials", "The login or the password is wrong.")
	}
	if account == who.Account { // an account that has not proven the login says nothing about whoever has it
		h.loggedIn(ctx, name)
	}
	requestOf(ctx).account = account
	accept.HasSession(ctx)
	return rest.LogIn201JSONResponse{Token: token, Account: account, ExpiresAt: utc(expires)}, nil
}

// newSession returns the session to create for the caller.
func (s *Server) newSession(ctx context.Context) app.NewSession {
	return app.NewSession{TTL: s.cfg.SessionTTL, Network: requestOf(ctx).network}
}

// LogOut ends the session that the request carries.
func (h handlers) LogOut(ctx context.Context, _ rest.LogOutRequestObject) (rest.LogOutResponseObject, error) {
	if err := h.cfg.Sessions.EndSession(ctx, requestOf(ctx).token); err != nil {
		return nil, fmt.Errorf("logging out: %w", err)
	}
	return rest.LogOut204Response{}, nil
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"latchkey/api/internal/rest"
)

const (
	// invitationTTL is for how long an invitation to register can be used, and
	// mostInvitations how many of one account may wait to be.
	invitationTTL   = 24 * time.Hour
	mostInvitations = 20
)

// CreateRegistrationInvitation makes an invitation to register.
func (h handlers) CreateRegistrationInvitation(ctx context.Context, _ rest.CreateRegistrationInvitationRequestObject) (rest.CreateRegistrationInvitationResponseObject, error) {
	if h.cfg.Invitations == nil {
		return nil, &problem{status: http.StatusForbidden, code: "registration_closed", detail: "This service takes no registrations."}
	}
	made, token, ok, err := h.cfg.Invitations.NewInvitation(ctx, caller(ctx), invitationTTL, mostInvitations)
	if err != nil {
		return nil, fmt.Errorf("making an invitation: %w", err)
	}
	if !ok {
		return nil, &problem{
			status: http.StatusUnprocessableEntity, code: "too_many_invitations",
			detail: fmt.Sprintf("You have %d invitations that were not used. Revoke one, or wait.", mostInvitations),
		}
	}
	return rest.CreateRegistrationInvitation201JSONResponse{ID: made.ID, Token: token, CreatedAt: utc(made.Created), ExpiresAt: utc(made.Expires)}, nil
}

// ListRegistrationInvitations lists the caller's invitations without their tokens.
func (h handlers) ListRegistrationInvitations(ctx context.Context, _ rest.ListRegistrationInvitationsRequestObject) (rest.ListRegistrationInvitationsResponseObject, error) {
	items := []rest.RegistrationInvitation{}
	if h.cfg.Invitations == nil {
		return rest.ListRegistrationInvitations200JSONResponse{Items: items}, nil
	}
	rows, err := h.cfg.Invitations.Invitations(ctx, caller(ctx))
	if err != nil {
		return nil, fmt.Errorf("listing invitations: %w", err)
	}
	for _, row := range rows {
		items = append(items, rest.RegistrationInvitation{ID: row.ID, CreatedAt: utc(row.Created), ExpiresAt: utc(row.Expires), Used: row.Used})
	}
	return rest.ListRegistrationInvitations200JSONResponse{Items: items}, nil
}

// RevokeRegistrationInvitation ends an invitation of the caller's that was not used.
func (h handlers) RevokeRegistrationInvitation(ctx context.Context, r rest.RevokeRegistrationInvitationRequestObject) (rest.RevokeRegistrationInvitationResponseObject, error) {
	revoked := false
	if h.cfg.Invitations != nil {
		var err error
		if revoked, err = h.cfg.Invitations.RevokeInvitation(ctx, caller(ctx), r.Invitation); err != nil {
			return nil, fmt.Errorf("revoking an invitation: %w", err)
		}
	}
	if !revoked {
		return nil, &problem{status: http.StatusNotFound, code: "invitation_not_found", detail: "There is no such invitation that was not used."}
	}
	return rest.RevokeRegistrationInvitation204Response{}, nil
}

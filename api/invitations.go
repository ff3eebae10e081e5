package api

import (
	"context"
	"log/slog"
	"net/http"

	"latchkey/api/internal/rest"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
)

// ListInvitations lists the devices that wait for the caller's decision, and counts them.
func (h handlers) ListInvitations(ctx context.Context, r rest.ListInvitationsRequestObject) (rest.ListInvitationsResponseObject, error) {
	var count int64
	query := func(ctx context.Context, account string, p projections.Page) (rows []projections.Invitation, next string, err error) {
		rows, count, next, err = h.cfg.Queries.Invitations(ctx, account, r.Params.Dismissed, p)
		return rows, next, err
	}
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), query)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.invitation)
	return rest.ListInvitations200JSONResponse{Count: count, Items: items, Next: next}, err
}

// DismissDevice stops showing an invitation as new.
func (h handlers) DismissDevice(ctx context.Context, r rest.DismissDeviceRequestObject) (rest.DismissDeviceResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.Dismiss(ctx, m, r.Share, r.Device)
	return h.done(ctx, result, err)
}

// DecideInvitations accepts or rejects several invitations, each of which may fail.
func (h handlers) DecideInvitations(ctx context.Context, r rest.DecideInvitationsRequestObject) (rest.DecideInvitationsResponseObject, error) {
	decisions := make([]app.Decision, len(r.Body.Decisions))
	for i, d := range r.Body.Decisions {
		decisions[i] = app.Decision{Share: d.Share, Device: d.Device, Accept: d.Decision == rest.Accept}
	}
	results, err := h.cfg.Shares.DecideAll(ctx, meta(ctx, r.Params.IdempotencyKey), decisions)
	if err != nil {
		return nil, err
	}
	var last position.Position
	out := make([]rest.DecisionResult, len(results))
	for i, result := range results {
		last = max(last, result.Position)
		out[i] = h.decisionResult(ctx, r.Body.Decisions[i], result.Err)
	}
	position, err := h.confirm(ctx, last)
	return rest.DecideInvitations200JSONResponse{
		Body:    rest.DecisionResults{Decisions: out},
		Headers: rest.DecideInvitations200ResponseHeaders{LatchkeyPosition: position},
	}, err
}

func (h handlers) decisionResult(ctx context.Context, d rest.Decision, err error) rest.DecisionResult {
	out := rest.DecisionResult{Share: d.Share, Device: d.Device, Status: http.StatusOK}
	if err == nil {
		return out
	}
	p := translate(err, h.cfg.Away)
	if p.status >= http.StatusInternalServerError {
		h.log.LogAttrs(ctx, slog.LevelWarn, "deciding one of several invitations failed",
			slog.String("request", requestID(ctx)), slog.String("decision", p.code), slog.Any("error", err))
	}
	out.Status, out.Code, out.Detail = p.status, p.code, p.detail
	return out
}

func (h handlers) invitation(ctx context.Context, v projections.Invitation) (rest.Invitation, error) {
	from, err := h.person(ctx, v.From)
	if err != nil {
		return rest.Invitation{}, err
	}
	text := h.reading(ctx)
	out := rest.Invitation{
		Share: v.Share, From: from, InvitedAt: v.InvitedAt.Time(), Channels: h.channelGrants(ctx, v.Grants),
		Terms: privilege.Terms(v.Terms), ShareTerms: privilege.Terms(v.OfShare),
		Device: rest.InvitedDevice{ID: v.Device, Model: v.Model, Name: text.text(event.FieldDevice, v.Name)},
	}
	out.Device.Unreadable = text.unreadable
	return out, text.err
}

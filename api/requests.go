package api

import (
	"context"

	"latchkey/api/internal/rest"
	"latchkey/domain/event"
	"latchkey/projections"
)

// RequestAccess asks the owner of a device for access to it. The answer has no position:
// it would tell whether something was written.
func (h handlers) RequestAccess(ctx context.Context, r rest.RequestAccessRequestObject) (rest.RequestAccessResponseObject, error) {
	if wait := h.take(ctx, h.asking, requestOf(ctx).network); wait > 0 {
		return nil, rateLimited(wait)
	}
	result, err := h.cfg.Devices.RequestAccess(ctx, meta(ctx, r.Params.IdempotencyKey), r.Body.Serial, r.Body.Message)
	if err != nil {
		return nil, err
	}
	_, err = h.confirm(ctx, result.Position)
	return rest.RequestAccess202Response{}, err
}

// ListAccessRequests lists the requests for access to the caller's devices.
func (h handlers) ListAccessRequests(ctx context.Context, r rest.ListAccessRequestsRequestObject) (rest.ListAccessRequestsResponseObject, error) {
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.AccessRequests)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.accessRequest)
	return rest.ListAccessRequests200JSONResponse{Items: items, Next: next}, err
}

// DismissAccessRequest stops showing a request for access to a device of the caller's.
func (h handlers) DismissAccessRequest(ctx context.Context, r rest.DismissAccessRequestRequestObject) (rest.DismissAccessRequestResponseObject, error) {
	result, err := h.cfg.Devices.DismissRequest(ctx, meta(ctx, r.Params.IdempotencyKey), r.AccessRequest)
	return h.done(ctx, result, err)
}

func (h handlers) accessRequest(ctx context.Context, v projections.AccessRequest) (rest.AccessRequest, error) {
	from, err := h.person(ctx, v.From)
	if err != nil {
		return rest.AccessRequest{}, err
	}
	message, name := h.reading(ctx), h.reading(ctx)
	out := rest.AccessRequest{
		ID: v.ID(), From: from, RequestedAt: v.AskedAt.Time(), Message: message.text(event.FieldMessage, v.Message),
		Device: rest.RequestedDevice{ID: v.Device, Model: v.Model, Name: name.text(event.FieldDevice, v.Name)},
	}
	out.Unreadable, out.Device.Unreadable = message.unreadable, name.unreadable
	if message.err != nil {
		return rest.AccessRequest{}, message.err
	}
	return out, name.err
}

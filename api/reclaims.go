package api

import (
	"context"

	"latchkey/api/internal/rest"
	"latchkey/domain/event"
	"latchkey/domain/reclaim"
	"latchkey/internal/app"
	"latchkey/projections"
)

// StartReclaim claims a device of another account for the caller, who has it. Requests of
// one network are limited as those for access are.
func (h handlers) StartReclaim(ctx context.Context, r rest.StartReclaimRequestObject) (rest.StartReclaimResponseObject, error) {
	if wait := h.take(ctx, h.asking, requestOf(ctx).network); wait > 0 {
		return nil, rateLimited(wait)
	}
	done, err := h.cfg.Devices.StartReclaim(ctx, meta(ctx, r.Params.IdempotencyKey), newDevice(r.Body))
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, done.Position)
	if err != nil {
		return nil, err
	}
	return rest.StartReclaim201JSONResponse{Body: h.claim(done), Headers: rest.StartReclaim201ResponseHeaders{LatchkeyPosition: position}}, nil
}

func (h handlers) claim(done app.Reclaimed) rest.Reclaim {
	c := done.Claim
	return h.claimed(projections.Reclaim{
		Device: c.Device, Account: c.Account, Serial: c.Serial, ClaimedAt: projections.MicrosOf(c.At), ReadyAt: projections.MicrosOf(c.Ready), Ended: string(c.Ended),
	})
}

// WithdrawReclaim ends a claim of the caller's.
func (h handlers) WithdrawReclaim(ctx context.Context, r rest.WithdrawReclaimRequestObject) (rest.WithdrawReclaimResponseObject, error) {
	result, err := h.cfg.Devices.EndReclaim(ctx, meta(ctx, r.Params.IdempotencyKey), r.Reclaim, false)
	return h.done(ctx, result, err)
}

// ObjectToReclaim ends a claim to a device of the caller's.
func (h handlers) ObjectToReclaim(ctx context.Context, r rest.ObjectToReclaimRequestObject) (rest.ObjectToReclaimResponseObject, error) {
	result, err := h.cfg.Devices.EndReclaim(ctx, meta(ctx, r.Params.IdempotencyKey), r.Reclaim, true)
	return h.done(ctx, result, err)
}

// CompleteReclaim takes over a device that the caller has claimed.
func (h handlers) CompleteReclaim(ctx context.Context, r rest.CompleteReclaimRequestObject) (rest.CompleteReclaimResponseObject, error) {
	result, err := h.cfg.Devices.CompleteReclaim(ctx, meta(ctx, r.Params.IdempotencyKey), r.Reclaim, newDevice(r.Body))
	changed, err := h.deviceChanged(ctx, result, err)
	changed.Body.Warnings = append(changed.Body.Warnings, changePassword())
	return rest.CompleteReclaim200JSONResponse{DeviceChangedJSONResponse: changed}, err
}

// ListReclaims lists the claims to the caller's devices, and the caller's own.
func (h handlers) ListReclaims(ctx context.Context, r rest.ListReclaimsRequestObject) (rest.ListReclaimsResponseObject, error) {
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.Reclaims)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.reclaim)
	return rest.ListReclaims200JSONResponse{Items: items, Next: next}, err
}

// reclaim is a claim as the caller may see it: whoever claims a device learns nothing of
// its owner, not even what the device is called.
func (h handlers) reclaim(ctx context.Context, v projections.Reclaim) (rest.Reclaim, error) {
	out := h.claimed(v)
	if v.Owner != caller(ctx) {
		return out, nil
	}
	name := h.reading(ctx)
	out.Direction = "received"
	out.Device = rest.RequestedDevice{ID: v.Device, Model: v.Model, Name: name.text(event.FieldDevice, v.Name)}
	out.Device.Unreadable = name.unreadable
	if name.err != nil {
		return rest.Reclaim{}, name.err
	}
	from, err := h.person(ctx, v.From)
	out.From = from
	return out, err
}

// claimed is what a claimant sees of their claim.
func (h handlers) claimed(v projections.Reclaim) rest.Reclaim {
	now, ready := h.cfg.Now(), v.ReadyAt.Time()
	lapses := reclaim.State{Ready: ready}.Lapses()
	out := rest.Reclaim{ID: v.ID(), Direction: "given", Serial: v.Serial, ClaimedAt: v.ClaimedAt.Time(), ReadyAt: ready, ExpiresAt: lapses}
	if v.EndedAt != 0 {
		out.EndedAt = v.EndedAt.Time()
	}
	switch {
	case v.Ended != "":
		out.Status = v.Ended
	case v.Gone:
		out.Status = "ended"
	case !now.Before(lapses):
		out.Status = "expired"
	case !now.Before(ready):
		out.Status = "ready"
	default:
		out.Status = "waiting"
	}
	return out
}

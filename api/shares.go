package api

import (
	"context"
	"errors"
	"net/http"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
)

// CreateShare shares devices with somebody: in a new share, or as more devices in the
// existing one.
func (h handlers) CreateShare(ctx context.Context, r rest.CreateShareRequestObject) (rest.CreateShareResponseObject, error) {
	if err := h.limitFrom(ctx, h.inviting); err != nil {
		return nil, err
	}
	if err := h.checkRecipient(ctx, r.Body.Recipient); err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.Save(ctx, meta(ctx, r.Params.IdempotencyKey), app.NewShare{
		Email: r.Body.Recipient.Email, Phone: r.Body.Recipient.Phone, Code: r.Body.Recipient.Code, Remark: r.Body.Remark, Terms: r.Body.Terms, Devices: deviceGrants(r.Body.Devices),
	})
	changed, err := h.changed(ctx, result.ShareChanged, err)
	if err != nil {
		return nil, err
	}
	location := "/api/v1/shares/" + changed.Body.ID
	if !result.Created {
		return rest.CreateShare200JSONResponse{ShareExtendedJSONResponse: rest.ShareExtendedJSONResponse{
			Body: changed.Body,
			Headers: rest.ShareExtendedResponseHeaders{
				ETag: changed.Headers.ETag, LatchkeyPosition: changed.Headers.LatchkeyPosition, Location: location,
			},
		}}, nil
	}
	return rest.CreateShare201JSONResponse{
		Body: changed.Body,
		Headers: rest.CreateShare201ResponseHeaders{
			ETag: changed.Headers.ETag, LatchkeyPosition: changed.Headers.LatchkeyPosition, Location: location,
		},
	}, nil
}

// ListSentShares lists what the caller shares with others.
func (h handlers) ListSentShares(ctx context.Context, r rest.ListSentSharesRequestObject) (rest.ListSentSharesResponseObject, error) {
	return h.sharePage(ctx, "sent", r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.SentShares)
}

// ListReceivedShares lists what others share with the caller.
func (h handlers) ListReceivedShares(ctx context.Context, r rest.ListReceivedSharesRequestObject) (rest.ListReceivedSharesResponseObject, error) {
	return h.sharePage(ctx, "received", r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.ReceivedShares)
}

// GetShare returns a share for its owner or its recipient.
func (h handlers) GetShare(ctx context.Context, r rest.GetShareRequestObject) (rest.GetShareResponseObject, error) {
	var row projections.Share
	var found bool
	err := h.read(ctx, r.Params.LatchkeyMinPosition, func(atLeast position.Position) (err error) {
		row, found, err = h.cfg.Queries.Share(ctx, caller(ctx), r.Share, atLeast)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &problem{status: http.StatusNotFound, code: "share_not_found", detail: "There is no such share."}
	}
	body, err := h.share(ctx, row)
	if err != nil {
		return nil, err
	}
	tag, err := etag(row.Revision, body)
	if err != nil {
		return nil, err
	}
	same, err := noneMatch(r.Params.IfNoneMatch, tag)
	if err != nil {
		return nil, err
	}
	if same {
		return rest.GetShare304Response{Headers: rest.GetShare304ResponseHeaders{ETag: tag}}, nil
	}
	return rest.GetShare200JSONResponse{Body: body, Headers: rest.GetShare200ResponseHeaders{ETag: tag}}, nil
}

// ReplaceShare saves the remark and the whole device list.
func (h handlers) ReplaceShare(ctx context.Context, r rest.ReplaceShareRequestObject) (rest.ReplaceShareResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	remark := r.Body.Remark
	if r.Body.Unreadable && remark == "" {
		remark = app.KeepRemark
	}
	result, err := h.cfg.Shares.Replace(ctx, m, r.Share, remark, r.Body.Terms, deviceGrants(r.Body.Devices))
	changed, err := h.changed(ctx, result, err)
	return rest.ReplaceShare200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// DeleteShare deletes a share of the caller's, or leaves one that was granted to the
// caller.
func (h handlers) DeleteShare(ctx context.Context, r rest.DeleteShareRequestObject) (rest.DeleteShareResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.Delete(ctx, m, r.Share)
	return h.done(ctx, result, err)
}

// PutShareDevice offers one device or changes its grants.
func (h handlers) PutShareDevice(ctx context.Context, r rest.PutShareDeviceRequestObject) (rest.PutShareDeviceResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if r.Body.Device != "" && device.Canonical(r.Body.Device) != device.Canonical(r.Device) {
		return nil, brokenRules(map[string]string{"/device": "is not the device of the path"})
	}
	result, err := h.cfg.Shares.PutDevice(ctx, m, r.Share, app.DeviceGrants{Device: r.Device, Grants: grants(r.Body.Channels), Terms: r.Body.Terms})
	changed, err := h.changed(ctx, result, err)
	return rest.PutShareDevice200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// RemoveShareDevice removes one device, or gives it up.
func (h handlers) RemoveShareDevice(ctx context.Context, r rest.RemoveShareDeviceRequestObject) (rest.RemoveShareDeviceResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.RemoveDevice(ctx, m, r.Share, r.Device)
	return h.done(ctx, result, err)
}

// PauseShare puts what a share of the caller's gives out of force.
func (h handlers) PauseShare(ctx context.Context, r rest.PauseShareRequestObject) (rest.PauseShareResponseObject, error) {
	changed, err := h.pause(ctx, r.Params.IdempotencyKey, r.Params.IfMatch, r.Share, app.WholeShare, h.cfg.Shares.Pause)
	return rest.PauseShare200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// ResumeShare puts what a share of the caller's gives in force again.
func (h handlers) ResumeShare(ctx context.Context, r rest.ResumeShareRequestObject) (rest.ResumeShareResponseObject, error) {
	changed, err := h.pause(ctx, r.Params.IdempotencyKey, r.Params.IfMatch, r.Share, app.WholeShare, h.cfg.Shares.Resume)
	return rest.ResumeShare200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// PauseShareDevice puts what is given on one device out of force.
func (h handlers) PauseShareDevice(ctx context.Context, r rest.PauseShareDeviceRequestObject) (rest.PauseShareDeviceResponseObject, error) {
	changed, err := h.pause(ctx, r.Params.IdempotencyKey, r.Params.IfMatch, r.Share, r.Device, h.cfg.Shares.Pause)
	return rest.PauseShareDevice200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// ResumeShareDevice puts what is given on one device in force again.
func (h handlers) ResumeShareDevice(ctx context.Context, r rest.ResumeShareDeviceRequestObject) (rest.ResumeShareDeviceResponseObject, error) {
	changed, err := h.pause(ctx, r.Params.IdempotencyKey, r.Params.IfMatch, r.Share, r.Device, h.cfg.Shares.Resume)
	return rest.ResumeShareDevice200JSONResponse{ShareChangedJSONResponse: changed}, err
}

func (h handlers) pause(
	ctx context.Context, key, match, share, device string, do func(ctx context.Context, m app.Meta, share, device string) (app.ShareChanged, error),
) (rest.ShareChangedJSONResponse, error) {
	m, err := metaIf(ctx, key, match)
	if err != nil {
		return rest.ShareChangedJSONResponse{}, err
	}
	result, err := do(ctx, m, share, device)
	return h.changed(ctx, result, err)
}

// AcceptDevice accepts an invitation.
func (h handlers) AcceptDevice(ctx context.Context, r rest.AcceptDeviceRequestObject) (rest.AcceptDeviceResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.Accept(ctx, m, r.Share, r.Device)
	changed, err := h.changed(ctx, result, err)
	return rest.AcceptDevice200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// RejectDevice rejects an invitation or returns an accepted device.
func (h handlers) RejectDevice(ctx context.Context, r rest.RejectDeviceRequestObject) (rest.RejectDeviceResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.Reject(ctx, m, r.Share, r.Device)
	changed, err := h.changed(ctx, result, err)
	return rest.RejectDevice200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// SetDeviceDomain sets the caller's own name of an accepted device.
func (h handlers) SetDeviceDomain(ctx context.Context, r rest.SetDeviceDomainRequestObject) (rest.SetDeviceDomainResponseObject, error) {
	m, err := metaIf(ctx, r.Params.IdempotencyKey, r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	result, err := h.cfg.Shares.SetDomain(ctx, m, r.Share, r.Device, r.Body.Domain)
	changed, err := h.changed(ctx, result, err)
	return rest.SetDeviceDomain200JSONResponse{ShareChangedJSONResponse: changed}, err
}

// changed confirms a command on a share and returns the share as the command left it, not
// as a read model has it.
func (h handlers) changed(ctx context.Context, r app.ShareChanged, err error) (rest.ShareChangedJSONResponse, error) {
	if err != nil {
		return rest.ShareChangedJSONResponse{}, h.lost(ctx, err)
	}
	position, err := h.confirm(ctx, r.Position)
	if err != nil {
		return rest.ShareChangedJSONResponse{}, err
	}
	body, tag, err := h.left(ctx, r)
	return rest.ShareChangedJSONResponse{
		Body:    body,
		Headers: rest.ShareChangedResponseHeaders{ETag: tag, LatchkeyPosition: position},
	}, err
}

// left renders a share as a command left it, with its entity tag.
func (h handlers) left(ctx context.Context, r app.ShareChanged) (body rest.Share, tag string, err error) {
	view := shareOf(r)
	if view.Owner != caller(ctx) {
		if view.From, err = h.cfg.Queries.Person(ctx, view.Owner, 0); err != nil {
			return rest.Share{}, "", err
		}
	}
	if body, err = h.share(ctx, view); err != nil {
		return rest.Share{}, "", err
	}
	if !r.Share.Live {
		body.Status = rest.Deleted
	}
	tag, err = etag(r.Revision, body)
	return body, tag, err
}

// lost adds the share as it is to the refusal of a command whose If-Match did not match.
func (h handlers) lost(ctx context.Context, err error) error {
	e, ok := errors.AsType[*app.Error](err)
	if !ok || e.Current == nil {
		return err
	}
	body, tag, failed := h.left(ctx, *e.Current)
	if failed != nil {
		return failed
	}
	p := refusalOf(e, h.cfg.Away)
	p.current, p.etag = &body, tag
	p.header = http.Header{"Etag": {tag}}
	return p
}

func deviceGrants(list []rest.ShareDeviceGrants) []app.DeviceGrants {
	out := make([]app.DeviceGrants, len(list))
	for i, d := range list {
		out[i] = app.DeviceGrants{Device: d.Device, Grants: grants(d.Channels), Terms: d.Terms}
	}
	return out
}

func grants(list []rest.Grant) []share.Grant {
	out := make([]share.Grant, len(list))
	for i, g := range list {
		out[i] = share.Grant{Channel: g.Channel, Privileges: g.Privileges}
		if g.Limits == nil {
			continue
		}
		out[i].Limits = make([]privilege.Limit, len(g.Limits))
		for j, l := range g.Limits {
			out[i].Limits[j] = privilege.Limit{Privileges: l.Privileges, Validity: privilege.Validity{From: l.From, Until: l.Until, Hours: l.Hours}}
		}
	}
	return out
}

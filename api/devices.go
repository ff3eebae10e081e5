package api

import (
	"context"
	"net/http"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
)

// ListDevices lists the caller's own devices.
func (h handlers) ListDevices(ctx context.Context, r rest.ListDevicesRequestObject) (rest.ListDevicesResponseObject, error) {
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.Devices)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.device)
	return rest.ListDevices200JSONResponse{Items: items, Next: next}, err
}

// GetDevice returns one of the caller's own devices.
func (h handlers) GetDevice(ctx context.Context, r rest.GetDeviceRequestObject) (rest.GetDeviceResponseObject, error) {
	var row projections.Device
	var found bool
	err := h.read(ctx, r.Params.LatchkeyMinPosition, func(atLeast position.Position) (err error) {
		row, found, err = h.cfg.Queries.Device(ctx, caller(ctx), device.Canonical(r.Device), atLeast)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &problem{status: http.StatusNotFound, code: "device_not_found", detail: "There is no such device of yours."}
	}
	device, err := h.device(ctx, row)
	return rest.GetDevice200JSONResponse(device), err
}

// AddDevice adds a device to the caller's account. The response has nothing of the
// device's address or credentials.
func (h handlers) AddDevice(ctx context.Context, r rest.AddDeviceRequestObject) (rest.AddDeviceResponseObject, error) {
	result, err := h.cfg.Devices.Add(ctx, meta(ctx, r.Params.IdempotencyKey), newDevice(r.Body))
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, result.Position)
	if err != nil {
		return nil, err
	}
	device, err := h.device(ctx, deviceOf(result.Device))
	if result.Unproven {
		device.Warnings = unproven()
	}
	return rest.AddDevice201JSONResponse{
		Body:    device,
		Headers: rest.AddDevice201ResponseHeaders{LatchkeyPosition: position, Location: "/api/v1/devices/" + device.ID},
	}, err
}

// RemoveDevice takes a device out of the caller's account and of every share.
func (h handlers) RemoveDevice(ctx context.Context, r rest.RemoveDeviceRequestObject) (rest.RemoveDeviceResponseObject, error) {
	result, err := h.cfg.Devices.Remove(ctx, meta(ctx, r.Params.IdempotencyKey), r.Device)
	return h.done(ctx, result, err)
}

// RenameDevice gives a device of the caller's, or its channels, other names.
func (h handlers) RenameDevice(ctx context.Context, r rest.RenameDeviceRequestObject) (rest.RenameDeviceResponseObject, error) {
	names := app.DeviceNames{Name: r.Body.Name}
	for _, c := range r.Body.Channels {
		names.Channels = append(names.Channels, app.ChannelName{Channel: c.Channel, Name: c.Name})
	}
	result, err := h.cfg.Devices.Rename(ctx, meta(ctx, r.Params.IdempotencyKey), r.Device, names)
	changed, err := h.deviceChanged(ctx, result, err)
	return rest.RenameDevice200JSONResponse{DeviceChangedJSONResponse: changed}, err
}

// RefreshDevice asks a device of the caller's what it is.
func (h handlers) RefreshDevice(ctx context.Context, r rest.RefreshDeviceRequestObject) (rest.RefreshDeviceResponseObject, error) {
	result, err := h.cfg.Devices.Refresh(ctx, meta(ctx, r.Params.IdempotencyKey), r.Device)
	changed, err := h.deviceChanged(ctx, result, err)
	return rest.RefreshDevice200JSONResponse{DeviceChangedJSONResponse: changed}, err
}

// SetDeviceCredentials sets how a device of the caller's is reached.
func (h handlers) SetDeviceCredentials(ctx context.Context, r rest.SetDeviceCredentialsRequestObject) (rest.SetDeviceCredentialsResponseObject, error) {
	b := r.Body
	n := app.NewCredentials{Username: b.Username, Password: b.Password, RTSPURL: b.RtspURL, ISAPIURL: b.IsapiURL, ONVIFURL: b.OnvifURL, Certificate: b.CertificateSha256}
	for _, c := range b.Channels {
		n.Channels = append(n.Channels, app.ChannelAddress{Channel: c.Channel, MainURL: c.RtspURL, SubURL: c.SubRtspURL})
	}
	result, err := h.cfg.Devices.SetCredentials(ctx, meta(ctx, r.Params.IdempotencyKey), r.Device, n)
	changed, err := h.deviceChanged(ctx, result, err)
	return rest.SetDeviceCredentials200JSONResponse{DeviceChangedJSONResponse: changed}, err
}

func (h handlers) deviceChanged(ctx context.Context, r app.DeviceChanged, err error) (rest.DeviceChangedJSONResponse, error) {
	if err != nil {
		return rest.DeviceChangedJSONResponse{}, err
	}
	position, err := h.confirm(ctx, r.Position)
	if err != nil {
		return rest.DeviceChangedJSONResponse{}, err
	}
	device, err := h.device(ctx, deviceOf(r.Device))
	if r.Unproven {
		device.Warnings = unproven()
	}
	return rest.DeviceChangedJSONResponse{Body: device, Headers: rest.DeviceChangedResponseHeaders{LatchkeyPosition: position}}, err
}

// notProven is the code of a warning: the device was added without connecting to it.
const notProven = "device_not_proven"

func unproven() []rest.Warning {
	code := notProven
	return []rest.Warning{{Code: code, Detail: "Nobody has seen whether the device is there and lets us in."}}
}

func newDevice(b *rest.NewDevice) app.NewDevice {
	d := app.NewDevice{
		Name: b.Name, Serial: b.Serial, Username: b.Username, Password: b.Password,
		RTSPURL: b.RtspURL, ISAPIURL: b.IsapiURL, ONVIFURL: b.OnvifURL, Certificate: b.CertificateSha256, Published: b.Published,
	}
	for _, c := range b.Channels {
		channel := app.NewChannel{
			Channel: c.Channel, Name: c.Name, MainURL: c.RtspURL, SubURL: c.SubRtspURL,
			CapabilitiesUnknown: c.Capabilities == nil,
		}
		if c.Capabilities != nil {
			channel.Capabilities = *c.Capabilities
		}
		d.Channels = append(d.Channels, channel)
	}
	return d
}

package api

import (
	"context"
	"net/http"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/internal/app"
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
	err := h.read(ctx, r.Params.LatchkeyMinPosition, func(atLeast uint64) (err error) {
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
		device.Warnings = warnings(notProven, "Nobody has seen whether the device is there and lets us in.")
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

// notProven is the code of a warning: the device was added without connecting to it.
const notProven = "device_not_proven"

func warnings(code, detail string) []rest.Warning {
	return []rest.Warning{{Code: code, Detail: detail}}
}

func newDevice(b *rest.NewDevice) app.NewDevice {
	d := app.NewDevice{
		Name: b.Name, Serial: b.Serial, Username: b.Username, Password: b.Password,
		RTSPURL: b.RtspURL, ISAPIURL: b.IsapiURL, ONVIFURL: b.OnvifURL,
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

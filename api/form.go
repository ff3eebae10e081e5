package api

import (
	"context"
	"net/http"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/internal/preset"
	"latchkey/projections"
)

// ListPresets lists the presets of the form.
func (h handlers) ListPresets(_ context.Context, r rest.ListPresetsRequestObject) (rest.ListPresetsResponseObject, error) {
	items, language, err := presets(r.Params.AcceptLanguage)
	return rest.ListPresets200JSONResponse{
		Body:    rest.PresetList{Items: items},
		Headers: rest.ListPresets200ResponseHeaders{ContentLanguage: language},
	}, err
}

func presets(accept string) (items []rest.Preset, language string, err error) {
	list, language, err := preset.In(accept)
	items = make([]rest.Preset, len(list))
	for i, p := range list {
		items[i] = rest.Preset{ID: p.ID, Name: p.Name, Description: p.Description, Privileges: p.Privileges, Seconds: int64(p.For / time.Second)}
	}
	return items, language, err
}

// GetShareForm returns what the form needs: the presets, and what each channel of the
// caller's devices can be shared with.
func (h handlers) GetShareForm(ctx context.Context, r rest.GetShareFormRequestObject) (rest.GetShareFormResponseObject, error) {
	items, language, err := presets(r.Params.AcceptLanguage)
	if err != nil {
		return nil, err
	}
	query := h.cfg.Queries.Devices
	if r.Params.Device != "" {
		query = h.oneDevice(device.Canonical(r.Params.Device))
	}
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), query)
	if err != nil {
		return nil, err
	}
	devices, err := each(ctx, rows, h.offeredDevice)
	return rest.GetShareForm200JSONResponse{
		Body:    rest.ShareForm{Presets: items, Items: devices, Next: next},
		Headers: rest.GetShareForm200ResponseHeaders{ContentLanguage: language},
	}, err
}

// oneDevice is the list of the caller's devices with that device alone.
func (h handlers) oneDevice(id string) func(context.Context, string, projections.Page) ([]projections.Device, string, error) {
	return func(ctx context.Context, account string, p projections.Page) ([]projections.Device, string, error) {
		row, found, err := h.cfg.Queries.Device(ctx, account, id, p.AtLeast)
		if err == nil && !found {
			err = &problem{status: http.StatusNotFound, code: "device_not_found", detail: "There is no such device of yours."}
		}
		return []projections.Device{row}, "", err
	}
}

func (h handlers) offeredDevice(ctx context.Context, v projections.Device) (rest.OfferedDevice, error) {
	text := h.reading(ctx)
	out := rest.OfferedDevice{
		Device: v.ID, Name: text.text(event.FieldDevice, v.Name), Model: v.Model,
		NeedsFirmware: h.cfg.Firmware.Needed(device.Facts{Model: v.Model, Firmware: v.Firmware}),
	}
	out.Unreadable = text.unreadable
	if text.err != nil {
		return rest.OfferedDevice{}, text.err
	}
	var err error
	out.Channels, err = each(ctx, v.Channels, h.offeredChannel)
	return out, err
}

func (h handlers) offeredChannel(ctx context.Context, c device.Channel) (rest.OfferedChannel, error) {
	text := h.reading(ctx)
	out := rest.OfferedChannel{
		Channel: c.Channel, Name: text.text(event.FieldChannel, c.Name),
		Privileges: c.Capabilities, Defaults: c.Capabilities & preset.Default,
	}
	out.Unreadable = text.unreadable
	return out, text.err
}

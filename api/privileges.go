package api

import (
	"context"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/internal/position"
	"latchkey/projections"
)

// ListPrivileges lists the caller's privileges on devices.
func (h handlers) ListPrivileges(ctx context.Context, r rest.ListPrivilegesRequestObject) (rest.ListPrivilegesResponseObject, error) {
	if r.Params.Device != "" {
		return h.privilegesOn(ctx, r.Params.Device, r.Params.Role, r.Params.LatchkeyMinPosition)
	}
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor),
		func(ctx context.Context, account string, p projections.Page) ([]projections.DevicePrivileges, string, error) {
			return h.cfg.Queries.Privileges(ctx, account, projections.Role(r.Params.Role), p)
		})
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.privileges)
	return rest.ListPrivileges200JSONResponse{Items: items, Next: next}, err
}

// privilegesOn is the list of one device, if the caller may see it and has the role.
func (h handlers) privilegesOn(ctx context.Context, name string, role rest.ListPrivilegesParamsRole, minimum string) (rest.ListPrivilegesResponseObject, error) {
	if err := h.indexAt(ctx, minimum); err != nil {
		return nil, err
	}
	out := rest.ListPrivileges200JSONResponse{Items: []rest.DevicePrivileges{}}
	id, ok := h.cfg.Access.Resolve(ids.Account(caller(ctx)), device.Canonical(name))
	if !ok {
		return out, nil
	}
	var row projections.DevicePrivileges
	found := false
	err := h.read(ctx, minimum, func(atLeast position.Position) (err error) {
		row, found, err = h.cfg.Queries.PrivilegesOn(ctx, caller(ctx), string(id), atLeast)
		return err
	})
	if err != nil || !found {
		return out, err
	}
	item, err := h.privileges(ctx, row)
	if err == nil && (role == "" || string(role) == string(item.Role)) {
		out.Items = append(out.Items, item)
	}
	return out, err
}

package api

import (
	"context"

	"latchkey/api/internal/rest"
)

// ListPrivileges lists the caller's privileges on devices.
func (h handlers) ListPrivileges(ctx context.Context, r rest.ListPrivilegesRequestObject) (rest.ListPrivilegesResponseObject, error) {
	rows, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor), h.cfg.Queries.Privileges)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.privileges)
	return rest.ListPrivileges200JSONResponse{Items: items, Next: next}, err
}

package api

import (
	"context"

	"latchkey/api/internal/rest"
)

// ListPrivileges lists what the caller may do, on what.
func (h handlers) ListPrivileges(ctx context.Context, r rest.ListPrivilegesRequestObject) (rest.ListPrivilegesResponseObject, error) {
	if err := h.catchUp(ctx, r.Params.LatchkeyMinPosition, privilegeList); err != nil {
		return nil, err
	}
	rows, next, err := h.cfg.Queries.Privileges(ctx, caller(ctx), page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, h.privileges)
	return rest.ListPrivileges200JSONResponse{Items: items, Next: next}, err
}

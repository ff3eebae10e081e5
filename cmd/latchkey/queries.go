package main

import (
	"context"
	"errors"
	"fmt"

	"latchkey/api"
	"latchkey/projections"
)

// queries gives the API the rows of the read models.
type queries struct{ store *projections.Store }

// reads lets the API's queries see what they must see.
type reads struct{ *projections.Runner }

func (r reads) Read(ctx context.Context, atLeast uint64, query func(atLeast uint64) error) error {
	err := r.Runner.Read(ctx, atLeast, query)
	if errors.Is(err, projections.ErrBehind) {
		err = fmt.Errorf("%w: %w", api.ErrBehind, err)
	}
	return err
}

// listOf turns a page of rows into views.
func listOf[Row, View any](rows []Row, next string, err error, view func(Row) View) ([]View, string, error) {
	if errors.Is(err, projections.ErrCursor) {
		return nil, "", fmt.Errorf("%w: %w", api.ErrCursor, err)
	}
	if err != nil {
		return nil, "", err
	}
	views := make([]View, len(rows))
	for i, row := range rows {
		views[i] = view(row)
	}
	return views, next, nil
}

func (q queries) SentShares(ctx context.Context, account string, p api.Page) ([]api.ShareView, string, error) {
	rows, next, err := q.store.SentShares(ctx, account, projections.Page(p))
	return listOf(rows, next, err, shareView)
}

func (q queries) ReceivedShares(ctx context.Context, account string, p api.Page) ([]api.ShareView, string, error) {
	rows, next, err := q.store.ReceivedShares(ctx, account, projections.Page(p))
	return listOf(rows, next, err, shareView)
}

func (q queries) History(ctx context.Context, account string, p api.Page) ([]api.HistoryView, string, error) {
	rows, next, err := q.store.History(ctx, account, projections.Page(p))
	return listOf(rows, next, err, historyView)
}

func (q queries) Share(ctx context.Context, account, id string, atLeast uint64) (api.ShareView, bool, error) {
	row, found, err := q.store.Share(ctx, account, id, atLeast)
	return shareView(row), found, err
}

func (q queries) Person(ctx context.Context, account string, atLeast uint64) (api.PersonView, error) {
	p, err := q.store.Person(ctx, account, atLeast)
	return api.PersonView(p), err
}

func (q queries) Devices(ctx context.Context, account string, p api.Page) ([]api.DeviceView, string, error) {
	rows, next, err := q.store.Devices(ctx, account, projections.Page(p))
	return listOf(rows, next, err, deviceView)
}

func (q queries) Device(ctx context.Context, account, device string, atLeast uint64) (api.DeviceView, bool, error) {
	row, found, err := q.store.Device(ctx, account, device, atLeast)
	return deviceView(row), found, err
}

func (q queries) StreamKeys(ctx context.Context, account string, p api.Page) ([]api.KeyView, string, error) {
	rows, next, err := q.store.StreamKeys(ctx, account, projections.Page(p))
	return listOf(rows, next, err, keyView)
}

func (q queries) Privileges(ctx context.Context, account string, p api.Page) ([]api.PrivilegeView, string, error) {
	rows, next, err := q.store.Privileges(ctx, account, projections.Page(p))
	return listOf(rows, next, err, privilegeView)
}

func shareView(r projections.Share) api.ShareView {
	v := api.ShareView{ID: r.ID, Owner: r.Owner, Kind: r.Kind, Recipient: r.Recipient, Remark: r.Remark, From: api.PersonView(r.From), Revision: r.Revision}
	for _, d := range r.Devices {
		v.Devices = append(v.Devices, api.ShareDeviceView{
			Device: d.Device, Name: d.Name, Status: d.Status, Grants: d.Grants, Domain: d.Domain,
			InvitedAt: d.InvitedAt.Time(), AnsweredAt: d.AnsweredAt.Time(),
		})
	}
	return v
}

func historyView(r projections.HistoryEntry) api.HistoryView {
	return api.HistoryView{Share: r.Share, Kind: r.Kind, Recipient: r.Recipient, Remark: r.Remark, DeletedAt: r.DeletedAt.Time()}
}

func deviceView(r projections.Device) api.DeviceView {
	return api.DeviceView{ID: r.ID, Serial: r.Serial, Name: r.Name, AddedAt: r.AddedAt.Time(), Channels: r.Channels}
}

func keyView(r projections.StreamKey) api.KeyView {
	return api.KeyView{Name: r.Name, Label: r.Label, Device: r.Device, AddedAt: r.AddedAt.Time(), Expires: r.Expires.Time()}
}

func privilegeView(r projections.DevicePrivileges) api.PrivilegeView {
	return api.PrivilegeView{Device: r.Device, Name: r.Name, Share: r.Share, Domain: r.Domain, Grants: r.Grants}
}

package api

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"latchkey/domain/catalogue"
	"latchkey/domain/share"
	"latchkey/projections"
)

// shareEvents calls each with the events of every share, and with the state after each.
func (r readModel) shareEvents(each func(e share.Event, position int64, s share.State)) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for name, events := range r.log.streams {
		if !strings.HasPrefix(name, "share-") {
			continue
		}
		var s share.State
		for _, stored := range events {
			decoded, err := catalogue.Decode(stored.Type, stored.Data)
			if err != nil {
				panic(err)
			}
			e := decoded.(share.Event)
			s = share.Evolve(s, e)
			each(e, int64(stored.Position), s)
		}
	}
}

func (r readModel) Recipients(_ context.Context, account string, p projections.Page, match projections.Match[projections.Recipient]) ([]projections.Recipient, string, error) {
	names := r.read().names
	rows := map[string]projections.Recipient{}
	r.shareEvents(func(e share.Event, position int64, s share.State) {
		row := rows[s.ID]
		switch e := e.(type) {
		case share.Opened:
			row = projections.Recipient{Share: s.ID, Owner: s.Owner, Kind: s.Kind, Recipient: s.Recipient, UsedAt: projections.MicrosOf(e.At), Position: position}
		case share.Invited:
			row.UsedAt, row.Position = projections.MicrosOf(e.At), position
		case share.Deleted:
			row.DeletedAt = projections.MicrosOf(e.At)
		case share.RecipientForgotten:
			row = projections.Recipient{}
		case share.DeviceRemoved:
			if e.Reason == share.ShareDeleted {
				return
			}
		}
		row.Remark, row.Terms = s.Remark, projections.Terms(s.Terms)
		if s.Live {
			row.Devices = nil
			for _, d := range s.Devices {
				if d.Active() {
					row.Devices = append(row.Devices, projections.RecipientDevice{Share: s.ID, Device: d.Device, Name: names[d.Device], Grants: d.Grants, Terms: projections.Terms(d.Terms)})
				}
			}
		}
		rows[s.ID] = row
	})
	var list []projections.Recipient
	for _, row := range rows {
		if row.Owner == account {
			list = append(list, row)
		}
	}
	slices.SortFunc(list, func(a, b projections.Recipient) int { return cmp.Compare(b.Position, a.Position) })
	return matching(list, p, match)
}

// matching cuts a page out of the rows that match.
func matching[Row any](rows []Row, p projections.Page, match projections.Match[Row]) ([]Row, string, error) {
	var wanted []Row
	for _, row := range rows {
		ok := true
		if match != nil {
			var err error
			if ok, err = match(row); err != nil {
				return nil, "", err
			}
		}
		if ok {
			wanted = append(wanted, row)
		}
	}
	return paged(wanted, p)
}

func (r readModel) History(ctx context.Context, account string, p projections.Page, match projections.Match[projections.HistoryEntry]) ([]projections.HistoryEntry, string, error) {
	all, _, err := r.Recipients(ctx, account, projections.Page{Limit: 1 << 20}, nil)
	if err != nil {
		return nil, "", err
	}
	var list []projections.HistoryEntry
	for _, row := range all {
		if row.DeletedAt != 0 {
			list = append(list, projections.HistoryEntry{Share: row.Share, Owner: row.Owner, Kind: row.Kind, Recipient: row.Recipient, Remark: row.Remark, DeletedAt: row.DeletedAt, Terms: row.Terms, Devices: row.Devices})
		}
	}
	return matching(list, p, match)
}

func (r readModel) Invitations(_ context.Context, account string, dismissed bool, p projections.Page) ([]projections.Invitation, int64, string, error) {
	s := r.read()
	invitedAt := map[[2]string]int64{}
	states := map[string]share.State{}
	r.shareEvents(func(e share.Event, position int64, state share.State) {
		if invited, ok := e.(share.Invited); ok {
			invitedAt[[2]string{state.ID, invited.Device}] = position
		}
		states[state.ID] = state
	})
	var list []projections.Invitation
	for id, state := range states {
		if !state.Live || s.logins[state.Login] != account {
			continue
		}
		for _, d := range state.Devices {
			if d.Status == share.StatusInvited && d.DismissedAt.IsZero() != dismissed {
				list = append(list, projections.Invitation{
					Share: id, Device: d.Device, Name: s.names[d.Device], Owner: state.Owner, From: s.person(state.Owner), Grants: d.Grants, Terms: projections.Terms(d.Terms), OfShare: projections.Terms(state.Terms),
					InvitedAt: projections.MicrosOf(d.InvitedAt), Position: invitedAt[[2]string{id, d.Device}],
				})
			}
		}
	}
	slices.SortFunc(list, func(a, b projections.Invitation) int { return cmp.Compare(b.Position, a.Position) })
	rows, next, err := paged(list, p)
	return rows, int64(len(list)), next, err
}

package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
	"latchkey/projections"
	"latchkey/projections/access"
)

// Access is the privilege index: what the door decides by.
type Access interface {
	// Resolve returns the device that an account means by an id or by its own domain.
	Resolve(account ids.Account, name string) (device ids.Device, ok bool)
	Check(account ids.Account, device ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict
	// PlaybackWindow returns the times of the recordings that an account may play back now,
	// with a delay unless it may view live; from is zero for all that there are.
	PlaybackWindow(account ids.Account, device ids.Device, channel int, now time.Time, delay time.Duration) (from, to time.Time, ok bool)
	// Playable returns the first interval of the recordings within one that an account may
	// play back now.
	Playable(account ids.Account, device ids.Device, channel int, within privilege.Interval, now time.Time, delay time.Duration) (privilege.Interval, bool)
	// InUse lists the uses of a device that go on, the oldest first.
	InUse(device ids.Device) []access.Held
	// End ends the use with a number, without waiting, and reports whether it was in use.
	End(device ids.Device, no uint64) bool
	// Acquire returns a permit for a use: see access.Permits.
	Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict)
	// WaitFor returns when everything up to a position is in force.
	WaitFor(ctx context.Context, at position.Position) error
}

// Uses knows, and records, when devices were last used.
type Uses interface {
	// LastUses lists the last uses of a device, the newest first: one for each account,
	// and one for each stream key that was not revoked.
	LastUses(ctx context.Context, device string) ([]LastUse, error)
	// LastUsesBy lists the last uses of devices by accounts, with any key, the newest first.
	LastUsesBy(ctx context.Context, devices, accounts []string) ([]LastUse, error)
	// Used records a use, without waiting.
	Used(use access.Use, at time.Time)
}

// LastUse is the last use of a device.
type LastUse struct {
	Device     string
	Account    string
	Key        string // name of a stream key; "": with any
	Channel    int
	Privileges privilege.Set
	At         time.Time // to the minute
}

func (u LastUse) view() rest.LastUse {
	return rest.LastUse{At: utc(u.At), Channel: u.Channel, Privileges: u.Privileges}
}

// pastMost limits the past uses in an answer.
const pastMost = 100

func noSuchDevice() *problem {
	return &problem{status: http.StatusNotFound, code: "device_not_found", detail: "There is no such device of yours."}
}

// ListDeviceAccess lists every way into a device of the caller. Past uses are read before
// the ways: a way that ends in between is missing from both, rather than shown as open.
func (h handlers) ListDeviceAccess(ctx context.Context, r rest.ListDeviceAccessRequestObject) (rest.ListDeviceAccessResponseObject, error) {
	id, found := device.Canonical(r.Device), false
	uses, err := h.cfg.Uses.LastUses(ctx, id)
	if err != nil {
		return nil, err
	}
	past, err := h.pastUses(ctx, r.Params.LatchkeyMinPosition, id, uses)
	if err != nil {
		return nil, err
	}
	q := projections.WayQuery{Device: id, At: h.cfg.Now(), Newest: r.Params.Order == rest.Newest}
	if r.Params.Query != "" {
		s := h.searching(ctx, r.Params.Query)
		q.Match = func(w projections.Way) (bool, error) {
			if w.Share == nil {
				return false, nil
			}
			return s.finds(w.Share.Kind, w.Share.Recipient, w.Share.Name, event.FieldName)
		}
	}
	ways, next, err := list(ctx, h, r.Params.LatchkeyMinPosition, page(r.Params.Limit, r.Params.Cursor),
		func(ctx context.Context, account string, p projections.Page) (rows []projections.Way, next string, err error) {
			q.Owner = account
			rows, next, found, err = h.cfg.Queries.Ways(ctx, q, p)
			return rows, next, err
		})
	if err == nil && !found {
		err = noSuchDevice()
	}
	if err != nil {
		return nil, err
	}
	out := rest.ListDeviceAccess200JSONResponse{Past: past, Next: next}
	if out.Items, err = each(ctx, ways, func(ctx context.Context, w projections.Way) (rest.DeviceWay, error) { return h.way(ctx, w, uses) }); err != nil {
		return nil, err
	}
	out.Sessions, err = h.ownSessions(ctx)
	return out, err
}

// way renders a way into a device for its owner: the names and labels of a recipient's
// stream keys are not the owner's to know.
func (h handlers) way(ctx context.Context, w projections.Way, uses []LastUse) (rest.DeviceWay, error) {
	if w.Share == nil {
		key, err := h.streamKey(ctx, *w.Key)
		out := rest.DeviceWay{Kind: rest.DeviceWayKindStreamKey, StreamKey: key, Unreadable: key.Unreadable}
		out.LastUse = lastUse(uses, func(u LastUse) bool { return u.Key == w.Key.Name })
		return out, err
	}
	s := *w.Share
	recipient, err := h.recipient(ctx, event.FieldRecipient, s.Kind, s.Recipient)
	if err != nil {
		return rest.DeviceWay{}, err
	}
	text := h.reading(ctx)
	out := rest.DeviceWay{
		Kind: rest.DeviceWayKindShare, Share: s.Share, Recipient: recipient, Name: text.text(event.FieldName, s.Name),
		Status: string(s.Status), Paused: s.Paused, Channels: h.channelGrants(ctx, s.Grants),
		InvitedAt: s.InvitedAt.Time(), AnsweredAt: s.AnsweredAt.Time(), Changed: causeOf(s.Share, s.Cause()), StreamKeys: s.StreamKeys,
	}
	out.Terms, out.ShareTerms = privilege.Terms(s.Terms), privilege.Terms(s.ShareTerms)
	out.InForce = s.Status == share.StatusAccepted && !s.Paused && s.Terms.HoldsAt(h.cfg.Now()) && s.ShareTerms.HoldsAt(h.cfg.Now())
	if s.Account != "" {
		out.LastUse = lastUse(uses, func(u LastUse) bool { return u.Account == s.Account && u.Key == "" && u.since(out.AnsweredAt) })
	}
	out.Unreadable = recipient.Unreadable || text.unreadable
	return out, text.err
}

// since reports whether a use is of what was accepted at a time, and not of an earlier share
// with the same account. Uses are known to the minute.
func (u LastUse) since(accepted time.Time) bool {
	return !u.At.Before(accepted.Truncate(time.Minute))
}

func lastUse(uses []LastUse, match func(LastUse) bool) rest.LastUse {
	if i := slices.IndexFunc(uses, match); i >= 0 {
		return uses[i].view()
	}
	return rest.LastUse{}
}

// ListShareUses lists when shares of the caller were last used. It is apart from the list
// of them, which is kept as long as the shares are what they were.
func (h handlers) ListShareUses(ctx context.Context, r rest.ListShareUsesRequestObject) (rest.ListShareUsesResponseObject, error) {
	var accepted []projections.AcceptedDevice
	err := h.read(ctx, r.Params.LatchkeyMinPosition, func(atLeast position.Position) (err error) {
		accepted, err = h.cfg.Queries.AcceptedDevices(ctx, caller(ctx), r.Params.Shares, atLeast)
		return err
	})
	if err != nil {
		return nil, err
	}
	var devices, accounts []string
	for _, d := range accepted {
		devices, accounts = append(devices, d.Device), append(accounts, d.Account)
	}
	uses, err := h.cfg.Uses.LastUsesBy(ctx, distinct(devices), distinct(accounts))
	if err != nil {
		return nil, err
	}
	type holding struct{ device, account string }
	of := make(map[holding]LastUse, len(uses))
	for _, u := range uses {
		of[holding{u.Device, u.Account}] = u
	}
	last := map[string]LastUse{} // by share
	for _, d := range accepted {
		if u := of[holding{d.Device, d.Account}]; u.since(d.At.Time()) && u.At.After(last[d.Share].At) {
			last[d.Share] = u
		}
	}
	out := rest.ListShareUses200JSONResponse{Items: []rest.ShareUse{}}
	for _, id := range r.Params.Shares {
		if u, ok := last[id]; ok {
			out.Items = append(out.Items, rest.ShareUse{Share: id, Device: u.Device, LastUse: u.view()})
			delete(last, id)
		}
	}
	return out, nil
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

func causeOf(id string, c projections.Cause) rest.Cause {
	return rest.Cause{Share: id, Event: c.Event, Type: c.Type, At: c.At.Time()}
}

// pastUses are the last uses by accounts that have no way into the device now, and the
// caller's own with a key that was revoked.
func (h handlers) pastUses(ctx context.Context, minimum, id string, uses []LastUse) ([]rest.PastUse, error) {
	past := []rest.PastUse{}
	var accounts []string
	for _, u := range uses {
		if u.Key == "" {
			accounts = append(accounts, u.Account)
		}
	}
	holders, err := h.holders(ctx, minimum, id, accounts)
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		at := slices.IndexFunc(holders, func(o projections.Holder) bool { return o.Account == u.Account })
		if u.Key != "" || at < 0 || holders[at].Open || len(past) == pastMost {
			continue
		}
		own := u.Account == caller(ctx)
		if own && slices.ContainsFunc(uses, func(k LastUse) bool { return k.Key != "" && k.Account == u.Account && !k.At.Before(u.At) }) {
			continue // it is shown with the key
		}
		who, err := h.holder(ctx, holders[at])
		if err != nil {
			return nil, err
		}
		past = append(past, rest.PastUse{Own: own, Share: who.Share, Recipient: who.Recipient, Name: who.Name, Unreadable: who.Unreadable, LastUse: u.view()})
	}
	return past, nil
}

func (h handlers) holders(ctx context.Context, minimum, id string, accounts []string) (rows []projections.Holder, err error) {
	found := false
	accounts = distinct(accounts)
	err = h.read(ctx, minimum, func(atLeast position.Position) (err error) {
		rows, found, err = h.cfg.Queries.Holders(ctx, caller(ctx), id, accounts, atLeast)
		return err
	})
	if err == nil && !found {
		err = noSuchDevice()
	}
	return rows, err
}

// holder renders whoever uses, or used, a device.
func (h handlers) holder(ctx context.Context, o projections.Holder) (rest.PastUse, error) {
	if o.Share == "" {
		return rest.PastUse{}, nil
	}
	recipient, err := h.recipient(ctx, event.FieldRecipient, o.Kind, o.Recipient)
	if err != nil {
		return rest.PastUse{}, err
	}
	text := h.reading(ctx)
	out := rest.PastUse{Share: o.Share, Recipient: recipient, Name: text.text(event.FieldName, o.Name)}
	out.Unreadable = recipient.Unreadable || text.unreadable
	return out, text.err
}

func (h handlers) ownSessions(ctx context.Context) (rest.OwnSessions, error) {
	rows, err := h.cfg.Sessions.SessionsOf(ctx, caller(ctx), requestOf(ctx).token, requestOf(ctx).network)
	out := rest.OwnSessions{Count: len(rows)}
	for _, row := range rows {
		if row.Used.After(out.UsedAt) {
			out.UsedAt = utc(row.Used)
		}
	}
	return out, err
}

var viewerList = projections.NewList("viewers", func(u access.Held) int64 { return int64(u.No) })

// ListDeviceViewers lists who watches a device of the caller now, by the permits that are
// held.
func (h handlers) ListDeviceViewers(ctx context.Context, r rest.ListDeviceViewersRequestObject) (rest.ListDeviceViewersResponseObject, error) {
	id := device.Canonical(r.Device)
	if _, err := h.holders(ctx, r.Params.LatchkeyMinPosition, id, nil); err != nil {
		return nil, err
	}
	held := h.cfg.Access.InUse(ids.Device(id))
	rows, next, err := viewerList.Page(page(r.Params.Limit, r.Params.Cursor), func(after, n int64) ([]access.Held, error) {
		from := slices.IndexFunc(held, func(u access.Held) bool { return int64(u.No) > after })
		if from < 0 {
			return nil, nil
		}
		return held[from:min(int64(len(held)), int64(from)+n)], nil
	})
	if err != nil {
		return nil, err
	}
	accounts := make([]string, len(rows))
	for i, u := range rows {
		accounts[i] = string(u.Account)
	}
	holders, err := h.holders(ctx, r.Params.LatchkeyMinPosition, id, accounts)
	if err != nil {
		return nil, err
	}
	items, err := each(ctx, rows, func(ctx context.Context, u access.Held) (rest.Viewer, error) { return h.viewer(ctx, u, holders) })
	return rest.ListDeviceViewers200JSONResponse{Items: items, Next: next}, err
}

// viewer renders a use that goes on. One by an account that the rows do not explain yet
// is shown all the same.
func (h handlers) viewer(ctx context.Context, u access.Held, holders []projections.Holder) (rest.Viewer, error) {
	out := rest.Viewer{
		ID: strconv.FormatUint(u.No, 10), Own: string(u.Account) == caller(ctx), Channel: u.Channel, Privileges: u.Privilege,
		Since: utc(u.Since), Transport: rest.ViewerTransport(u.Transport), StreamKey: string(u.StreamKey),
	}
	if u.Address.IsValid() {
		out.Address = u.Address.String()
	}
	if out.Own {
		return out, nil
	}
	at := slices.IndexFunc(holders, func(o projections.Holder) bool { return o.Account == string(u.Account) })
	if at < 0 {
		return out, nil
	}
	who, err := h.holder(ctx, holders[at])
	out.Share, out.Recipient, out.Name, out.Unreadable = who.Share, who.Recipient, who.Name, who.Unreadable
	return out, err
}

// EndDeviceViewer ends one use of a device of the caller, and returns when nothing more is
// sent to it.
func (h handlers) EndDeviceViewer(ctx context.Context, r rest.EndDeviceViewerRequestObject) (rest.EndDeviceViewerResponseObject, error) {
	id := device.Canonical(r.Device)
	if _, err := h.holders(ctx, "", id, nil); err != nil {
		return nil, err
	}
	no, err := strconv.ParseUint(r.Viewer, 10, 64)
	if err != nil || !h.cfg.Access.End(ids.Device(id), no) {
		return nil, &problem{status: http.StatusNotFound, code: "viewer_not_found", detail: "There is no such viewer now."}
	}
	h.cfg.Logger.Info("an owner ended a viewer", "account", caller(ctx), "device", id, "no", no)
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	err = h.cfg.Fence.WaitFor(ctx, 0) // nothing was written: only the cut is waited for
	if err == nil {
		err = h.uses.await(ctx)
	}
	if err != nil {
		return nil, unavailable("not_confirmed", "The viewer is being ended, but its end was not confirmed in time.", err)
	}
	return rest.EndDeviceViewer204Response{}, nil
}

// CheckPrivilege asks the privilege index, as the door does. The rows only explain.
func (h handlers) CheckPrivilege(ctx context.Context, r rest.CheckPrivilegeRequestObject) (rest.CheckPrivilegeResponseObject, error) {
	minimum := r.Params.LatchkeyMinPosition
	if err := h.indexAt(ctx, minimum); err != nil {
		return nil, err
	}
	now := h.cfg.Now()
	want, known := privilege.Named(string(r.Params.Privilege))
	if !known {
		return nil, noSuchDevice() // the specification has another list
	}
	account, verdict := ids.Account(caller(ctx)), access.NotFound
	id, ok := h.cfg.Access.Resolve(account, device.Canonical(r.Params.Device))
	if ok {
		verdict = h.cfg.Access.Check(account, id, r.Params.Channel, want, now)
	} else if h.cfg.Access.Check(account, "", 1, want, now) == access.Unavailable {
		verdict = access.Unavailable
	}
	switch verdict {
	case access.NotFound:
		return nil, &problem{status: http.StatusNotFound, code: "device_not_found", detail: "There is no such device, or you may not see it."}
	case access.Allowed, access.Forbidden:
	default:
		return nil, unavailable("unavailable", "It is not known at the moment what is permitted.", errors.New("the privilege index cannot vouch"))
	}
	var row projections.DevicePrivileges
	var found bool
	err := h.read(ctx, minimum, func(atLeast position.Position) (err error) {
		row, found, err = h.cfg.Queries.PrivilegesOn(ctx, caller(ctx), string(id), atLeast)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := checked(verdict == access.Allowed, row, found)
	if out.Reason == rest.PrivilegeCheckReasonNotGranted && outOfTime(row, r.Params.Channel, want, now) {
		out.Reason = rest.PrivilegeCheckReasonNotNow
	}
	if want == privilege.Playback && out.Allowed {
		if out.Playback, out.Allowed = h.playbackWindow(account, id, r.Params.Channel, now); !out.Allowed {
			out.Reason = rest.PrivilegeCheckReasonNotNow
		}
	}
	return rest.CheckPrivilege200JSONResponse(out), nil
}

// playbackWindow returns the times of the recordings that an account may play back now;
// false if there are none yet.
func (h handlers) playbackWindow(account ids.Account, device ids.Device, channel int, now time.Time) (rest.PlaybackWindow, bool) {
	from, to, ok := h.cfg.Access.PlaybackWindow(account, device, channel, now, h.cfg.PlaybackDelay)
	if !ok {
		return rest.PlaybackWindow{}, false
	}
	return rest.PlaybackWindow{From: from.UTC(), To: utc(to)}, true
}

// outOfTime reports whether a privilege is granted, but not at this time.
func outOfTime(row projections.DevicePrivileges, channel int, want privilege.Set, now time.Time) bool {
	return slices.ContainsFunc(row.Conditions, func(c privilege.Condition) bool {
		return (c.Channel == 0 || c.Channel == channel) && c.Privileges.Has(want) && !c.HoldsAt(now)
	}) && slices.ContainsFunc(row.Grants, func(g privilege.Grant) bool { return g.Channel == channel && g.Privileges.Has(want) })
}

func checked(allowed bool, row projections.DevicePrivileges, found bool) rest.PrivilegeCheck {
	out := rest.PrivilegeCheck{Allowed: allowed, Reason: rest.PrivilegeCheckReasonNotGranted}
	own := found && row.Share == ""
	switch {
	case allowed && own:
		out.Reason = rest.PrivilegeCheckReasonOwner
	case allowed:
		out.Reason = rest.PrivilegeCheckReasonShared
	case row.Paused:
		out.Reason = rest.PrivilegeCheckReasonSharePaused
	}
	if found && !own {
		out.Via = causeOf(row.Share, row.Cause())
	}
	return out
}

// indexAt waits until the privilege index has the request's position.
func (h handlers) indexAt(ctx context.Context, minimum string) error {
	if minimum == "" {
		return nil
	}
	at, err := position.Parse(minimum)
	if err != nil {
		return invalidHeader("Latchkey-Min-Position", "is not a decimal 64-bit number")
	}
	ctx, cancel := context.WithTimeout(ctx, behindAfter)
	defer cancel()
	if err := h.cfg.Access.WaitFor(ctx, at); err != nil {
		return unavailable("projection_behind", "This server has not caught up with the requested position yet.", err)
	}
	return nil
}

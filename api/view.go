package api

import (
	"context"
	"slices"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/app"
	"latchkey/projections"
	"latchkey/projections/access"
)

// QuotaView is how much of a quota an account has used.
type QuotaView struct {
	Name       string
	Per        time.Duration // 0: an amount, not a rate
	Most, Used int
}

// The response to a command has its result as a row of the read model that will say the
// same.

func shareOf(r app.ShareChanged) projections.Share {
	s := r.Share
	row := projections.Share{ID: s.ID, Owner: s.Owner, Kind: s.Kind, Recipient: s.Recipient, Remark: s.Remark, Revision: r.Revision, Paused: s.Paused, Terms: projections.Terms(s.Terms)}
	for _, d := range s.Devices {
		row.Devices = append(row.Devices, projections.ShareDevice{
			Device: d.Device, Name: r.Names[d.Device], Status: d.Status, Grants: d.Grants, Domain: d.Domain, Paused: d.Paused, Terms: projections.Terms(d.Terms),
			Model: r.Devices[d.Device].Facts.Model, Cameras: r.Devices[d.Device].Channels,
			InvitedAt: projections.MicrosOf(d.InvitedAt), AnsweredAt: projections.MicrosOf(d.AnsweredAt),
		})
	}
	return row
}

func deviceOf(s device.State) projections.Device {
	return projections.Device{ID: s.Device, Serial: s.Serial, Name: s.Name, AddedAt: projections.MicrosOf(s.AddedAt), Channels: s.Channels,
		Model: s.Facts.Model, Firmware: s.Facts.Firmware, ProvenAt: projections.MicrosOf(s.Facts.ProvenAt)}
}

func keyOf(k account.Key) projections.StreamKey {
	return projections.StreamKey{
		Name: k.Name, Label: k.Label, Device: k.Device, AddedAt: projections.MicrosOf(k.AddedAt), Expires: projections.MicrosOf(k.Expires),
	}
}

// each renders the rows of a page; an empty page is an empty list, never null.
func each[Row, Item any](ctx context.Context, rows []Row, render func(context.Context, Row) (Item, error)) ([]Item, error) {
	items := make([]Item, len(rows))
	for i, row := range rows {
		item, err := render(ctx, row)
		if err != nil {
			return nil, err
		}
		items[i] = item
	}
	return items, nil
}

// share renders a share for the caller: the remark only for the owner, and the
// recipient's names for devices only for the recipient.
// Pages of shares are kept (kept.go): what it shows hangs on rows, on opened text and, by
// h.holds, on the clock, and on nothing else that changes while the server runs.
func (h handlers) share(ctx context.Context, v projections.Share) (rest.Share, error) {
	forOwner := v.Owner == caller(ctx)
	out := rest.Share{ID: v.ID, Share: v.ID, Owner: v.Owner, Status: rest.Live}
	if v.Paused {
		out.Status = rest.Paused
	}
	out.Terms, out.InForce = privilege.Terms(v.Terms), !v.Paused && h.holds(ctx, v.Terms.Validity)
	text := h.reading(ctx)
	if share.SeesRemark(v.Owner, caller(ctx)) {
		out.Remark = text.text(event.FieldRemark, v.Remark)
	}
	out.Unreadable = text.unreadable
	err := text.err
	if err == nil {
		out.Recipient, err = h.recipient(ctx, event.FieldRecipient, v.Kind, v.Recipient)
	}
	if err == nil && !forOwner {
		out.From, err = h.person(ctx, v.From)
	}
	if err != nil {
		return rest.Share{}, err
	}
	out.Devices, err = each(ctx, visible(v.Devices, forOwner), func(ctx context.Context, d projections.ShareDevice) (rest.ShareDevice, error) {
		return h.shareDevice(ctx, d, forOwner, out.InForce)
	})
	return out, err
}

// visible returns the devices that a share shows: not those that the owner removed, and
// for the recipient not those that the recipient gave up.
func visible(devices []projections.ShareDevice, forOwner bool) []projections.ShareDevice {
	var shown []projections.ShareDevice
	for _, d := range devices {
		if d.Status == share.StatusRemoved || d.Status == share.StatusLeft && !forOwner {
			continue
		}
		shown = append(shown, d)
	}
	return shown
}

func (h handlers) shareDevice(ctx context.Context, v projections.ShareDevice, forOwner, shareHolds bool) (rest.ShareDevice, error) {
	text := h.reading(ctx)
	out := rest.ShareDevice{
		Device: v.Device, Name: text.text(event.FieldDevice, v.Name), Status: rest.ShareDeviceStatus(v.Status), Channels: h.channelGrants(ctx, v.Grants),
		InvitedAt: v.InvitedAt.Time(), AnsweredAt: v.AnsweredAt.Time(), Paused: v.Paused,
		Terms: privilege.Terms(v.Terms), InForce: shareHolds && !v.Paused && v.Status == share.StatusAccepted && h.holds(ctx, v.Terms.Validity),
	}
	if !forOwner {
		out.Domain = v.Domain
	}
	if len(v.Grants) > 0 {
		out.Model = v.Model
	}
	for _, c := range v.Cameras { // those that are shared
		if slices.ContainsFunc(v.Grants, func(g share.Grant) bool { return g.Channel == c.Channel }) {
			out.Cameras = append(out.Cameras, rest.LinkedCamera{Channel: c.Channel, Name: text.text(event.FieldChannel, c.Name)})
		}
	}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) person(ctx context.Context, v projections.Person) (rest.Person, error) {
	address, err := h.recipient(ctx, event.FieldAddress, v.Kind, v.Address)
	if err != nil {
		return rest.Person{}, err
	}
	text := h.reading(ctx)
	out := rest.Person{Email: address.Email, Phone: address.Phone, Name: text.text(event.FieldName, v.Name)}
	out.Unreadable = address.Unreadable || text.unreadable
	return out, text.err
}

func (h handlers) recipient(ctx context.Context, field, kind, sealed string) (rest.ShareRecipient, error) {
	text := h.reading(ctx)
	address := text.text(field, sealed)
	out := rest.ShareRecipient{Unreadable: text.unreadable}
	if kind == "phone" {
		out.Phone = address
	} else {
		out.Email = address
	}
	return out, text.err
}

func (h handlers) device(ctx context.Context, v projections.Device) (rest.Device, error) {
	text := h.reading(ctx)
	out := rest.Device{ID: v.ID, Device: v.ID, Serial: v.Serial, Name: text.text(event.FieldDevice, v.Name), AddedAt: v.AddedAt.Time(),
		Model: v.Model, Firmware: v.Firmware, Proven: v.ProvenAt != 0, Online: h.online(v.ID)}
	out.Unreadable = text.unreadable
	if text.err != nil {
		return rest.Device{}, text.err
	}
	var err error
	out.Channels, err = each(ctx, v.Channels, h.channel)
	return out, err
}

func (h handlers) online(device string) rest.Online {
	if h.cfg.Presence == nil {
		return rest.Online{State: rest.OnlineStateUnknown}
	}
	p := h.cfg.Presence.Of(device)
	out := rest.Online{State: rest.OnlineState(p.State), Since: p.Since.UTC(), Reason: p.Reason}
	if i := p.Interruptions; i.Count > 0 {
		out.Interruptions = rest.Interruptions{At: i.Last.UTC(), Reason: i.Reason, Count: i.Count}
	}
	return out
}

func (h handlers) channel(ctx context.Context, c device.Channel) (rest.Channel, error) {
	text := h.reading(ctx)
	out := rest.Channel{Channel: c.Channel, Name: text.text(event.FieldChannel, c.Name), Capabilities: c.Capabilities}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) streamKey(ctx context.Context, v projections.StreamKey) (rest.StreamKey, error) {
	text := h.reading(ctx)
	out := rest.StreamKey{Name: v.Name, Label: text.text(event.FieldLabel, v.Label), Device: v.Device, PublishChannel: ids.Key(v.Name).Publishes(), CreatedAt: v.AddedAt.Time(), ExpiresAt: v.Expires.Time()}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) privileges(ctx context.Context, v projections.DevicePrivileges) (rest.DevicePrivileges, error) {
	text := h.reading(ctx)
	out := rest.DevicePrivileges{
		Device: v.Device, Name: text.text(event.FieldDevice, v.Name), Role: rest.DevicePrivilegesRoleRecipient,
		Share: v.Share, Domain: v.Domain, Paused: v.Paused, Channels: h.channelGrants(ctx, v.Grants),
	}
	out.Conditions, out.InForce = h.conditions(v)
	if v.Share == "" {
		out.Role, out.Owner = rest.DevicePrivilegesRoleOwner, true
	} else {
		out.Via = causeOf(v.Share, v.Cause())
		var err error
		if out.From, err = h.person(ctx, v.From); err != nil {
			return rest.DevicePrivileges{}, err
		}
	}
	online := h.online(v.Device)
	out.Online = rest.Reachable{State: rest.ReachableState(online.State), Since: online.Since}
	for _, c := range v.Cameras {
		if slices.ContainsFunc(v.Grants, func(g share.Grant) bool { return g.Channel == c.Channel }) {
			out.Cameras = append(out.Cameras, h.seenCamera(ctx, v, c.Channel, text.text(event.FieldChannel, c.Name)))
		}
	}
	out.Unreadable = text.unreadable
	return out, text.err
}

// seenCamera renders a channel for somebody who may see it. What its streams are is only for
// those who may watch them now.
func (h handlers) seenCamera(ctx context.Context, v projections.DevicePrivileges, channel int, name string) rest.SeenCamera {
	out := rest.SeenCamera{Channel: channel, Name: name, Live: rest.LiveNotGranted}
	device := ids.Device(v.Device)
	switch {
	case v.Paused:
		out.Live = rest.LivePaused
	case h.cfg.Access.Check(ids.Account(caller(ctx)), device, channel, privilege.LiveView, h.cfg.Now()) == access.Allowed:
		out.Live = rest.LiveNow
		if h.cfg.Cameras == nil {
			break
		}
		if streams, ok := h.cfg.Cameras.Seen(device, channel); ok {
			out.Streams = streams.view()
		}
	case slices.ContainsFunc(v.Grants, func(g share.Grant) bool { return g.Channel == channel && g.Privileges.Has(privilege.LiveView) }):
		out.Live = rest.LiveNotNow
	}
	return out
}

func (h handlers) channelGrants(ctx context.Context, list []share.Grant) []rest.Grant {
	out := make([]rest.Grant, len(list))
	for i, g := range list {
		out[i] = rest.Grant{Channel: g.Channel, Privileges: g.Privileges}
		if g.Privileges.Has(privilege.Playback) && !g.Privileges.Has(privilege.LiveView) {
			out[i].PlaybackDelay = int(h.cfg.PlaybackDelay.Seconds())
		}
		for _, l := range g.Limits {
			holds := h.holds(ctx, l.Validity)
			out[i].Limits = append(out[i].Limits, rest.TimeLimit{Privileges: l.Privileges, From: l.From, Until: l.Until, Hours: l.Hours, InForce: &holds})
		}
	}
	return out
}

// conditions renders when privileges hold, and reports whether those that concern all of
// them do now.
func (h handlers) conditions(v projections.DevicePrivileges) (out []rest.Condition, inForce bool) {
	now := h.cfg.Now()
	inForce = !v.Paused
	for _, c := range v.Conditions {
		oldest := privilege.Ready([]privilege.Condition{c}).Oldest(c.Channel, now)
		one := rest.Condition{
			Channel: c.Channel, Privileges: c.Privileges, From: c.From, Until: c.Until, Hours: c.Hours,
			RecordingsFrom: oldest.UTC(), InForce: c.HoldsAt(now),
		}
		inForce = inForce && (one.InForce || c.Channel != 0)
		out = append(out, one)
	}
	return out, inForce
}

func utc(t time.Time) time.Time { return t.UTC() }

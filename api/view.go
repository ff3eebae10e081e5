package api

import (
	"context"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/internal/app"
)

// ShareView is a share as a command left it or a read model has it. Texts are
// sealed where it says so.
type ShareView struct {
	ID        string
	Owner     string     // account
	Kind      string     // of the recipient's address: "email" or "phone"
	Recipient string     // sealed address
	Remark    string     // sealed, "" for none
	From      PersonView // the owner, for the recipient
	Revision  int64      // of the share's stream
	Deleted   bool
	Devices   []ShareDeviceView // those that it has, and may be those that it had
}

// PersonView is who has an account; the zero value for nobody.
type PersonView struct {
	Kind    string // of the address: "email" or "phone"
	Address string // sealed
	Name    string // sealed
}

// ShareDeviceView is a device in a share.
type ShareDeviceView struct {
	Device     string
	Name       string // sealed
	Status     share.Status
	Grants     []share.Grant
	Domain     string // the recipient's own name for it, "" for none
	InvitedAt  time.Time
	AnsweredAt time.Time // zero until it is accepted or rejected
}

// HistoryView is the recipient of a share that was deleted.
type HistoryView struct {
	Share     string
	Kind      string
	Recipient string // sealed
	Remark    string // sealed
	DeletedAt time.Time
}

// DeviceView is a device as its owner may see it.
type DeviceView struct {
	ID       string
	Serial   string
	Name     string // sealed
	AddedAt  time.Time
	Channels []device.Channel
}

// KeyView is a stream key without its secret.
type KeyView struct {
	Name    string
	Label   string // sealed
	Device  string // "" for every device
	AddedAt time.Time
	Expires time.Time // zero: never
}

// QuotaView is how much of a quota an account has used up.
type QuotaView struct {
	Name       string
	Per        time.Duration // 0: it counts what there is at once
	Most, Used int
}

// PrivilegeView is what an account may do on one device.
type PrivilegeView struct {
	Device string
	Name   string // sealed
	Share  string // "" for the owner
	Domain string
	Grants []share.Grant
}

// shareOf is the share as the command left it.
func shareOf(r app.ShareChanged) ShareView {
	s := r.Share
	v := ShareView{
		ID: s.ID, Owner: s.Owner, Kind: s.Kind, Recipient: s.Recipient, Remark: s.Remark,
		Revision: r.Revision, Deleted: !s.Live,
	}
	for _, d := range s.Devices {
		v.Devices = append(v.Devices, ShareDeviceView{
			Device: d.Device, Name: r.Names[d.Device], Status: d.Status, Grants: d.Grants,
			Domain: d.Domain, InvitedAt: d.InvitedAt, AnsweredAt: d.AnsweredAt,
		})
	}
	return v
}

func deviceOf(s device.State) DeviceView {
	return DeviceView{ID: s.Device, Serial: s.Serial, Name: s.Name, AddedAt: s.AddedAt, Channels: s.Channels}
}

func keyOf(k account.Key) KeyView {
	return KeyView{Name: k.Name, Label: k.Label, Device: k.Device, AddedAt: k.AddedAt, Expires: k.Expires}
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

// share renders a share for the caller: the remark is the owner's alone, and
// the recipient's names for devices are the recipient's.
func (h handlers) share(ctx context.Context, v ShareView) (rest.Share, error) {
	forOwner := v.Owner == caller(ctx)
	out := rest.Share{ID: v.ID, Share: v.ID, Owner: v.Owner, Status: rest.Live}
	if v.Deleted {
		out.Status = rest.Deleted
	}
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
	out.Devices, err = each(ctx, visible(v.Devices, forOwner), func(ctx context.Context, d ShareDeviceView) (rest.ShareDevice, error) {
		return h.shareDevice(ctx, d, forOwner)
	})
	return out, err
}

// visible are the devices that a share shows: not those that the owner took
// back, and to the recipient not those that the recipient gave up.
func visible(devices []ShareDeviceView, forOwner bool) []ShareDeviceView {
	var shown []ShareDeviceView
	for _, d := range devices {
		if d.Status == share.StatusRemoved || d.Status == share.StatusLeft && !forOwner {
			continue
		}
		shown = append(shown, d)
	}
	return shown
}

func (h handlers) shareDevice(ctx context.Context, v ShareDeviceView, forOwner bool) (rest.ShareDevice, error) {
	text := h.reading(ctx)
	out := rest.ShareDevice{
		Device: v.Device, Name: text.text(event.FieldDevice, v.Name), Status: rest.ShareDeviceStatus(v.Status), Channels: channelGrants(v.Grants),
		InvitedAt: utc(v.InvitedAt), AnsweredAt: utc(v.AnsweredAt),
	}
	if !forOwner {
		out.Domain = v.Domain
	}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) person(ctx context.Context, v PersonView) (rest.Person, error) {
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

func (h handlers) history(ctx context.Context, v HistoryView) (rest.HistoryEntry, error) {
	recipient, err := h.recipient(ctx, event.FieldRecipient, v.Kind, v.Recipient)
	if err != nil {
		return rest.HistoryEntry{}, err
	}
	text := h.reading(ctx)
	out := rest.HistoryEntry{Share: v.Share, Recipient: recipient, Remark: text.text(event.FieldRemark, v.Remark), DeletedAt: utc(v.DeletedAt)}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) device(ctx context.Context, v DeviceView) (rest.Device, error) {
	text := h.reading(ctx)
	out := rest.Device{ID: v.ID, Device: v.ID, Serial: v.Serial, Name: text.text(event.FieldDevice, v.Name), AddedAt: utc(v.AddedAt)}
	out.Unreadable = text.unreadable
	if text.err != nil {
		return rest.Device{}, text.err
	}
	var err error
	out.Channels, err = each(ctx, v.Channels, h.channel)
	return out, err
}

func (h handlers) channel(ctx context.Context, c device.Channel) (rest.Channel, error) {
	text := h.reading(ctx)
	out := rest.Channel{Channel: c.Channel, Name: text.text(event.FieldChannel, c.Name), Capabilities: c.Capabilities}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) streamKey(ctx context.Context, v KeyView) (rest.StreamKey, error) {
	text := h.reading(ctx)
	out := rest.StreamKey{Name: v.Name, Label: text.text(event.FieldLabel, v.Label), Device: v.Device, CreatedAt: utc(v.AddedAt), ExpiresAt: utc(v.Expires)}
	out.Unreadable = text.unreadable
	return out, text.err
}

func (h handlers) privileges(ctx context.Context, v PrivilegeView) (rest.DevicePrivileges, error) {
	text := h.reading(ctx)
	out := rest.DevicePrivileges{
		Device: v.Device, Name: text.text(event.FieldDevice, v.Name), Role: rest.DevicePrivilegesRoleRecipient,
		Share: v.Share, Domain: v.Domain, Channels: channelGrants(v.Grants),
	}
	if v.Share == "" {
		out.Role = rest.DevicePrivilegesRoleOwner
	}
	out.Unreadable = text.unreadable
	return out, text.err
}

func channelGrants(list []share.Grant) []rest.Grant {
	out := make([]rest.Grant, len(list))
	for i, g := range list {
		out[i] = rest.Grant{Channel: g.Channel, Privileges: g.Privileges}
	}
	return out
}

func utc(t time.Time) time.Time { return t.UTC() }

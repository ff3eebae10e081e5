package app

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/request"
	"latchkey/domain/share"
)

// Told says what notices of shares are about and whom they are for, as of the moment in
// which it is asked: what is not so any more nobody is told.
type Told struct{ core *core }

// Side is whom a notice is for.
type Side string

// The sides of a share.
const (
	OwnerSide     Side = "owner"
	RecipientSide Side = "recipient"
)

// Tiding is what a notice says. Its values are those of the API.
type Tiding string

// The tidings.
const (
	TidingInvited   Tiding = "invited"
	TidingAccepted  Tiding = "accepted"
	TidingRejected  Tiding = "rejected"
	TidingLeft      Tiding = "device_left"
	TidingChanged   Tiding = "privileges_changed"
	TidingTerms     Tiding = "terms_changed"
	TidingPaused    Tiding = "paused"
	TidingResumed   Tiding = "resumed"
	TidingEnded     Tiding = "device_withdrawn"
	TidingRequested Tiding = "access_requested"
	TidingEndsSoon  Tiding = "ends_soon"
	TidingAlarm     Tiding = "alarm"
)

// kinds are the kinds of notices that say something.
var kinds = map[Tiding]account.NoticeKind{
	TidingInvited: account.NoticeInvitations, TidingAccepted: account.NoticeDecisions, TidingRejected: account.NoticeDecisions,
	TidingLeft: account.NoticeDecisions, TidingChanged: account.NoticeChanges, TidingTerms: account.NoticeChanges, TidingPaused: account.NoticeChanges,
	TidingResumed: account.NoticeChanges, TidingEnded: account.NoticeEnds, TidingRequested: account.NoticeRequests, TidingEndsSoon: account.NoticeReminders,
	TidingAlarm: account.NoticeAlarms,
}

// About is what a notice is about, in ids.
type About struct {
	Cause   uuid.UUID `json:"cause"` // the event
	Side    Side      `json:"side"`
	Tiding  Tiding    `json:"tiding"`
	Share   string    `json:"share,omitempty"`
	Device  string    `json:"device,omitempty"`  // "" for all of the share
	Account string    `json:"account,omitempty"` // that it is for; "": whoever has the address
	Other   string    `json:"other,omitempty"`   // the account that asks for access
	Own     bool      `json:"own,omitempty"`     // the account did it itself
	At      time.Time `json:"at"`                // of the event
	Ends    time.Time `json:"ends,omitzero"`     // of which it reminds
	Channel int       `json:"channel,omitzero"`  // of an alarm; 0: the device itself
	By      int       `json:"by,omitzero"`       // the channel whose privilege it takes to know of the alarm
	Alarm   string    `json:"alarm,omitempty"`   // what it is about: its kind
}

// Kind returns the kind of the notice, for the settings of accounts.
func (a About) Kind() account.NoticeKind { return kinds[a.Tiding] }

// Telling is a notice with whom it is for and what it may say.
type Telling struct {
	About
	Account              string // that it is for; "": nobody has proven that the address is theirs
	Settings             account.Notices
	Language             string
	Webhook              string // id of the account's webhook, "" for none
	AddressKind, Address string // that it is sent to; "" for none
	Payer                string // account that has it sent to an address of nobody; "" for nobody

	DeviceName              string // "" if it cannot be read
	OtherName, OtherAddress string // the other party; "" if it cannot be read
}

// Look looks a notice up. ok is false if it is not so any more, or nobody must be told.
func (t *Told) Look(ctx context.Context, a About) (out Telling, ok bool, err error) {
	out.About = a
	switch a.Tiding {
	case TidingRequested:
		ok, err = t.request(ctx, &out)
	case TidingAlarm: // whether the account may know of it is known when it is sent
		ok, err = t.to(ctx, &out, a.Account, "")
	default:
		ok, err = t.share(ctx, &out)
	}
	return out, ok && err == nil, err
}

// share looks up a notice about a share.
func (t *Told) share(ctx context.Context, out *Telling) (bool, error) {
	there, err := t.core.loadShare(ctx, out.Share)
	if err != nil || there.state.ID == "" || !holds(there.state, out.About) {
		return false, err
	}
	s := there.state
	if out.Side == OwnerSide {
		ok, err := t.toOwner(ctx, out, s)
		if err != nil || !ok {
			return false, err
		}
	} else if ok, err := t.toRecipient(ctx, out, s); err != nil || !ok {
		return false, err
	}
	return true, t.name(ctx, out)
}

// holds reports whether what a notice says is still so.
func holds(s share.State, a About) bool {
	d, found := s.Find(a.Device)
	has := func(d share.Device) bool {
		return s.Live && d.Status == share.StatusAccepted && (a.Side == OwnerSide || d.Account == a.Account)
	}
	switch a.Tiding {
	case TidingInvited:
		return s.Live && found && d.Status == share.StatusInvited && d.DismissedAt.IsZero() && d.InvitedAt.Equal(a.At)
	case TidingAccepted:
		return s.Live && found && d.Status == share.StatusAccepted
	case TidingRejected:
		return found && d.Status == share.StatusRejected
	case TidingLeft:
		return found && d.Status == share.StatusLeft
	case TidingChanged:
		return found && has(d)
	case TidingTerms:
		return slices.ContainsFunc(s.Devices, has)
	case TidingPaused, TidingResumed:
		paused := s.Paused
		if a.Device != "" {
			paused = s.Held(d)
		}
		return paused == (a.Tiding == TidingPaused) && (a.Device != "" && found && has(d) || a.Device == "" && slices.ContainsFunc(s.Devices, has))
	case TidingEnded:
		return !found || !has(d)
	case TidingEndsSoon:
		return found && has(d) && privilege.EndOf(s.Terms, d.Terms, d.Grants, a.Ends.Add(-time.Microsecond)).Equal(a.Ends)
	}
	return false
}

// toOwner addresses a notice to the owner of a share.
func (t *Told) toOwner(ctx context.Context, out *Telling, s share.State) (bool, error) {
	ok, err := t.to(ctx, out, s.Owner, "")
	if ok && err == nil {
		out.OtherAddress = t.core.known(ctx, event.FieldRecipient, s.Recipient)
	}
	return ok, err
}

// toRecipient addresses a notice to the recipient of a share; an invitation to the address
// that it is for. An address that nobody has proven to be theirs is told of an invitation,
// and of nothing else.
func (t *Told) toRecipient(ctx context.Context, out *Telling, s share.State) (bool, error) {
	holder, err := t.core.holder(ctx, s.Login)
	if err != nil {
		return false, err
	}
	proven := false
	if holder != "" {
		if proven, err = t.core.proven(ctx, holder, s.Login); err != nil {
			return false, err
		}
	}
	owner, err := load(ctx, t.core, accountKind, accountStream(s.Owner))
	if err != nil {
		return false, err
	}
	out.OtherName = t.core.known(ctx, event.FieldName, owner.state.Name)
	out.OtherAddress = t.core.known(ctx, event.FieldAddress, owner.state.Address)
	switch {
	case out.Tiding != TidingInvited: // of what an account has
		return t.to(ctx, out, out.About.Account, "")
	case out.About.Account != "": // by webhook: the account must still have the address
		if !proven || holder != out.About.Account {
			return false, nil
		}
		return t.to(ctx, out, holder, s.Login)
	case proven:
		return t.to(ctx, out, holder, s.Login)
	}
	// Whoever invites somebody to whom we have never written must have proven who they are.
	of, has := owner.state.FindAddress(owner.state.Login)
	if !owner.state.Registered || !has || t.core.verify && !of.Verified {
		return false, nil
	}
	out.Language, out.Payer = owner.state.Language, s.Owner
	out.AddressKind, out.Address = s.Kind, t.core.known(ctx, event.FieldRecipient, s.Recipient)
	return out.Address != "", nil
}

// to addresses a notice to an account: to the address with a login, if the account has
// proven it, or to another one.
func (t *Told) to(ctx context.Context, out *Telling, id, login string) (bool, error) {
	if id == "" {
		return false, nil
	}
	there, err := load(ctx, t.core, accountKind, accountStream(id))
	if err != nil || !there.state.Registered {
		return false, err
	}
	a := there.state
	out.Account, out.Settings, out.Language, out.Webhook = id, a.Notices, a.Language, a.Webhook
	address, ok := t.addressOf(a, login, out.Tiding == TidingInvited)
	if ok {
		out.AddressKind, out.Address = address.Kind, t.core.known(ctx, event.FieldAddress, address.Text)
	}
	return true, nil
}

// addressOf picks the address for a notice: that with the login, that which the account is
// shown with, or any other that is proven. Numbers get invitations only.
func (t *Told) addressOf(a account.State, login string, numbers bool) (account.Address, bool) {
	usable := func(one account.Address) bool {
		return (one.Verified || !t.core.verify) && (one.Kind == emailKind || numbers && one.Login == login)
	}
	for _, wanted := range []string{login, a.Login} {
		if one, ok := a.FindAddress(wanted); ok && usable(one) {
			return one, true
		}
	}
	i := slices.IndexFunc(a.Addresses, usable)
	if i < 0 {
		return account.Address{}, false
	}
	return a.Addresses[i], true
}

// name looks up what the device is called.
func (t *Told) name(ctx context.Context, out *Telling) error {
	if out.Device == "" {
		return nil
	}
	d, err := t.core.loadDevice(ctx, out.Device)
	if err == nil {
		out.DeviceName = t.core.known(ctx, event.FieldDevice, d.Name)
	}
	return err
}

// request looks up a notice about a request for access to a device.
func (t *Told) request(ctx context.Context, out *Telling) (bool, error) {
	d, err := t.core.loadDevice(ctx, out.Device)
	if err != nil || !d.Live || d.Owner != out.About.Account {
		return false, err
	}
	serial, _ := device.SerialOf(out.Device)
	there, err := load(ctx, t.core, requestKind, requestStream(request.ID(serial, out.Other)))
	if err != nil || there.state.Dismissed || there.state.Owner != d.Owner || !there.state.AskedAt.Equal(out.At) {
		return false, err
	}
	from, err := load(ctx, t.core, accountKind, accountStream(out.Other))
	if err != nil || !from.state.Registered {
		return false, err
	}
	ok, err := t.to(ctx, out, d.Owner, "")
	if !ok || err != nil {
		return false, err
	}
	out.OtherName = t.core.known(ctx, event.FieldName, from.state.Name)
	out.OtherAddress = t.core.known(ctx, event.FieldAddress, from.state.Address)
	out.DeviceName = t.core.known(ctx, event.FieldDevice, d.Name)
	return true, nil
}

// Holder returns the account that has proven that a login is its own, "" for none.
func (t *Told) Holder(ctx context.Context, login string) (string, error) {
	holder, err := t.core.holder(ctx, login)
	if err != nil || holder == "" {
		return "", err
	}
	proven, err := t.core.proven(ctx, holder, login)
	if err != nil || !proven {
		return "", err
	}
	return holder, nil
}

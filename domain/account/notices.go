package account

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
)

// MaxMuted is how many shares and devices an account may have muted together.
const MaxMuted = 200

// Why a command about notices is refused.
var (
	ErrTooManyMuted  = fmt.Errorf("at most %d shares and devices can be muted", MaxMuted)
	ErrUnknownNotice = errors.New("there are no notices of this kind")
	ErrNoWebhook     = errors.New("the account has no webhook")
)

// NoticeKind is what the notices that an account is sent are about.
type NoticeKind string

// The kinds of notices.
const (
	NoticeInvitations NoticeKind = "invitations" // something is shared with the account
	NoticeDecisions   NoticeKind = "decisions"   // what it shared was accepted, rejected or left
	NoticeChanges     NoticeKind = "changes"     // privileges or terms were changed; pauses
	NoticeEnds        NoticeKind = "ends"        // a shared device was taken back
	NoticeRequests    NoticeKind = "requests"    // somebody asks for access
	NoticeReminders   NoticeKind = "reminders"   // a share ends soon
	NoticeAlarms      NoticeKind = "alarms"      // a camera raised an alarm
)

// NoticeKinds lists the kinds.
var NoticeKinds = []NoticeKind{NoticeInvitations, NoticeDecisions, NoticeChanges, NoticeEnds, NoticeRequests, NoticeReminders, NoticeAlarms}

// NoticeChannel is a way on which an account is sent notices. The zero value sends all.
type NoticeChannel struct {
	Off  bool         `json:"off,omitempty"`  // it sends nothing
	Mute []NoticeKind `json:"mute,omitempty"` // the kinds that it does not send
}

// Sends reports whether the channel sends notices of a kind.
func (c NoticeChannel) Sends(kind NoticeKind) bool { return !c.Off && !slices.Contains(c.Mute, kind) }

// Notices are what an account wants to be sent. The zero value is everything.
type Notices struct {
	Mail    NoticeChannel `json:"mail,omitzero"` // and text messages
	Webhook NoticeChannel `json:"webhook,omitzero"`
	Push    NoticeChannel `json:"push,omitzero"`     // to browsers
	OwnOff  bool          `json:"own_off,omitempty"` // nothing about what the account did itself
	Shares  []string      `json:"shares,omitempty"`  // that are muted
	Devices []string      `json:"devices,omitempty"` // that are muted
}

// Muted reports whether the share or the device is muted.
func (n Notices) Muted(share, device string) bool {
	return share != "" && slices.Contains(n.Shares, share) || device != "" && slices.Contains(n.Devices, device)
}

// Equal reports whether two settings are the same.
func (n Notices) Equal(o Notices) bool {
	same := func(a, b NoticeChannel) bool { return a.Off == b.Off && slices.Equal(a.Mute, b.Mute) }
	return same(n.Mail, o.Mail) && same(n.Webhook, o.Webhook) && same(n.Push, o.Push) && n.OwnOff == o.OwnOff &&
		slices.Equal(n.Shares, o.Shares) && slices.Equal(n.Devices, o.Devices)
}

// clone returns a copy that shares no list.
func (n Notices) clone() Notices {
	n.Mail.Mute, n.Webhook.Mute, n.Push.Mute = slices.Clone(n.Mail.Mute), slices.Clone(n.Webhook.Mute), slices.Clone(n.Push.Mute)
	n.Shares, n.Devices = slices.Clone(n.Shares), slices.Clone(n.Devices)
	return n
}

// SetNotices replaces what the account wants to be sent.
type SetNotices struct {
	Notices Notices
	At      time.Time
}

// SetWebhook makes the webhook with an id the account's, in place of any other.
type SetWebhook struct {
	Webhook string
	At      time.Time
}

// RemoveWebhook takes the account's webhook away.
type RemoveWebhook struct{ At time.Time }

func (SetNotices) accountCommand()    {}
func (SetWebhook) accountCommand()    {}
func (RemoveWebhook) accountCommand() {}

func setNotices(s State, c SetNotices) ([]Event, error) {
	n := c.Notices
	for _, kind := range slices.Concat(n.Mail.Mute, n.Webhook.Mute, n.Push.Mute) {
		if !slices.Contains(NoticeKinds, kind) {
			return nil, ErrUnknownNotice
		}
	}
	if len(n.Shares)+len(n.Devices) > MaxMuted {
		return nil, ErrTooManyMuted
	}
	if n.Equal(s.Notices) {
		return nil, nil
	}
	return []Event{NoticesSet{Account: s.Account, Notices: n.clone(), At: c.At}}, nil
}

func setWebhook(s State, c SetWebhook) ([]Event, error) {
	if c.Webhook == "" {
		return nil, ErrIncomplete
	}
	return []Event{WebhookSet{Account: s.Account, Webhook: c.Webhook, At: c.At}}, nil
}

func removeWebhook(s State, c RemoveWebhook) ([]Event, error) {
	if s.Webhook == "" {
		return nil, ErrNoWebhook
	}
	return []Event{WebhookRemoved{Account: s.Account, Webhook: s.Webhook, At: c.At}}, nil
}

// NoticesSet has what an account wants to be sent from now on.
type NoticesSet struct {
	Account string    `json:"account"`
	Notices Notices   `json:"notices,omitzero"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (NoticesSet) Type() string { return "latchkey.account.notices_set.v1" }

// Subjects returns whom and what it concerns.
func (e NoticesSet) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges.
func (NoticesSet) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (NoticesSet) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e NoticesSet) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e NoticesSet) Sentence() string {
	return fmt.Sprintf("account %s changed which notices it is sent", e.Account)
}

func (e NoticesSet) apply(s *State) { s.Notices = e.Notices.clone() }

// WebhookSet gives an account a webhook. Its address and its secret are in the vault.
type WebhookSet struct {
	Account string    `json:"account"`
	Webhook string    `json:"webhook"` // its id
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (WebhookSet) Type() string { return "latchkey.account.webhook_set.v1" }

// Subjects returns whom and what it concerns.
func (e WebhookSet) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges.
func (WebhookSet) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (WebhookSet) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e WebhookSet) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e WebhookSet) Sentence() string {
	return fmt.Sprintf("account %s set the webhook %s", e.Account, e.Webhook)
}

func (e WebhookSet) apply(s *State) { s.Webhook = e.Webhook }

// WebhookRemoved takes the webhook of an account away.
type WebhookRemoved struct {
	Account string    `json:"account"`
	Webhook string    `json:"webhook"`
	At      time.Time `json:"at"`
}

// Type returns the frozen name.
func (WebhookRemoved) Type() string { return "latchkey.account.webhook_removed.v1" }

// Subjects returns whom and what it concerns.
func (e WebhookRemoved) Subjects() event.Subjects { return event.Subjects{Owner: e.Account} }

// Effect returns what it does to privileges.
func (WebhookRemoved) Effect() event.Effect { return event.NoEffect }

// Revokes returns what it takes away.
func (WebhookRemoved) Revokes() event.Revocation { return event.NoRevocation }

// Texts returns the event: it has no personal text.
func (e WebhookRemoved) Texts(event.ChangeText) event.Event { return e }

// Sentence says what happened.
func (e WebhookRemoved) Sentence() string {
	return fmt.Sprintf("account %s removed the webhook %s", e.Account, e.Webhook)
}

func (e WebhookRemoved) apply(s *State) { s.Webhook = "" }

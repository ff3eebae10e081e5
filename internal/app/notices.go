package app

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/domain/account"
	"latchkey/internal/position"
)

// ChannelChange changes what is not nil of a channel of notices.
type ChannelChange struct {
	Enabled *bool
	Kinds   map[account.NoticeKind]bool // false: not sent
}

// NoticeChange changes what is not nil.
type NoticeChange struct {
	Mail, Webhook *ChannelChange
	Push          *ChannelChange `json:",omitempty"`
	Own           *bool          // what the account did itself
	Shares        *[]string
	Devices       *[]string
}

// NoticesChanged is the result of Accounts.SetNotices.
type NoticesChanged struct {
	Position position.Position
	Notices  account.Notices
}

// Notices returns what an account wants to be sent.
func (a *Accounts) Notices(ctx context.Context, id string) (account.Notices, error) {
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	return there.state.Notices, err
}

// maxMutedID bounds the id of what is muted, in bytes. Whether there is such a thing does
// not matter.
const maxMutedID = 128

// SetNotices changes what the caller wants to be sent.
func (a *Accounts) SetNotices(ctx context.Context, m Meta, n NoticeChange) (NoticesChanged, error) {
	c, err := a.core.begin(m, "set notices", n)
	if err != nil {
		return NoticesChanged{}, err
	}
	f := faults{}
	for at, list := range map[Field]*[]string{"muted.shares": n.Shares, "muted.devices": n.Devices} {
		if list == nil {
			continue
		}
		for i, id := range *list {
			if f.line(at.Entry(i), id, maxMutedID); id == "" {
				f.add(at.Entry(i), "is empty")
			}
		}
	}
	if err := f.err(); err != nil {
		return NoticesChanged{}, err
	}
	done, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.SetNotices{Notices: n.on(there.state.Notices), At: c.at})
	})
	if errors.Is(err, account.ErrTooManyMuted) {
		err = point(err, "muted")
	}
	return NoticesChanged{Position: done.position, Notices: done.state.Notices}, err
}

// on returns the settings with the change.
func (n NoticeChange) on(s account.Notices) account.Notices {
	n.Mail.on(&s.Mail)
	n.Webhook.on(&s.Webhook)
	n.Push.on(&s.Push)
	if n.Own != nil {
		s.OwnOff = !*n.Own
	}
	set := func(to *[]string, list *[]string) {
		if list != nil {
			*to = slices.Compact(slices.Sorted(slices.Values(*list)))
		}
	}
	set(&s.Shares, n.Shares)
	set(&s.Devices, n.Devices)
	return s
}

func (n *ChannelChange) on(c *account.NoticeChannel) {
	if n == nil {
		return
	}
	if n.Enabled != nil {
		c.Off = !*n.Enabled
	}
	mute := slices.DeleteFunc(slices.Clone(c.Mute), func(kind account.NoticeKind) bool { return n.Kinds[kind] })
	for _, kind := range slices.Sorted(maps.Keys(n.Kinds)) {
		if !n.Kinds[kind] && !slices.Contains(mute, kind) {
			mute = append(mute, kind)
		}
	}
	slices.Sort(mute)
	c.Mute = mute
}

// Webhooks keeps the webhooks of accounts, and calls them.
type Webhooks interface {
	// PutWebhook keeps a webhook; one with its id that was there before stays.
	PutWebhook(ctx context.Context, w Webhook) error
	// Webhook returns a webhook of an account; found is false if there is none.
	Webhook(ctx context.Context, account, id string) (w Webhook, found bool, err error)
	// KeepWebhook forgets every webhook of an account but one; "": every one.
	KeepWebhook(ctx context.Context, account, id string) error
	ForgetWebhook(ctx context.Context, account, id string) error
	// MayCall returns why an address is surely refused, "" if it may be called.
	MayCall(url string) string
	// Test sends a webhook a notice without content, and returns how it went: "" if it was
	// taken, and the status that it answered with.
	Test(ctx context.Context, w Webhook) (outcome string, status int, err error)
}

// Webhook is where an account has its notices sent.
type Webhook struct {
	Account, ID string
	URL         string
	Secret      string
	Before      string // the secret before, with which deliveries are signed too
	BeforeUntil time.Time

	Created  time.Time
	Failures int       // since the last success
	Failing  time.Time // since then; zero: it is not
	Tried    time.Time // the last time; zero: never
	Outcome  string    // of the last try: "" if it succeeded
	Status   int       // that it answered with; 0: it did not
	Disabled time.Time // since then nothing is sent; zero: it is not
	Reason   string    // why it is disabled
}

// secretOverlap is for how long deliveries are signed with the secret before too.
const secretOverlap = 24 * time.Hour

// WebhookChanged is the result of Accounts.SetWebhook.
type WebhookChanged struct {
	Position position.Position
	Webhook  Webhook
}

var errNoWebhooks = &Error{Code: "unavailable", Kind: Unavailable, Message: "This server sends no webhooks."}

// Webhook returns the webhook of an account, without its secrets.
func (a *Accounts) Webhook(ctx context.Context, id string) (Webhook, error) {
	w, err := a.webhook(ctx, id)
	w.Secret, w.Before = "", ""
	return w, err
}

func (a *Accounts) webhook(ctx context.Context, id string) (Webhook, error) {
	there, err := load(ctx, a.core, accountKind, accountStream(id))
	if err != nil {
		return Webhook{}, err
	}
	if there.state.Webhook == "" {
		return Webhook{}, refused(account.ErrNoWebhook)
	}
	if a.webhooks == nil {
		return Webhook{}, errNoWebhooks
	}
	w, found, err := a.webhooks.Webhook(ctx, id, there.state.Webhook)
	if err != nil {
		return Webhook{}, unavailable(err)
	}
	if !found {
		return Webhook{}, refused(account.ErrNoWebhook)
	}
	return w, nil
}

// SetWebhook gives the caller a webhook with a new secret, in place of the one before. If
// its address stays, the secret before is used besides for a day. A repeat with the same
// idempotency key returns the same secret.
func (a *Accounts) SetWebhook(ctx context.Context, m Meta, url string) (WebhookChanged, error) {
	c, err := a.core.begin(m, "set webhook", url)
	if err != nil {
		return WebhookChanged{}, err
	}
	if a.webhooks == nil {
		return WebhookChanged{}, errNoWebhooks
	}
	f := faults{}
	if f.url("url", url, "https"); url == "" {
		f.add("url", "is empty")
	}
	if f["url"] == "" {
		if why := a.webhooks.MayCall(url); why != "" {
			f.add("url", why)
		}
	}
	if err := f.err(); err != nil {
		return WebhookChanged{}, err
	}
	w := Webhook{Account: c.Account, URL: url}
	if w.ID, w.Secret, err = a.core.newWebhook(); err != nil {
		return WebhookChanged{}, err
	}
	done, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return a.decideWebhook(ctx, there.state, w, c.at)
	})
	if done.latest.Webhook != w.ID && (err == nil || surelyRefused(err)) {
		_ = a.webhooks.ForgetWebhook(ctx, c.Account, w.ID) // it is unused; at worst it stays as garbage
	}
	if err != nil {
		return WebhookChanged{}, err
	}
	if latest := done.latest.Webhook; latest != "" {
		a.core.afterwards(ctx, "forgetting a replaced webhook", func(ctx context.Context) error {
			return a.webhooks.KeepWebhook(ctx, c.Account, latest)
		})
	}
	return a.webhookSet(ctx, done)
}

// surelyRefused reports whether a command surely wrote nothing.
func surelyRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return errors.Is(err, ErrConflict) || ok && e.Kind != Unavailable
}

// decideWebhook keeps the webhook once only the log can still refuse it.
func (a *Accounts) decideWebhook(ctx context.Context, there account.State, w Webhook, at time.Time) ([]account.Event, error) {
	events, err := account.Decide(there, account.SetWebhook{Webhook: w.ID, At: at})
	if err != nil {
		return nil, err
	}
	if there.Webhook != "" {
		before, found, err := a.webhooks.Webhook(ctx, w.Account, there.Webhook)
		if err != nil {
			return nil, unavailable(err)
		}
		if found && before.URL == w.URL {
			w.Before, w.BeforeUntil = before.Secret, at.Add(secretOverlap)
		}
	}
	if err := a.webhooks.PutWebhook(ctx, w); err != nil {
		return nil, unavailable(fmt.Errorf("keeping a webhook: %w", err))
	}
	return events, nil
}

// webhookSet returns the webhook as it is kept: for a repeat it is not the one just made.
func (a *Accounts) webhookSet(ctx context.Context, done outcome[account.State, account.Event]) (WebhookChanged, error) {
	set, ok := done.events[0].(account.WebhookSet)
	if !ok {
		return WebhookChanged{}, fmt.Errorf("setting a webhook returned a %T", done.events[0])
	}
	if done.latest.Webhook != set.Webhook {
		return WebhookChanged{}, refused(account.ErrNoWebhook)
	}
	w, found, err := a.webhooks.Webhook(ctx, set.Account, set.Webhook)
	if err != nil || !found {
		return WebhookChanged{}, unavailable(errors.Join(errors.New("reading a webhook"), err))
	}
	return WebhookChanged{Position: done.position, Webhook: w}, nil
}

// RemoveWebhook takes the caller's webhook away.
func (a *Accounts) RemoveWebhook(ctx context.Context, m Meta) (Done, error) {
	c, err := a.core.begin(m, "remove webhook")
	if err != nil {
		return Done{}, err
	}
	done, err := run(ctx, a.core, c, onAccount(c.Account), func(there stream[account.State]) ([]account.Event, error) {
		return account.Decide(there.state, account.RemoveWebhook{At: c.at})
	})
	if err != nil {
		return Done{}, err
	}
	if latest := done.latest.Webhook; latest == "" && a.webhooks != nil {
		a.core.afterwards(ctx, "forgetting a removed webhook", func(ctx context.Context) error {
			return a.webhooks.KeepWebhook(ctx, c.Account, latest)
		})
	}
	return Done{Position: done.position}, nil
}

// WebhookTested is how a test went.
type WebhookTested struct {
	Outcome string // "" if the notice was taken
	Status  int    // that the webhook answered with; 0: it did not
}

// TestWebhook sends the caller's webhook a notice without content. One that takes it is
// enabled again.
func (a *Accounts) TestWebhook(ctx context.Context, id string) (WebhookTested, error) {
	w, err := a.webhook(ctx, id)
	if err != nil {
		return WebhookTested{}, err
	}
	outcome, status, err := a.webhooks.Test(ctx, w)
	if err != nil {
		return WebhookTested{}, unavailable(err)
	}
	return WebhookTested{Outcome: outcome, Status: status}, nil
}

// secretPrefix marks the secret of a webhook, as the Standard Webhooks say.
const secretPrefix = "whsec_"

// newWebhook returns the id of a new webhook, and its secret, of 256 bits.
func (s *core) newWebhook() (id, secret string, err error) {
	raw := make([]byte, 8+32)
	if _, err := io.ReadFull(s.random, raw); err != nil {
		return "", "", fmt.Errorf("generating a webhook: %w", err)
	}
	return "wh" + strings.TrimRight(lowerText(raw[:8]), "="), secretPrefix + base64.StdEncoding.EncodeToString(raw[8:]), nil
}

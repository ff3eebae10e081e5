package notices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/internal/app"
	"latchkey/internal/outbox"
	"latchkey/internal/position"
	"latchkey/internal/vault"
)

// Told looks notices up.
type Told interface {
	// Look: see app.Told.
	Look(ctx context.Context, a app.About) (t app.Telling, ok bool, err error)
	// Holder returns the account that has proven a login, "" for none.
	Holder(ctx context.Context, login string) (string, error)
}

// Config is what a Notifier needs.
type Config struct {
	Told  Told
	Vault *vault.Vault
	// Kinds are the kinds of addresses that messages can be sent to.
	Kinds []string
	// EpochBegan returns the position at which the current epoch of the log began.
	EpochBegan func(ctx context.Context) (position.Position, error)
	// Ending lists what ends after a time and not after another.
	Ending func(ctx context.Context, after, until time.Time) ([]Ending, error)
	// Permit begins to send an alarm to an account, and returns a context that ends when
	// the account may not know of it any more; see alarms.Sends.
	Permit func(ctx context.Context, account, device string, channel int, by string) (_ context.Context, end func(), err error)
	// NotAllowed reports whether an error of Permit says that the account may not.
	NotAllowed func(error) bool
	// Kept is called when notices for webhooks were kept.
	Kept   func()
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
	// Gather is for how long a mail waits for others to the same person; 0: 5 seconds.
	Gather time.Duration
}

// Notifier keeps notices in the vault.
type Notifier struct{ cfg Config }

const (
	// oldest is how long after an event nobody is told of it any more.
	oldest = 24 * time.Hour
	gather = 5 * time.Second
)

// The channels of notices in the vault.
const (
	mailChannel = "mail"
	hookChannel = "webhook"
	pushChannel = "push"
)

// New makes a notifier.
func New(cfg Config) *Notifier {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Gather == 0 {
		cfg.Gather = gather
	}
	if cfg.Kept == nil {
		cfg.Kept = func() {}
	}
	return &Notifier{cfg}
}

// Happened is an event that somebody may be told of.
type Happened struct {
	Event    event.Event
	ID       uuid.UUID
	Position position.Position
	Created  time.Time // when it was written to the log
}

// Notifies reports whether anybody may be sent a notice.
func (n *Notifier) Notifies(ctx context.Context) (bool, error) {
	if len(n.cfg.Kinds) > 0 {
		return true, nil
	}
	return n.cfg.Vault.AnyWebhook(ctx)
}

// Notify keeps the notices of events. Doing so again keeps nothing more. What happened
// before the log was restored, or long ago, nobody is told of.
func (n *Notifier) Notify(ctx context.Context, list []Happened) error {
	list, err := n.fresh(ctx, list)
	if err != nil || len(list) == 0 {
		return err
	}
	hooks, err := n.cfg.Vault.AnyWebhook(ctx)
	if err != nil || !hooks && len(n.cfg.Kinds) == 0 {
		return err
	}
	var out []vault.Notice
	for _, h := range list {
		for _, about := range concerns(h.Event, h.ID, h.Created) {
			notices, err := n.of(ctx, about, h.Created, hooks)
			if err != nil {
				return fmt.Errorf("addressing the notices of event %s: %w", h.ID, err)
			}
			out = append(out, notices...)
		}
	}
	return n.keep(ctx, out)
}

func (n *Notifier) keep(ctx context.Context, list []vault.Notice) error {
	if len(list) == 0 {
		return nil
	}
	err := n.cfg.Vault.EnqueueNotices(ctx, list)
	if err == nil {
		n.cfg.Kept()
	}
	return err
}

// fresh leaves out what happened before the log was restored, or long ago.
func (n *Notifier) fresh(ctx context.Context, list []Happened) (fresh []Happened, err error) {
	young := n.cfg.Now().Add(-oldest)
	var began position.Position
	for _, h := range list {
		if !h.Created.After(young) {
			continue
		}
		if fresh == nil {
			if began, err = n.cfg.EpochBegan(ctx); err != nil {
				return nil, err
			}
		}
		if h.Position > began {
			fresh = append(fresh, h)
		}
	}
	return fresh, nil
}

// of returns a notice for each channel on which it may be sent.
func (n *Notifier) of(ctx context.Context, a app.About, at time.Time, hooks bool) (list []vault.Notice, err error) {
	if len(n.cfg.Kinds) > 0 {
		target := "account " + a.Account
		if a.Account == "" {
			_, login, _ := share.Parties(a.Share)
			target = "login " + login
		}
		list = append(list, n.notice(a, mailChannel, target, at, n.cfg.Now().Add(n.cfg.Gather)))
	}
	if !hooks {
		return list, nil
	}
	if a.Account == "" {
		_, login, _ := share.Parties(a.Share)
		if a.Account, err = n.cfg.Told.Holder(ctx, login); err != nil || a.Account == "" {
			return list, err
		}
	}
	with, err := n.cfg.Vault.WithWebhooks(ctx, []string{a.Account})
	if err == nil && len(with) > 0 {
		list = append(list, n.notice(a, hookChannel, a.Account, at, n.cfg.Now()))
	}
	return list, err
}

// idOf is the id of a notice: one for each cause, side and channel.
func idOf(a app.About, channel string) string {
	return uuid.NewSHA1(a.Cause, []byte(string(a.Side)+" "+channel)).String()
}

func (n *Notifier) notice(a app.About, channel, target string, at, due time.Time) vault.Notice {
	about, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("encoding what a notice is about: %v", err)) // it has texts and times
	}
	return vault.Notice{ID: idOf(a, channel), Channel: channel, Target: target, Account: a.Account, About: string(about), Due: due, Until: at.Add(oldest)}
}

// claim takes notices of a channel that are due, at most so many for one person, and
// returns the message that write makes of them. One without an address is not to be sent;
// with a wait, not before that.
func (n *Notifier) claim(
	ctx context.Context, channel, holder string, lasts time.Duration, most int,
	write func(context.Context, []vault.Notice) (m outbox.Message, wait time.Duration, err error),
) (outbox.Message, bool, error) {
	for {
		list, err := n.cfg.Vault.ClaimNotices(ctx, channel, holder, lasts, most)
		if err != nil || len(list) == 0 {
			return outbox.Message{}, false, err
		}
		id := list[0].ID
		looking, cancel := context.WithTimeout(ctx, lookWithin)
		m, wait, err := write(looking, list)
		cancel()
		switch {
		case err != nil:
			n.cfg.Logger.WarnContext(ctx, "a notice cannot be looked up now", "notice", id, "error", err)
			err = n.cfg.Vault.RetryNotices(ctx, id, holder, n.cfg.Now().Add(retryLook), false)
		case wait > 0:
			err = n.cfg.Vault.RetryNotices(ctx, id, holder, n.cfg.Now().Add(wait), false)
		case m.To == "": // there is nothing to tell any more
			err = n.cfg.Vault.FinishNotices(ctx, id, holder)
		default:
			return m, true, nil
		}
		if err != nil {
			return outbox.Message{}, false, err
		}
	}
}

// HandOver implements outbox.Store.
func (n *Notifier) HandOver(ctx context.Context, id, holder string) error {
	return n.cfg.Vault.HandOverNotices(ctx, id, holder)
}

// Finish implements outbox.Store.
func (n *Notifier) Finish(ctx context.Context, id, holder string) error {
	return n.cfg.Vault.FinishNotices(ctx, id, holder)
}

// Retry implements outbox.Store.
func (n *Notifier) Retry(ctx context.Context, id, holder string, at time.Time) error {
	return n.cfg.Vault.RetryNotices(ctx, id, holder, at, true)
}

// errAbout is returned for a notice that this build cannot read.
var errAbout = errors.New("a notice of another build")

func aboutOf(n vault.Notice) (a app.About, err error) {
	if err := json.Unmarshal([]byte(n.About), &a); err != nil || a.Kind() == "" {
		return a, fmt.Errorf("%w: %s", errAbout, n.ID)
	}
	return a, nil
}

package notices

import (
	"context"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/app"
	"latchkey/internal/pause"
	"latchkey/internal/vault"
)

// Ending is a device of a share that ends at a time, wholly or in part.
type Ending struct {
	Share, Owner, Account, Device string
	Until                         time.Time
}

const (
	// remindBefore is how long before the end people are reminded of it, and for how long
	// they are not reminded again of the same device of a share.
	remindBefore = 24 * time.Hour
	remindEvery  = 20 * time.Second
)

// reminders names the ids of reminders. It must not change: they would be sent again.
var reminders = uuid.MustParse("5bb7ad30-0f3c-4a2c-9d0b-0c1a4f3a7b61")

// Run reminds of what ends until the context does.
func (n *Notifier) Run(ctx context.Context) error {
	for {
		if err := n.Remind(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("what ends soon cannot be looked up now", "error", err)
		}
		if !pause.For(ctx, remindEvery) {
			return nil
		}
	}
}

// Remind keeps a reminder of everything that ends within a day, for both sides. Of each end
// people are reminded once; of an end that was moved again only after a day.
func (n *Notifier) Remind(ctx context.Context) error {
	hooks, err := n.cfg.Vault.AnyWebhook(ctx)
	if err != nil || !hooks && len(n.cfg.Kinds) == 0 {
		return err
	}
	now := n.cfg.Now()
	list, err := n.cfg.Ending(ctx, now, now.Add(remindBefore))
	if err != nil {
		return err
	}
	some := false
	for _, e := range list {
		notices, err := n.reminder(ctx, e, now, hooks)
		if err != nil {
			return err
		}
		kept, err := n.cfg.Vault.Remind(ctx, e.Share, e.Device, e.Until, remindBefore, notices)
		if err != nil {
			return err
		}
		some = some || kept
	}
	if some {
		n.cfg.Kept()
	}
	return nil
}

func (n *Notifier) reminder(ctx context.Context, e Ending, now time.Time, hooks bool) (list []vault.Notice, err error) {
	cause := uuid.NewSHA1(reminders, []byte(e.Share+" "+e.Device+" "+e.Until.UTC().Format(time.RFC3339Nano)))
	for side, account := range map[app.Side]string{app.RecipientSide: e.Account, app.OwnerSide: e.Owner} {
		about := app.About{Cause: cause, Side: side, Tiding: app.TidingEndsSoon, Share: e.Share, Device: e.Device, Account: account, At: now, Ends: e.Until}
		of, err := n.of(ctx, about, now, hooks)
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	for i := range list {
		list[i].Until = e.Until // nobody is reminded of what has ended
	}
	return list, nil
}

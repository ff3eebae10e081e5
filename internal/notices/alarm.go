package notices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/app"
	"latchkey/internal/outbox"
	"latchkey/internal/vault"
)

// alarmLasts is how long after an alarm nobody is told of it any more.
const alarmLasts = time.Hour

// Alarm is one to tell of.
type Alarm struct {
	ID      string
	Device  string
	Channel int // 0: the device itself
	By      int // the channel whose privilege it takes to know of it
	Kind    string
	At      time.Time
}

// To is an account that is told.
type To struct {
	Account string
	Share   string // through which it has the device; "" for the owner
}

// OfAlarm returns the notices of an alarm to accounts that have a webhook or a browser.
// Whether they may know of it, and want to, is looked up when each is sent.
func (n *Notifier) OfAlarm(ctx context.Context, a Alarm, to []To) ([]vault.Notice, error) {
	cause, err := uuid.Parse(a.ID)
	if err != nil {
		return nil, fmt.Errorf("the id of an alarm: %w", err)
	}
	of := map[string]To{}
	accounts := make([]string, len(to))
	for i, one := range to {
		of[one.Account], accounts[i] = one, one.Account
	}
	hooks, err := n.withWebhooks(ctx, accounts)
	if err != nil {
		return nil, err
	}
	pushes, err := n.cfg.Vault.PushesOf(ctx, accounts)
	if err != nil {
		return nil, err
	}
	about := func(one To) app.About {
		side := app.RecipientSide
		if one.Share == "" {
			side = app.OwnerSide
		}
		return app.About{
			Cause: cause, Side: side, Tiding: app.TidingAlarm, Share: one.Share, Device: a.Device, Account: one.Account, At: a.At,
			Channel: a.Channel, By: a.By, Alarm: a.Kind,
		}
	}
	var list []vault.Notice
	add := func(account, channel, target string) {
		row := n.notice(about(of[account]), channel, target, a.At, n.cfg.Now())
		row.ID = uuid.NewSHA1(cause, []byte(account+" "+channel+" "+target)).String() // there are several recipients
		row.Until = a.At.Add(alarmLasts)
		list = append(list, row)
	}
	for _, account := range hooks {
		add(account, hookChannel, account)
	}
	for account, browsers := range pushes {
		for _, browser := range browsers {
			add(account, pushChannel, browser)
		}
	}
	return list, nil
}

// accountsAtOnce is how many accounts one statement names.
const accountsAtOnce = 300

func (n *Notifier) withWebhooks(ctx context.Context, accounts []string) (list []string, err error) {
	for at := 0; at < len(accounts); at += accountsAtOnce {
		some, err := n.cfg.Vault.WithWebhooks(ctx, accounts[at:min(at+accountsAtOnce, len(accounts))])
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// permit begins to send a message: that of an alarm only to an account that may know of it
// at this moment, in a context that ends when it may not any more. end must be called as
// soon as nothing more is sent.
func (n *Notifier) permit(ctx context.Context, m outbox.Message, by string) (_ context.Context, end func(), err error) {
	a, err := aboutOf(vault.Notice{ID: m.ID, About: m.About})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", outbox.ErrRefused, err)
	}
	if a.Tiding != app.TidingAlarm {
		return ctx, func() {}, nil
	}
	if n.cfg.Permit == nil {
		return nil, nil, fmt.Errorf("%w: nothing permits alarms", outbox.ErrRefused)
	}
	ctx, end, err = n.cfg.Permit(ctx, a.Account, a.Device, a.By, by)
	if err != nil && n.cfg.NotAllowed(err) {
		err = fmt.Errorf("%w: %w", outbox.ErrRefused, err)
	}
	return ctx, end, err
}

// errNoBrowser is returned for a browser that is not there any more.
var errNoBrowser = errors.New("the browser was forgotten, or its session has ended")

package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"latchkey/eventstore"
	"latchkey/internal/alarms"
	"latchkey/internal/app"
	"latchkey/internal/notices"
	"latchkey/internal/outbox"
	"latchkey/internal/position"
	"latchkey/internal/reactors"
	"latchkey/internal/vault"
	"latchkey/projections"
)

// hooksAtOnce is how many webhooks are called at the same time, of as many accounts.
const hooksAtOnce = 32

// teller keeps notices of what happens, and sends them.
type teller struct {
	*notices.Notifier
	hooks  *outbox.Outbox
	pushes *outbox.Outbox
	log    *eventstore.Client
}

// newTeller makes what tells people of what happens to their shares.
func newTeller(p *opened, o options, told *app.Told, runner *projections.Runner, sends *alarms.Sends) *teller {
	t := &teller{log: p.log}
	var kinds []string
	for kind := range o.senders {
		kinds = append(kinds, kind)
	}
	t.Notifier = notices.New(notices.Config{
		Told: told, Vault: p.vault, Kinds: kinds, Logger: p.logger, Kept: func() { t.hooks.Wake() },
		EpochBegan: t.EpochBegan, Permit: sends.Begin,
		NotAllowed: func(err error) bool { return errors.Is(err, alarms.ErrNotAllowed) },
		Ending: func(ctx context.Context, after, until time.Time) ([]notices.Ending, error) {
			return endings(ctx, runner, p.store, after, until)
		},
	})
	p.hooks = notices.NewHooks(t.Notifier, p.webhooks)
	t.hooks = outbox.New(outbox.Config{
		Store: p.hooks, Senders: map[string]outbox.Sender{notices.HookKind: p.hooks}, Logger: p.logger, AtOnce: hooksAtOnce, Interrupt: true,
	})
	t.pushes = newPushes(p, t.Notifier)
	return t
}

// endings lists what ends, as the read models see it.
func endings(ctx context.Context, runner *projections.Runner, store *projections.Store, after, until time.Time) (list []notices.Ending, err error) {
	var rows []projections.Ending
	err = runner.Read(ctx, 0, func(atLeast position.Position) error {
		rows, err = store.SharesEnding(ctx, after, until, atLeast)
		return err
	})
	for _, r := range rows {
		list = append(list, notices.Ending{Share: r.Share, Owner: r.Owner, Account: r.Account, Device: r.Device, Until: r.Until})
	}
	return list, err
}

// startTelling sends what is kept, and reminds of what ends.
func (s *runningService) startTelling(o options, t *teller) {
	mails := outbox.New(outbox.Config{Store: notices.Mails{Notifier: t.Notifier}, Senders: o.senders, Logger: s.logger})
	s.run("notices by mail", mails.Run)
	s.run("notices by webhook", t.hooks.Run)
	s.run("notices to browsers", t.pushes.Run)
	s.run("reminders", t.Run)
}

// Notify implements reactors.Commands.
func (t *teller) Notify(ctx context.Context, events []reactors.Event) error {
	list := make([]notices.Happened, len(events))
	for i, e := range events {
		list[i] = notices.Happened{Event: e.Event, ID: e.ID, Position: e.Position, Created: e.Created}
	}
	return t.Notifier.Notify(ctx, list)
}

// EpochBegan implements reactors.Commands.
func (t *teller) EpochBegan(ctx context.Context) (position.Position, error) {
	began, err := t.log.EpochBegan(ctx)
	if errors.Is(err, eventstore.ErrNoIdentity) { // it was made by an early version, and never restored
		return 0, nil
	}
	return began, err
}

// Notified implements reactors.Commands.
func (t *teller) Notified() []string { return notices.Events() }

// webhooks keeps and calls webhooks for the use cases.
type webhooks struct{ opened *opened }

// webhooksOf are those of the use cases; nil for a tool, which calls none.
func webhooksOf(p *opened) app.Webhooks {
	if p.webhooks == nil {
		return nil
	}
	return webhooks{p}
}

func (w webhooks) PutWebhook(ctx context.Context, n app.Webhook) error {
	return w.opened.vault.PutWebhook(ctx, vault.Webhook(n))
}

func (w webhooks) Webhook(ctx context.Context, account, id string) (app.Webhook, bool, error) {
	found, err := w.opened.vault.Webhook(ctx, account, id)
	if errors.Is(err, vault.ErrNotFound) {
		return app.Webhook{}, false, nil
	}
	return app.Webhook(found), err == nil, err
}

func (w webhooks) KeepWebhook(ctx context.Context, account, id string) error {
	return w.opened.vault.KeepWebhook(ctx, account, id)
}

func (w webhooks) ForgetWebhook(ctx context.Context, account, id string) error {
	return w.opened.vault.ForgetWebhook(ctx, account, id)
}

func (w webhooks) MayCall(url string) string { return w.opened.webhooks.MayCall(url) }

func (w webhooks) Test(ctx context.Context, n app.Webhook) (outcome string, status int, err error) {
	return w.opened.hooks.Test(ctx, vault.Webhook(n), uuid.NewString())
}

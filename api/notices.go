package api

import (
	"cmp"
	"context"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/account"
	"latchkey/internal/app"
)

// Tests of webhooks make us call somebody's server: they are limited per account.
const (
	hookTestBurst = 10
	hookTestEvery = 2 * time.Minute
)

// GetNotices reads which notices the caller is sent.
func (h handlers) GetNotices(ctx context.Context, _ rest.GetNoticesRequestObject) (rest.GetNoticesResponseObject, error) {
	n, err := h.cfg.Accounts.Notices(ctx, caller(ctx))
	return rest.GetNotices200JSONResponse(noticesOf(n)), err
}

// SetNotices changes them.
func (h handlers) SetNotices(ctx context.Context, r rest.SetNoticesRequestObject) (rest.SetNoticesResponseObject, error) {
	change := app.NoticeChange{Mail: channelChange(r.Body.Mail), Webhook: channelChange(r.Body.Webhook), Push: channelChange(r.Body.Push), Own: r.Body.OwnActions}
	if r.Body.Muted != nil {
		change.Shares, change.Devices = r.Body.Muted.Shares, r.Body.Muted.Devices
	}
	done, err := h.cfg.Accounts.SetNotices(ctx, meta(ctx, r.Params.IdempotencyKey), change)
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, done.Position)
	return rest.SetNotices200JSONResponse{
		Body: noticesOf(done.Notices), Headers: rest.SetNotices200ResponseHeaders{LatchkeyPosition: position},
	}, err
}

func noticesOf(n account.Notices) rest.Notices {
	return rest.Notices{
		Mail: channelOf(n.Mail), Webhook: channelOf(n.Webhook), Push: channelOf(n.Push), OwnActions: !n.OwnOff,
		Muted: rest.Muted{Shares: append([]string{}, n.Shares...), Devices: append([]string{}, n.Devices...)},
	}
}

func channelOf(c account.NoticeChannel) rest.NoticeChannel {
	on := account.NoticeChannel{Mute: c.Mute}.Sends
	return rest.NoticeChannel{Enabled: !c.Off, Kinds: rest.NoticeKinds{
		Invitations: on(account.NoticeInvitations), Decisions: on(account.NoticeDecisions), Changes: on(account.NoticeChanges),
		Ends: on(account.NoticeEnds), Requests: on(account.NoticeRequests), Reminders: on(account.NoticeReminders),
		Alarms: on(account.NoticeAlarms),
	}}
}

func channelChange(c *rest.NoticeChannelUpdate) *app.ChannelChange {
	if c == nil {
		return nil
	}
	change := &app.ChannelChange{Enabled: c.Enabled, Kinds: map[account.NoticeKind]bool{}}
	if c.Kinds == nil {
		return change
	}
	for kind, on := range map[account.NoticeKind]*bool{
		account.NoticeInvitations: c.Kinds.Invitations, account.NoticeDecisions: c.Kinds.Decisions, account.NoticeChanges: c.Kinds.Changes,
		account.NoticeEnds: c.Kinds.Ends, account.NoticeRequests: c.Kinds.Requests, account.NoticeReminders: c.Kinds.Reminders,
		account.NoticeAlarms: c.Kinds.Alarms,
	} {
		if on != nil {
			change.Kinds[kind] = *on
		}
	}
	return change
}

// GetWebhook reads the caller's webhook.
func (h handlers) GetWebhook(ctx context.Context, _ rest.GetWebhookRequestObject) (rest.GetWebhookResponseObject, error) {
	w, err := h.cfg.Accounts.Webhook(ctx, caller(ctx))
	if err != nil {
		return nil, err
	}
	out := rest.Webhook{
		URL: w.URL, CreatedAt: utc(w.Created), Enabled: w.Disabled.IsZero(), DisabledReason: rest.WebhookDisabledReason(w.Reason), Failures: w.Failures,
		LastStatus: w.Status,
	}
	for _, t := range []struct {
		to *time.Time
		at time.Time
	}{{&out.DisabledAt, w.Disabled}, {&out.FailingSince, w.Failing}, {&out.LastTriedAt, w.Tried}} {
		if !t.at.IsZero() {
			*t.to = utc(t.at)
		}
	}
	if !w.Tried.IsZero() {
		out.LastOutcome = outcomeOf(w.Outcome)
	}
	return rest.GetWebhook200JSONResponse(out), nil
}

func outcomeOf(outcome string) rest.WebhookOutcome {
	return rest.WebhookOutcome(cmp.Or(outcome, string(rest.WebhookOutcomeDelivered)))
}

// SetWebhook gives the caller a webhook with a new secret.
func (h handlers) SetWebhook(ctx context.Context, r rest.SetWebhookRequestObject) (rest.SetWebhookResponseObject, error) {
	done, err := h.cfg.Accounts.SetWebhook(ctx, meta(ctx, r.Params.IdempotencyKey), r.Body.URL)
	if err == nil {
		err = h.stillLoggedIn(ctx, func() error {
			_, err := h.cfg.Accounts.RemoveWebhook(ctx, meta(ctx, ""))
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	position, err := h.confirm(ctx, done.Position)
	return rest.SetWebhook200JSONResponse{
		Body:    rest.WebhookMade{URL: done.Webhook.URL, CreatedAt: utc(done.Webhook.Created), Secret: done.Webhook.Secret},
		Headers: rest.SetWebhook200ResponseHeaders{LatchkeyPosition: position},
	}, err
}

// RemoveWebhook takes it away.
func (h handlers) RemoveWebhook(ctx context.Context, r rest.RemoveWebhookRequestObject) (rest.RemoveWebhookResponseObject, error) {
	done, err := h.cfg.Accounts.RemoveWebhook(ctx, meta(ctx, r.Params.IdempotencyKey))
	return h.done(ctx, done, err)
}

// TestWebhook calls it once.
func (h handlers) TestWebhook(ctx context.Context, _ rest.TestWebhookRequestObject) (rest.TestWebhookResponseObject, error) {
	if wait := h.take(ctx, h.hookTests, caller(ctx)); wait > 0 {
		return nil, rateLimited(wait)
	}
	done, err := h.cfg.Accounts.TestWebhook(ctx, caller(ctx))
	if err != nil {
		return nil, err
	}
	return rest.TestWebhook200JSONResponse{Delivered: done.Outcome == "", Outcome: outcomeOf(done.Outcome), Status: done.Status}, nil
}

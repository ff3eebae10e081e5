package notices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/request"
	"latchkey/internal/app"
	"latchkey/internal/outbox"
	"latchkey/internal/vault"
	"latchkey/internal/webhook"
)

// HookKind is the kind of the messages of Hooks.
const HookKind = "webhook"

// Hooks is the outbox.Store of webhooks, and the outbox.Sender of what it returns. Those of
// one account are called one after the other: one that hangs holds nobody else up.
type Hooks struct {
	*Notifier
	client *webhook.Client

	mu    sync.Mutex
	retry map[string]time.Time // when a notice that failed is sent again
}

// NewHooks makes the store and sender of webhooks.
func NewHooks(n *Notifier, client *webhook.Client) *Hooks {
	return &Hooks{Notifier: n, client: client, retry: map[string]time.Time{}}
}

const (
	firstRetry   = 5 * time.Second
	longestRetry = 2 * time.Hour
	// A webhook that only failed for this time is disabled.
	failingFor = 24 * time.Hour
	leastTries = 5
	// A webhook is called at most so often: accounts must not flood others through us.
	hookBurst, hookEvery = 100, time.Second
)

// Why a webhook is disabled. The reasons are part of the API.
const (
	disabledGone    = "gone"
	disabledFailing = "failing"
)

// body is what a webhook gets: ids, with which the account reads what it may read.
type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      data      `json:"data"`
}

type data struct {
	As            app.Side  `json:"as,omitempty"` // as what the account is told
	Share         string    `json:"share,omitempty"`
	Device        string    `json:"device,omitempty"`
	AccessRequest string    `json:"access_request,omitempty"`
	Ends          time.Time `json:"ends,omitzero"`
	Alarm         string    `json:"alarm,omitempty"` // its id
	Channel       int       `json:"channel,omitempty"`
	Kind          string    `json:"kind,omitempty"`
}

func bodyOf(a app.About) ([]byte, error) {
	b := body{Type: string(a.Tiding), Timestamp: a.At.UTC(), Data: data{As: a.Side, Share: a.Share, Device: a.Device, Ends: a.Ends}}
	if a.Tiding == app.TidingRequested {
		serial, _ := device.SerialOf(a.Device)
		b.Data.AccessRequest = request.ID(serial, a.Other)
	}
	if a.Tiding == app.TidingAlarm {
		b.Data.Alarm, b.Data.Channel, b.Data.Kind = a.Cause.String(), a.Channel, a.Alarm
	}
	return json.Marshal(b)
}

// Claim implements outbox.Store.
func (h *Hooks) Claim(ctx context.Context, holder string, lasts time.Duration) (outbox.Message, bool, error) {
	return h.claim(ctx, hookChannel, holder, lasts, 1, h.write)
}

// write writes the message of a notice: see Notifier.claim.
func (h *Hooks) write(ctx context.Context, list []vault.Notice) (m outbox.Message, wait time.Duration, err error) {
	n := list[0]
	a, err := aboutOf(n)
	if err != nil {
		h.cfg.Logger.WarnContext(ctx, "a notice cannot be read", "error", err)
		return m, 0, nil
	}
	t, ok, err := h.cfg.Told.Look(ctx, a)
	if err != nil || !ok || t.Account != n.Account || t.Webhook == "" || !wanted(t, t.Settings.Webhook.Sends(t.Kind())) {
		return m, 0, err
	}
	w, err := h.cfg.Vault.Webhook(ctx, n.Account, t.Webhook)
	if errors.Is(err, vault.ErrNotFound) || err == nil && !w.Disabled.IsZero() {
		return m, 0, nil
	}
	if err != nil {
		return m, 0, err
	}
	text, err := bodyOf(a)
	if err != nil {
		return m, 0, err
	}
	wait, err = h.cfg.Vault.Take(ctx, "webhook of "+n.Account, hookEvery, hookBurst)
	return outbox.Message{ID: n.ID, Account: n.Account, Until: n.Until, Tries: n.Tries, Kind: HookKind, To: t.Webhook, Text: string(text), About: n.About}, wait, err
}

// Finish implements outbox.Store.
func (h *Hooks) Finish(ctx context.Context, id, holder string) error {
	h.mu.Lock()
	delete(h.retry, id)
	h.mu.Unlock()
	return h.Notifier.Finish(ctx, id, holder)
}

// Retry implements outbox.Store: everything for the account waits as long.
func (h *Hooks) Retry(ctx context.Context, id, holder string, at time.Time) error {
	h.mu.Lock()
	if own, ok := h.retry[id]; ok {
		at = own
		delete(h.retry, id)
	}
	h.mu.Unlock()
	return h.Notifier.Retry(ctx, id, holder, at)
}

// Send implements outbox.Sender. A try whose answer did not come is made again: the
// receiver knows the id.
func (h *Hooks) Send(ctx context.Context, m outbox.Message, _ func() error) error {
	w, err := h.cfg.Vault.Webhook(ctx, m.Account, m.To)
	if errors.Is(err, vault.ErrNotFound) {
		return fmt.Errorf("%w: the webhook was removed", outbox.ErrRefused)
	}
	if err != nil {
		return err
	}
	ctx, end, err := h.permit(ctx, m, HookKind)
	if err != nil {
		return err
	}
	defer end()
	outcome, status, err := h.call(ctx, end, w, m.ID, []byte(m.Text))
	if err != nil || outcome == webhook.Delivered {
		return err
	}
	if outcome == webhook.Gone {
		err := h.cfg.Vault.DisableWebhook(context.WithoutCancel(ctx), w.Account, w.ID, disabledGone)
		return errors.Join(fmt.Errorf("%w: the webhook answered 410", outbox.ErrRefused), err)
	}
	return h.failed(ctx, w, m, outcome, status)
}

// call calls a webhook and records how that went. sent is called once nothing more is sent.
func (h *Hooks) call(ctx context.Context, sent func(), w vault.Webhook, id string, text []byte) (outcome string, status int, err error) {
	secrets := []string{w.Secret}
	if w.Before != "" && h.cfg.Now().Before(w.BeforeUntil) {
		secrets = append(secrets, w.Before)
	}
	outcome, status, err = h.client.Call(ctx, webhook.Delivery{URL: w.URL, ID: id, Secrets: secrets, Body: text})
	ctx = context.WithoutCancel(ctx) // that of the sending
	sent()
	if err != nil {
		return "", 0, err
	}
	if outcome == webhook.Delivered && w.Tried.After(h.cfg.Now().Add(-time.Minute)) && w.Outcome == "" && w.Disabled.IsZero() {
		return outcome, status, nil // it need not be written again
	}
	failures, since, err := h.cfg.Vault.WebhookTried(ctx, w.Account, w.ID, outcome, status)
	if err == nil && outcome != webhook.Delivered && failures >= leastTries && h.cfg.Now().Sub(since) >= failingFor {
		err = h.cfg.Vault.DisableWebhook(ctx, w.Account, w.ID, disabledFailing)
	}
	return outcome, status, err
}

// failed lets everything for the account wait.
func (h *Hooks) failed(ctx context.Context, w vault.Webhook, m outbox.Message, outcome string, status int) error {
	at := h.cfg.Now().Add(pauseAfter(w.Failures))
	h.mu.Lock()
	h.retry[m.ID] = at // Retry follows, or Finish
	h.mu.Unlock()
	err := fmt.Errorf("the webhook failed: %s, status %d", outcome, status)
	return errors.Join(err, h.cfg.Vault.DelayNotices(context.WithoutCancel(ctx), hookChannel, m.Account, at))
}

// pauseAfter returns how long to wait after so many failures before: four times as long
// each time, with a fifth of it up to chance.
func pauseAfter(failures int) time.Duration {
	pause := firstRetry
	for range min(failures, 16) {
		pause = min(4*pause, longestRetry)
	}
	return pause*9/10 + rand.N(pause/5) //nolint:gosec // nobody is harmed who guesses it
}

// Test sends a webhook a notice without content, and reports how that went.
func (h *Hooks) Test(ctx context.Context, w vault.Webhook, id string) (outcome string, status int, err error) {
	text, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      struct{}  `json:"data"`
	}{Type: "test", Timestamp: h.cfg.Now().UTC().Truncate(time.Microsecond)})
	if err != nil {
		return "", 0, err
	}
	return h.call(ctx, func() {}, w, id, text)
}

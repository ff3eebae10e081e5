package notices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"latchkey/domain/account"
	"latchkey/internal/app"
	"latchkey/internal/outbox"
	"latchkey/internal/push"
	"latchkey/internal/vault"
)

// PushKind is the kind of the messages of Pushes.
const PushKind = "push"

// Pushes is the outbox.Store of messages to browsers, and the outbox.Sender of what it
// returns.
type Pushes struct {
	*Notifier
	client *push.Client
}

// NewPushes makes the store and sender of messages to browsers.
func NewPushes(n *Notifier, client *push.Client) *Pushes { return &Pushes{n, client} }

// An account gets at most so many pushes.
const pushBurst, pushEvery = 100, time.Second

// pushed is what a browser gets: no camera is named, since a screen may show it to anybody.
type pushed struct {
	Type  string    `json:"type"`
	Alarm string    `json:"alarm"` // its id, with which the account reads the rest
	At    time.Time `json:"at"`
}

// Claim implements outbox.Store.
func (s *Pushes) Claim(ctx context.Context, holder string, lasts time.Duration) (outbox.Message, bool, error) {
	return s.claim(ctx, pushChannel, holder, lasts, 1, s.write)
}

// write writes the message of a notice: see Notifier.claim.
func (s *Pushes) write(ctx context.Context, list []vault.Notice) (m outbox.Message, wait time.Duration, err error) {
	n := list[0]
	a, err := aboutOf(n)
	if err != nil || a.Tiding != app.TidingAlarm {
		return m, 0, nil
	}
	t, ok, err := s.cfg.Told.Look(ctx, a)
	if err != nil || !ok || t.Account != n.Account || !wanted(t, t.Settings.Push.Sends(account.NoticeAlarms)) {
		return m, 0, err
	}
	text, err := json.Marshal(pushed{Type: string(a.Tiding), Alarm: a.Cause.String(), At: a.At.UTC()})
	if err != nil {
		return m, 0, err
	}
	wait, err = s.cfg.Vault.Take(ctx, "pushes of "+n.Account, pushEvery, pushBurst)
	return outbox.Message{ID: n.ID, Account: n.Account, Until: n.Until, Tries: n.Tries, Kind: PushKind, To: n.Target, Text: string(text), About: n.About}, wait, err
}

// Send implements outbox.Sender. The browser is looked up at this moment: its session may
// have ended. One that its push service does not know any more is forgotten.
func (s *Pushes) Send(ctx context.Context, m outbox.Message, _ func() error) error {
	to, err := s.cfg.Vault.PushOf(ctx, m.Account, m.To)
	if errors.Is(err, vault.ErrNotFound) {
		return fmt.Errorf("%w: %w", outbox.ErrRefused, errNoBrowser)
	}
	if err != nil {
		return err
	}
	ctx, end, err := s.permit(ctx, m, PushKind)
	if err != nil {
		return err
	}
	defer end()
	left := m.Until.Sub(s.cfg.Now())
	outcome, err := s.client.Send(ctx, push.Browser{Endpoint: to.Endpoint, P256DH: to.P256DH, Auth: to.Auth}, []byte(m.Text), left)
	ctx = context.WithoutCancel(ctx) // that of the sending
	end()
	switch {
	case err != nil:
		return err
	case outcome == push.Gone:
		_, err := s.cfg.Vault.ForgetPush(ctx, m.Account, m.To)
		return errors.Join(fmt.Errorf("%w: the push service does not know the browser any more", outbox.ErrRefused), err)
	case outcome == push.Refused:
		return fmt.Errorf("%w: the push service refused it", outbox.ErrRefused)
	case outcome != push.Delivered:
		return errors.New("the push service failed")
	}
	return nil
}

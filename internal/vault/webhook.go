package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Webhook is where an account has its notices sent. Its address and its secrets are
// sealed.
type Webhook struct {
	Account string `json:"-"`
	ID      string `json:"-"`
	URL     string `json:"url"`
	Secret  string `json:"secret"`
	// Before is the secret before, with which deliveries are signed too until a time.
	Before      string    `json:"before,omitempty"`
	BeforeUntil time.Time `json:"before_until,omitzero"`

	Created  time.Time `json:"-"`
	Failures int       `json:"-"` // since the last success
	Failing  time.Time `json:"-"` // since then; zero: it is not
	Tried    time.Time `json:"-"` // the last time; zero: never
	Outcome  string    `json:"-"` // of the last try: "" if it succeeded
	Status   int       `json:"-"` // that it answered with; 0: it did not
	Disabled time.Time `json:"-"` // since then nothing is sent; zero: it is not
	Reason   string    `json:"-"` // why it is disabled
}

// webhook is the row of a Webhook. Times are Unix milliseconds.
type webhook struct {
	bun.BaseModel `bun:"table:vault_webhooks,alias:webhook"`

	Account  string `bun:"account,pk"`
	ID       string `bun:"id,pk"`
	Value    []byte `bun:"value,notnull"` // sealed
	Created  int64  `bun:"created,notnull"`
	Failures int    `bun:"failures,notnull"`
	Failing  int64  `bun:"failing,notnull"`
	Tried    int64  `bun:"tried,notnull"`
	Outcome  string `bun:"outcome,notnull"`
	Status   int    `bun:"status,notnull"`
	Disabled int64  `bun:"disabled,notnull"`
	Reason   string `bun:"reason,notnull"`
}

func boundWebhook(account, id string) string { return "webhook " + account + " " + id }

// PutWebhook keeps a webhook of an account. The account has it once the log says so.
func (v *Vault) PutWebhook(ctx context.Context, w Webhook) error {
	value, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("encoding a webhook: %w", err)
	}
	row := &webhook{Account: w.Account, ID: w.ID, Value: v.box.seal(boundWebhook(w.Account, w.ID), value), Created: v.now().UnixMilli()}
	return wrapOutbox("keeping a webhook", v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).On("CONFLICT (account, id) DO NOTHING").Exec(ctx)
		return err
	}))
}

// Webhook returns a webhook of an account. ErrNotFound: there is none.
func (v *Vault) Webhook(ctx context.Context, account, id string) (Webhook, error) {
	row := &webhook{Account: account, ID: id}
	if err := v.db.NewSelect().Model(row).WherePK().Scan(ctx); err != nil {
		if notFound(err) {
			err = ErrNotFound
		}
		return Webhook{}, fmt.Errorf("reading a webhook: %w", err)
	}
	value, err := v.box.open(boundWebhook(account, id), row.Value)
	var w Webhook
	if err == nil {
		err = json.Unmarshal(value, &w)
	}
	if err != nil {
		return Webhook{}, fmt.Errorf("reading a webhook: %w", err)
	}
	w.Account, w.ID, w.Created = account, id, millis(row.Created)
	w.Failures, w.Failing, w.Tried, w.Outcome, w.Status = row.Failures, millis(row.Failing), millis(row.Tried), row.Outcome, row.Status
	w.Disabled, w.Reason = millis(row.Disabled), row.Reason
	return w, nil
}

// millis is a time of a row, zero for none.
func millis(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMilli(at).UTC()
}

// WithWebhooks returns which of the accounts may have a webhook.
func (v *Vault) WithWebhooks(ctx context.Context, accounts []string) (list []string, err error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	err = v.db.NewSelect().Model((*webhook)(nil)).ColumnExpr("DISTINCT account").Where("account IN (?)", bun.List(accounts)).Scan(ctx, &list)
	return list, wrapOutbox("looking for webhooks", err)
}

// AnyWebhook reports whether any account may have a webhook.
func (v *Vault) AnyWebhook(ctx context.Context) (bool, error) {
	some, err := v.db.NewSelect().Model((*webhook)(nil)).Exists(ctx)
	return some, wrapOutbox("looking for webhooks", err)
}

// KeepWebhook forgets every webhook of an account but one; "": every one.
func (v *Vault) KeepWebhook(ctx context.Context, account, id string) error {
	return wrapOutbox("forgetting webhooks", v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewDelete().Model((*webhook)(nil)).Where("account = ? AND id <> ?", account, id).Exec(ctx))
	}, true))
}

// ForgetWebhook forgets one webhook of an account.
func (v *Vault) ForgetWebhook(ctx context.Context, account, id string) error {
	return wrapOutbox("forgetting a webhook", v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewDelete().Model((*webhook)(nil)).Where("account = ? AND id = ?", account, id).Exec(ctx))
	}, true))
}

// WebhookTried records how a try to reach a webhook went: outcome is "" if it succeeded.
// After a failure it reports since when it has been failing, and how often.
func (v *Vault) WebhookTried(ctx context.Context, account, id, outcome string, status int) (failures int, since time.Time, err error) {
	now := v.now().UnixMilli()
	row := &webhook{Account: account, ID: id}
	err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		q := tx.NewSelect().Model(row).ExcludeColumn("value").WherePK()
		if !v.sqlite {
			q = q.For("UPDATE")
		}
		if err := q.Scan(ctx); err != nil {
			return err
		}
		row.Tried, row.Outcome, row.Status = now, outcome, status
		if outcome == "" {
			row.Failures, row.Failing, row.Disabled, row.Reason = 0, 0, 0, ""
		} else {
			row.Failures++
			if row.Failing == 0 {
				row.Failing = now
			}
		}
		_, err := tx.NewUpdate().Model(row).Column("tried", "outcome", "status", "failures", "failing", "disabled", "reason").WherePK().Exec(ctx)
		return err
	})
	if notFound(err) || errors.Is(err, ErrNotFound) {
		return 0, time.Time{}, nil
	}
	return row.Failures, millis(row.Failing), wrapOutbox("recording a try of a webhook", err)
}

// DisableWebhook stops sending to a webhook, for a reason.
func (v *Vault) DisableWebhook(ctx context.Context, account, id, reason string) error {
	return wrapOutbox("disabling a webhook", v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*webhook)(nil)).Set("disabled = ?, reason = ?", v.now().UnixMilli(), reason).
			Where("account = ? AND id = ? AND disabled = 0", account, id).Exec(ctx)
		return err
	}))
}

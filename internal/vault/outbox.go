package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Outgoing is a message to a person: it is sealed while it waits, and deleted when it
// was sent or given up.
type Outgoing struct {
	ID      string    `json:"-"`    // follows from the cause, so that it is sent once; never personal
	Account string    `json:"-"`    // that it is for; "" for none
	Until   time.Time `json:"-"`    // given up then
	Tries   int       `json:"-"`    // so far
	Kind    string    `json:"kind"` // of the address: "email" or "phone"
	To      string    `json:"to"`
	Subject string    `json:"subject,omitempty"`
	Text    string    `json:"text"`
}

// outgoing is the row of an Outgoing. Times are Unix milliseconds.
type outgoing struct {
	bun.BaseModel `bun:"table:vault_outbox,alias:outbox"`

	ID      string `bun:"id,pk"`
	Account string `bun:"account,notnull"`
	Value   []byte `bun:"value,notnull"` // sealed; empty when it is done
	State   int    `bun:"state,notnull"`
	Due     int64  `bun:"due,notnull"`   // not tried before; when it is done: forgotten then
	Until   int64  `bun:"until,notnull"` // given up then
	Tries   int    `bun:"tries,notnull"`
	Holder  string `bun:"holder,notnull"` // who sends it
	Held    int64  `bun:"held,notnull"`   // for how long
}

// The states of a message. One that is being handed over when its process dies may have
// been sent or not; it is not sent again.
const (
	outWaiting    = 0
	outClaimed    = 1 // nothing was handed over yet
	outHandedOver = 2 // the other side may have it
	outDone       = 3
)

// outKept is how long the id of a message is remembered that is done.
const outKept = 7 * 24 * time.Hour

// ErrNotHeld is returned for a message that another process sends, or that is done.
var ErrNotHeld = errors.New("the message is not this sender's any more")

func (v *Vault) outgoingRow(m Outgoing) (*outgoing, error) {
	value, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	return &outgoing{
		ID: m.ID, Account: m.Account, Value: v.box.seal("outgoing "+m.ID, value), Due: v.now().UnixMilli(), Until: m.Until.UnixMilli(),
	}, nil
}

// Enqueue keeps a message until it was sent. One with an id that was there before is
// the same message.
func (v *Vault) Enqueue(ctx context.Context, m Outgoing) error {
	row, err := v.outgoingRow(m)
	if err == nil {
		err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error { return enqueue(ctx, tx, row) })
	}
	if err != nil {
		return fmt.Errorf("keeping a message: %w", err)
	}
	return nil
}

func enqueue(ctx context.Context, tx bun.Tx, row *outgoing) error {
	_, err := tx.NewInsert().Model(row).On("CONFLICT (id) DO NOTHING").Exec(ctx)
	return err
}

// ClaimOutgoing takes a message that is due, for a holder and a time; false: none is.
// Messages that nobody may send any more are done with on the way.
func (v *Vault) ClaimOutgoing(ctx context.Context, holder string, lasts time.Duration) (m Outgoing, ok bool, err error) {
	now := v.now().UnixMilli()
	due := func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("state = ? AND due <= ? OR state IN (?, ?) AND held <= ?", outWaiting, now, outClaimed, outHandedOver, now)
	}
	some, err := due(v.db.NewSelect().Model((*outgoing)(nil))).Exists(ctx)
	if err != nil || !some {
		return m, false, wrapOutbox("looking for messages", err)
	}
	row := &outgoing{}
	err = v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		*row = outgoing{}
		forgot, err := changed(tx.NewUpdate().Model(row).Set("state = ?, value = ?, due = ?", outDone, []byte{}, now+outKept.Milliseconds()).
			Where("state = ? AND held <= ? OR state < ? AND until <= ?", outHandedOver, now, outHandedOver, now).Exec(ctx))
		if err != nil {
			return false, err
		}
		q := due(tx.NewSelect().Model(row)).OrderExpr("due, id").Limit(1)
		if !v.sqlite {
			q = q.For("UPDATE SKIP LOCKED")
		}
		if err := q.Scan(ctx); err != nil {
			if notFound(err) {
				err = nil
			}
			return forgot, err
		}
		row.State, row.Holder, row.Held = outClaimed, holder, now+lasts.Milliseconds()
		_, err = tx.NewUpdate().Model(row).Column("state", "holder", "held").WherePK().Exec(ctx)
		return forgot, err
	}, true)
	if err != nil || row.ID == "" {
		return m, false, wrapOutbox("taking a message", err)
	}
	value, err := v.box.open("outgoing "+row.ID, row.Value)
	if err == nil {
		err = json.Unmarshal(value, &m)
	}
	m.ID, m.Account, m.Until, m.Tries = row.ID, row.Account, time.UnixMilli(row.Until), row.Tries
	return m, err == nil, wrapOutbox("reading a message", err)
}

// HandOver notes, before a message is handed over, that it may have been from now on.
// ErrNotHeld: somebody else has it.
func (v *Vault) HandOver(ctx context.Context, id, holder string) error {
	return v.heldOutgoing(ctx, "handing a message over", func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewUpdate().Model((*outgoing)(nil)).Set("state = ?", outHandedOver).
			Where("id = ? AND holder = ? AND state = ?", id, holder, outClaimed).Exec(ctx))
	})
}

// FinishOutgoing deletes a message that was sent or given up; its id is remembered for a
// while. ErrNotHeld: somebody else has it.
func (v *Vault) FinishOutgoing(ctx context.Context, id, holder string) error {
	return v.heldOutgoing(ctx, "deleting a message", func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewUpdate().Model((*outgoing)(nil)).
			Set("state = ?, value = ?, due = ?", outDone, []byte{}, v.now().Add(outKept).UnixMilli()).
			Where("id = ? AND holder = ? AND state IN (?, ?)", id, holder, outClaimed, outHandedOver).Exec(ctx))
	})
}

// RetryOutgoing lets a message wait that was surely not sent. ErrNotHeld: somebody else
// has it.
func (v *Vault) RetryOutgoing(ctx context.Context, id, holder string, at time.Time) error {
	return v.heldOutgoing(ctx, "keeping a message for another try", func(ctx context.Context, tx bun.Tx) (bool, error) {
		return changed(tx.NewUpdate().Model((*outgoing)(nil)).Set("state = ?, due = ?, tries = tries + 1", outWaiting, at.UnixMilli()).
			Where("id = ? AND holder = ? AND state IN (?, ?)", id, holder, outClaimed, outHandedOver).Exec(ctx))
	})
}

func (v *Vault) heldOutgoing(ctx context.Context, what string, do func(context.Context, bun.Tx) (bool, error)) error {
	return wrapOutbox(what, v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		held, err := do(ctx, tx)
		if err == nil && !held {
			err = ErrNotHeld
		}
		return held, err
	}, false))
}

// ReleaseOutgoing ends what other processes hold, of which none runs.
func (v *Vault) ReleaseOutgoing(ctx context.Context) error {
	return wrapOutbox("taking messages over", v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*outgoing)(nil)).Set("held = 0").Where("state IN (?, ?)", outClaimed, outHandedOver).Exec(ctx)
		return err
	}))
}

// DropOutgoing forgets the ids of messages that were done long ago.
func (v *Vault) DropOutgoing(ctx context.Context) error {
	return wrapOutbox("forgetting messages", v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*outgoing)(nil)).Where("state = ? AND due <= ?", outDone, v.now().UnixMilli()).Exec(ctx)
		return err
	}))
}

func wrapOutbox(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

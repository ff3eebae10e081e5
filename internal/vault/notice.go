package vault

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// Notice is one that waits to be sent. It consists of ids: what it says is looked up when
// it is sent.
type Notice struct {
	ID      string    // follows from its cause and from whom it is for: it is sent once
	Channel string    // on which it is sent
	Target  string    // those of one target are sent one after the other, or together
	Account string    // that it is for; "" if that is not known
	About   string    // what it is about, opaque here
	Due     time.Time // not sent before
	Until   time.Time // given up then
	Tries   int       // so far
}

// notice is the row of a Notice. Times are Unix milliseconds.
type notice struct {
	bun.BaseModel `bun:"table:vault_notices,alias:notice"`

	ID      string `bun:"id,pk"`
	Channel string `bun:"channel,notnull"`
	Target  string `bun:"target,notnull"`
	Account string `bun:"account,notnull"`
	About   string `bun:"about,notnull"`
	State   int    `bun:"state,notnull"` // as that of a message
	Due     int64  `bun:"due,notnull"`   // when it is done: forgotten then
	Until   int64  `bun:"until,notnull"`
	Tries   int    `bun:"tries,notnull"`
	Batch   string `bun:"batch,notnull"` // the notice with which it is sent
	Holder  string `bun:"holder,notnull"`
	Held    int64  `bun:"held,notnull"`
}

// noticeKept is how long the id of a notice is remembered that is done: longer than
// anything is sent after its cause.
const noticeKept = 3 * 24 * time.Hour

func rowOfNotice(n Notice) *notice {
	return &notice{
		ID: n.ID, Channel: n.Channel, Target: n.Target, Account: n.Account, About: n.About,
		Due: n.Due.UnixMilli(), Until: n.Until.UnixMilli(),
	}
}

func (n *notice) notice() Notice {
	return Notice{
		ID: n.ID, Channel: n.Channel, Target: n.Target, Account: n.Account, About: n.About,
		Due: time.UnixMilli(n.Due), Until: time.UnixMilli(n.Until), Tries: n.Tries,
	}
}

// EnqueueNotices keeps notices until they were sent. One with an id that was there before
// is the same notice.
func (v *Vault) EnqueueNotices(ctx context.Context, list []Notice) error {
	return wrapOutbox("keeping notices", v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		return enqueueNotices(ctx, tx, list)
	}))
}

// noticesAtOnce is how many rows one statement inserts.
const noticesAtOnce = 200

func enqueueNotices(ctx context.Context, tx bun.Tx, list []Notice) error {
	for len(list) > 0 {
		n := min(len(list), noticesAtOnce)
		rows := make([]*notice, n)
		for i := range rows {
			rows[i] = rowOfNotice(list[i])
		}
		if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// ClaimNotices takes a notice of a channel that is due, and others of the same target, at
// most so many, for a holder and a time; none: nothing is due. The first one names them
// all. Of one target nothing is taken while somebody holds something.
func (v *Vault) ClaimNotices(ctx context.Context, channel, holder string, lasts time.Duration, most int) (list []Notice, err error) {
	now := v.now().UnixMilli()
	some, err := v.dueNotices(v.db.NewSelect().Model((*notice)(nil)), channel, now).Exists(ctx)
	if err != nil || !some {
		return nil, wrapOutbox("looking for notices", err)
	}
	err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		list = nil
		_, err := tx.NewUpdate().Model((*notice)(nil)).Set("state = ?, about = '', due = ?", outDone, now+noticeKept.Milliseconds()).
			Where("channel = ? AND (state = ? AND held <= ? OR state < ? AND until <= ? AND held <= ?)", channel, outHandedOver, now, outHandedOver, now, now).Exec(ctx)
		if err != nil {
			return err
		}
		rows, err := v.pickNotices(ctx, tx, channel, now, most)
		if err != nil || len(rows) == 0 {
			return err
		}
		ids := make([]string, len(rows))
		for i := range rows {
			ids[i], list = rows[i].ID, append(list, rows[i].notice())
		}
		_, err = tx.NewUpdate().Model((*notice)(nil)).Set("state = ?, holder = ?, held = ?, batch = ?", outClaimed, holder, now+lasts.Milliseconds(), rows[0].ID).
			Where("id IN (?)", bun.List(ids)).Exec(ctx)
		return err
	})
	return list, wrapOutbox("taking notices", err)
}

// dueNotices are those that may be taken.
func (v *Vault) dueNotices(q *bun.SelectQuery, channel string, now int64) *bun.SelectQuery {
	return q.Where("notice.channel = ? AND (notice.state = ? AND notice.due <= ? OR notice.state IN (?, ?) AND notice.held <= ?)", channel, outWaiting, now, outClaimed, outHandedOver, now).
		Where("NOT EXISTS (SELECT 1 FROM vault_notices AS busy WHERE busy.target = notice.target AND busy.channel = notice.channel AND busy.state IN (?, ?) AND busy.held > ?)", outClaimed, outHandedOver, now)
}

func (v *Vault) pickNotices(ctx context.Context, tx bun.Tx, channel string, now int64, most int) ([]notice, error) {
	locked := func(q *bun.SelectQuery) *bun.SelectQuery {
		if !v.sqlite {
			q = q.For("UPDATE SKIP LOCKED")
		}
		return q
	}
	var first []notice
	err := locked(v.dueNotices(tx.NewSelect().Model(&first), channel, now).OrderExpr("notice.due, notice.id").Limit(1)).Scan(ctx)
	if err != nil || len(first) == 0 || most < 2 {
		return first, err
	}
	var more []notice
	err = locked(tx.NewSelect().Model(&more).
		Where("channel = ? AND target = ? AND id <> ?", channel, first[0].Target, first[0].ID).
		Where("state = ? OR state = ? AND held <= ?", outWaiting, outClaimed, now).OrderExpr("due, id").Limit(int64(most - 1))).Scan(ctx)
	return append(first, more...), err
}

// HandOverNotices notes, before notices are handed over, that they may have been from now
// on. ErrNotHeld: somebody else has them.
func (v *Vault) HandOverNotices(ctx context.Context, first, holder string) error {
	return v.heldNotices(ctx, "handing notices over", func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("state = ?", outHandedOver).Where("state = ?", outClaimed)
	}, first, holder, false)
}

// FinishNotices is for notices that were sent, or are of no use any more. Their ids are
// remembered for a while. ErrNotHeld: somebody else has them.
func (v *Vault) FinishNotices(ctx context.Context, first, holder string) error {
	return v.heldNotices(ctx, "finishing notices", func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("state = ?, about = '', due = ?", outDone, v.now().Add(noticeKept).UnixMilli()).Where("state IN (?, ?)", outClaimed, outHandedOver)
	}, first, holder, true)
}

// FinishNotice is FinishNotices for one of them.
func (v *Vault) FinishNotice(ctx context.Context, id, holder string) error {
	return wrapOutbox("finishing a notice", v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*notice)(nil)).Set("state = ?, about = '', due = ?", outDone, v.now().Add(noticeKept).UnixMilli()).
			Where("id = ? AND holder = ? AND state = ?", id, holder, outClaimed).Exec(ctx)
		return err
	}))
}

// RetryNotices lets notices wait that were surely not sent; tried: it counts as a try.
// ErrNotHeld: somebody else has them.
func (v *Vault) RetryNotices(ctx context.Context, first, holder string, at time.Time, tried bool) error {
	tries := 0
	if tried {
		tries = 1
	}
	return v.heldNotices(ctx, "keeping notices for another try", func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("state = ?, due = ?, held = 0, tries = tries + ?", outWaiting, at.UnixMilli(), tries).Where("state IN (?, ?)", outClaimed, outHandedOver)
	}, first, holder, false)
}

// DelayNotices lets everything that waits for a target wait until a time.
func (v *Vault) DelayNotices(ctx context.Context, channel, target string, at time.Time) error {
	return wrapOutbox("delaying notices", v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*notice)(nil)).Set("due = ?", at.UnixMilli()).
			Where("channel = ? AND target = ? AND state = ? AND due < ?", channel, target, outWaiting, at.UnixMilli()).Exec(ctx)
		return err
	}))
}

func (v *Vault) heldNotices(ctx context.Context, what string, set func(*bun.UpdateQuery) *bun.UpdateQuery, first, holder string, lazy bool) error {
	write := v.durably
	if lazy { // undone by a loss of power, they count as handed over
		write = v.lazily
	}
	return wrapOutbox(what, write(ctx, func(ctx context.Context, tx bun.Tx) error {
		held, err := changed(set(tx.NewUpdate().Model((*notice)(nil)).Where("batch = ? AND holder = ?", first, holder)).Exec(ctx))
		if err == nil && !held {
			err = ErrNotHeld
		}
		return err
	}))
}

// ReleaseNotices ends what other processes hold, of which none runs.
func (v *Vault) ReleaseNotices(ctx context.Context) error {
	return wrapOutbox("taking notices over", v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*notice)(nil)).Set("held = 0").Where("state IN (?, ?)", outClaimed, outHandedOver).Exec(ctx)
		return err
	}))
}

// DropNotices forgets the ids of notices that were done long ago.
func (v *Vault) DropNotices(ctx context.Context) error {
	return wrapOutbox("forgetting notices", v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*notice)(nil)).Where("state = ? AND due <= ?", outDone, v.now().UnixMilli()).Exec(ctx)
		if err != nil {
			return err
		}
		_, err = tx.NewDelete().Model((*reminder)(nil)).Where("ends <= ? AND at <= ?", v.now().Add(-noticeKept).UnixMilli(), v.now().Add(-noticeKept).UnixMilli()).Exec(ctx)
		return err
	}))
}

// reminder is the last one about a device of a share. Times are Unix milliseconds.
type reminder struct {
	bun.BaseModel `bun:"table:vault_reminders"`

	Share  string `bun:"share,pk"`
	Device string `bun:"device,pk"`
	Ends   int64  `bun:"ends,notnull"` // what it reminded of
	At     int64  `bun:"at,notnull"`
}

// Remind keeps notices that remind of the end of a device in a share, unless somebody was
// reminded of this end, or of any within a time. It reports whether they are kept.
func (v *Vault) Remind(ctx context.Context, share, device string, ends time.Time, within time.Duration, list []Notice) (kept bool, err error) {
	now := v.now().UnixMilli()
	row := &reminder{Share: share, Device: device, Ends: ends.UnixMilli(), At: now}
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		kept, err = changed(tx.NewInsert().Model(row).On("CONFLICT (share, device) DO UPDATE").Set("ends = EXCLUDED.ends, at = EXCLUDED.at").
			Where("?TableAlias.ends <> EXCLUDED.ends AND ?TableAlias.at <= ?", now-within.Milliseconds()).Exec(ctx))
		if err != nil || !kept {
			return err
		}
		return enqueueNotices(ctx, tx, list)
	})
	return kept && err == nil, wrapOutbox("keeping a reminder", err)
}

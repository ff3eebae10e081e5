package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/uptrace/bun"

	"latchkey/internal/position"
)

// Mark is how much of which log was written while this vault was in use. It shows whether
// the two belong together.
type Mark struct {
	Log      string            // the log's id; "" for a vault that was never used with one
	Epoch    uint64            // of the log
	Position position.Position // of an event that was in the log; 0 for none
	Event    string            // the id of that event
}

// state is the vault's own history, in the row stateRow. The row times of its table has a
// token of the file.
type state struct {
	bun.BaseModel `bun:"table:vault_state"`

	ID       int               `bun:"id,pk"`
	Log      string            `bun:"log,notnull"`
	Epoch    int64             `bun:"epoch,notnull"`
	Position position.Position `bun:"position,notnull"`
	Event    string            `bun:"event,notnull"`
	// Taken counts revocations that are recorded only here: sessions ended, passwords
	// replaced, persons forgotten.
	Taken int64 `bun:"taken,notnull"`
}

const stateRow = 1

// ID identifies this vault: it is the same for every copy. It follows from the key of the
// names in the log, so vaults of earlier versions have one, too.
func (v *Vault) ID() string {
	mac := hmac.New(sha256.New, v.naming)
	mac.Write([]byte("vault"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Mark returns the mark; the zero Mark if it was never set.
func (v *Vault) Mark(ctx context.Context) (Mark, error) {
	s, err := v.state(ctx)
	return Mark{Log: s.Log, Epoch: uint64(s.Epoch), Position: s.Position, Event: s.Event}, err
}

// Taken returns the number of revocations in the vault: sessions ended, passwords
// replaced, persons forgotten. A copy of the vault with a lower number is older, and
// would revive what was revoked since.
func (v *Vault) Taken(ctx context.Context) (uint64, error) {
	s, err := v.state(ctx)
	return uint64(s.Taken), err
}

func (v *Vault) state(ctx context.Context) (state, error) {
	s := state{ID: stateRow}
	if err := v.db.NewSelect().Model(&s).WherePK().Scan(ctx); err != nil && !notFound(err) {
		return state{}, fmt.Errorf("reading the state of the vault: %w", err)
	}
	return s, nil
}

// SetMark sets which log the vault belongs to, overwriting any earlier mark.
func (v *Vault) SetMark(ctx context.Context, m Mark) error {
	row, err := m.row()
	if err == nil {
		err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error { return upsertMark(ctx, tx, row, "") })
	}
	if err != nil {
		return fmt.Errorf("setting the mark of the vault: %w", err)
	}
	return nil
}

// AdvanceMark advances the mark within its log; it never moves back. A loss of power may
// undo that, which is harmless.
func (v *Vault) AdvanceMark(ctx context.Context, m Mark) error {
	row, err := m.row()
	if err == nil {
		err = v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
			return upsertMark(ctx, tx, row, "state.log = EXCLUDED.log AND state.epoch = EXCLUDED.epoch AND state.position < EXCLUDED.position")
		})
	}
	if err != nil {
		return fmt.Errorf("advancing the mark of the vault: %w", err)
	}
	return nil
}

func (m Mark) row() (*state, error) {
	if m.Epoch > math.MaxInt64 || m.Position > math.MaxInt64 {
		return nil, errors.New("it is out of bounds")
	}
	return &state{ID: stateRow, Log: m.Log, Epoch: int64(m.Epoch), Position: m.Position, Event: m.Event}, nil
}

func upsertMark(ctx context.Context, tx bun.Tx, row *state, where string) error {
	q := tx.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").
		Set("log = EXCLUDED.log, epoch = EXCLUDED.epoch, position = EXCLUDED.position, event = EXCLUDED.event")
	if where != "" {
		q = q.Where(where)
	}
	_, err := q.Exec(ctx)
	return err
}

// takeAway runs do durably, and counts it if do reports that it revoked something.
func (v *Vault) takeAway(ctx context.Context, do func(context.Context, bun.Tx) (taken bool, err error)) error {
	return v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		taken, err := do(ctx, tx)
		if err != nil || !taken {
			return false, err
		}
		return true, countTaken(ctx, tx)
	}, false)
}

func countTaken(ctx context.Context, tx bun.Tx) error {
	_, err := tx.NewInsert().Model(&state{ID: stateRow, Taken: 1}).On("CONFLICT (id) DO UPDATE").Set("taken = state.taken + 1").Exec(ctx)
	return err
}

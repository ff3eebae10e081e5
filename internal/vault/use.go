package vault

import (
	"context"
	"fmt"
	"sync"

	"github.com/uptrace/bun"
)

// uses remembers when sessions were last used, until NoteUses writes it: a request must
// not wait for a write.
type uses struct {
	mu    sync.Mutex
	times map[string]int64 // Unix seconds, by the row's token
}

// usesMost is the maximum number of sessions remembered between two writes. The use of
// others is not recorded.
const usesMost = 65_536

func (u *uses) note(token string, at int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.times == nil {
		u.times = make(map[string]int64)
	}
	if _, known := u.times[token]; known || len(u.times) < usesMost {
		u.times[token] = at
	}
}

func (u *uses) last(token string) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.times[token]
}

func (u *uses) take() map[string]int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.times
	u.times = nil
	return taken
}

// NoteUses writes when sessions were last used. A crash only loses that.
func (v *Vault) NoteUses(ctx context.Context) error {
	times := v.uses.take()
	if len(times) == 0 {
		return nil
	}
	err := v.lazily(ctx, func(ctx context.Context, tx bun.Tx) error {
		for token, at := range times {
			if _, err := tx.NewUpdate().Model((*session)(nil)).Set("used = ?", at).Where("token = ? AND used < ?", token, at).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording the use of sessions: %w", err)
	}
	return nil
}

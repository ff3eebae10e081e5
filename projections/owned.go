package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"latchkey/eventstore"
)

// owned has the query for counting what an account has, in one statement, so that the
// count and the position that it has seen are from one state.
var owned = map[string]struct{ projection, query string }{
	"devices":     {Devices, "SELECT count(*) FROM devices AS r WHERE r.owner = $1 AND r.removed_at = 0"},
	"shares":      {SentShares, "SELECT count(*) FROM sent_shares AS r WHERE r.owner = $1"},
	"stream_keys": {Accounts, "SELECT count(*) FROM stream_keys AS r WHERE r.account = $1 AND (r.expires = 0 OR r.expires > $3)"},
}

// Owned counts the devices of an account, the shares that it has sent, or its
// stream keys that have not expired at a time: what is "devices", "shares" or
// "stream_keys". seen is the position in the log that the count has seen.
func (s *Store) Owned(ctx context.Context, account, what string, at time.Time) (n int, seen eventstore.Position, err error) {
	o, ok := owned[what]
	if !ok {
		return 0, 0, fmt.Errorf("counting %q: unknown kind", what)
	}
	stmt, err := s.Prepared(ctx, "SELECT c.position, ("+o.query+") FROM projection_checkpoints AS c WHERE c.name = $2") //nolint:sqlclosecheck // it is kept
	if err != nil {
		return 0, 0, fmt.Errorf("counting the %s of an account: %w", what, err)
	}
	args := []any{account, o.projection}
	if o.projection == Accounts {
		args = append(args, micros(at))
	}
	err = stmt.QueryRowContext(ctx, args...).Scan(&seen, &n)
	if errors.Is(err, sql.ErrNoRows) { // nothing has been seen yet
		return 0, 0, nil
	}
	return n, seen, wrapped("counting the "+what+" of an account", err)
}

package projections

import (
	"context"
	"fmt"
	"slices"
)

// Known are the ids of everything that the read models list, if secrets are stored for it
// elsewhere.
type Known struct {
	Accounts   []string // that hold a login
	Devices    []string // in an account
	StreamKeys []string // not revoked
}

// Known lists the current ids, as far as the read models have got.
func (s *Store) Known(ctx context.Context) (k Known, err error) {
	var kept []string
	for _, q := range []struct {
		into                 *[]string
		table, column, where string
	}{
		{&k.Accounts, "account_people", "account", "1 = 1"},
		{&k.Devices, "devices", "device", "removed_at = 0"},
		{&k.StreamKeys, "stream_keys", "name", "1 = 1"},
		// A missing or damaged row in one of the two tables must not cause the loss of a
		// secret.
		{&kept, "privilege_keys", "name", "account <> 0"},
	} {
		if err := s.DB().NewSelect().TableExpr(q.table).Column(q.column).Where(q.where).Scan(ctx, q.into); err != nil {
			return Known{}, fmt.Errorf("listing %s: %w", q.table, err)
		}
	}
	k.StreamKeys = append(k.StreamKeys, kept...)
	slices.Sort(k.StreamKeys)
	k.StreamKeys = slices.Compact(k.StreamKeys)
	return k, nil
}

package app

import (
	"context"

	"latchkey/domain/share"
)

// Forget takes the recipient of a deleted share of the caller's out of the caller's lists.
// The id is that of the share.
func (s *Shares) Forget(ctx context.Context, m Meta, id string) (Done, error) {
	c, err := s.core.begin(m, "forget recipient", id)
	if err != nil {
		return Done{}, err
	}
	if owner, _, ok := share.Parties(id); !ok || owner != c.Account {
		return Done{}, refused(share.ErrNoRecipient)
	}
	done, err := run(ctx, s.core, c, onShare(id), func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, share.Forget{By: c.Account, At: c.at})
	})
	return Done{Position: done.position}, err
}

package main

import (
	"context"
	"time"

	"latchkey/api"
	"latchkey/eventstore"
	"latchkey/internal/quota"
)

// newLedger returns a ledger of what accounts have and do.
func newLedger(o options, p *opened) *quota.Ledger {
	return quota.New(o.quotas, belongings{p}, time.Now)
}

// belongings counts what accounts have in the stores.
type belongings struct{ opened *opened }

func (b belongings) Count(ctx context.Context, account, what string) (n int, seen eventstore.Position, err error) {
	if what == quota.Sessions {
		n, err = b.opened.vault.Sessions(ctx, account)
		return n, 0, err
	}
	return b.opened.store.Owned(ctx, account, what, time.Now())
}

// quotas provides them to the API.
type quotas struct{ *quota.Ledger }

func (q quotas) QuotasOf(ctx context.Context, account string) ([]api.QuotaView, error) {
	uses, err := q.Of(ctx, account)
	views := make([]api.QuotaView, len(uses))
	for i, u := range uses {
		views[i] = api.QuotaView{Name: u.Name, Per: u.Per, Most: u.Most, Used: u.Used}
	}
	return views, err
}

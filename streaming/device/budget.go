package device

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// budget limits how many devices are proven, per account and in all. The results reveal
// what is at an address: without limits the service could be used as a port scanner.
type budget struct {
	burst  int
	every  time.Duration
	most   int // at once, of one account
	places chan struct{}

	mu       sync.Mutex
	accounts map[string]*spending
}

// spending is what one account has used.
type spending struct {
	tokens *rate.Limiter
	busy   int
}

// begin takes a slot; end releases it. wait is how long until one may be free.
func (b *budget) begin(ctx context.Context, account string, now time.Time) (end func(), wait time.Duration) {
	of, wait := b.enter(account, now)
	if wait > 0 {
		return nil, wait
	}
	select {
	case b.places <- struct{}{}:
		return func() { <-b.places; b.leave(of) }, 0
	case <-ctx.Done():
		b.leave(of)
		return nil, time.Second
	}
}

func (b *budget) enter(account string, now time.Time) (*spending, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	of := b.accounts[account]
	if of == nil {
		of = &spending{tokens: rate.NewLimiter(rate.Every(b.every), b.burst)}
		b.accounts[account] = of
	}
	if of.busy >= b.most {
		return nil, time.Second
	}
	r := of.tokens.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return nil, wait
	}
	of.busy++
	return of, 0
}

func (b *budget) leave(of *spending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of.busy--
}

// forget drops accounts with a full budget, if there are many.
func (b *budget) forget(now time.Time) {
	const many = 4096
	if len(b.accounts) < many {
		return
	}
	for account, of := range b.accounts {
		if of.busy == 0 && of.tokens.TokensAt(now) >= float64(b.burst) {
			delete(b.accounts, account)
		}
	}
}

package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// keysKept is for how long an Idempotency-Key is remembered at least.
	keysKept = 48 * time.Hour
	// keyLease is for how long others with the same key wait for a command to be
	// carried out. One that died meanwhile is carried out by its repeat.
	keyLease = 3 * time.Second
	// claimWithin bounds the claim of a key, so that a store that hangs does not
	// keep a command that takes away from being carried out.
	claimWithin = 2 * time.Second
)

// claimed is a command's hold on its Idempotency-Key. What the command wrote the
// stream proves; the store of keys remembers what concerned another stream, and
// the commands that changed nothing. The zero value is for a command without key.
type claimed struct {
	service *Service
	request Request
	tried   bool
	unsure  bool  // the command may be in the log
	err     error // of claiming: nothing is remembered
}

// claimOn prepares the claim of a command's key for a stream. Who registers has no
// account yet, and keys of one's own neither.
func (s *Service) claimOn(c command, stream string) *claimed {
	if c.Account == "" || c.IdempotencyKey == "" {
		return &claimed{}
	}
	return &claimed{service: s, request: Request{
		Key:         s.sealer.LoginHash("idempotency key", c.Account+"\x00"+c.IdempotencyKey),
		Fingerprint: c.request, Token: c.seed.String(), Stream: stream,
	}}
}

// claim takes the key, once. It returns what is remembered of a command that
// changed nothing. ErrConflict: another command with the key is being carried
// out.
func (k *claimed) claim(ctx context.Context) (before *Request, err error) {
	if k.service == nil || k.tried {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	now := k.service.now()
	k.request.Until, k.request.Expires = now.Add(keyLease), now.Add(keysKept)
	there, mine, err := k.service.requests.ClaimRequest(ctx, k.request, now)
	switch {
	case err != nil:
		k.tried, k.err = true, err
		return nil, nil
	case mine:
		k.tried = true
		return nil, nil
	case !sameRequest(there.Fingerprint, k.request.Fingerprint):
		return nil, keyReused(nil)
	case !there.Done:
		return nil, fmt.Errorf("a request with the same Idempotency-Key is being carried out: %w", ErrConflict)
	}
	return &there, nil
}

// may refuses events that give something while the key cannot be remembered. What
// takes away goes on.
func (k *claimed) may(events []Pending) error {
	if k.err == nil || !slices.ContainsFunc(events, func(e Pending) bool { return !e.TakesAway }) {
		return nil
	}
	return unavailable(fmt.Errorf("remembering an Idempotency-Key: %w", k.err))
}

// finish remembers a command that changed nothing.
func (k *claimed) finish(ctx context.Context, position uint64, revision int64) error {
	if k.service == nil {
		return nil
	}
	err := k.err
	if err == nil {
		k.request.Done, k.request.Position, k.request.Revision = true, position, revision
		err = k.service.requests.FinishRequest(ctx, k.request)
	}
	if err != nil {
		return unavailable(fmt.Errorf("remembering an Idempotency-Key: %w", err))
	}
	return nil
}

// release gives the key back, unless the command may be in the log: what was
// refused has not used it.
func (k *claimed) release(ctx context.Context) {
	if k.service == nil || !k.tried || k.err != nil || k.unsure {
		return
	}
	k.service.afterwards(ctx, "giving an Idempotency-Key back", func(ctx context.Context) error {
		return k.service.requests.ReleaseRequest(ctx, k.request)
	})
}

// recentRequests is the Requests of one process without a store. It keeps the last
// keys only.
type recentRequests struct {
	mu            sync.Mutex
	recent, older map[string]Request
}

// recentKept is how many keys are remembered at least.
const recentKept = 1 << 14

// ClaimRequest is of Requests.
func (r *recentRequests) ClaimRequest(_ context.Context, claim Request, now time.Time) (Request, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there, known := r.get(claim.Key)
	if known && !there.lapsed(claim.Fingerprint, now) {
		return there, false, nil
	}
	r.put(claim)
	return claim, true, nil
}

// FinishRequest is of Requests.
func (r *recentRequests) FinishRequest(_ context.Context, done Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if there, _ := r.get(done.Key); there.Token == done.Token {
		r.put(done)
	}
	return nil
}

// ReleaseRequest is of Requests.
func (r *recentRequests) ReleaseRequest(_ context.Context, claim Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if there, _ := r.get(claim.Key); there.Token == claim.Token {
		delete(r.recent, claim.Key)
		delete(r.older, claim.Key)
	}
	return nil
}

func (r *recentRequests) get(key string) (there Request, known bool) {
	if there, known = r.recent[key]; !known {
		there, known = r.older[key]
	}
	return there, known
}

func (r *recentRequests) put(q Request) {
	if len(r.recent) >= recentKept || r.recent == nil {
		r.older, r.recent = r.recent, map[string]Request{}
	}
	r.recent[q.Key] = q
}

// lapsed reports whether a new claim with the fingerprint may take the key.
func (q Request) lapsed(fingerprint string, now time.Time) bool {
	return !now.Before(q.Expires) || !q.Done && q.Fingerprint == fingerprint && !now.Before(q.Until)
}

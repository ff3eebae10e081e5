package app

import (
	"context"
	"sync"
	"time"
)

// recentRequests implements Requests for one process without a store. It keeps only the
// most recent keys.
type recentRequests struct {
	mu            sync.Mutex
	recent, older map[string]Request
}

// recentKept is the minimum number of keys remembered.
const recentKept = 1 << 14

// ClaimRequest implements Requests.
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

// FindRequest implements Requests.
func (r *recentRequests) FindRequest(_ context.Context, key string) (Request, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there, known := r.get(key)
	return there, known, nil
}

// FinishRequest implements Requests.
func (r *recentRequests) FinishRequest(_ context.Context, done Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if there, _ := r.get(done.Key); there.Token == done.Token {
		r.put(done)
	}
	return nil
}

// ReleaseRequest implements Requests.
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

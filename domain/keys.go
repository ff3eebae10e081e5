package domain

import (
	"crypto/sha256"
	"sync"
)

// recentKeys remembers for which request an Idempotency-Key was used. A stream
// knows the keys of its own events for ever; this is for a key that comes again
// with a request which concerns another stream. It holds the last keys only, and
// those of this process.
type recentKeys struct {
	mu     sync.Mutex
	recent map[[16]byte]string // the request's fingerprint, by account and key
	older  map[[16]byte]string
}

// keysKept is how many keys are remembered at least.
const keysKept = 1 << 16

// keyOf is what is kept of an account's key; ok is false where there is none. Who
// registers has no account yet, and keys of one's own neither.
func keyOf(c command) (key [16]byte, ok bool) {
	if c.Account == "" || c.IdempotencyKey == "" {
		return key, false
	}
	sum := sha256.Sum256([]byte(c.Account + "\x00" + c.IdempotencyKey))
	return [16]byte(sum[:]), true
}

// usedForAnother says whether the command's key was used for another request.
func (k *recentKeys) usedForAnother(c command) bool {
	key, ok := keyOf(c)
	if !ok {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	request, used := k.recent[key]
	if !used {
		request, used = k.older[key]
	}
	return used && request != c.request
}

// use notes that a command with its key was carried out.
func (k *recentKeys) use(c command) {
	key, ok := keyOf(c)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.recent) >= keysKept || k.recent == nil {
		k.older, k.recent = k.recent, map[[16]byte]string{}
	}
	k.recent[key] = c.request
}

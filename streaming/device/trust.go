package device

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
)

// maxTrusted is how many credentials are remembered as accepted. Beyond it, any one is
// dropped: then it is counted like others until it is accepted again.
const maxTrusted = 65536

// trust knows which credentials an address has accepted, as keyed hashes. They are sent
// without waiting for the guard: others who guess at the same address must not keep us
// from stopping a camera, and a response that does not come says nothing about them. The
// first refusal ends the trust.
type trust struct {
	mu       sync.Mutex
	secret   []byte
	accepted map[[sha256.Size]byte]bool
}

func (t *trust) hash(addr netip.Addr, username, password string) (sum [sha256.Size]byte) {
	if t.secret == nil {
		t.secret = make([]byte, 32)
		_, _ = rand.Read(t.secret) // cannot fail: it ends the program instead
	}
	h := hmac.New(sha256.New, t.secret)
	for _, part := range []string{addr.String(), username, password} {
		h.Write([]byte{byte(len(part) >> 8), byte(len(part))})
		h.Write([]byte(part))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (t *trust) has(addr netip.Addr, username, password string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted[t.hash(addr, username, password)]
}

func (t *trust) set(addr netip.Addr, username, password string, accepted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.hash(addr, username, password)
	if !accepted {
		delete(t.accepted, sum)
		return
	}
	if t.accepted == nil {
		t.accepted = map[[sha256.Size]byte]bool{}
	}
	for other := range t.accepted {
		if len(t.accepted) < maxTrusted {
			break
		}
		delete(t.accepted, other)
	}
	t.accepted[sum] = true
}

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"latchkey/api"
	"latchkey/api/client"
)

// loginLinks are links of the demo, each of which logs a person in once. They are in memory
// alone, by the hashes of their secrets.
type loginLinks struct {
	api *apiClient

	mu  sync.Mutex
	all map[[sha256.Size]byte]person
}

// add makes a link to the portal.
func (l *loginLinks) add(p person) string {
	secret := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[[sha256.Size]byte]person{}
	}
	l.all[sha256.Sum256([]byte(secret))] = p
	return "http://" + l.api.host + "/enter#" + secret
}

// Follow implements api.LoginLinks.
func (l *loginLinks) Follow(ctx context.Context, secret string) (api.LinkSession, bool, error) {
	hash := sha256.Sum256([]byte(secret))
	l.mu.Lock()
	p, ok := l.all[hash]
	delete(l.all, hash)
	l.mu.Unlock()
	if !ok {
		return api.LinkSession{}, false, nil
	}
	var s client.Session
	if err := l.api.do(ctx, "POST", "/sessions", "", p, &s); err != nil {
		return api.LinkSession{}, false, err
	}
	return api.LinkSession{Token: s.Token, Account: s.Account, Expires: s.ExpiresAt}, true, nil
}

// loginLinks are those of the API; nil: there are none.
func (o options) loginLinks() api.LoginLinks {
	if o.links == nil {
		return nil
	}
	return o.links
}

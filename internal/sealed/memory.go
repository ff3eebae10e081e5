// Package sealed keeps secrets in memory for when their store is unavailable. It does not
// depend on what the secrets are for.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"
)

// Memory keeps secrets by name. They are sealed with a key that only this process ever
// had, so that a dump of part of its memory reveals none. Use New.
type Memory struct {
	aead cipher.AEAD
	most int

	mu     sync.Mutex
	sealed map[string][]byte
}

// New returns a memory for a limited number of secrets; one more replaces another.
func New(most int) *Memory {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("sealed: " + err.Error()) // only for a key of another size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("sealed: " + err.Error()) // only for a block of another size
	}
	return &Memory{aead: aead, most: most, sealed: map[string][]byte{}}
}

// Put keeps or replaces a secret.
func (m *Memory) Put(name string, secret []byte) {
	sealed := m.aead.Seal(nil, nil, secret, []byte(name))
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.sealed[name]; !known && len(m.sealed) >= m.most {
		for other := range m.sealed {
			delete(m.sealed, other)
			break
		}
	}
	m.sealed[name] = sealed
}

// Get returns a secret.
func (m *Memory) Get(name string) ([]byte, bool) {
	m.mu.Lock()
	sealed, ok := m.sealed[name]
	m.mu.Unlock()
	if !ok {
		return nil, false
	}
	secret, err := m.aead.Open(nil, nil, sealed, []byte(name))
	return secret, err == nil
}

// Forget drops a secret.
func (m *Memory) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sealed, name)
}

// Retain drops the secrets whose names are no longer wanted. Other methods may be called
// concurrently, also by wanted.
func (m *Memory) Retain(wanted func(name string) bool) {
	for _, name := range m.names() {
		if !wanted(name) {
			m.Forget(name)
		}
	}
}

func (m *Memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]string, 0, len(m.sealed))
	for name := range m.sealed {
		list = append(list, name)
	}
	return list
}

// Package sealed keeps secrets in memory for the time that their store is away. It
// knows nothing of what they open.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"
)

// Memory keeps secrets by name. They lie sealed with a key that only this process
// ever had, so that a dump of a part of its memory shows none. Use New.
type Memory struct {
	aead cipher.AEAD
	most int

	mu     sync.Mutex
	sealed map[string][]byte
}

// New returns a memory that holds at most so many secrets; one more takes the place
// of another.
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

// Get returns a secret that is kept.
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

// Retain drops the secrets whose name is not wanted any more. Other methods may be
// called meanwhile, also by wanted.
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

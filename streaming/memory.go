package streaming

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"
)

// memory keeps secrets by name for the time that their store is away. They lie
// sealed with a key that only this process ever had, so that a dump of a part of
// its memory shows none. It holds at most so many; one more takes the place of
// another.
type memory struct {
	aead cipher.AEAD
	most int

	mu     sync.Mutex
	sealed map[string][]byte
}

func newMemory(most int) *memory {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("streaming: " + err.Error()) // only for a key of another size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("streaming: " + err.Error()) // only for a block of another size
	}
	return &memory{aead: aead, most: most, sealed: map[string][]byte{}}
}

// put keeps or replaces a secret.
func (m *memory) put(name string, secret []byte) {
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

// get returns a secret that is kept.
func (m *memory) get(name string) ([]byte, bool) {
	m.mu.Lock()
	sealed, ok := m.sealed[name]
	m.mu.Unlock()
	if !ok {
		return nil, false
	}
	secret, err := m.aead.Open(nil, nil, sealed, []byte(name))
	return secret, err == nil
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sealed, name)
}

// retain forgets the secrets whose name is not wanted any more.
func (m *memory) retain(wanted func(name string) bool) {
	for _, name := range m.names() {
		if !wanted(name) {
			m.forget(name)
		}
	}
}

func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]string, 0, len(m.sealed))
	for name := range m.sealed {
		list = append(list, name)
	}
	return list
}

package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

var errSealed = errors.New("sealed text is damaged or was sealed with another key")

func randomKey() []byte {
	k := make([]byte, 32)
	_, _ = rand.Read(k) // never fails
	return k
}

// derive returns a key for one purpose (RFC 5869, HKDF-SHA256).
func derive(key []byte, purpose string) []byte {
	k, err := hkdf.Key(sha256.New, key, nil, purpose, 32)
	if err != nil {
		panic("vault: deriving a key: " + err.Error()) // only for absurd lengths
	}
	return k
}

func aesBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("vault: " + err.Error()) // only for a key that is not 32 bytes
	}
	return block
}

// box seals with AES-256-GCM under a random nonce. The name is that of the value and its
// owner, so that no value can be put in the place of another.
type box struct{ aead cipher.AEAD }

func newBox(key []byte, purpose string) box {
	aead, err := cipher.NewGCMWithRandomNonce(aesBlock(derive(key, purpose)))
	if err != nil {
		panic("vault: " + err.Error())
	}
	return box{aead}
}

func (b box) seal(name string, plain []byte) []byte {
	return b.aead.Seal(nil, nil, plain, []byte(name))
}

func (b box) open(name string, sealed []byte) ([]byte, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// siv seals deterministically: the nonce is a keyed hash of the text, so the same text of
// the same person has the same sealed form, and a nonce is never reused for another text
// (the construction of RFC 5297 with HMAC and GCM).
type siv struct {
	mac  []byte
	aead cipher.AEAD
}

const sivNonce = 12

func newSIV(key []byte) siv {
	aead, err := cipher.NewGCM(aesBlock(derive(key, "text")))
	if err != nil {
		panic("vault: " + err.Error())
	}
	return siv{mac: derive(key, "nonce"), aead: aead}
}

func (s siv) seal(name, plain string) []byte {
	h := hmac.New(sha256.New, s.mac)
	h.Write([]byte(name + "\x00" + plain))
	nonce := h.Sum(nil)[:sivNonce:sivNonce]
	return s.aead.Seal(nonce, nonce, []byte(plain), []byte(name))
}

func (s siv) open(name string, sealed []byte) (string, error) {
	if len(sealed) < sivNonce {
		return "", errSealed
	}
	plain, err := s.aead.Open(nil, sealed[:sivNonce], sealed[sivNonce:], []byte(name))
	if err != nil {
		return "", errSealed
	}
	return string(plain), nil
}

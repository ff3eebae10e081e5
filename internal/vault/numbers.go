package vault

import (
	"encoding/binary"
	"encoding/hex"
)

// Numbers hides numbers that count what happens to everybody from the accounts that are
// handed them: each sees what nobody else does, and which tells it nothing.
type Numbers struct{ key []byte }

// NewNumbers hides numbers with a key.
func NewNumbers(key []byte) Numbers { return Numbers{key} }

// Numbers hides numbers with a key of the vault.
func (v *Vault) Numbers() Numbers { return NewNumbers(derive(v.binding, "latchkey numbers v1")) }

// hiddenBytes is a block of AES: eight zeros, by which one is known, and a number.
const hiddenBytes = 16

// HideNumber returns a number as an account is handed it: always the same text.
func (n Numbers) HideNumber(account string, number int64) string {
	var block [hiddenBytes]byte
	binary.BigEndian.PutUint64(block[8:], uint64(number))
	aesBlock(derive(n.key, account)).Encrypt(block[:], block[:])
	return hex.EncodeToString(block[:])
}

// ShowNumber returns the number that an account was handed; false: it was not.
func (n Numbers) ShowNumber(account, hidden string) (number int64, ok bool) {
	block, err := hex.DecodeString(hidden)
	if err != nil || len(block) != hiddenBytes || hex.EncodeToString(block) != hidden {
		return 0, false
	}
	aesBlock(derive(n.key, account)).Decrypt(block, block)
	number = int64(binary.BigEndian.Uint64(block[8:]))
	return number, binary.BigEndian.Uint64(block) == 0 && number >= 0
}

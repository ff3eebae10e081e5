package vault

import (
	"fmt"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"
)

// todays parameters are OWASP's second choice for Argon2id: 19 MiB, two passes.
var todays = argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// The limits of what is computed: at most the memory, time and cores of today's
// parameters, so that no row of the database makes a log-in more expensive than others. A
// key that is too short would match too many passwords; an empty one matches all.
const (
	maxHash          = 256  // bytes of the PHC string
	minMemory        = 1024 // KiB
	minSalt, maxSalt = 8, 64
	minKey, maxKey   = 16, 64
)

// hashPassword hashes a password in the form NFC (RFC 8265, 4.2.1): keyboards write an
// umlaut in two ways.
func hashPassword(plain string) (string, error) {
	h, err := argon2id.CreateHash(norm.NFC.String(plain), &todays)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return h, nil
}

// checkPassword compares a password with a hash. If it is right and the hash was made
// with weaker parameters than today's, renewed is its hash with today's, else "". A wrong
// password takes the same time whatever the parameters are, so that guesses do not reveal
// old accounts. ErrBadHash: nothing was computed.
func checkPassword(plain, hash string) (match bool, renewed string, err error) {
	p, err := paramsOf(hash)
	if err != nil {
		return false, "", err
	}
	composed := norm.NFC.String(plain)
	if match, err = argon2id.ComparePasswordAndHash(composed, hash); err != nil {
		return false, "", err
	}
	if !match && composed != plain { // earlier versions hashed what was typed
		if match, err = argon2id.ComparePasswordAndHash(plain, hash); err != nil {
			return false, "", err
		}
	}
	if *p == todays {
		return match, "", nil
	}
	if match {
		renewed, err = hashPassword(plain)
		return match, renewed, err
	}
	if rest, ok := restOf(*p); ok {
		_, err = argon2id.CreateHash(plain, &rest)
	}
	return false, "", err
}

// paramsOf returns the parameters of a hash if they are within the limits, or ErrBadHash.
func paramsOf(hash string) (*argon2id.Params, error) {
	if len(hash) > maxHash {
		return nil, ErrBadHash
	}
	p, _, _, err := argon2id.DecodeHash(hash)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadHash, err)
	}
	inBounds := p.Memory >= minMemory && p.Memory <= todays.Memory &&
		p.Iterations >= 1 && work(*p) <= work(todays) && p.Parallelism == todays.Parallelism &&
		p.SaltLength >= minSalt && p.SaltLength <= maxSalt && p.KeyLength >= minKey && p.KeyLength <= maxKey
	if !inBounds {
		return nil, fmt.Errorf("%w: m=%d, t=%d, p=%d, %d bytes of salt, %d of key", ErrBadHash, p.Memory, p.Iterations, p.Parallelism, p.SaltLength, p.KeyLength)
	}
	return p, nil
}

// work is the cost of a hash: the KiB that it fills in all passes together.
func work(p argon2id.Params) uint64 { return uint64(p.Memory) * uint64(p.Iterations) }

// restOf returns the parameters that make up the difference between the work of p and
// today's; false if that is negligible.
func restOf(p argon2id.Params) (rest argon2id.Params, ok bool) {
	rest = todays
	rest.Memory = uint32((work(todays) - work(p)) / uint64(todays.Iterations)) // at most todays.Memory
	return rest, rest.Memory >= 8                                              // the minimum of Argon2 (RFC 9106, 3.1)
}

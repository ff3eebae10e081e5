package app

import (
	"encoding/base32"
	"fmt"
	"io"
	"strings"

	"latchkey/domain/ids"
)

// plainBase32 is the alphabet of RFC 4648 without padding.
var plainBase32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// newSerial returns the serial of a device that has none. A repeated command must find
// the same device, so with an idempotency key the serial follows from it.
func (s *core) newSerial(c command) (string, error) {
	var raw []byte
	if c.IdempotencyKey == "" {
		raw = make([]byte, 7)
		if _, err := io.ReadFull(s.random, raw); err != nil {
			return "", fmt.Errorf("generating a serial: %w", err)
		}
	} else {
		id := c.id("serial", 0)
		raw = id[9:] // without the bits of version and variant
	}
	return "cam-" + lowerText(raw)[:10], nil
}

// newKey returns the name of a stream key, 60 bits, and its secret, 100 bits.
//
// A key that publishes to a channel has that in its name.
func (s *core) newKey(channel int) (name, secret string, err error) {
	raw := make([]byte, 8+13)
	if _, err := io.ReadFull(s.random, raw); err != nil {
		return "", "", fmt.Errorf("generating a stream key: %w", err)
	}
	name, secret = lowerText(raw[:8])[:12], lowerText(raw[8:])[:20]
	if channel != 0 {
		return string(ids.PublishingKey(channel, name)), secret, nil
	}
	return "k" + name, secret, nil
}

func lowerText(raw []byte) string { return strings.ToLower(plainBase32.EncodeToString(raw)) }

package domain

import (
	"encoding/base32"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

var (
	serialPattern = regexp.MustCompile(`^[a-z0-9-]{3,64}$`)
	devicePattern = regexp.MustCompile(`^([a-z0-9-]{3,64})(\.([2-9]|[1-9][0-9]{1,8}))?$`)
	loginPattern  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// plainBase32 is the alphabet of RFC 4648 without padding.
var plainBase32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// serialOf gives the serial of a device id.
func serialOf(device string) (serial string, ok bool) {
	m := devicePattern.FindStringSubmatch(device)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// partiesOf gives the owner and the recipient's login of a share id.
func partiesOf(share string) (owner, login string, ok bool) {
	owner, login, ok = strings.Cut(share, ".")
	id, err := uuid.Parse(owner)
	if !ok || err != nil || id.String() != owner || !loginPattern.MatchString(login) {
		return "", "", false
	}
	return owner, login, true
}

// normaliseSerial makes the one spelling of a serial.
func normaliseSerial(serial string) (string, bool) {
	s := strings.ToLower(strings.TrimSpace(serial))
	return s, serialPattern.MatchString(s)
}

// DeviceID is the id that somebody means who types a device's id or serial: the
// one spelling of it. It says nothing about whether there is such a device.
func DeviceID(typed string) string { return strings.ToLower(strings.TrimSpace(typed)) }

// newSerial is the serial of a device that has none. A repeated command must
// find the same device, so with an Idempotency-Key the serial follows from it.
func (s *Service) newSerial(c command) (string, error) {
	var raw []byte
	if c.IdempotencyKey == "" {
		raw = make([]byte, 7)
		if _, err := io.ReadFull(s.random, raw); err != nil {
			return "", fmt.Errorf("making a serial: %w", err)
		}
	} else {
		id := c.id("serial", 0)
		raw = id[9:] // without the bits of version and variant
	}
	return "cam-" + lowerText(raw)[:10], nil
}

// newKey makes the name of a stream key, 60 bits, and its secret, 100 bits.
func (s *Service) newKey() (name, secret string, err error) {
	raw := make([]byte, 8+13)
	if _, err := io.ReadFull(s.random, raw); err != nil {
		return "", "", fmt.Errorf("making a stream key: %w", err)
	}
	return "k" + lowerText(raw[:8])[:12], lowerText(raw[8:])[:20], nil
}

func lowerText(raw []byte) string { return strings.ToLower(plainBase32.EncodeToString(raw)) }

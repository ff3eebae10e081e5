package projections

import (
	"fmt"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// Grants are stored as text: a pair of bytes for the channel, one for the privileges,
// in hexadecimal; "0001" + "1f".
type Grants []share.Grant

func grantsText(list []share.Grant) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 6*len(list))
	for _, g := range list {
		c, p := uint16(g.Channel), uint8(g.Privileges)
		b = append(b, digits[c>>12], digits[c>>8&15], digits[c>>4&15], digits[c&15], digits[p>>4], digits[p&15])
	}
	return string(b)
}

// Scan reads the stored form.
func (g *Grants) Scan(src any) error {
	s, err := textOf(src)
	if err != nil {
		return err
	}
	*g = make(Grants, 0, len(s)/6)
	for ; len(s) >= 6; s = s[6:] {
		c := digit(s[0])<<12 | digit(s[1])<<8 | digit(s[2])<<4 | digit(s[3])
		*g = append(*g, share.Grant{Channel: c, Privileges: privilege.Set(digit(s[4])<<4|digit(s[5])) & privilege.All})
	}
	return nil
}

func digit(c byte) int {
	if c >= 'a' {
		return int(c - 'a' + 10)
	}
	return int(c - '0')
}

// textOf returns a column of text as returned by a driver.
func textOf(src any) (string, error) {
	switch s := src.(type) {
	case string:
		return s, nil
	case []byte:
		return string(s), nil
	}
	return "", fmt.Errorf("a %T is not text", src)
}

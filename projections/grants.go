package projections

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

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
	return string(b) + limitsText(list)
}

// limitsText is the limits after the grants: a list of lists in JSON, in the order of the
// grants; nothing if there are none.
func limitsText(list []share.Grant) string {
	all, some := make([][]privilege.Limit, len(list)), false
	for i, g := range list {
		all[i], some = g.Limits, some || len(g.Limits) > 0
	}
	if !some {
		return ""
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // what an event holds can be written
	}
	return string(text)
}

// Scan reads the stored form.
func (g *Grants) Scan(src any) error {
	s, err := textOf(src)
	if err != nil {
		return err
	}
	s, limits, limited := strings.Cut(s, "[")
	*g = make(Grants, 0, len(s)/6)
	for ; len(s) >= 6; s = s[6:] {
		c := digit(s[0])<<12 | digit(s[1])<<8 | digit(s[2])<<4 | digit(s[3])
		*g = append(*g, share.Grant{Channel: c, Privileges: privilege.Set(digit(s[4])<<4|digit(s[5])) & privilege.All})
	}
	if !limited {
		return nil
	}
	var all [][]privilege.Limit
	if err := json.Unmarshal([]byte("["+limits), &all); err != nil || len(all) != len(*g) {
		return fmt.Errorf("the limits of %d grants: %d, %w", len(*g), len(all), err)
	}
	for i := range all {
		(*g)[i].Limits = all[i]
	}
	return nil
}

// Terms are stored as JSON, "" if there are none.
type Terms privilege.Terms

func termsText(t privilege.Terms) string {
	if t.IsZero() {
		return ""
	}
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // what an event holds can be written
	}
	return string(text)
}

// HoldsAt reports whether their times and hours hold at a time.
func (t Terms) HoldsAt(now time.Time) bool { return t.Validity.HoldsAt(now) }

// Scan reads the stored form.
func (t *Terms) Scan(src any) error {
	s, err := textOf(src)
	*t = Terms{}
	if err != nil || s == "" {
		return err
	}
	return json.Unmarshal([]byte(s), (*privilege.Terms)(t))
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

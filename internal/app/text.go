package app

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of input, in characters for text for people and in bytes elsewhere.
const (
	minPassword   = 8
	maxPassword   = 256
	maxName       = 128
	maxNames      = 16 << 10 // bytes, of the channels of a device together
	maxLabel      = 128
	maxRemark     = 256
	maxEmail      = 254 // RFC 5321, 4.5.3.1.3, without the angle brackets
	maxPhone      = 32
	maxURL        = 2048
	maxCredential = 256
)

// text checks a text for people: one line of a limited number of characters, all of which
// are visible.
func (f faults) text(at Field, s string, longest int) {
	f.line(at, s, longest)
	if f[at] == "" {
		if reason := unseen(s, lenient); reason != "" {
			f.add(at, reason)
		}
	}
}

// line checks text for machines: one line of a limited number of characters.
func (f faults) line(at Field, s string, longest int) {
	switch {
	case !utf8.ValidString(s):
		f.add(at, "is not UTF-8")
	case utf8.RuneCountInString(s) > longest:
		f.add(at, "is longer than "+strconv.Itoa(longest)+" characters")
	case strings.ContainsFunc(s, unicode.IsControl):
		f.add(at, "holds control characters")
	}
}

// url checks an address of a device; "" is allowed. The reason never repeats the address:
// it may contain a password.
func (f faults) url(at Field, raw string, schemes ...string) {
	if raw == "" {
		return
	}
	if len(raw) > maxURL {
		f.add(at, "is longer than "+strconv.Itoa(maxURL)+" bytes")
		return
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || !utf8.ValidString(raw):
		f.add(at, "is not a URL with a host")
	case !slices.Contains(schemes, u.Scheme):
		f.add(at, "must begin with "+strings.Join(schemes, ":// or ")+"://")
	case u.User != nil:
		f.add(at, "must not hold a user name or password: give them apart")
	case u.Fragment != "":
		f.add(at, "must not have a fragment")
	case !portInRange(u.Port()):
		f.add(at, "has a port that there is not")
	}
}

func portInRange(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

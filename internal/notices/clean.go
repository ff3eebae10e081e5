package notices

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown is how many characters of a name are shown.
const maxShown = 64

// link is what programs that show mail may make a link of.
var link = regexp.MustCompile(`(?i)(://|www\.|mailto:|@|[\pL\pN-]\.\pL{2,})`)

// clean returns a name that others chose as it can be put into a text: one line of visible
// characters, of a bounded length, which cannot change the direction of what is around it.
// A name that programs may make a link of is "": strangers must not send links through us.
func clean(s string) string {
	if !utf8.ValidString(s) {
		return ""
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.In(r, unicode.Z):
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Bidi_Control):
			return -1
		case r == '"', r == '“', r == '”', r == '„': // they stand around it
			return '\''
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if link.MatchString(s) {
		return ""
	}
	if runes := []rune(s); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return s
}

// cleanAddress returns an address as it can be put into a text, "" if it is none.
func cleanAddress(s string) string {
	if s == "" || len(s) > 320 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Z, unicode.Bidi_Control) || strings.ContainsRune(`<>"()/\:;,`, r)
	}) {
		return ""
	}
	return s
}

// person is how the other party is named.
func person(name, address string) string {
	name, address = clean(name), cleanAddress(address)
	switch {
	case name == "":
		return address
	case address == "":
		return name
	}
	return name + " (" + address + ")"
}

package app

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// strictness reports whether joiners and variation selectors are allowed where
// they belong.
type strictness bool

const (
	strict  strictness = true  // in addresses: nowhere
	lenient strictness = false // in text for people: where a script or an emoji needs them
)

// unseen returns why a text is refused: it has characters that are invisible, that change
// the direction of the text around them, or that have no agreed meaning; "" if it has
// none. The text is valid UTF-8.
func unseen(s string, how strictness) string {
	before := rune(-1) // the last rune that is not a mark, a joiner or a selector
	for i, r := range s {
		var why string
		switch {
		case unicode.IsControl(r):
			why = "a control character"
		case unicode.Is(unicode.Bidi_Control, r):
			why = "a character that changes the direction of writing"
		case isSelector(r):
			if how == strict || !selects(r, before) {
				why = "an invisible character"
			}
		case isJoiner(r):
			after, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
			if how == strict || !joins(r, before, after) {
				why = "an invisible character"
			}
		case unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point):
			why = "an invisible character"
		case unicode.Is(unicode.Co, r):
			why = "a character for private use"
		case !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z):
			why = "a character that is not assigned"
		}
		if why != "" {
			return fmt.Sprintf("holds %s (U+%04X): type it instead of pasting it", why, r)
		}
		if !isSelector(r) && !isJoiner(r) && !unicode.Is(unicode.M, r) && !isSkinTone(r) {
			before = r
		}
	}
	return ""
}

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
)

func isJoiner(r rune) bool   { return r == zeroWidthJoiner || r == zeroWidthNonJoiner }
func isSelector(r rune) bool { return unicode.Is(unicode.Variation_Selector, r) }
func isSkinTone(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

// joined are the scripts whose words are spelled with joiners.
var joined = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Mandaic, unicode.Nko, unicode.Mongolian, unicode.Phags_Pa,
	unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil,
	unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar,
	unicode.Tibetan, unicode.Javanese, unicode.Balinese,
}

// joins reports whether a joiner belongs between two characters: between letters
// of one script that is spelled with joiners, or, for the joiner that joins,
// between two emoji.
func joins(joiner, before, after rune) bool {
	if joiner == zeroWidthJoiner && unicode.Is(unicode.So, before) && isEmojiPart(after) {
		return true
	}
	for _, script := range joined {
		if unicode.Is(script, before) && unicode.Is(script, after) {
			return true
		}
	}
	return false
}

// isEmojiPart reports whether a character may follow a joiner in an emoji. The
// signs of sex, medicine and law and the like are symbols too.
func isEmojiPart(r rune) bool {
	return unicode.Is(unicode.So, r) || r == '➡' || r == '↔' || r == '↕'
}

// selects reports whether a variation selector belongs after a character: after
// a symbol or a key cap as the choice of text or emoji, after a Han or Mongolian
// character as the choice of a shape.
func selects(selector, before rune) bool {
	switch {
	case selector == 0xfe0e || selector == 0xfe0f:
		return unicode.In(before, unicode.S, unicode.Other_Math) || before == '#' || before == '*' || before == '‼' || before == '⁉' ||
			before >= '0' && before <= '9'
	case unicode.Is(unicode.Mongolian, selector):
		return unicode.Is(unicode.Mongolian, before)
	}
	return unicode.Is(unicode.Han, before)
}

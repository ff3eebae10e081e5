package app

import (
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"
	"golang.org/x/text/unicode/norm"
)

// productName is a password that attackers try first.
const productName = "latchkey"

// commonWords are passwords found in breaches and words that people use as passwords:
// about 90,000, in lower case.
var commonWords = sync.OnceValue(func() map[string]bool {
	words := make(map[string]bool)
	for _, list := range frequency.FrequencyLists {
		for _, word := range list {
			words[word] = true
		}
	}
	return words
})

// password checks a new password by NIST SP 800-63B: its length, and that it is not a
// common one or derived from the person (their address and name). There are no
// composition rules.
func (f faults) password(at Field, s string, person ...string) {
	switch {
	case !utf8.ValidString(s):
		f.add(at, "is not UTF-8")
	case utf8.RuneCountInString(s) < minPassword:
		f.add(at, "is shorter than "+strconv.Itoa(minPassword)+" characters")
	case len(s) > maxPassword:
		f.add(at, "is longer than "+strconv.Itoa(maxPassword)+" bytes")
	case isCommon(s):
		f.add(at, "is one that many people use: choose another, such as a few words that do not belong together")
	case isPersonal(s, person):
		f.add(at, "is the address, the name or the name of this product: choose another")
	}
}

// isCommon reports whether a password is a common one, with at most four digits
// or signs before or after it, or a repetition or a row of characters.
func isCommon(s string) bool {
	plain := strings.ToLower(norm.NFKC.String(s))
	word := strings.TrimFunc(plain, notLetter)
	added := utf8.RuneCountInString(plain) - utf8.RuneCountInString(word)
	words := commonWords()
	return words[plain] || added <= 4 && words[word] || repeats(plain) || isRow(plain)
}

// repeats reports whether a text is a repetition of at most four characters.
func repeats(s string) bool {
	runes := []rune(s)
	for period := 1; period <= 4; period++ {
		same := true
		for i := period; i < len(runes); i++ {
			same = same && runes[i] == runes[i-period]
		}
		if same {
			return true
		}
	}
	return false
}

// isRow reports whether each character follows the one before, up or down, as in
// abcdefgh and 98765432.
func isRow(s string) bool {
	runes := []rune(s)
	for _, step := range []rune{1, -1} {
		row := true
		for i := 1; i < len(runes); i++ {
			next := runes[i]-runes[i-1] == step
			turn := runes[i-1] == '9' && runes[i] == '0' || runes[i-1] == '0' && runes[i] == '9'
			row = row && (next || turn)
		}
		if row {
			return true
		}
	}
	return false
}

// isPersonal reports whether a password only consists of public facts about the person,
// ignoring digits and signs around it.
func isPersonal(s string, person []string) bool {
	core := letters(s)
	known := []string{productName}
	for _, p := range person {
		local, _, _ := strings.Cut(p, "@")
		known = append(known, letters(p), letters(local))
		if digits := strings.TrimFunc(p, unicode.IsPunct); digits != "" && strings.Trim(s, "+") == strings.Trim(digits, "+") {
			return true
		}
	}
	for _, k := range known {
		if k != "" && core == k {
			return true
		}
	}
	return false
}

// letters returns the letters of a text, in lower case.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(s))
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) }

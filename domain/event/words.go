package event

import (
	"fmt"
	"strings"

	"latchkey/domain/privilege"
)

// On returns words followed by what, or "" if what is empty; for sentences.
func On(words, what string) string {
	if what == "" {
		return ""
	}
	return words + what
}

// GrantWords lists grants for a sentence.
func GrantWords(list []privilege.Grant) string {
	words := make([]string, len(list))
	for i, g := range list {
		words[i] = fmt.Sprintf("channel %d %v", g.Channel, g.Privileges)
	}
	return strings.Join(words, ", ")
}

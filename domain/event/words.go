package event

import (
	"fmt"
	"strings"
	"time"

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
		for _, l := range g.Limits {
			words[i] += fmt.Sprintf(" (%v%s)", l.Privileges, validityWords(l.Validity))
		}
	}
	return strings.Join(words, ", ")
}

// TermsWords lists the conditions of terms for a sentence, each after a comma.
func TermsWords(list ...privilege.Terms) string {
	var words strings.Builder
	for _, t := range list {
		words.WriteString(validityWords(t.Validity))
		if n := t.Playback.LastDays; n > 0 {
			fmt.Fprintf(&words, ", playback of the last %d days", n)
		}
		if t.Playback.SinceAcceptance {
			words.WriteString(", playback since the acceptance")
		}
	}
	return words.String()
}

func validityWords(v privilege.Validity) string {
	var words strings.Builder
	if !v.From.IsZero() {
		words.WriteString(", from " + v.From.UTC().Format(time.RFC3339))
	}
	if !v.Until.IsZero() {
		words.WriteString(", until " + v.Until.UTC().Format(time.RFC3339))
	}
	if !v.Hours.IsZero() {
		fmt.Fprintf(&words, ", in the hours of %s:", v.Hours.Zone)
		for _, s := range v.Hours.Spans {
			fmt.Fprintf(&words, " %s %v-%v", s.Days, s.Start, s.End)
		}
	}
	return words.String()
}

package notices

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"Front door":            "Front door",
		"Haustür v1.2":          "Haustür v1.2",
		"a\r\nSubject: x\tb":    "a Subject: x b",
		"x\u202ey\u200bz\x00":   "xyz",
		"go to evil.example":    "",
		"https://evil":          "",
		"WWW.evil":              "",
		"me@example":            "",
		"“quoted” \"twice\"":    "'quoted' 'twice'",
		"\xff":                  "",
		strings.Repeat("ä", 70): strings.Repeat("ä", 64) + "…",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q becomes %q; want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"rita@example.com": "rita@example.com", "+4915112345678": "+4915112345678", "a@b\r\nBcc: c@d": "", "\"a\"@b": "", "<a@b>": "", "": "",
	} {
		if got := cleanAddress(in); got != want {
			t.Errorf("%q becomes %q; want %q", in, got, want)
		}
	}
}

// FuzzClean: whatever people call things, a text that has it stays one line without links.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"Front door", "a\nb", "http://x.y", "\u202e\u2066", "ª.com", strings.Repeat("x", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxShown+1 || strings.ContainsFunc(got, unicode.IsControl) || link.MatchString(got) || strings.ContainsAny(got, "\n\r\u2028\u2029“”\"@") {
			t.Errorf("%q becomes %q", s, got)
		}
		if again := clean(strings.TrimSuffix(got, "…")); !strings.HasPrefix(got, again) {
			t.Errorf("%q becomes %q, and that %q", s, got, again)
		}
	})
}

package api

import (
	"strconv"
	"strings"
	"testing"
)

func TestIfMatch(t *testing.T) {
	for header, want := range map[string]int64{
		`"0-0123456789abcdef"`: 0, `"4-0123456789abcdef"`: 4, `W/"4-0123456789abcdef"`: -1, `"04-0123456789abcdef"`: -1, `"x"`: -1, `""`: -1, `"4"`: -1,
		`"-4-0123456789abcdef"`: -1, `"+4-0123456789abcdef"`: -1, `"4-0123456789ABCDEF"`: -1, `"99999999999999999999-0123456789abcdef"`: -1,
	} {
		got, err := ifMatch(header)
		if err != nil || got == nil || *got != want {
			t.Errorf("ifMatch(%q) = %v, %v; want %d", header, got, err, want)
		}
	}
	if got, err := ifMatch("\t\"4-0123456789abcdef\" "); err != nil || got == nil || *got != 4 {
		t.Errorf("with space around it: %v, %v", got, err)
	}
	for _, header := range []string{"", "*", " * "} {
		if got, err := ifMatch(header); got != nil || err != nil {
			t.Errorf("ifMatch(%q) = %v, %v; want no condition", header, got, err)
		}
	}
	for _, header := range []string{`4`, `"4`, `"4" "5"`, `"4","5"`, `"4",`, `,"4"`, `w/"4"`, `*,"4"`} {
		if got, err := ifMatch(header); err == nil {
			t.Errorf("ifMatch(%q) = %v; want an error", header, got)
		}
	}
}

func TestNoneMatch(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "*": true, `"4"`: true, `W/"4"`: true, `"3"`: false, `"3", "4"`: true, `"3","a,b" ,W/"4"`: true, `"44"`: false,
	} {
		if got, err := noneMatch(header, `"4"`); err != nil || got != want {
			t.Errorf("noneMatch(%q, \"4\") = %v, %v; want %v", header, got, err, want)
		}
	}
	for _, header := range []string{`4`, `"4`, `"4" "4"`, `"4",`} {
		if got, err := noneMatch(header, `"4"`); err == nil {
			t.Errorf("noneMatch(%q, \"4\") = %v; want an error", header, got)
		}
	}
}

// FuzzEntityTags: whatever the header is, no condition is dropped: a request
// with If-Match is refused, conditional, or exactly "*".
func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{"", "*", `"4"`, `W/"4"`, `"3", "4"`, `"`, `"4",`, "\t\"1\"\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		revision, err := ifMatch(header)
		trimmed := strings.Trim(header, " \t")
		if err == nil && revision == nil && trimmed != "" && trimmed != "*" {
			t.Errorf("ifMatch(%q) has no condition", header)
		}
		if err == nil && revision != nil && *revision >= 0 && !strings.HasPrefix(trimmed, `"`+strconv.FormatInt(*revision, 10)+"-") {
			t.Errorf("ifMatch(%q) = %d", header, *revision)
		}
		if _, err := noneMatch(header, `"4"`); err != nil {
			return
		}
		if tags, err := entityTags("If-None-Match", header); err != nil || len(tags) > len(header) {
			t.Errorf("entityTags(%q) = %q, %v", header, tags, err)
		}
	})
}

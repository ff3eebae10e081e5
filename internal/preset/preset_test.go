package preset

import (
	"strings"
	"testing"

	"latchkey/domain/privilege"
)

// TestEveryLanguageHasEveryPreset: and none that there is not.
func TestEveryLanguageHasEveryPreset(t *testing.T) {
	c, err := all()
	if err != nil || len(c.tags) < 2 {
		t.Fatalf("%v, %v", c, err)
	}
	for i, tag := range c.tags {
		if len(c.said[i]) != len(list) {
			t.Errorf("%s has %d presets, want %d", tag, len(c.said[i]), len(list))
		}
		for _, p := range list {
			if w := c.said[i][p.ID]; w.Name == "" || w.Description == "" {
				t.Errorf("%s lacks words of %s", tag, p.ID)
			}
		}
	}
}

func TestLanguages(t *testing.T) {
	for accept, want := range map[string]string{
		"": "en", "en": "en", "de": "de", "de-CH": "de", "fr": "en", "fr, de;q=0.8, en;q=0.5": "de", "en-GB;q=0.4,de;q=0.9": "de", "*": "en", "\xff;;q": "en",
		strings.Repeat("x", 10_000): "en",
	} {
		got, tag, err := In(accept)
		if err != nil || tag != want || len(got) != 4 {
			t.Errorf("%.40q: %d presets in %s, %v; want %s", accept, len(got), tag, err, want)
		}
		if name := map[string]string{"en": "Neighbour", "de": "Nachbar"}[want]; got[0].Name != name {
			t.Errorf("%.40q: %+v", accept, got[0])
		}
	}
}

// TestPresetsGiveNoMoreThanTheyMay: an installer sees no recordings.
func TestPresetsGiveNoMoreThanTheyMay(t *testing.T) {
	got, _, err := In("en")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got {
		if !p.Privileges.Valid() || p.ID == "installer" && (p.Privileges.Has(privilege.Playback) || p.For.Hours() != 24) {
			t.Errorf("%+v", p)
		}
	}
}

func FuzzIn(f *testing.F) {
	for _, s := range []string{"de", "fr, de;q=0.8", "*;q=0", "\x00", "de-Latn-DE-1996"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if got, tag, err := In(accept); err != nil || tag == "" || got[0].Name == "" {
			t.Errorf("%q: %+v, %q, %v", accept, got, tag, err)
		}
	})
}

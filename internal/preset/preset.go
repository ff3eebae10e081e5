// Package preset has the presets of the form with which a device is shared: they only
// fill its ticks. Their words are in words/, one file for each language; a file that is
// added is a language more.
package preset

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/language"

	"latchkey/domain/privilege"
)

//go:embed words/*.json
var words embed.FS

// Preset is a choice of privileges for a kind of recipient.
type Preset struct {
	ID          string // stable
	Name        string // in the language that was asked for
	Description string
	// Privileges are those to tick, as far as the channel has the capability.
	Privileges privilege.Set
	// For is how long the share is meant to last; 0: until it is ended.
	For time.Duration
}

// list is in the order in which presets are shown. The names of presets are part of the
// API.
var list = []Preset{
	{ID: "neighbour", Privileges: privilege.LiveView | privilege.Alarm},
	{ID: "sitter", Privileges: privilege.LiveView | privilege.Alarm | privilege.TwoWayAudio},
	{ID: "family", Privileges: privilege.All},
	{ID: "installer", Privileges: privilege.LiveView | privilege.TwoWayAudio | privilege.PTZ, For: 24 * time.Hour},
}

// Default is what is ticked before a preset is chosen.
const Default = privilege.LiveView

// said are the words of a preset in one language.
type said struct{ Name, Description string }

// catalog has every language; the first tag is the default.
type catalog struct {
	tags    []language.Tag
	said    []map[string]said // by language, as in tags
	matcher language.Matcher
}

var all = sync.OnceValues(load)

func load() (*catalog, error) {
	files, err := words.ReadDir("words")
	if err != nil {
		return nil, err
	}
	c := &catalog{}
	for _, f := range files {
		raw, err := words.ReadFile(path.Join("words", f.Name()))
		if err != nil {
			return nil, err
		}
		tag, err := language.Parse(strings.TrimSuffix(f.Name(), ".json"))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		of := map[string]said{}
		if err := json.Unmarshal(raw, &of); err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		at := len(c.tags)
		if tag == language.English {
			at = 0
		}
		c.tags, c.said = slices.Insert(c.tags, at, tag), slices.Insert(c.said, at, of)
	}
	c.matcher = language.NewMatcher(c.tags)
	return c, nil
}

// In returns the presets in the language that an Accept-Language header (RFC 9110,
// 12.5.4) prefers, and that language. A header that cannot be read is ignored.
func In(accept string) (presets []Preset, tag string, err error) {
	c, err := all()
	if err != nil {
		return nil, "", fmt.Errorf("reading the words of presets: %w", err)
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		wanted = nil
	}
	_, at, _ := c.matcher.Match(wanted...)
	presets = slices.Clone(list)
	for i := range presets {
		p := &presets[i]
		w, ok := c.said[at][p.ID]
		if !ok { // a language that lacks it
			w = c.said[0][p.ID]
		}
		p.Name, p.Description = w.Name, w.Description
	}
	return presets, c.tags[at].String(), nil
}

package portal

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	tags "golang.org/x/text/language"
	"golang.org/x/text/unicode/bidi"

	"latchkey/api/client"
)

//go:embed words/*.json
var wordFiles embed.FS

// languageTags are the languages of the portal, the default first. Each has a file.
var languageTags = []string{"en", "de"}

// pseudo is the language for tests: English with all words of the catalogue marked, so
// that text that is not in it shows.
const pseudo = "en-XA"

// language is a language of the portal: its words, and the pages with them.
type language struct {
	tag   string
	words map[string]string
	pages map[string]parsed
}

// loadLanguages reads the languages, once per process; the pseudo-language is the last.
var loadLanguages = sync.OnceValues(readLanguages)

func readLanguages() ([]*language, error) {
	a, err := loadAssets()
	if err != nil {
		return nil, err
	}
	var list []*language
	for _, tag := range languageTags {
		l := &language{tag: tag, words: map[string]string{}}
		raw, err := wordFiles.ReadFile("words/" + tag + ".json")
		if err == nil {
			err = json.Unmarshal(raw, &l.words)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the words of %s: %w", tag, err)
		}
		list = append(list, l)
	}
	marked := &language{tag: pseudo, words: map[string]string{}}
	for key, text := range list[0].words {
		if !strings.HasPrefix(key, "format.") {
			text = "⟦" + text + "⟧"
		}
		marked.words[key] = text
	}
	list = append(list, marked)
	for _, l := range list {
		if l.pages, err = pagesOf(l, a); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// languageOf returns the chosen language, or the one that the browser prefers.
func (p *Portal) languageOf(chosen, accept string) *language {
	for _, l := range p.languages {
		if l.tag == chosen {
			return l
		}
	}
	wanted, _, err := tags.ParseAcceptLanguage(accept)
	if err != nil || len(wanted) == 0 {
		return p.languages[0]
	}
	var have []tags.Tag
	for _, tag := range languageTags {
		have = append(have, tags.MustParse(tag))
	}
	_, i, _ := tags.NewMatcher(have).Match(wanted...)
	return p.languages[i]
}

func (l *language) has(key string) bool { _, ok := l.words[key]; return ok }

// t returns the words of a key, with pairs of names and values put in. Values are
// isolated: text that runs from right to left does not change what is around it.
func (l *language) t(key string, pairs ...any) string {
	text, ok := l.words[key]
	if !ok {
		panic("portal: no words for " + key)
	}
	if len(pairs) == 0 {
		return text
	}
	replace := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		replace = append(replace, "{"+fmt.Sprint(pairs[i])+"}", isolated(fmt.Sprint(pairs[i+1])))
	}
	return strings.NewReplacer(replace...).Replace(text)
}

// n returns the words for a number of things: key.one or key.other, with the number as {n}.
func (l *language) n(key string, number int, pairs ...any) string {
	if number == 1 {
		key += ".one"
	} else {
		key += ".other"
	}
	return l.t(key, append(pairs, "n", number)...)
}

// block returns an element with the words of a page's scripts, which have the prefixes.
// Scripts read it with words.js. It is data: no policy on scripts concerns it.
func (l *language) block(prefixes ...string) (template.HTML, error) {
	chosen := map[string]string{}
	for key, text := range l.words {
		for _, prefix := range prefixes {
			if strings.HasPrefix(key, prefix) {
				chosen[key] = text
			}
		}
	}
	if len(chosen) == 0 {
		return "", fmt.Errorf("no words begin with any of %q", prefixes)
	}
	raw, err := json.Marshal(chosen) // escapes <, > and &
	if err != nil {
		return "", fmt.Errorf("writing the words of scripts: %w", err)
	}
	return template.HTML(`<script type="application/json" class="words">` + string(raw) + `</script>`), nil //nolint:gosec // it is escaped
}

// isolated puts text with characters that run from right to left between FIRST STRONG
// ISOLATE and POP DIRECTIONAL ISOLATE (UAX #9), and removes what could end that.
func isolated(s string) string {
	backward := false
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		p, _ := bidi.LookupRune(r)
		backward = backward || p.Class() == bidi.R || p.Class() == bidi.AL || p.Class() == bidi.AN
		return r
	}, s)
	if !backward {
		return s
	}
	return "\u2068" + s + "\u2069"
}

// problem returns what to tell somebody of an error of the API.
func (l *language) problem(err error, code string) string {
	wait := ""
	if e, ok := errors.AsType[*client.Error](err); ok && e.RetryAfter > 0 {
		wait = l.wait(e.RetryAfter)
	}
	if wait != "" && l.has("problem."+code+".wait") {
		return l.t("problem."+code+".wait", "wait", wait)
	}
	if l.has("problem." + code) {
		return l.t("problem." + code)
	}
	return l.t("problem.other", "code", code)
}

// wait is a time to wait, in words, rounded up.
func (l *language) wait(d time.Duration) string {
	if d < time.Minute {
		return l.n("wait.seconds", max(1, int(d.Round(time.Second).Seconds())))
	}
	return l.n("wait.minutes", int((d+time.Minute-1)/time.Minute))
}

// unseenReason ends what the API says of characters that nobody sees, after their name.
const unseenReason = "type it instead of pasting it."

var numbers = regexp.MustCompile(`[0-9]+`)

// reason returns what is wrong with a field. The API says it in English; other languages
// have the sentences that people can meet, with numbers as {n}.
func (l *language) reason(text string) string {
	if strings.HasSuffix(text, unseenReason) {
		return l.t("reason.unseen")
	}
	english := numbers.ReplaceAllString(text, "{n}")
	translated, ok := l.words["reason."+english]
	if !ok {
		if l.tag == "en" {
			return text
		}
		return l.t("reason")
	}
	for _, number := range numbers.FindAllString(text, -1) {
		translated = strings.Replace(translated, "{n}", number, 1)
	}
	return translated
}

// fieldOf returns the name that a form gives a field of the API's body.
func fieldOf(pointer string) string {
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	return parts[len(parts)-1]
}

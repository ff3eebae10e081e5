// Package message has the words of messages to people, in their languages: one file for
// each in words/. A file that is added is a language more.
package message

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"text/template"
)

//go:embed words/*.json
var words embed.FS

// Default is the language of those who chose none.
const Default = "en"

// Text is a message.
type Text struct {
	Subject string // of a mail
	Body    string
	Short   string // of a text message
}

// Values are what a message may name.
type Values struct {
	Code    string
	Minutes int // for which the code is valid

	From   string // the other party, "" if it is not known
	Device string // its name, "" if it is not known
	Whole  bool   // it is about no device alone
	Time   string // when it happened
	Ends   string // when it ends
	Count  int    // of what is told together

	Ready string // when something can happen
}

type texts map[string]map[string]Text // by language and message

var all = sync.OnceValues(load)

func load() (texts, error) {
	files, err := words.ReadDir("words")
	if err != nil {
		return nil, err
	}
	list := texts{}
	for _, f := range files {
		raw, err := words.ReadFile(path.Join("words", f.Name()))
		if err != nil {
			return nil, err
		}
		var of map[string]Text
		if err := json.Unmarshal(raw, &of); err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		list[strings.TrimSuffix(f.Name(), ".json")] = of
	}
	return list, nil
}

// Languages lists the languages, such as "de".
func Languages() []string {
	list, err := all()
	if err != nil {
		return nil
	}
	var names []string
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Of returns a message in a language, or in the default one.
func Of(what, language string, v Values) (Text, error) {
	list, err := all()
	if err != nil {
		return Text{}, err
	}
	text, ok := list[language][what]
	if !ok {
		if text, ok = list[Default][what]; !ok {
			return Text{}, fmt.Errorf("there is no message %q", what)
		}
	}
	for _, s := range []*string{&text.Subject, &text.Body, &text.Short} {
		t, err := template.New(what).Parse(*s)
		if err != nil {
			return Text{}, fmt.Errorf("reading the message %q: %w", what, err)
		}
		var b strings.Builder
		if err := t.Execute(&b, v); err != nil {
			return Text{}, fmt.Errorf("writing the message %q: %w", what, err)
		}
		*s = b.String()
	}
	return text, nil
}

package device

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxDepth    = 32
	maxElements = 20_000
	maxText     = 128  // of a fact, in runes
	maxRaw      = 2048 // of an element's own text, in bytes
)

// element is an XML element by its local name: namespaces vary between firmwares.
type element struct {
	name     string
	space    string            // its namespace
	attrs    map[string]string // by local name
	text     string
	children []*element
}

var errXML = errors.New("invalid XML")

// parseXML reads a document within limits. Document types, and thus entities, are
// refused.
func parseXML(text []byte) (*element, error) {
	if len(text) > maxAnswers {
		return nil, errTooLong
	}
	d := xml.NewDecoder(bytes.NewReader(bytes.ToValidUTF8(text, []byte("?"))))
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	root := &element{}
	stack := []*element{root}
	for count := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errXML, err)
		}
		at := stack[len(stack)-1]
		switch t := token.(type) {
		case xml.StartElement:
			if count++; count > maxElements || len(stack) > maxDepth {
				return nil, errTooLong
			}
			e := &element{name: t.Name.Local, space: t.Name.Space}
			for _, a := range t.Attr {
				if e.attrs == nil {
					e.attrs = map[string]string{}
				}
				e.attrs[a.Name.Local] = a.Value
			}
			at.children = append(at.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(at.text) < maxRaw { // otherwise whitespace between elements would be copied repeatedly
				at.text += string(t[:min(len(t), maxRaw)])
			}
		case xml.Directive:
			return nil, fmt.Errorf("%w: a document type", errXML)
		}
	}
	if len(root.children) != 1 {
		return nil, errXML
	}
	return root.children[0], nil
}

// find returns the first element at a path of local names, nil if there is none. It
// may be called on nil.
func (e *element) find(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		var next *element
		for _, c := range e.children {
			if c.name == name {
				next = c
				break
			}
		}
		e = next
	}
	return e
}

// all lists the children with a name.
func (e *element) all(name string) []*element {
	if e == nil {
		return nil
	}
	var out []*element
	for _, c := range e.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

// words returns the text at a path in a form that may be shown and logged: one line of
// printable characters, of at most maxText.
func (e *element) words(path ...string) string {
	if e = e.find(path...); e == nil {
		return ""
	}
	return printable(e.text)
}

func printable(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	clean = strings.Join(strings.Fields(clean), " ")
	if runes := []rune(clean); len(runes) > maxText {
		clean = strings.TrimSpace(string(runes[:maxText]))
	}
	return clean
}

package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

const (
	maxDepth   = 32 // of nested lists and objects
	usualDepth = 6  // of the deepest operation

	// maxIgnored is how many values may be in fields outside the schema: those that GET
	// returns and PUT ignores.
	maxIgnored = 200

	// fewBytes is the size of a body that is small enough to be read completely for all
	// of its faults, even if it has unknown fields.
	fewBytes = 16 << 10
)

func checkMediaType(header http.Header, want string) error {
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", detail: "The body must not be compressed."}
	}
	if types := header["Content-Type"]; len(types) == 1 {
		media, params, err := mime.ParseMediaType(types[0])
		charset := params["charset"]
		if err == nil && media == want && (charset == "" || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", detail: "The body must be " + want + "."}
}

// decodeBody reads a body that follows the schema. Its cost is at most a few times the
// body's size, whatever the content.
func decodeBody(raw []byte, schema *openapi3.Schema) (any, error) {
	if len(raw) == 0 {
		return nil, malformed("A body is required.", nil)
	}
	if !utf8.Valid(raw) {
		return nil, malformed("The body is not UTF-8.", nil)
	}
	if halfPair(raw) {
		return nil, malformed("The body has an unpaired surrogate, which is not a character.", nil)
	}
	found := faults{}
	if err := found.checkNames(raw, schema); err != nil {
		return nil, err
	}
	if found.full() || len(found) > 0 && len(raw) > fewBytes {
		return nil, brokenRules(found)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, malformed("The body is not JSON.", nil)
	}
	if found.check(schema, make([]string, 0, usualDepth), value); len(found) > 0 {
		return nil, brokenRules(found)
	}
	return value, nil
}

// halfPair reports whether JSON text has an escaped unpaired surrogate (RFC 8259, section
// 8.2), which readers interpret differently.
func halfPair(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		unit, ok := escaped(raw[i:])
		if !ok {
			i++ // an escape of one character, possibly a backslash
			continue
		}
		i += 5
		if !utf16.IsSurrogate(unit) {
			continue
		}
		low, ok := escaped(raw[i+1:])
		if !ok || utf16.DecodeRune(unit, low) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escaped reads an escape such as \u00e9 at the start of a text.
func escaped(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(unit), err == nil
}

// container is a list or an object that is being read.
type container struct {
	schema *openapi3.Schema // nil in a field that the schema does not have
	object bool
	names  names  // of an object's fields so far
	name   string // of the current field
	at     int    // index in a list
	value  bool   // the next token is the value of a field
}

// names are names of fields. A few are found faster in a list.
type names struct {
	few  []string
	many map[string]bool // the others
}

func (n *names) has(name string) bool { return n.many[name] || slices.Contains(n.few, name) }

func (n *names) add(name string) {
	if len(n.few) < fewEntries {
		n.few = append(n.few, name)
		return
	}
	if n.many == nil {
		n.many = make(map[string]bool)
	}
	n.many[name] = true
}

// step returns the container's part of a JSON pointer.
func (c *container) step() string {
	if c.object {
		return c.name
	}
	return strconv.Itoa(c.at)
}

// within returns the schema of the value that comes next.
func (c *container) within() *openapi3.Schema {
	switch {
	case c.schema == nil:
		return nil
	case !c.object && c.schema.Items != nil:
		return c.schema.Items.Value
	case c.object && c.schema.Properties[c.name] != nil:
		return c.schema.Properties[c.name].Value
	case c.object && closed(c.schema):
		return nil
	}
	return anything
}

// anything is the schema of values that the specification leaves open.
var anything = &openapi3.Schema{}

// crowded reports whether a list has its maximum number of entries.
func (c *container) crowded() bool {
	return c.schema != nil && !c.object && c.schema.MaxItems != nil && uint64(c.at) >= *c.schema.MaxItems
}

// checkNames checks the names of fields before the body is decoded. It refuses a body
// with a duplicate field in an object, which readers interpret differently (RFC 8259,
// section 4), and one that is nested deeper than any operation's; it records fields that
// the schema does not have, and stops if there are too many of them, or of entries of a
// list. Its cost is that of one pass.
func (f faults) checkNames(raw []byte, schema *openapi3.Schema) error {
	list := tokensOf(raw)
	open := make([]container, 0, usualDepth)
	ignored := 0 // values outside the schema
	for !f.full() {
		token, err := list.Token()
		if errors.Is(err, io.EOF) {
			return nil // decoding the value reports whether the rest is JSON
		}
		if err != nil {
			return malformed("The body is not JSON.", nil)
		}
		in := &container{value: true} // the container of the body
		if len(open) > 0 {
			in = &open[len(open)-1]
		}
		if name, ok := token.(string); ok && in.object && !in.value {
			if in.name, in.value = name, true; in.names.has(name) {
				return givenTwice(open)
			}
			f.note(open)
			continue
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			finish(open)
			continue
		}
		if in.crowded() {
			f.add(pathOf(open[:len(open)-1]), "has more entries than "+strconv.FormatUint(*in.schema.MaxItems, 10))
			return brokenRules(f)
		}
		of := schema
		if len(open) > 0 {
			of = in.within()
		}
		if of == anything {
			ignored++
		}
		if ignored > maxIgnored {
			f.add(pathOf(open), "is one of too many values, which are ignored")
			return brokenRules(f)
		}
		if token != json.Delim('{') && token != json.Delim('[') {
			finish(open)
			continue
		}
		object := token == json.Delim('{')
		if of != nil && !permits(of, object) {
			f.add(pathOf(open), "must be "+typeInWords(of.Type))
			if len(raw) > fewBytes {
				return brokenRules(f)
			}
			of = nil
		}
		if open = append(open, container{schema: of, object: object}); len(open) > maxDepth {
			return malformed("The body is nested too deeply.", nil)
		}
	}
	return nil
}

// permits reports whether a schema permits an object or, otherwise, a list.
func permits(schema *openapi3.Schema, object bool) bool {
	if object {
		return schema.Type.Permits(openapi3.TypeObject)
	}
	return schema.Type.Permits(openapi3.TypeArray)
}

// note records the field whose name was just read, as present or as one that the schema
// does not have.
func (f faults) note(open []container) {
	in := &open[len(open)-1]
	if in.schema == nil {
		return
	}
	in.names.add(in.name)
	if in.schema.Properties[in.name] == nil && closed(in.schema) {
		f.add(pathOf(open), "is not a field of this request")
	}
}

// finish records that a value in the innermost container has been read.
func finish(open []container) {
	if len(open) == 0 {
		return
	}
	in := &open[len(open)-1]
	in.value = false
	in.at++
}

func pathOf(open []container) []string {
	path := make([]string, len(open))
	for i := range open {
		path[i] = open[i].step()
	}
	return path
}

func givenTwice(open []container) error {
	p := malformed("The body has a duplicate field.", nil)
	p.fields = map[string]string{pointer(pathOf(open)): "is given twice"}
	return p
}

func malformed(detail string, cause error) *problem {
	return &problem{status: http.StatusBadRequest, code: "malformed_body", detail: detail, cause: cause}
}

func brokenRules(fields map[string]string) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: "invalid_body",
		detail: "The body is not valid for this operation.", fields: fields,
	}
}

func collectFaults(err error, fields map[string]string) {
	if many, ok := errors.AsType[openapi3.MultiError](err); ok {
		for _, e := range many {
			collectFaults(e, fields)
		}
		return
	}
	e, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok || len(fields) >= maxFields {
		return
	}
	path := e.JSONPointer()
	if name, ok := unknownField(e); ok {
		path = append(path[:len(path):len(path)], name)
	}
	at := pointer(path)
	if _, ok := fields[at]; !ok {
		fields[at] = reasonOf(e)
	}
}

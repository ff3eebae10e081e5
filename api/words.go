package api

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// The descriptions of faults for people. The library's own reasons repeat the input, and
// regular expressions.

// wordsOfPattern is the extension that describes a pattern in words.
const wordsOfPattern = "x-words"

// reasonOf describes which rule of the specification a value breaks. The subject of the
// sentence is the field.
func reasonOf(e *openapi3.SchemaError) string {
	s := e.Schema
	switch e.SchemaField {
	case "type":
		return "must be " + typeInWords(s.Type)
	case "nullable":
		return "must not be null"
	case "required":
		return "is required"
	case "properties":
		return "is not a field of this request"
	case "enum":
		return "must be one of " + enumInWords(s.Enum)
	case "pattern":
		if words, ok := s.Extensions[wordsOfPattern].(string); ok {
			return words
		}
	case "format":
		if s.Format == "date-time" {
			return noTime
		}
	case "minLength":
		if s.MinLength == 1 {
			return "must not be empty"
		}
		return fmt.Sprintf("is shorter than %d characters", s.MinLength)
	case "maxLength":
		return fmt.Sprintf("is longer than %d characters", *s.MaxLength)
	case "minimum":
		return fmt.Sprintf("must be at least %g", *s.Min)
	case "maximum":
		return fmt.Sprintf("must be at most %g", *s.Max)
	case "minItems":
		return "has fewer entries than " + strconv.FormatUint(s.MinItems, 10)
	case "maxItems":
		return "has more entries than " + strconv.FormatUint(*s.MaxItems, 10)
	case "uniqueItems":
		return "has an entry twice"
	case "minProperties":
		return "has fewer fields than " + strconv.FormatUint(s.MinProps, 10)
	case "maxProperties":
		return "has more fields than " + strconv.FormatUint(*s.MaxProps, 10)
	}
	return "does not match the API description"
}

const noTime = "is not a time such as 2026-12-31T00:00:00Z"

func typeInWords(types *openapi3.Types) string {
	names := map[string]string{
		"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
		"array": "a list", "object": "an object",
	}
	var words []string
	for _, t := range types.Slice() {
		words = append(words, names[t])
	}
	return strings.Join(words, " or ")
}

func enumInWords(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
		if v == "" {
			words[i] = "empty"
		}
	}
	return strings.Join(words, ", ")
}

// unknownField returns the name of a field that an object should not have. The library
// has it only in its reason, quoted.
func unknownField(e *openapi3.SchemaError) (string, bool) {
	if e.SchemaField != "properties" {
		return "", false
	}
	quoted, ok := strings.CutPrefix(e.Reason, "property ")
	if !ok {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(quoted)
	if err != nil {
		return "", false
	}
	name, err := strconv.Unquote(quoted)
	return name, err == nil
}

// sentence completes a reason to a sentence, whose subject is the field.
func sentence(reason string) string {
	first, _, _ := strings.Cut(reason, " ")
	switch first {
	case "is", "must", "has", "holds", "names", "cannot", "does":
		reason = "It " + reason
	}
	r, size := utf8.DecodeRuneInString(reason)
	if reason = string(unicode.ToUpper(r)) + reason[size:]; !strings.HasSuffix(reason, ".") {
		reason += "."
	}
	return reason
}

// bounded returns the part of a caller's input that may be repeated.
func bounded(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxFieldLength)], "")
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
)

const (
	// MaxBody is the largest request body, in bytes.
	MaxBody = 1 << 20

	maxDepth = 32 // of lists and objects within each other; the deepest operation has 6
)

func readBody(c echo.Context) ([]byte, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, c.Request().Body, MaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &problem{status: http.StatusRequestEntityTooLarge, code: "body_too_large", detail: "The body is larger than 1 MiB."}
	}
	if err != nil {
		return nil, malformed("The body could not be read to its end.", err)
	}
	return raw, nil
}

func checkMediaType(headers []string) error {
	if len(headers) == 1 {
		if media, _, err := mime.ParseMediaType(headers[0]); err == nil && media == "application/json" {
			return nil
		}
	}
	return &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", detail: "The body must be application/json."}
}

func decodeBody(raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, malformed("A body is needed.", nil)
	}
	if !utf8.Valid(raw) {
		return nil, malformed("The body is not UTF-8.", nil)
	}
	if err := checkNames(raw); err != nil {
		return nil, err
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, malformed("The body is not JSON.", nil)
	}
	return value, nil
}

// container is a list or an object that is being read.
type container struct {
	names map[string]bool // of an object's fields so far; nil for a list
	name  string          // of the field that is being read
	at    int             // in a list
	value bool            // what comes next is the value of a field
}

// step is the container's part of a JSON pointer.
func (c *container) step() string {
	if c.names == nil {
		return strconv.Itoa(c.at)
	}
	return c.name
}

// checkNames refuses a body that has a field twice in one object, which readers
// understand in different ways (RFC 8259, section 4), and one that is nested
// deeper than any operation's. Its cost is that of one reading.
func checkNames(raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var open []*container
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil // whether it is JSON to its end, the reading of the value says
		}
		if err != nil {
			return malformed("The body is not JSON.", nil)
		}
		var in *container
		if len(open) > 0 {
			in = open[len(open)-1]
		}
		if name, ok := token.(string); ok && in != nil && in.names != nil && !in.value {
			in.name, in.value = name, true
			if in.names[name] {
				return givenTwice(open)
			}
			in.names[name] = true
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &container{names: make(map[string]bool)})
		case json.Delim('['):
			open = append(open, &container{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			finish(open)
		default:
			finish(open)
		}
		if len(open) > maxDepth {
			return malformed("The body is nested too deeply.", nil)
		}
	}
}

// finish notes that a value in the innermost container has been read.
func finish(open []*container) {
	if len(open) == 0 {
		return
	}
	in := open[len(open)-1]
	in.value = false
	in.at++
}

func givenTwice(open []*container) error {
	path := make([]string, len(open))
	for i, c := range open {
		path[i] = c.step()
	}
	p := malformed("The body gives a field twice.", nil)
	p.fields = map[string]string{pointer(path): "is given twice"}
	return p
}

func malformed(detail string, cause error) *problem {
	return &problem{status: http.StatusBadRequest, code: "malformed_body", detail: detail, cause: cause}
}

func invalidBody(err error) *problem {
	fields := make(map[string]string)
	collectFaults(err, fields)
	return brokenRules(fields)
}

func brokenRules(fields map[string]string) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: "invalid_body",
		detail: "The body breaks the rules of this operation.", fields: fields,
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

// validatedBody hands the generated code the value that was validated, so that
// nothing is read twice and in two ways.
type validatedBody struct {
	*bytes.Reader
	value any
}

// ValidatedValue is asked for by the generated code.
func (b validatedBody) ValidatedValue() any { return b.value }

// Close has nothing to do.
func (b validatedBody) Close() error { return nil }

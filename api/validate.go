package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"
)

//go:embed openapi.yaml
var specification []byte

const (
	// MaxBody is the largest request body, in bytes.
	MaxBody = 1 << 20

	maxFields      = 20  // faults told of one body
	maxFieldLength = 200 // of a JSON pointer, which may hold the caller's own names
)

// operation is what the specification says about one method of one path.
type operation struct {
	route  *routers.Route
	params openapi3.Parameters
	public bool // needs no session
	body   *openapi3.Schema
	needed bool // the body is
}

// loadOperations reads the specification; the keys are "METHOD /echo/:path".
func loadOperations() (map[string]*operation, error) {
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromData(specification)
	if err != nil {
		return nil, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	if err := spec.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("checking openapi.yaml: %w", err)
	}
	operations := make(map[string]*operation)
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			operations[method+" "+echoPath(path)] = newOperation(spec, path, item, method, op)
		}
	}
	return operations, nil
}

func newOperation(spec *openapi3.T, path string, item *openapi3.PathItem, method string, op *openapi3.Operation) *operation {
	o := &operation{
		route:  &routers.Route{Spec: spec, Path: path, PathItem: item, Method: method, Operation: op},
		params: append(item.Parameters[:len(item.Parameters):len(item.Parameters)], op.Parameters...),
		public: op.Security != nil && len(*op.Security) == 0,
	}
	if op.RequestBody != nil {
		o.body = op.RequestBody.Value.Content.Get("application/json").Schema.Value
		o.needed = op.RequestBody.Value.Required
	}
	return o
}

// echoPath writes /a/{b} as echo does: /a/:b.
func echoPath(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

// validate holds the request against the specification. What it lets through
// is what the handler gets: the body is decoded once.
func (o *operation) validate(c echo.Context) error {
	if err := o.validateParams(c); err != nil {
		return err
	}
	if o.body == nil {
		return nil
	}
	raw, err := readBody(c)
	if err != nil {
		return err
	}
	if len(raw) == 0 && !o.needed {
		c.Request().Body = http.NoBody
		return nil
	}
	if err := checkMediaType(c.Request().Header.Get("Content-Type")); err != nil {
		return err
	}
	value, err := decodeBody(raw)
	if err != nil {
		return err
	}
	if err := o.body.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsRequest()); err != nil {
		return invalidBody(err)
	}
	c.Request().Body = validatedBody{Reader: bytes.NewReader(raw), value: value}
	return nil
}

func (o *operation) validateParams(c echo.Context) error {
	input := &openapi3filter.RequestValidationInput{
		Request: c.Request(), Route: o.route, PathParams: make(map[string]string),
		Options: &openapi3filter.Options{SkipSettingDefaults: true},
	}
	for _, name := range c.ParamNames() {
		value, err := pathParam(c, name)
		if err != nil || !visibleASCII(value) {
			return noSuchThing()
		}
		input.PathParams[name] = value
	}
	for _, ref := range o.params {
		p := ref.Value
		if p.In == openapi3.ParameterInHeader && len(c.Request().Header.Values(p.Name)) > 1 {
			return invalidParam(p, "is given more than once")
		}
		err := openapi3filter.ValidateParameter(c.Request().Context(), input, p)
		if err == nil {
			continue
		}
		if p.In == openapi3.ParameterInPath {
			return noSuchThing()
		}
		return invalidParam(p, paramReason(err))
	}
	return nil
}

// pathParam is the value that the handler gets: echo leaves it escaped where
// the path as sent is not the canonical one.
func pathParam(c echo.Context, name string) (string, error) {
	if c.Request().URL.RawPath == "" {
		return c.Param(name), nil
	}
	return url.PathUnescape(c.Param(name))
}

func invalidParam(p *openapi3.Parameter, reason string) *problem {
	if p.In == openapi3.ParameterInHeader {
		return invalidHeader(p.Name, reason)
	}
	return &problem{
		status: http.StatusBadRequest, code: "invalid_parameter",
		detail: "The parameter " + p.Name + " is not valid.",
		fields: map[string]string{p.Name: reason},
	}
}

func invalidHeader(name, reason string) *problem {
	return &problem{
		status: http.StatusBadRequest, code: "invalid_header",
		detail: "The header " + name + " is not valid.",
		fields: map[string]string{name: reason},
	}
}

func paramReason(err error) string {
	if e, ok := errors.AsType[*openapi3.SchemaError](err); ok {
		return e.Reason
	}
	return "cannot be read"
}

// noSuchThing answers a path parameter that can name nothing.
func noSuchThing() *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", detail: "There is no such thing, or not for you."}
}

func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

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

func checkMediaType(header string) error {
	media, _, err := mime.ParseMediaType(header)
	if err != nil || media != "application/json" {
		return &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", detail: "The body must be application/json."}
	}
	return nil
}

func decodeBody(raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, malformed("A body is needed.", nil)
	}
	if !utf8.Valid(raw) {
		return nil, malformed("The body is not UTF-8.", nil)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, malformed("The body is not JSON.", nil)
	}
	return value, nil
}

func malformed(detail string, cause error) *problem {
	return &problem{status: http.StatusBadRequest, code: "malformed_body", detail: detail, cause: cause}
}

func invalidBody(err error) *problem {
	fields := make(map[string]string)
	collectFaults(err, fields)
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
	if e, ok := errors.AsType[*openapi3.SchemaError](err); ok && len(fields) < maxFields {
		fields[pointer(e.JSONPointer())] = e.Reason
	}
}

// pointer writes a JSON pointer (RFC 6901); "" is the whole body.
func pointer(path []string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, part := range path {
		b.WriteString("/" + escape.Replace(part))
	}
	return strings.ToValidUTF8(b.String()[:min(b.Len(), maxFieldLength)], "")
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

// guard is the middleware of every operation of the specification: first who
// asks, then whether the request is one.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		op, ok := s.operations[c.Request().Method+" "+c.Path()]
		if !ok {
			return next(c)
		}
		if !op.public {
			if err := s.authenticate(c.Request()); err != nil {
				return err
			}
		}
		if err := op.validate(c); err != nil {
			return err
		}
		return next(c)
	}
}

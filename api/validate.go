package api

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"

	"latchkey/internal/app"
)

//go:generate go run ./internal/requests

var (
	//go:embed openapi.yaml
	specification []byte

	//go:embed requests.gen.json
	requests []byte // the part of it that is about requests
)

const (
	maxFields      = 20  // maximum number of faults reported per body
	maxFieldLength = 200 // of a JSON pointer, which may hold the caller's own names
)

// operation is the specification of one method of one path.
type operation struct {
	route   *routers.Route
	params  openapi3.Parameters
	public  bool // needs no session
	body    *openapi3.Schema
	sdp     bool // the body is application/sdp, and the handler reads it
	needed  bool // the body is required
	kind    app.RequestKind
	free    bool // not counted as a request
	streams bool // the answer does not end
	raw     bool // its body is no JSON of ours: the handler reads it
	probe   bool // requested by other machines, which may add anything to the query
}

// loadOperations reads what the specification says of requests, once per process. That the
// specification is valid is for a test: it is part of the program.
var loadOperations = sync.OnceValues(func() (map[string]*operation, error) { return readOperations(requests) })

// readOperations reads the operations of a specification; the keys are "METHOD /echo/:path".
func readOperations(raw []byte) (map[string]*operation, error) {
	spec, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the specification of requests: %w", err)
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
		route:   &routers.Route{Spec: spec, Path: path, PathItem: item, Method: method, Operation: op},
		params:  append(item.Parameters[:len(item.Parameters):len(item.Parameters)], op.Parameters...),
		public:  op.Security != nil && len(*op.Security) == 0,
		kind:    kindOf(method, op.OperationID),
		free:    op.OperationID == "getAccount", // it reports the quota of requests
		streams: path == eventsPath || slices.Contains(op.Tags, socketTag),
		probe:   slices.Contains(op.Tags, "operations"),
	}
	if o.raw = path == receiverPath; op.RequestBody != nil && !o.raw {
		media := op.RequestBody.Value.Content["application/json"]
		if o.sdp = media == nil; o.sdp {
			media = op.RequestBody.Value.Content[sdpType]
		}
		o.body = media.Schema.Value
		o.needed = op.RequestBody.Value.Required
	}
	return o
}

// kindOf returns what an operation may do.
func kindOf(method, id string) app.RequestKind {
	switch {
	case method == http.MethodGet, strings.Contains(id, "PTZ"), strings.Contains(id, "WebRTC"): // a camera that is slow must not hold up commands
		return app.Reads
	case method == http.MethodDelete || id == "rejectDevice" || id == "pauseShare" || id == "pauseShareDevice" || id == "rejectTransfer" || id == "objectToReclaim":
		return app.TakesAway
	case id == "replaceShare" || id == "putShareDevice" || id == "changePassword" || id == "decideInvitations" || id == "acceptTransfer" || id == "completeReclaim":
		return app.Changes
	}
	return app.Gives
}

// echoPath converts /a/{b} to echo's form: /a/:b.
func echoPath(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

// validate checks the request against the specification and waits for its turn. The
// handler gets exactly what was validated: the body is decoded once. release must be
// called at the end of the request, also after an error.
func (s *Server) validate(c echo.Context, o *operation) (release func(), err error) {
	var held []func()
	release = func() {
		for _, giveBack := range slices.Backward(held) {
			giveBack()
		}
	}
	if err := o.validateParams(c); err != nil {
		return release, err
	}
	var raw []byte
	if o.body != nil { // read before the turn, which a slow body must not occupy
		var done func()
		raw, done, err = s.readBody(c, o.maxBody())
		held = append(held, done)
		if err != nil {
			return release, err
		}
	}
	giveBack, err := s.takeCommandTurn(c.Request().Context(), o)
	if err != nil {
		return release, err
	}
	held = append(held, giveBack)
	if o.body == nil {
		return release, nil
	}
	giveBack, err = s.takeBodyTurn(c.Request().Context(), raw)
	if err != nil {
		return release, err
	}
	held = append(held, giveBack)
	return release, o.validateBody(c, raw)
}

// validateBody decodes the body and checks it.
func (o *operation) validateBody(c echo.Context, raw []byte) error {
	if len(raw) == 0 && !o.needed {
		c.Request().Body = http.NoBody
		return nil
	}
	if o.sdp {
		c.Request().Body = io.NopCloser(bytes.NewReader(raw))
		return checkMediaType(c.Request().Header, sdpType)
	}
	if err := checkMediaType(c.Request().Header, "application/json"); err != nil {
		return err
	}
	value, err := decodeOnCore(c.Request().Context(), raw, o.body)
	if err != nil {
		return err
	}
	c.Request().Body = validatedBody{Reader: bytes.NewReader(raw), value: value}
	return nil
}

// maxBody returns the maximum size of the body, in bytes.
func (o *operation) maxBody() int {
	switch {
	case o.sdp:
		return MaxOffer
	case o.public:
		return MaxPublicBody
	}
	return MaxBody
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
	if !o.probe {
		if err := o.checkQuery(c.Request().URL.RawQuery); err != nil {
			return err
		}
	}
	if err := o.checkConditions(c.Request()); err != nil {
		return err
	}
	for _, ref := range o.params {
		p := ref.Value
		if p.In == openapi3.ParameterInHeader {
			if err := checkHeader(p.Name, c.Request().Header.Values(p.Name)); err != nil {
				return err
			}
		}
		switch reason := paramFault(c.Request().Context(), input, p); {
		case reason == "":
		case p.In == openapi3.ParameterInPath:
			return noSuchThing()
		default:
			return invalidParam(p, reason)
		}
	}
	return nil
}

// paramFault returns what is wrong with a parameter of a request.
func paramFault(ctx context.Context, input *openapi3filter.RequestValidationInput, p *openapi3.Parameter) string {
	if err := openapi3filter.ValidateParameter(ctx, input, p); err != nil {
		return paramReason(p, err)
	}
	switch p.In {
	case openapi3.ParameterInPath:
		return badlyWritten(p, input.PathParams[p.Name])
	case openapi3.ParameterInQuery:
		return badlyWritten(p, input.GetQueryParams().Get(p.Name)) // which the library has read, once
	}
	return ""
}

// badlyWritten returns what is wrong with a value that the library permits and handlers
// cannot read, or read differently: numbers such as 0x1 and 010, and times that are in no
// calendar, or the first of all, which stands for none.
func badlyWritten(p *openapi3.Parameter, value string) string {
	if value == "" {
		return ""
	}
	if !wellWritten(p, value) {
		return "must be " + typeInWords(p.Schema.Value.Type)
	}
	if at := (time.Time{}); p.Schema.Value.Format == "date-time" && (at.UnmarshalText([]byte(value)) != nil || at.IsZero()) {
		return noTime
	}
	return ""
}

// wellWritten reports whether a number is written as we write it: there is one path of each
// thing, so 01 and +1 are none.
func wellWritten(p *openapi3.Parameter, value string) bool {
	if !p.Schema.Value.Type.Is(openapi3.TypeInteger) {
		return true
	}
	n, err := strconv.Atoi(value)
	return err == nil && strconv.Itoa(n) == value
}

// checkQuery refuses parameters that the operation does not define, and those
// given twice or without a value: an empty value is not the same as none.
func (o *operation) checkQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return &problem{status: http.StatusBadRequest, code: "invalid_parameter", detail: "The query cannot be read."}
	}
	fields := make(map[string]string)
	for name, values := range query {
		switch {
		case o.params.GetByInAndName(openapi3.ParameterInQuery, name) == nil:
			fields[bounded(name)] = "is not a parameter of this operation"
		case len(values) > 1:
			fields[name] = "is given more than once"
		case values[0] == "":
			fields[name] = "must not be empty"
		case !utf8.ValidString(values[0]) || strings.Contains(values[0], "\x00"): // which databases take for the end of a query, or refuse
			fields[name] = "is not text"
		}
		if len(fields) == maxFields {
			break
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &problem{status: http.StatusBadRequest, code: "invalid_parameter", detail: "The query is not valid.", fields: fields}
}

func checkHeader(name string, values []string) error {
	switch {
	case len(values) > 1:
		return invalidHeader(name, "is given more than once")
	case len(values) == 1 && strings.Trim(values[0], " \t") == "":
		return invalidHeader(name, "must not be empty")
	}
	return nil
}

// checkConditions refuses a condition on a command that has no revision to compare with:
// a condition is never ignored (RFC 9110, 13.1).
func (o *operation) checkConditions(r *http.Request) error {
	if r.Method == http.MethodGet {
		return nil
	}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if len(r.Header.Values(name)) > 0 && o.params.GetByInAndName(openapi3.ParameterInHeader, name) == nil {
			return &problem{
				status: http.StatusPreconditionFailed, code: "no_revision",
				detail: "This command has no revision to compare with " + name + ". Send it without that header.",
				fields: map[string]string{name: "is not supported by this operation"},
			}
		}
	}
	return nil
}

// pathParam returns the value that the handler gets: echo leaves it escaped if the path
// as sent is not the canonical one.
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

func paramReason(p *openapi3.Parameter, err error) string {
	if e, ok := errors.AsType[*openapi3.SchemaError](err); ok {
		return reasonOf(e)
	}
	if errors.Is(err, openapi3filter.ErrInvalidRequired) {
		return "is required"
	}
	return "must be " + typeInWords(p.Schema.Value.Type)
}

// noSuchThing is the refusal of a path parameter that cannot exist.
func noSuchThing() *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", detail: "This does not exist, or you have no access to it."}
}

func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// pointer writes a JSON pointer (RFC 6901); "" is the whole body.
func pointer(path []string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, part := range path {
		b.WriteString("/" + escape.Replace(part))
	}
	return bounded(b.String())
}

// guard is the middleware of every operation of the specification: it authenticates, then
// checks the limits, then validates the request.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		op, ok := s.operations[c.Request().Method+" "+c.Path()]
		if !ok {
			return next(c)
		}
		end, err := s.admit(c.Request(), op)
		if err != nil {
			return err
		}
		if op.streams { // it lasts, and its number is bounded by Live
			end()
		} else {
			defer end()
		}
		release, err := s.validate(c, op)
		defer release()
		if err != nil {
			return err
		}
		return next(c)
	}
}

// admit admits a request before its body is read: that of an account within its quotas,
// or of a network with a remaining allowance. end must be called at the end of the
// request.
func (s *Server) admit(r *http.Request, op *operation) (end func(), err error) {
	if !op.public {
		if err := s.authenticate(r); err != nil {
			return nil, err
		}
		return s.limitAccount(r.Context(), op)
	}
	if op.body != nil {
		err = s.limitNetwork(r.Context())
	}
	return func() {}, err
}

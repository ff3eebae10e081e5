package api

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestRoutesAreThoseOfTheSpecification compares both ways.
func TestRoutesAreThoseOfTheSpecification(t *testing.T) {
	w := newWorld(t)
	var specified, routed []string
	for key := range w.server.operations {
		specified = append(specified, key)
	}
	for key := range w.server.routes {
		routed = append(routed, key)
	}
	slices.Sort(specified)
	slices.Sort(routed)
	if !slices.Equal(specified, routed) {
		t.Errorf("specified:\n%s\nrouted:\n%s", strings.Join(specified, "\n"), strings.Join(routed, "\n"))
	}
}

// TestTheSpecificationIsValid: a server reads it without checking it again.
func TestTheSpecificationIsValid(t *testing.T) {
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromData(specification)
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
}

// wholeSpecification reads the operations with their answers, which a server does not need.
var wholeSpecification = sync.OnceValues(func() (map[string]*operation, error) { return readOperations(specification) })

// TestRequestsAreThoseOfTheSpecification: the file that is made of it leaves out none.
func TestRequestsAreThoseOfTheSpecification(t *testing.T) {
	all, err := wholeSpecification()
	if err != nil {
		t.Fatal(err)
	}
	made, err := loadOperations()
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(all) {
		t.Errorf("%d operations of %d", len(made), len(all))
	}
	for key, want := range all {
		got := made[key]
		if got == nil {
			t.Errorf("%s is missing", key)
			continue
		}
		if got.public != want.public || got.needed != want.needed || got.sdp != want.sdp || got.streams != want.streams ||
			got.probe != want.probe || got.kind != want.kind || (got.body == nil) != (want.body == nil) {
			t.Errorf("%s is not what was specified", key)
		}
		for i, p := range want.params {
			if i >= len(got.params) || got.params[i].Value.Name != p.Value.Name || got.params[i].Value.Required != p.Value.Required {
				t.Errorf("%s lacks the parameter %s", key, p.Value.Name)
			}
		}
	}
}

// whole returns an operation with its answers.
func whole(t testing.TB, key string) *operation {
	t.Helper()
	operations, err := wholeSpecification()
	if err != nil {
		t.Fatal(err)
	}
	return operations[key]
}

// TestEveryOperationNamesItsErrors: what the middleware may answer is in the
// specification of every operation it stands before.
func TestEveryOperationNamesItsErrors(t *testing.T) {
	operations, err := wholeSpecification()
	if err != nil {
		t.Fatal(err)
	}
	for key, op := range operations {
		if !strings.Contains(key, "/api/v1/") || strings.HasSuffix(key, "openapi.yaml") {
			continue
		}
		want := []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable}
		if !op.public {
			want = append(want, http.StatusUnauthorized)
		}
		if op.body != nil {
			want = append(want, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
		}
		if !strings.HasPrefix(key, "GET ") {
			want = append(want, http.StatusPreconditionFailed)
		}
		if op.route.Operation.Parameters.GetByInAndName("header", "Idempotency-Key") != nil {
			want = append(want, http.StatusUnprocessableEntity)
		}
		for _, status := range want {
			if op.route.Operation.Responses.Status(status) == nil {
				t.Errorf("%s does not name status %d", key, status)
			}
		}
	}
}

// codesOf finds every code that the source of a package can put in an answer:
// what stands for the field code or Code, constants whose name begins with Code, what
// the functions that make a problem get first, and the table of refusals.
func codesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	found := map[string]bool{}
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			code, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[code] = true
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && strings.EqualFold(key.Name, "code") {
					note(n.Value)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "unauthenticated" || f.Name == "unavailable") && len(n.Args) > 1 {
					note(n.Args[0])
				}
			case *ast.ValueSpec:
				if strings.HasPrefix(n.Names[0].Name, "Code") {
					note(n.Values[0])
				}
				if n.Names[0].Name != "refusals" {
					break
				}
				for _, row := range n.Values[0].(*ast.CompositeLit).Elts {
					note(row.(*ast.CompositeLit).Elts[2])
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

// TestCodesAreThoseOfTheSpecification compares both ways: every code that an
// answer can carry is described, and none that cannot come.
func TestCodesAreThoseOfTheSpecification(t *testing.T) {
	spec, err := openapi3.NewLoader().LoadFromData(specification)
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for name, response := range spec.Components.Responses {
		codes, _ := response.Value.Extensions["x-codes"].([]any)
		if response.Value.Content["application/problem+json"] != nil && len(codes) == 0 {
			t.Errorf("the response %s has no x-codes", name)
		}
		for _, c := range codes {
			code := c.(string)
			described = append(described, code)
			if !strings.Contains(*response.Value.Description, "`"+code+"`") {
				t.Errorf("the description of %s does not tell %s", name, code)
			}
		}
	}
	slices.Sort(described)
	inSource := slices.Concat(codesOf(t, "."), codesOf(t, "../internal/app"))
	slices.Sort(inSource)
	if inSource = slices.Compact(inSource); !slices.Equal(slices.Compact(described), inSource) {
		t.Errorf("described:\n%s\nin the source:\n%s", strings.Join(described, "\n"), strings.Join(inSource, "\n"))
	}
}

// TestParametersAreReadInOneWay: what the validator and the handler would read differently
// is refused, with its name.
func TestParametersAreReadInOneWay(t *testing.T) {
	v := newVillage(t)
	for _, query := range []string{
		"/devices?limit=0x1", "/devices?limit=0b1", "/devices?limit=0o7", "/devices?limit=1_0", "/devices?limit=010", "/devices?limit=%2B5", "/devices?limit=5.0",
		"/devices?limit=99999999999999999999", "/shares/sent?limit=0x1",
		"/alarms?from=2026-02-30T00:00:00Z", "/alarms?to=2026-01-01T00:00:60Z", "/alarms?from=2026-01-01T00:00:00%2B99:99", "/alarms?from=0001-01-01T00:00:00Z",
	} {
		p := v.wantProblem(v.do("GET", "/api/v1"+query, v.owner.token, nil), 400, "invalid_parameter")
		_, rest, _ := strings.Cut(query, "?")
		name, _, _ := strings.Cut(rest, "=")
		if len(p.Errors) != 1 || p.Errors[name] == "" {
			t.Errorf("%s: %+v", query, p.Errors)
		}
	}
	v.wantStatus(v.do("GET", "/api/v1/devices?limit=10", v.owner.token, nil), 200)
	for _, n := range []string{"1e308", "9223372036854775808", "1e19", "-1e23"} {
		body := `{"recipient":{"email":"x@example.com"},"devices":[{"device":"` + v.device + `","channels":[{"channel":1,"privileges":["playback"],"playback_delay":` + n + `}]}]}`
		p := v.wantProblem(v.do("POST", "/api/v1/shares", v.owner.token, json.RawMessage(body)), 422, "invalid_body")
		if p.Errors["/devices/0/channels/0/playback_delay"] == "" {
			t.Errorf("%s: %+v", n, p.Errors)
		}
	}
}

// TestPatternsHaveWords: nobody is shown a regular expression.
func TestPatternsHaveWords(t *testing.T) {
	operations, err := loadOperations()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*openapi3.Schema]bool{}
	patterns := 0
	var check func(where string, s *openapi3.SchemaRef)
	check = func(where string, s *openapi3.SchemaRef) {
		if s == nil || seen[s.Value] {
			return
		}
		seen[s.Value] = true
		if words, _ := s.Value.Extensions[wordsOfPattern].(string); s.Value.Pattern != "" {
			patterns++
			if words == "" {
				t.Errorf("%s: the pattern %s has no words", where, s.Value.Pattern)
			}
		}
		check(where, s.Value.Items)
		for name, p := range s.Value.Properties {
			check(where+"/"+name, p)
		}
	}
	for key, op := range operations {
		for _, p := range op.params {
			check(key+" "+p.Value.Name, p.Value.Schema)
		}
		if op.body != nil {
			check(key, op.body.NewRef())
		}
	}
	if patterns == 0 {
		t.Error("no pattern was found")
	}
}

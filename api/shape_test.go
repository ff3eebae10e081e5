package api

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"
)

// TestShapeIsTheSpecification: our reading of a schema refuses what the library's
// does, and nothing else: for every operation, bodies that are nearly right.
func TestShapeIsTheSpecification(t *testing.T) {
	operations, err := loadOperations()
	if err != nil {
		t.Fatal(err)
	}
	for name, op := range operations {
		if op.body == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				value := bodyOf(op.body, 3).Draw(t, "body")
				raw, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(raw, &value); err != nil {
					t.Fatal(err)
				}
				found := faults{}
				found.check(op.body, nil, value)
				want := op.body.VisitJSON(value, openapi3.VisitAsRequest())
				if (want == nil) != (len(found) == 0) {
					t.Fatalf("%s: found %v, the library %v", raw, found, want)
				}
				if _, err := decodeBody(raw, op.body); (err == nil) != (want == nil) {
					t.Fatalf("%s: decoding it ends with %v, the library %v", raw, err, want)
				}
			})
		})
	}
}

// bodyOf draws values that follow a schema, or miss it here and there.
func bodyOf(s *openapi3.Schema, depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		if depth == 0 || rapid.IntRange(0, 19).Draw(t, "miss") == 0 {
			return rapid.SampledFrom([]any{nil, true, 0.0, -1.5, 7.0, "", "text", []any{}, []any{"ptz", "ptz"}, map[string]any{}, map[string]any{"x": 1.0}}).Draw(t, "other")
		}
		switch {
		case s.Type.Is(openapi3.TypeObject):
			return objectOf(t, s, depth)
		case s.Type.Is(openapi3.TypeArray):
			list := []any{}
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				list = append(list, bodyOf(s.Items.Value, depth).Draw(t, "entry"))
			}
			return list
		case len(s.Enum) > 0:
			return rapid.SampledFrom(s.Enum).Draw(t, "enum")
		case s.Type.Is(openapi3.TypeInteger), s.Type.Is(openapi3.TypeNumber):
			return float64(rapid.IntRange(-1, 513).Draw(t, "number"))
		case s.Type.Is(openapi3.TypeBoolean):
			return rapid.Bool().Draw(t, "boolean")
		}
		return rapid.SampledFrom([]string{"a", "ann@example.com", "cam-1", "rtsp://192.0.2.1/1", "2030-01-01T00:00:00Z", "long password", ""}).Draw(t, "text")
	})
}

func objectOf(t *rapid.T, s *openapi3.Schema, depth int) any {
	object := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if rapid.IntRange(0, 3).Draw(t, "has "+name) > 0 {
			object[name] = bodyOf(s.Properties[name].Value, depth-1).Draw(t, name)
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "more") == 0 {
		object["more"] = "text"
	}
	return object
}

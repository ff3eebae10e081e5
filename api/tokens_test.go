package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// FuzzTokens: of valid text our tokens are the library's, where they tell anything.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,true,null,"x"],"b\n":{},"a\"":"}"}`, ` [ { "\\" : "\\" , "":"\u00e9:" } ] `, `7`, `"text"`, `"a" `, `{"a":{"b":[[],[{}]]}}`, `{"a" : 1}`, `nul`, `{"a"}`, `{} {}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			if _, is := tokensOf(raw).(*json.Decoder); !is {
				t.Errorf("%q is taken for valid", raw)
			}
			return
		}
		theirs, ours := json.NewDecoder(bytes.NewReader(raw)), tokensOf(raw)
		names := 0
		for {
			want, err := theirs.Token()
			got, err2 := ours.Token()
			if errors.Is(err, io.EOF) && errors.Is(err2, io.EOF) {
				break
			}
			if err != nil || err2 != nil {
				t.Fatalf("%q: %v, %v", raw, err, err2)
			}
			if name, is := got.(string); is {
				names++
				if want != name {
					t.Fatalf("%q: the name %q is read as %q", raw, want, name)
				}
			} else if _, is := want.(json.Delim); is && got != want || !is && got != nil {
				t.Fatalf("%q: %v is read as %v", raw, want, got)
			}
		}
		var value any
		if json.Unmarshal(raw, &value) == nil && names < fields(value) {
			t.Errorf("%q has %d fields, %d names were read", raw, fields(value), names)
		}
	})
}

// fields counts the fields of all objects in a value.
func fields(value any) (n int) {
	switch v := value.(type) {
	case map[string]any:
		for _, in := range v {
			n += 1 + fields(in)
		}
	case []any:
		for _, in := range v {
			n += fields(in)
		}
	}
	return n
}

// TestSimpleSchemasHaveNoOtherRules than those that fits knows.
func TestSimpleSchemasHaveNoOtherRules(t *testing.T) {
	operations, err := loadOperations()
	if err != nil {
		t.Fatal(err)
	}
	simple := 0
	seen := map[*openapi3.Schema]bool{}
	var look func(s *openapi3.Schema)
	look = func(s *openapi3.Schema) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		for _, p := range s.Properties {
			look(p.Value)
		}
		if s.Items != nil {
			look(s.Items.Value)
		}
		if !s.Type.Is(openapi3.TypeString) && !s.Type.Is(openapi3.TypeInteger) && !s.Type.Is(openapi3.TypeBoolean) || s.Pattern != "" || s.Format != "" {
			return
		}
		simple++
		rest := *s
		rest.Type, rest.Enum, rest.MinLength, rest.MaxLength, rest.Min, rest.Max = nil, nil, 0, nil, nil, nil
		rest.Title, rest.Description, rest.Example, rest.Extensions, rest.Origin = "", "", nil, nil, nil
		rest.ReadOnly, rest.Deprecated, rest.Default = false, false, nil
		if !reflect.DeepEqual(rest, openapi3.Schema{}) {
			t.Errorf("the schema %q has a rule that fits does not know: %+v", s.Description, rest)
		}
	}
	for _, op := range operations {
		look(op.body)
	}
	if simple < 20 {
		t.Errorf("only %d simple schemas were found", simple)
	}
}

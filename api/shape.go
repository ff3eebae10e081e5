package api

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// faults are the errors in a body: texts by JSON pointer, at most maxFields.
type faults map[string]string

func (f faults) full() bool { return len(f) >= maxFields }

func (f faults) add(path []string, reason string) {
	if at := pointer(path); !f.full() && f[at] == "" {
		f[at] = reason
	}
}

// check validates a value against its schema, and stops at the last fault that is
// reported. The library would collect all of them, each with the value: a body full of
// faults took a hundred times its size.
func (f faults) check(schema *openapi3.Schema, path []string, value any) {
	if f.full() {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if schema.Type.Permits(openapi3.TypeObject) {
			f.checkObject(schema, path, v)
			return
		}
	case []any:
		if schema.Type.Permits(openapi3.TypeArray) && schema.Items != nil {
			f.checkList(schema, path, v)
			return
		}
	}
	f.checkWhole(schema, path, value)
}

// checkWhole leaves a value to the library, which reports one fault.
func (f faults) checkWhole(schema *openapi3.Schema, path []string, value any) {
	if fits(schema, value) {
		return
	}
	if text, ok := value.(string); ok && schema.Format == "date-time" && new(time.Time).UnmarshalText([]byte(text)) != nil {
		f.add(path, noTime) // the library permits the 30th of February, and decoding would name no field
		return
	}
	if n, ok := value.(float64); ok && schema.Type.Is(openapi3.TypeInteger) && n == math.Trunc(n) && math.Abs(n) >= tooLarge {
		f.add(path, "is too large a number") // which no field can hold, whatever the library permits
		return
	}
	err := schema.VisitJSON(value, openapi3.VisitAsRequest())
	if err == nil {
		return
	}
	found := make(map[string]string)
	collectFaults(err, found)
	for at, reason := range found {
		f.add(append(path[:len(path):len(path)], steps(at)...), reason)
	}
}

// tooLarge is more than fields of whole numbers hold.
const tooLarge = 1 << 63

// fits reports whether a value follows a schema of one of the simple kinds; false: ask the
// library, which takes far longer. A test checks that the specification gives those kinds
// no other rules.
func fits(schema *openapi3.Schema, value any) bool {
	if schema.Pattern != "" || schema.Format != "" {
		return false
	}
	switch v := value.(type) {
	case string:
		n := uint64(utf8.RuneCountInString(v))
		return schema.Type.Is(openapi3.TypeString) && n >= schema.MinLength && (schema.MaxLength == nil || n <= *schema.MaxLength) &&
			(schema.Enum == nil || slices.Contains(schema.Enum, value))
	case float64:
		return schema.Type.Is(openapi3.TypeInteger) && schema.Enum == nil && v == math.Trunc(v) && math.Abs(v) < tooLarge &&
			(schema.Min == nil || v >= *schema.Min) && (schema.Max == nil || v <= *schema.Max)
	case bool:
		return schema.Type.Is(openapi3.TypeBoolean) && schema.Enum == nil
	}
	return false
}

// fitAndDiffer reports whether entries are different texts that fit; false: ask the
// library.
func fitAndDiffer(schema *openapi3.Schema, list []any) bool {
	for i, v := range list {
		if _, ok := v.(string); !ok || i > fewEntries || !fits(schema, v) || slices.Contains(list[:i], v) {
			return false
		}
	}
	return true
}

// fewEntries are compared with each other faster than they are sorted.
const fewEntries = 16

// steps returns the path of a JSON pointer.
func steps(at string) []string {
	if at == "" {
		return nil
	}
	list := strings.Split(at[1:], "/")
	for i, s := range list {
		list[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return list
}

func (f faults) checkObject(schema *openapi3.Schema, path []string, value map[string]any) {
	at := func(name string) []string { return append(path, name) } // until the next one is asked for
	for _, name := range schema.Required {
		if _, ok := value[name]; !ok {
			f.add(at(name), "is required")
		}
	}
	if schema.MinProps > uint64(len(value)) {
		f.add(path, "has fewer fields than "+strconv.FormatUint(schema.MinProps, 10))
	}
	if schema.MaxProps != nil && *schema.MaxProps < uint64(len(value)) {
		f.add(path, "has more fields than "+strconv.FormatUint(*schema.MaxProps, 10))
	}
	for _, name := range slices.Sorted(maps.Keys(value)) {
		switch property := schema.Properties[name]; {
		case property != nil:
			f.check(property.Value, at(name), value[name])
		case closed(schema):
			f.add(at(name), "is not a field of this request")
		}
		if f.full() {
			return
		}
	}
}

// closed reports whether an object may only have the fields of its schema.
func closed(schema *openapi3.Schema) bool {
	allowed := schema.AdditionalProperties.Has
	return allowed != nil && !*allowed
}

// checkList validates a list against the parts of schemas used here: the number of
// entries, and that none is duplicate, which only short lists require.
func (f faults) checkList(schema *openapi3.Schema, path []string, value []any) {
	if schema.MinItems > uint64(len(value)) {
		f.add(path, "has fewer entries than "+strconv.FormatUint(schema.MinItems, 10))
	}
	if schema.MaxItems != nil && *schema.MaxItems < uint64(len(value)) {
		f.add(path, "has more entries than "+strconv.FormatUint(*schema.MaxItems, 10))
		return
	}
	if schema.UniqueItems {
		if !fitAndDiffer(schema.Items.Value, value) {
			f.checkWhole(schema, path, value)
		}
		return
	}
	for i, item := range value {
		f.check(schema.Items.Value, append(path, strconv.Itoa(i)), item)
		if f.full() {
			return
		}
	}
}

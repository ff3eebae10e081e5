// Command requests writes the part of openapi.yaml by which the API checks requests, as
// JSON: without prose, responses and what only they use. The service reads it at each
// start, which takes a fraction of what reading the whole specification takes.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	if err := run("openapi.yaml", "requests.gen.json"); err != nil {
		fmt.Fprintln(os.Stderr, "writing the requests of the API:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	spec, err := openapi3.NewLoader().LoadFromFile(from)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	var document map[string]any
	if err := json.Unmarshal(raw, &document); err != nil {
		return err
	}
	raw, err = json.Marshal(requestsOf(document))
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(raw, '\n'), 0o644)
}

// requestsOf returns a document with the paths of another one, and with the components that
// their requests use.
func requestsOf(document map[string]any) map[string]any {
	paths := document["paths"].(map[string]any)
	for _, item := range paths {
		for key, op := range item.(map[string]any) {
			if op, ok := op.(map[string]any); ok && key != "parameters" {
				delete(op, "responses")
			}
		}
	}
	used := map[string]any{}
	silence(paths)
	collect(document["components"].(map[string]any), paths, used)
	return map[string]any{
		"openapi": document["openapi"], "info": map[string]any{"title": "", "version": ""},
		"security": document["security"], "paths": paths, "components": used,
	}
}

// collect copies the components to which a value refers.
func collect(components map[string]any, value any, used map[string]any) {
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			collect(components, inner, used)
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			take(components, ref, used)
		}
		for _, inner := range v {
			collect(components, inner, used)
		}
	}
}

// take copies the component of a reference such as #/components/schemas/Device, and those
// to which it refers.
func take(components map[string]any, ref string, used map[string]any) {
	kind, name := path.Base(path.Dir(ref)), path.Base(ref)
	taken, ok := used[kind].(map[string]any)
	if !ok {
		taken = map[string]any{}
		used[kind] = taken
	}
	if taken[name] != nil {
		return
	}
	component := components[kind].(map[string]any)[name]
	silence(component)
	taken[name] = component
	collect(components, component, used)
}

// silence removes prose from a part of the specification. Names of properties are kept
// whatever they are.
func silence(value any) {
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			silence(inner)
		}
	case map[string]any:
		for key, inner := range v {
			switch {
			case key == "properties":
				for _, property := range inner.(map[string]any) {
					silence(property)
				}
			case key == "description" || key == "summary" || key == "example" || key == "examples" || key == "x-codes":
				delete(v, key)
			case key == "enum" || key == "default" || key == "const" || key == "required":
			default:
				silence(inner)
			}
		}
	}
}

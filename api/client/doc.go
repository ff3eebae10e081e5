// Package client is a Go client of the REST API. Types and calls are generated from
// api/openapi.yaml; New, problems and positions are written by hand.
//
// Each call returns a value with one field per response, such as JSON200, or an error: a
// *Error if the service refused.
package client

//go:generate go tool -modfile=../../internal/tools/go.mod oapi-codegen -config oapi-codegen.yaml ../openapi.yaml

// Package rest is generated from api/openapi.yaml: the types of requests and
// answers, and the routes. Nothing in it is written by hand but this comment;
// what the operations do is in package api.
package rest

//go:generate go tool -modfile=../../../internal/tools/go.mod oapi-codegen -config oapi-codegen.yaml ../../openapi.yaml

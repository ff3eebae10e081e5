// Package rest is generated from api/openapi.yaml: the types of requests and
// answers, and the routes. Nothing in it is written by hand but this comment;
// what the operations do is in package api.
package rest

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml ../../openapi.yaml

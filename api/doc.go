// Package api serves Latchkey over HTTP: the REST interface that openapi.yaml
// describes, health, readiness and metrics.
//
// HTTP concerns belong here: sessions, request validation, problem documents, positions,
// entity tags, limits and logs. Package internal/app decides commands, package
// projections answers queries; both are reached through the interfaces of ports.go.
// Nothing of echo leaves this package.
package api

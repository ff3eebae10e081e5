// Package api serves Latchkey over HTTP: the REST interface that openapi.yaml
// describes, health, readiness and metrics.
//
// Here belongs what is HTTP: sessions, request validation, problem documents,
// positions, entity tags, limits and logs. What a command decides is in
// internal/app, what a query reads is in package projections; both are
// reached through the interfaces of ports.go. Nothing of echo leaves this
// package.
package api

// Package app holds the use cases of Latchkey: what an account may request, who must
// agree, and which events record it. It also holds the ports that the use cases need, and
// their refusals.
//
// A use case loads streams, asks a decider (packages domain/account, domain/device,
// domain/share and domain/name) and appends at the revision that it read. Queries,
// checking a viewer's privileges, and transports belong elsewhere.
package app

// Package app holds the use cases of Latchkey: what an account may ask for, who
// must agree, and which events say that it happened. It also holds the ports that
// the use cases need, and their refusals.
//
// A use case loads streams, asks a decider (packages domain/account, domain/device,
// domain/share and domain/name) and appends at the revision that it saw. What is
// read for display, how a viewer's privileges are checked, and any transport belong
// elsewhere.
package app

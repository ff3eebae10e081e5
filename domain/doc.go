// Package domain holds the use cases of Latchkey: what an account may ask for,
// who must agree, and which events say that it happened. It also holds the
// catalogue of stored events and the ports that the use cases need.
//
// A use case loads streams, asks a decider (packages account, device and share)
// and appends at the revision that it saw. What is read for display, how a
// viewer's privileges are checked, and any transport belong elsewhere.
package domain

// Package eventstore is the only access to the log: EventStoreDB, through its official
// client, whether a cluster or the embedded node.
//
// It appends at an expected revision, loads streams, reads $all and subscribes to it, and
// feeds subscriptions to Watermill. It handles what the client leaves to its caller:
// failed discovery, calls that ignore their context, dropped subscriptions. It does not
// use domain types.
package eventstore

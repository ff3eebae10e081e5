// Package eventstore is the one way to the log: EventStoreDB, through its real
// client, be it a cluster or the embedded node.
//
// It appends at an expected revision, loads streams, reads $all and subscribes
// to it, and hands subscriptions to Watermill. It mends what the client leaves
// to its caller: a discovery that failed for good, calls that ignore their
// context, subscriptions that were dropped. It knows no domain type.
package eventstore

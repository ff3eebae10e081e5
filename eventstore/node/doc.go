// Package node is an EventStoreDB node in one process: the Streams service of
// its gRPC protocol over a durable log on Pebble.
//
// It serves the official client, so that a service without a cluster differs from one
// with a cluster only in a connection string. It does not interpret the events.
// Persistent subscriptions, projections and clustering are left to the real server.
//
// Writes are decided one group at a time: the writer compares the expected revisions of
// all waiting requests, assigns positions, writes the events and their indexes in one
// batch, syncs, and only then responds and wakes subscribers. Readers never wait for it
// and see only synced events.
//
// A folder is inspected before anything is changed in it: a log with missing or damaged
// files, or shorter than what was acknowledged, is refused. Disk space is reserved for
// appends that revoke something.
package node

// Package node is an EventStoreDB node in one process: the Streams service of
// its gRPC protocol over a durable log on Pebble.
//
// It answers the real client, so that a service which runs without a cluster
// differs from one that has one in a connection string only. It knows nothing of
// what the events mean. Persistent subscriptions, projections and clustering
// are left to the real server.
//
// Writes are decided one group at a time: whoever writes compares the expected
// revisions of all requests that wait, assigns positions, writes the events and
// their indexes in one batch, syncs, and only then answers and wakes subscribers.
// Readers never wait for it and see nothing that is not synced.
//
// A folder is inspected before anything is changed in it: what is missing,
// damaged, or shorter than what was acknowledged is refused. Room for appends
// that take something away is kept on the disk.
package node

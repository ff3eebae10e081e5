// Package projections makes read models from the log and answers queries from
// them: sent and received shares, the history of deleted ones, devices,
// accounts, privileges. The last also feeds the index in package index, which
// answers the door.
//
// One file holds one read model: its tables, the events it reads, what they do,
// and its queries. The rest is what they share: the database (store), how rows
// are folded and written (table, fold, writer), how events arrive (runner,
// projector), rebuilding (rebuild).
//
// Texts about persons are sealed and stay so; nothing here can open them. What
// a command may do is decided in domain/... and internal/app, never from a read model.
package projections

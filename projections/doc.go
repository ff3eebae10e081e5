// Package projections makes read models from the log and answers queries from
// them: sent and received shares, the history of deleted ones, devices,
// accounts, privileges. The last also feeds the index in package access, which
// answers the door.
//
// One file holds one read model: its tables, the events it reads, what they do to
// the rows, its queries, and the type of its rows, which callers get as they are. That
// of privileges takes more files: granting and numbering (what events do), compact (numbers are
// given again), load (for the index). What read models share is in package engine.
//
// Texts about persons are sealed and stay so; nothing here can open them. What
// a command may do is decided in domain/... and internal/app, never from a read model.
package projections

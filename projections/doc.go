// Package projections builds read models from the log and answers queries from them: sent
// and received shares, the history of deleted ones, devices, accounts, privileges. The
// last also feeds the index in package access, which serves the door.
//
// One file has one read model: its tables, the events it reads, their effect on the
// rows, its queries, and the type of its rows, which callers get unchanged. Privileges
// take more files: granting and numbering (the effect of events), compact (renumbering),
// load (for the index). Package engine has what read models share.
//
// Texts about persons are sealed and stay so; nothing here can open them. The packages
// domain/... and internal/app decide what a command may do, never from a read model.
package projections

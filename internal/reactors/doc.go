// Package reactors holds the automatic consequences of events: a removed device leaves
// its shares; later mail, expiry, erasure. A Reactor declares which events it follows and
// what is due after them; Follower does it, in one process at a time.
//
// Work may be repeated: a process can die before it has recorded it. Work that must not
// be repeated does not belong here as long as there is no outbox.
package reactors

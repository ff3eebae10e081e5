// Package reactors holds what follows from events without anybody asking for it: that a
// removed device leaves its shares; later mail, expiry, erasure. A Reactor says which
// events it follows and what is due after them; Follower does it, in one process at a
// time.
//
// What is done may be done again: a process can die before it has noted that it was.
// What must not be done twice does not belong here as long as there is no outbox.
package reactors

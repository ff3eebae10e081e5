//go:build !latchkey_unguarded

package access

// unguarded is false: a command that revokes waits until it is in force.
const unguarded = false

//go:build !latchkey_unguarded

package index

// unguarded is false: a command that revokes waits until it is in force.
const unguarded = false

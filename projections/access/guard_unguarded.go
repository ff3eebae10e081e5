//go:build latchkey_unguarded

package access

// unguarded lets commands return before the index has applied them. It is the control of
// the stale-permission test, which must see it fail; never ship it.
const unguarded = true

// Package access decides, in memory, whether an account may do something on a channel
// of a device now, and gives out permits: leave for one use, held while bits flow and
// revoked alone.
//
// Its Index is fed by the same events as the read model "privileges", from which it is
// loaded at the start. It is closed when in doubt: while it loads, when it does not know
// how far behind the log it is, and after an event that it cannot read, every answer is
// no and every permit is revoked. What a no looks like to a player belongs to the door.
package access

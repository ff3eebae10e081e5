// Package access decides, in memory, whether an account may do something on a channel of
// a device now, and issues permits: permission for one use, held while bits flow and
// revoked individually.
//
// Its Index is fed by the same events as the read model "privileges", from which it is
// loaded at the start. It fails closed: while it loads, when it does not know how far it
// lags behind the log, and after an event that it cannot read, every check is denied and
// every permit is revoked. How a denial looks to a player is up to the door.
package access

// Package ptz moves cameras for people who may: one at a time per channel, the owner
// before everybody else, and no movement outlives the permission for it.
//
// Whoever gives an order gets the lease of the channel, which holds an access permit and
// ends when no order has followed for a while, with the session, with the privilege, or
// when the owner wants to move. A movement that was left without a stop is stopped: its
// time has come, its lease has ended, or the process did. That it may be moving is noted
// before the order is sent, so that the next start can stop it after a crash.
//
// It knows no protocol of a camera: see streaming/device.
package ptz

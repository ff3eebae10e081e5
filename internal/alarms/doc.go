// Package alarms decides what becomes of what cameras say of alarms: which of it is a new
// alarm, who has it, where it is kept, and that it is sent only to accounts that hold the
// privilege at that moment.
//
// A Desk takes what cameras say, finds the rising edges, and keeps each alarm with a copy
// for every account that held the privilege when it arrived. A Hub hands the copies to
// accounts that listen. Sends holds a permit during each send, on whatever way, so that
// the command that takes the privilege away can wait until nothing more is sent.
//
// How cameras are asked, and how something is sent, does not belong here.
package alarms

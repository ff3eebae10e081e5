// Package live hands accounts what happens to them while they listen: that a device was
// offered to them, that their offer was accepted, that a privilege changed. A Hub follows
// the log once for all listeners. A notice names objects by id and has no personal text:
// its reader fetches what it wants to show, at the notice's position.
package live

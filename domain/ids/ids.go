// Package ids has a type for each kind of id that a question about permissions takes,
// so that the compiler refuses an account where a device is asked for. Events, rows and
// messages hold ids as texts; they become ids where such a question is asked.
package ids

// Account is the id of an account.
type Account string

// Device is the id of a device.
type Device string

// Share is the id of a share.
type Share string

// Key is the name of a stream key, unique among all keys.
type Key string

// Package ids has a type for each kind of id that a question about permissions takes,
// so that the compiler refuses an account where a device is asked for. Events, rows and
// messages hold ids as texts; they become ids where such a question is asked.
package ids

import (
	"strconv"
	"strings"
)

// Account is the id of an account.
type Account string

// Device is the id of a device.
type Device string

// Share is the id of a share.
type Share string

// Key is the name of a stream key, unique among all keys.
type Key string

// PublishingKey returns the name of a publishing key: of a channel, with the random part of
// the name. What a key is for is in its name, which is frozen with the key, so that nothing
// can know the one without the other.
func PublishingKey(channel int, random string) Key {
	return Key("p" + strconv.Itoa(channel) + "k" + random)
}

// Publishes returns the channel that the key publishes to; 0 for a key that watches.
func (k Key) Publishes() (channel int) {
	rest, ok := strings.CutPrefix(string(k), "p")
	number, random, ok2 := strings.Cut(rest, "k")
	channel, err := strconv.Atoi(number)
	if !ok || !ok2 || err != nil || channel < 1 || PublishingKey(channel, random) != k {
		return 0
	}
	return channel
}

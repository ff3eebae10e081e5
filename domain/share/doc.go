// Package share decides about shares: what one account grants one recipient, device by
// device and channel by channel. It is pure: time, identifiers and facts about devices
// are arguments. Loading and storing shares, and authentication, belong in internal/app.
package share

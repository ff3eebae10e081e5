// Package share decides about shares: what one account gives one recipient,
// device by device and channel by channel. It is pure: time, identifiers and
// what is known about devices come in as arguments. How a share is loaded and
// stored, and who somebody is, belongs in internal/app.
package share

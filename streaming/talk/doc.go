// Package talk gives the floor of a channel: one talks at a time, the owner of the device
// before everybody else, and silence gives it up.
//
// It knows neither how sound arrives nor how it reaches a camera, and holds no permits:
// the carrier of the sound holds one, and leaves when it is revoked.
package talk

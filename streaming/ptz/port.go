package ptz

import (
	"context"
	"errors"
	"time"

	"latchkey/domain/ids"
	"latchkey/projections/access"
	"latchkey/streaming/notes"
)

// Vector is a speed, or a distance: each part from -1 to 1.
type Vector struct{ Pan, Tilt, Zoom float64 }

// Place is where a camera looks: pan and tilt from -1 to 1 of what it can do, zoom from 0
// to 1.
type Place struct{ Pan, Tilt, Zoom float64 }

// Preset is a place that a camera remembers.
type Preset struct{ ID, Name string }

// Head moves one channel of a camera. Its errors wrap one of those below, or
// ErrNoSuchPreset. It is safe for concurrent use; orders are given one after the other.
type Head interface {
	// Move moves until Stop. A camera that can ends the movement by itself after a time.
	Move(ctx context.Context, v Vector, within time.Duration) error
	Stop(ctx context.Context) error
	Relative(ctx context.Context, v Vector) error
	Absolute(ctx context.Context, p Place) error
	Goto(ctx context.Context, preset string) error
	Presets(ctx context.Context) ([]Preset, error)
	// Place returns where it looks; nil if the camera does not tell.
	Place(ctx context.Context) (*Place, error)
}

// The errors of a Head.
var (
	// ErrUnreachable: the camera was not reached. It has received nothing.
	ErrUnreachable = errors.New("the camera was not reached")
	// ErrRefused: the camera refused, and did nothing.
	ErrRefused = errors.New("the camera refused")
	// ErrNoAnswer: the camera may have obeyed.
	ErrNoAnswer = errors.New("the camera did not answer")
	// ErrNoSuchPreset: the camera has no such preset.
	ErrNoSuchPreset = errors.New("there is no such preset")
)

// ErrNoHead is returned for a channel of which no address is known where it could be moved.
var ErrNoHead = errors.New("there is no address where the channel can be moved")

// Heads finds what moves a channel. It does not connect.
type Heads interface {
	Head(ctx context.Context, device ids.Device, channel int) (Head, error)
}

// Access decides who may move a camera; access.Index implements it.
type Access interface {
	// Acquire returns a permit, or the verdict that refuses it. revoked is called when the
	// permit is revoked.
	Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict)
	// Owns reports whether the device is in the account.
	Owns(account ids.Account, device ids.Device) bool
}

// Sessions knows which sessions have not ended.
type Sessions interface {
	Live(ctx context.Context, token string) (bool, error)
}

// Uses records when cameras are used. It must not block.
type Uses interface {
	Used(use access.Use, at time.Time)
}

// Notes remembers, also after a crash, which channels may be moving; notes.Folder implements
// it. Each is only noted or dropped once at a time.
type Notes interface {
	Note(c Channel) error
	Drop(c Channel) error
	All() ([]Channel, error)
}

// Channel is a channel of a device.
type Channel = notes.Channel

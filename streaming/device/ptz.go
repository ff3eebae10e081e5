package device

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// HeadTarget is a channel of a device that is to be moved.
type HeadTarget struct {
	Camera
	Channel int
}

// Vector is a speed, or a distance: each part from -1 to 1.
type Vector struct{ Pan, Tilt, Zoom float64 }

// Place is where a head looks: pan and tilt from -1 to 1 of what it can do, zoom from 0
// to 1.
type Place struct{ Pan, Tilt, Zoom float64 }

// Preset is a place that the device remembers.
type Preset struct {
	ID   string // at most 64 visible ASCII characters
	Name string // one line, at most 128 characters, "" if it has none
}

const (
	// maxPresets limits the presets of a channel. Others are not listed.
	maxPresets = 500
	// maxPresetID limits the id of a preset, in bytes.
	maxPresetID = 64
	// presetsFor is how long the list of presets is used to check the next one.
	presetsFor = 30 * time.Second
)

// Head moves one channel of a device, by ISAPI if the device has it, else by ONVIF. What it
// learned of the device is kept for the next order. It is safe for concurrent use, but
// orders that are given at once arrive in any order.
//
// Every error is a *Failure, without anything of the device. Nothing is retried.
type Head struct {
	client *Client
	target HeadTarget

	mu      sync.Mutex
	onvif   bool   // ISAPI does not move this channel
	isapiAt string // where ISAPI moves it; "": not known yet
	ranges  *ranges
	service *ptzService
	presets []Preset
	listed  time.Time
}

// Head returns what moves a channel. It does not connect.
func (c *Client) Head(t HeadTarget) *Head { return &Head{client: c, target: t} }

// mover is a protocol by which a head moves.
type mover interface {
	move(ctx context.Context, v Vector, within time.Duration) error
	stop(ctx context.Context) error
	relative(ctx context.Context, v Vector) error
	absolute(ctx context.Context, p Place) error
	list(ctx context.Context) ([]Preset, error)
	recall(ctx context.Context, id string) error
	place(ctx context.Context) (*Place, error)
}

// Move moves until Stop. A device that can ends the movement by itself after a time.
func (h *Head) Move(ctx context.Context, v Vector, within time.Duration) error {
	return h.do(ctx, func(ctx context.Context, m mover) error { return m.move(ctx, v, within) })
}

// Stop ends every movement.
func (h *Head) Stop(ctx context.Context) error {
	return h.do(ctx, func(ctx context.Context, m mover) error { return m.stop(ctx) })
}

// Relative moves by a distance.
func (h *Head) Relative(ctx context.Context, v Vector) error {
	return h.do(ctx, func(ctx context.Context, m mover) error { return m.relative(ctx, v) })
}

// Absolute moves to a place.
func (h *Head) Absolute(ctx context.Context, p Place) error {
	return h.do(ctx, func(ctx context.Context, m mover) error { return m.absolute(ctx, p) })
}

// Presets lists the presets, in the device's order, except those that would not move it
// but do something else.
func (h *Head) Presets(ctx context.Context) (list []Preset, err error) {
	err = h.do(ctx, func(ctx context.Context, m mover) error {
		list, err = m.list(ctx)
		return err
	})
	if err == nil {
		h.mu.Lock()
		h.presets, h.listed = list, h.client.cfg.Now()
		h.mu.Unlock()
	}
	return list, err
}

// Goto moves to a preset that Presets lists; NoSuchPreset for another one.
func (h *Head) Goto(ctx context.Context, id string) error {
	if !h.knows(id) {
		list, err := h.Presets(ctx)
		if err != nil {
			return err
		}
		if !contains(list, id) {
			return fail(NoSuchPreset, "")
		}
	}
	return h.do(ctx, func(ctx context.Context, m mover) error { return m.recall(ctx, id) })
}

func (h *Head) knows(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.client.cfg.Now().Sub(h.listed) < presetsFor && contains(h.presets, id)
}

func contains(list []Preset, id string) bool {
	return slices.ContainsFunc(list, func(p Preset) bool { return p.ID == id })
}

// Place returns where the head looks; nil if the device does not tell.
func (h *Head) Place(ctx context.Context) (at *Place, err error) {
	err = h.do(ctx, func(ctx context.Context, m mover) error {
		at, err = m.place(ctx)
		return err
	})
	return at, err
}

// do gives an order by ISAPI; by ONVIF if the device has no ISAPI, or refuses it there.
func (h *Head) do(ctx context.Context, order func(context.Context, mover) error) error {
	ctx, cancel := context.WithTimeout(ctx, h.client.cfg.Within)
	defer cancel()
	h.mu.Lock()
	byONVIF := h.onvif || h.target.ISAPIURL == ""
	h.mu.Unlock()
	if !byONVIF {
		err := h.by(ctx, ISAPI, order)
		var failure *Failure
		if h.target.ONVIFURL == "" || !errors.As(err, &failure) || failure.Kind != Refused {
			return err
		}
		if err := h.by(ctx, ONVIF, order); err != nil {
			return err
		}
		h.mu.Lock()
		h.onvif = true
		h.mu.Unlock()
		return nil
	}
	if h.target.ONVIFURL == "" {
		return fail(Refused, "")
	}
	return h.by(ctx, ONVIF, order)
}

// by gives one order by a service.
func (h *Head) by(ctx context.Context, service Service, order func(context.Context, mover) error) error {
	return h.client.ask(ctx, h.target.Camera, service, 0, func(s *httpSession) error {
		if service == ONVIF {
			return order(ctx, &onvifHead{onvif: onvif{httpSession: s}, head: h})
		}
		return order(ctx, isapiHead{isapi{s}, h})
	})
}

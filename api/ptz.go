package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// PTZ moves cameras for those who may. What the privilege index refuses is a *Denied, and
// what the camera is the reason for a *DeviceFault.
type PTZ interface {
	// Move moves until another order, or until a time has passed without one.
	Move(ctx context.Context, u PTZUse, v PTZVector, stopAfter time.Duration) error
	Stop(ctx context.Context, u PTZUse) error
	// By moves by a distance, To to a place, both -1 to 1, and ToPreset to a preset.
	By(ctx context.Context, u PTZUse, v PTZVector) error
	To(ctx context.Context, u PTZUse, v PTZVector) error
	ToPreset(ctx context.Context, u PTZUse, preset string) error
	// Release lets others move the channel.
	Release(ctx context.Context, u PTZUse) error
	Presets(ctx context.Context, u PTZUse) ([]PTZPreset, error)
	Status(ctx context.Context, u PTZUse) (PTZStatus, error)
}

// PTZUse is who moves what.
type PTZUse struct {
	Account ids.Account
	Session string     // its token: the use ends with it
	Address netip.Addr // of the caller; the zero value if unknown
	Device  ids.Device
	Channel int
}

// PTZVector is a speed, a distance or a place.
type PTZVector struct{ Pan, Tilt, Zoom float64 }

// PTZPreset is a place that a camera remembers.
type PTZPreset struct{ ID, Name string }

// PTZStatus is where a channel looks.
type PTZStatus struct {
	At     *PTZVector // nil: the camera does not tell
	Moving bool
	Free   bool // nobody moves it
	Own    bool // the caller does
}

// The errors of PTZ.
var (
	ErrPTZBusy         = errors.New("somebody else moves the channel")
	ErrPTZNotAvailable = errors.New("the channel cannot be moved")
	ErrPTZNotNow       = errors.New("no channel is moved now")
	ErrNoSuchPreset    = errors.New("there is no such preset")
)

// Denied is the verdict of the privilege index that refuses a use of a camera.
type Denied struct{ Verdict access.Verdict }

// Error names the verdict.
func (d *Denied) Error() string { return "the use is refused: " + d.Verdict.String() }

const (
	// ptzEvery and ptzBurst are how many orders an account may give: a joystick gives
	// about five a second.
	ptzEvery = 100 * time.Millisecond
	ptzBurst = 50
	// ptzStopAfter is the default of stop_after.
	ptzStopAfter = 5 * time.Second
)

// ptzOrder gives an order, within the account's allowance.
func (h handlers) ptzOrder(ctx context.Context, name string, channel int, give func(context.Context, PTZUse) error) error {
	if wait := h.ptzOrders.local.Take(caller(ctx), h.cfg.Now()); wait > 0 {
		return rateLimited(wait)
	}
	return h.ptzStop(ctx, name, channel, give)
}

// ptzStop gives an order that may be given at any rate.
func (h handlers) ptzStop(ctx context.Context, name string, channel int, give func(context.Context, PTZUse) error) error {
	if h.cfg.PTZ == nil {
		return h.ptzProblem(ctx, "", ErrPTZNotAvailable)
	}
	ctx, u, _ := h.tryUse(ctx, name, channel, privilege.PTZ) // what is refused, PTZ refuses
	req := requestOf(ctx)
	err := give(ctx, PTZUse{Account: u.of.Account, Session: req.token, Address: req.address, Device: u.of.Device, Channel: channel})
	if refused := h.stillPermitted(ctx, u); refused != nil {
		return refused
	}
	if err == nil && u.permit == nil { // it was granted meanwhile: nothing would cut the answer
		return h.takenBack(u)
	}
	return h.ptzProblem(ctx, u.of.Device, err)
}

// ptzProblem converts an error of PTZ.
func (h handlers) ptzProblem(ctx context.Context, id ids.Device, err error) error {
	if denied, ok := errors.AsType[*Denied](err); ok {
		return notPermitted(denied.Verdict)
	}
	if fault, ok := errors.AsType[*DeviceFault](err); ok {
		p := &problem{code: "camera_unavailable", detail: "The camera does not respond."}
		if ptzRefusals[fault.Reason] {
			p = &problem{code: "camera_refused", detail: "The camera refused."}
		}
		return h.notGivenBy(ctx, id, err, p)
	}
	switch {
	case errors.Is(err, ErrPTZBusy):
		return &problem{status: http.StatusConflict, code: "ptz_busy", detail: "Somebody else is moving this channel. Try again in a moment.", cause: err}
	case errors.Is(err, ErrPTZNotAvailable):
		return &problem{status: http.StatusConflict, code: "ptz_not_available", detail: "This channel cannot be moved from here.", cause: err}
	case errors.Is(err, ErrPTZNotNow):
		return unavailable("unavailable", "No camera can be moved at the moment.", err)
	case errors.Is(err, ErrNoSuchPreset):
		return &problem{status: http.StatusNotFound, code: "preset_not_found", detail: "There is no such preset.", cause: err}
	}
	return err
}

// ptzRefusals are the reasons of a camera that is there.
var ptzRefusals = map[string]bool{"refused": true, "wrong_password": true, "too_many_attempts": true}

// MovePTZ moves a channel until another order.
func (h handlers) MovePTZ(ctx context.Context, r rest.MovePTZRequestObject) (rest.MovePTZResponseObject, error) {
	after := ptzStopAfter
	if r.Body.StopAfter > 0 {
		after = time.Duration(r.Body.StopAfter * float64(time.Second))
	}
	return rest.MovePTZ204Response{}, h.ptzOrder(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error {
		return h.cfg.PTZ.Move(ctx, u, PTZVector{r.Body.Pan, r.Body.Tilt, r.Body.Zoom}, after)
	})
}

// StopPTZ stops a channel.
func (h handlers) StopPTZ(ctx context.Context, r rest.StopPTZRequestObject) (rest.StopPTZResponseObject, error) {
	return rest.StopPTZ204Response{}, h.ptzStop(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error { return h.cfg.PTZ.Stop(ctx, u) })
}

// ReleasePTZ lets others move a channel.
func (h handlers) ReleasePTZ(ctx context.Context, r rest.ReleasePTZRequestObject) (rest.ReleasePTZResponseObject, error) {
	return rest.ReleasePTZ204Response{}, h.ptzStop(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error { return h.cfg.PTZ.Release(ctx, u) })
}

// MovePTZBy moves a channel by a distance.
func (h handlers) MovePTZBy(ctx context.Context, r rest.MovePTZByRequestObject) (rest.MovePTZByResponseObject, error) {
	return rest.MovePTZBy204Response{}, h.ptzOrder(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error {
		return h.cfg.PTZ.By(ctx, u, PTZVector{r.Body.Pan, r.Body.Tilt, r.Body.Zoom})
	})
}

// MovePTZTo moves a channel to a place.
func (h handlers) MovePTZTo(ctx context.Context, r rest.MovePTZToRequestObject) (rest.MovePTZToResponseObject, error) {
	return rest.MovePTZTo204Response{}, h.ptzOrder(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error {
		return h.cfg.PTZ.To(ctx, u, PTZVector{r.Body.Pan, r.Body.Tilt, r.Body.Zoom})
	})
}

// MovePTZToPreset moves a channel to a preset.
func (h handlers) MovePTZToPreset(ctx context.Context, r rest.MovePTZToPresetRequestObject) (rest.MovePTZToPresetResponseObject, error) {
	return rest.MovePTZToPreset204Response{}, h.ptzOrder(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error {
		return h.cfg.PTZ.ToPreset(ctx, u, r.Preset)
	})
}

// ListPTZPresets lists the presets of a channel.
func (h handlers) ListPTZPresets(ctx context.Context, r rest.ListPTZPresetsRequestObject) (rest.ListPTZPresetsResponseObject, error) {
	out := rest.ListPTZPresets200JSONResponse{Items: []rest.PTZPreset{}}
	err := h.ptzOrder(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error {
		list, err := h.cfg.PTZ.Presets(ctx, u)
		for _, p := range list {
			out.Items = append(out.Items, rest.PTZPreset(p))
		}
		return err
	})
	return out, err
}

// GetPTZStatus returns where a channel looks.
func (h handlers) GetPTZStatus(ctx context.Context, r rest.GetPTZStatusRequestObject) (rest.GetPTZStatusResponseObject, error) {
	out := rest.GetPTZStatus200JSONResponse{Mover: rest.PTZStatusMoverOther}
	err := h.ptzOrder(ctx, r.Device, r.Channel, func(ctx context.Context, u PTZUse) error {
		s, err := h.cfg.PTZ.Status(ctx, u)
		if s.At != nil {
			out.Position = &rest.PTZPlace{Pan: s.At.Pan, Tilt: s.At.Tilt, Zoom: s.At.Zoom}
		}
		switch out.Moving = s.Moving; {
		case s.Own:
			out.Mover = rest.PTZStatusMoverYou
		case s.Free:
			out.Mover = rest.PTZStatusMoverNobody
		}
		return err
	})
	return out, err
}

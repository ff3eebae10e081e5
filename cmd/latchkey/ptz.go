package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/internal/vault"
	"latchkey/projections/access"
	"latchkey/streaming/device"
	"latchkey/streaming/notes"
	"latchkey/streaming/ptz"
)

// ptzNotes is the folder with the channels that may be moving, in the data folder.
const ptzNotes = "ptz"

// newDesk makes what moves cameras.
func newDesk(o options, x *access.Index, p *opened, client *device.Client, watch *device.Watch, metrics prometheus.Registerer, logger *slog.Logger) (*ptz.Desk, error) {
	moving, err := notes.OpenFolder(filepath.Join(o.Data, ptzNotes))
	if err != nil {
		return nil, err
	}
	return ptz.New(ptz.Config{
		Access: x, Heads: &heads{vault: p.vault, client: client, watch: watch}, Sessions: liveSessions{p.vault}, Notes: moving, Uses: doorUses{p.vault},
		Logger: logger, Metrics: metrics,
	})
}

// liveSessions looks up sessions for uses that end with them.
type liveSessions struct{ vault *vault.Vault }

func (s liveSessions) Live(ctx context.Context, token string) (bool, error) {
	_, err := s.vault.Session(ctx, token)
	if errors.Is(err, vault.ErrNoSession) {
		return false, nil
	}
	return err == nil, err
}

// maxHeads limits the channels of which it is remembered how they are moved.
const maxHeads = 1024

// heads makes what moves a channel from what the vault has of the device. One is used again
// as long as that has not changed: it has learned how to address the device.
type heads struct {
	vault  *vault.Vault
	client *device.Client
	watch  *device.Watch

	mu   sync.Mutex
	made map[ptz.Channel]head
}

func (h *heads) Head(ctx context.Context, id ids.Device, channel int) (ptz.Head, error) {
	cam, err := askedCamera(ctx, h.vault, string(id))
	if err != nil {
		return nil, err
	}
	if cam.ISAPIURL == "" && cam.ONVIFURL == "" {
		return nil, ptz.ErrNoHead
	}
	target := device.HeadTarget{Camera: cam, Channel: channel}
	at := ptz.Channel{Device: id, Number: channel}
	h.mu.Lock()
	defer h.mu.Unlock()
	if made, ok := h.made[at]; ok && made.target == target {
		return made, nil
	}
	if len(h.made) >= maxHeads || h.made == nil {
		h.made = map[ptz.Channel]head{}
	}
	made := head{id: id, target: target, head: h.client.Head(target), watch: h.watch}
	h.made[at] = made
	return made, nil
}

// head is a head of package device for the desk.
type head struct {
	id     ids.Device
	target device.HeadTarget
	head   *device.Head
	watch  *device.Watch
}

// told converts the error of a head, and notes for the owner if the device refuses the
// password.
func (h head) told(err error) error {
	var failure *device.Failure
	if err == nil || !errors.As(err, &failure) {
		return err
	}
	kind := ptz.ErrNoAnswer
	switch failure.Kind {
	case device.WrongPassword:
		h.watch.Report(string(h.id), failure.Kind)
		kind = ptz.ErrRefused
	case device.Refused, device.TooManyAttempts, device.TooManyProofs:
		kind = ptz.ErrRefused
	case device.NoSuchPreset:
		kind = ptz.ErrNoSuchPreset
	case device.NotReachable, device.AddressForbidden, device.CertificateNotTrusted:
		kind = ptz.ErrUnreachable
	}
	return fmt.Errorf("%w: %w", kind, failure)
}

func (h head) Move(ctx context.Context, v ptz.Vector, within time.Duration) error {
	return h.told(h.head.Move(ctx, device.Vector(v), within))
}

func (h head) Stop(ctx context.Context) error { return h.told(h.head.Stop(ctx)) }

func (h head) Relative(ctx context.Context, v ptz.Vector) error {
	return h.told(h.head.Relative(ctx, device.Vector(v)))
}

func (h head) Absolute(ctx context.Context, p ptz.Place) error {
	return h.told(h.head.Absolute(ctx, device.Place(p)))
}

func (h head) Goto(ctx context.Context, preset string) error {
	return h.told(h.head.Goto(ctx, preset))
}

func (h head) Presets(ctx context.Context) ([]ptz.Preset, error) {
	list, err := h.head.Presets(ctx)
	out := make([]ptz.Preset, len(list))
	for i, p := range list {
		out[i] = ptz.Preset(p)
	}
	return out, h.told(err)
}

func (h head) Place(ctx context.Context) (*ptz.Place, error) {
	at, err := h.head.Place(ctx)
	return (*ptz.Place)(at), h.told(err)
}

// ptzAPI moves cameras for the API.
type ptzAPI struct {
	desk  *ptz.Desk
	index *access.Index
}

func useOf(u api.PTZUse) ptz.Use { return ptz.Use(u) }

// told converts an error of the desk. The owner of a device may do with a channel whatever
// it can.
func (a ptzAPI) told(u api.PTZUse, err error) error {
	denied, isDenied := errors.AsType[*ptz.Denied](err)
	switch {
	case isDenied && denied.Verdict == access.Forbidden && a.index.Owns(u.Account, u.Device):
		return api.ErrPTZNotAvailable
	case isDenied:
		return &api.Denied{Verdict: denied.Verdict}
	}
	for _, pair := range []struct{ is, becomes error }{
		{ptz.ErrBusy, api.ErrPTZBusy}, {ptz.ErrNoHead, api.ErrPTZNotAvailable}, {ptz.ErrClosing, api.ErrPTZNotNow}, {ptz.ErrNotNoted, api.ErrPTZNotNow},
		{ptz.ErrNoSuchPreset, api.ErrNoSuchPreset},
	} {
		if errors.Is(err, pair.is) {
			return fmt.Errorf("%w: %w", pair.becomes, err)
		}
	}
	if failure, ok := errors.AsType[*device.Failure](err); ok {
		return deviceFault(failure)
	}
	if errors.Is(err, ptz.ErrNoAnswer) { // to the order before
		return &api.DeviceFault{Reason: string(device.Timeout)}
	}
	return err
}

func (a ptzAPI) Move(ctx context.Context, u api.PTZUse, v api.PTZVector, stopAfter time.Duration) error {
	return a.told(u, a.desk.Move(ctx, useOf(u), ptz.Vector(v), stopAfter))
}

func (a ptzAPI) Stop(ctx context.Context, u api.PTZUse) error {
	return a.told(u, a.desk.Stop(ctx, useOf(u)))
}

func (a ptzAPI) By(ctx context.Context, u api.PTZUse, v api.PTZVector) error {
	return a.told(u, a.desk.Relative(ctx, useOf(u), ptz.Vector(v)))
}

func (a ptzAPI) To(ctx context.Context, u api.PTZUse, v api.PTZVector) error {
	return a.told(u, a.desk.Absolute(ctx, useOf(u), ptz.Place(v)))
}

func (a ptzAPI) ToPreset(ctx context.Context, u api.PTZUse, preset string) error {
	return a.told(u, a.desk.Goto(ctx, useOf(u), preset))
}

func (a ptzAPI) Release(ctx context.Context, u api.PTZUse) error {
	return a.told(u, a.desk.Release(ctx, useOf(u)))
}

func (a ptzAPI) Presets(ctx context.Context, u api.PTZUse) ([]api.PTZPreset, error) {
	list, err := a.desk.Presets(ctx, useOf(u))
	out := make([]api.PTZPreset, len(list))
	for i, p := range list {
		out[i] = api.PTZPreset(p)
	}
	return out, a.told(u, err)
}

func (a ptzAPI) Status(ctx context.Context, u api.PTZUse) (api.PTZStatus, error) {
	s, err := a.desk.Status(ctx, useOf(u))
	return api.PTZStatus{At: (*api.PTZVector)(s.At), Moving: s.Moving, Free: s.Holder == ptz.Free, Own: s.Holder == ptz.Yours}, a.told(u, err)
}

package main

import (
	"context"
	"errors"
	"log/slog"

	"latchkey/api"
	"latchkey/domain/ids"
	"latchkey/internal/vault"
	"latchkey/projections"
	"latchkey/streaming/device"
	"latchkey/streaming/upstream"
)

// newWatch makes what knows which devices respond.
func newWatch(client *device.Client, store *projections.Store, v *vault.Vault, pool func() *upstream.Pool, logger *slog.Logger) *device.Watch {
	return device.NewWatch(device.WatchConfig{
		Alive: client.Alive, Devices: store.DevicesAfter, Logger: logger,
		Pulled: func(id string) bool { return pool().Pulled(ids.Device(id)) },
		Address: func(ctx context.Context, id string) (string, error) {
			camera, err := v.Camera(ctx, id)
			if errors.Is(err, vault.ErrNotFound) {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			for _, ch := range camera.Channels {
				if ch.MainURL != "" {
					return ch.MainURL, nil
				}
			}
			return "", nil
		},
	})
}

// kindOfDial are the reasons of the pool in the words of package device.
var kindOfDial = map[string]device.Kind{
	"": "", "refused": device.NotReachable, "network": device.NotReachable, "timeout": device.Timeout,
	"denied address": device.AddressForbidden, "status 401": device.WrongPassword, "status 404": device.NoSuchPath,
	"not RTSP": device.NotRTSP, "no TLS": device.NotRTSP, "untrusted certificate": device.CertificateNotTrusted,
	"unreadable description": device.DescriptionUnreadable, "silent": device.Silent,
	"status 403": device.Refused, "status 4xx": device.Refused, "status 5xx": device.Refused,
	"status 453": device.Busy, "status 503": device.Busy,
}

// reached reports to the watch how the pool's dials went.
func reached(w *device.Watch) func(id ids.Device, reason string) {
	return func(id ids.Device, reason string) {
		kind, known := kindOfDial[reason]
		if !known {
			kind = device.Unsupported
		}
		w.Report(string(id), kind)
	}
}

// dropped reports to the watch why streams broke off.
func dropped(w *device.Watch) func(id ids.Device, reason string) {
	return func(id ids.Device, reason string) {
		kind := device.Ended
		switch reason {
		case "silent":
			kind = device.Silent
		case "noise", "too large":
			kind = device.Unsupported
		}
		w.Interrupted(string(id), kind)
	}
}

// unpublished reports to the watch that devices publish no more.
func unpublished(w *device.Watch) func(id ids.Device, silent bool) {
	return func(id ids.Device, silent bool) {
		kind := device.Ended
		if silent {
			kind = device.Silent
		}
		w.Unpublished(string(id), kind)
	}
}

// presence is the watch as the API sees it.
type presence struct{ watch *device.Watch }

func (p presence) Of(id string) api.Online {
	now := p.watch.Of(id)
	i := now.Interruptions
	return api.Online{
		State: string(now.State), Since: now.Since, Reason: string(now.Reason),
		Interruptions: api.Interruptions{Count: i.Count, Last: i.Last, Reason: string(i.Reason)},
	}
}

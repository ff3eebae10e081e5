package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"latchkey/internal/app"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// newDeviceClient makes what connects to devices. The pool decides which addresses may be
// dialed.
func newDeviceClient(pool func() *upstream.Pool, logger *slog.Logger) (*device.Client, error) {
	return device.New(device.Config{Allow: func(a netip.AddrPort) error { return pool().MayDial(a) }, Logger: logger})
}

// prover proves devices for the use cases.
type prover struct{ client *device.Client }

func (p prover) Prove(ctx context.Context, account string, c app.Camera) (app.DeviceFacts, error) {
	target := device.Target{Account: account, Username: c.Username, Password: c.Password, ISAPIURL: c.ISAPIURL, ONVIFURL: c.ONVIFURL}
	target.Certificate, _ = rtspclient.ParseFingerprint(c.Certificate) // the use case has checked it
	for _, ch := range c.Channels {
		if ch.MainURL != "" {
			target.Streams = append(target.Streams, device.Stream{Channel: ch.Channel, URL: ch.MainURL})
		}
	}
	said, err := p.client.Prove(ctx, target)
	if err != nil {
		return app.DeviceFacts{}, notProven(err)
	}
	facts := app.DeviceFacts{Serial: said.Serial, Model: said.Model, Firmware: said.Firmware}
	for _, c := range said.Channels {
		facts.Channels = append(facts.Channels, app.ChannelFacts{Channel: c.Number, Name: c.Name, Listed: c.Listed, Lacks: c.Lacks})
	}
	return facts, nil
}

// notProven converts a failure of a device.
func notProven(err error) error {
	failure, ok := errors.AsType[*device.Failure](err)
	if !ok {
		return err
	}
	refused := &app.NotProven{
		Reason: string(failure.Kind), Service: string(failure.Service), Channel: failure.Channel, RetryAfter: failure.RetryAfter,
	}
	if failure.Kind == device.CertificateNotTrusted {
		refused.Certificate = failure.Certificate.String()
	}
	return refused
}

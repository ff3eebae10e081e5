package main

import (
	"context"

	"latchkey/api"
	"latchkey/internal/app"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
)

// What --device-search may be.
const (
	searchSetup = "setup"
	searchOn    = "on"
)

// finder finds out for the API how devices are reached.
type finder struct {
	client *device.Client
	search string
	// alone reports whether there is one account.
	alone func(context.Context) (bool, error)
}

// Look connects to what is at an address.
func (f finder) Look(ctx context.Context, account string, d api.DeviceToCheck) (api.CheckedDevice, error) {
	pin, _ := rtspclient.ParseFingerprint(d.Certificate) // one that is none is not trusted
	found, err := f.client.Look(ctx, device.Typed{Account: account, Address: d.Address, Username: d.Username, Password: d.Password, Certificate: pin})
	if err != nil {
		return api.CheckedDevice{}, app.NotFoundAt(notProven(err))
	}
	checked := api.CheckedDevice{
		RTSPURL: found.RTSPURL, ISAPIURL: found.ISAPIURL, ONVIFURL: found.ONVIFURL,
		Serial: found.Facts.Serial, Model: found.Facts.Model, Firmware: found.Facts.Firmware, Picture: found.Picture,
	}
	for _, c := range found.Facts.Channels {
		checked.Channels = append(checked.Channels, api.CheckedChannel{Channel: c.Number, Name: c.Name})
	}
	return checked, nil
}

// Neighbours asks the local network, for whom the operator lets it.
func (f finder) Neighbours(ctx context.Context, _ string) ([]api.Neighbour, error) {
	may := f.search == searchOn
	if f.search == searchSetup {
		var err error
		if may, err = f.alone(ctx); err != nil {
			return nil, err
		}
	}
	if !may {
		return nil, api.ErrSearchOff
	}
	list, err := f.client.Neighbours(ctx)
	found := make([]api.Neighbour, len(list))
	for i, n := range list {
		found[i] = api.Neighbour{Address: n.ONVIFURL, Host: n.Host, Name: n.Name, Model: n.Model}
	}
	return found, err
}

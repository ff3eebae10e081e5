package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"latchkey/api/internal/rest"
)

// Finder finds out how devices are reached.
type Finder interface {
	// Look connects to what is at an address. The error is an *app.Error if the device is the
	// reason.
	Look(ctx context.Context, account string, d DeviceToCheck) (CheckedDevice, error)
	// Neighbours are the devices on the local network; ErrSearchOff if nobody may ask, or not
	// this account.
	Neighbours(ctx context.Context, account string) ([]Neighbour, error)
}

// ErrSearchOff is returned to whoever may not search the local network.
var ErrSearchOff = errors.New("searching the network is off")

// DeviceToCheck is what a person knows of a device.
type DeviceToCheck struct{ Address, Username, Password, Certificate string }

// CheckedDevice is how a device is reached, without credentials, and what it says of itself.
type CheckedDevice struct {
	RTSPURL, ISAPIURL, ONVIFURL string
	Serial, Model, Firmware     string
	Channels                    []CheckedChannel
	Picture                     []byte // JPEG; nil: it gives none
}

// CheckedChannel is a camera of a device.
type CheckedChannel struct {
	Channel int
	Name    string
}

// Neighbour is a device that says that it is on the network.
type Neighbour struct{ Address, Host, Name, Model string }

var searchOff = &problem{
	status: http.StatusForbidden, code: "device_search_off", detail: "This service does not search its network for you. Type the address of the device.",
}

// CheckDevice looks what is at an address.
func (h handlers) CheckDevice(ctx context.Context, r rest.CheckDeviceRequestObject) (rest.CheckDeviceResponseObject, error) {
	if h.cfg.Finder == nil {
		return nil, errors.New("checking a device: nothing connects to devices")
	}
	b := r.Body
	found, err := h.cfg.Finder.Look(ctx, caller(ctx), DeviceToCheck{Address: b.Address, Username: b.Username, Password: b.Password, Certificate: b.CertificateSha256})
	if err != nil {
		return nil, err
	}
	checked := rest.CheckedDevice{
		RtspURL: found.RTSPURL, IsapiURL: found.ISAPIURL, OnvifURL: found.ONVIFURL, Serial: found.Serial, Model: found.Model, Firmware: found.Firmware,
		Channels: []rest.CheckedChannel{}, Picture: found.Picture,
	}
	for _, c := range found.Channels {
		checked.Channels = append(checked.Channels, rest.CheckedChannel{Channel: c.Channel, Name: c.Name})
	}
	return rest.CheckDevice200JSONResponse(checked), nil
}

// SearchDevices asks the local network.
func (h handlers) SearchDevices(ctx context.Context, _ rest.SearchDevicesRequestObject) (rest.SearchDevicesResponseObject, error) {
	if h.cfg.Finder == nil {
		return nil, searchOff
	}
	list, err := h.cfg.Finder.Neighbours(ctx, caller(ctx))
	if errors.Is(err, ErrSearchOff) {
		return nil, searchOff
	}
	if err != nil {
		return nil, fmt.Errorf("searching for devices: %w", err)
	}
	found := []rest.FoundDevice{}
	for _, n := range list {
		found = append(found, rest.FoundDevice{Address: n.Address, Host: n.Host, Name: n.Name, Model: n.Model})
	}
	return rest.SearchDevices200JSONResponse{Found: found}, nil
}

package app

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
)

// Prover connects to devices with their credentials.
type Prover interface {
	// Prove returns what the device says of itself; it may take seconds. Devices are
	// proven so often for an account, and nothing is tried that could lock a device. The
	// error is a *NotProven.
	Prove(ctx context.Context, account string, c Camera) (DeviceFacts, error)
}

// DeviceFacts are what a device said of itself: words of a stranger, of one line and
// bounded. What it did not say is empty.
type DeviceFacts struct {
	Serial, Model, Firmware string
	Channels                []ChannelFacts
}

// ChannelFacts are what a device said of one of its channels.
type ChannelFacts struct {
	Channel int
	Name    string
	Listed  bool          // it is in the device's own list of its cameras
	Lacks   privilege.Set // what it is known not to have
}

// NotProven says why a device was not proven.
type NotProven struct {
	Reason     string // as package streaming/device has them
	Service    string // that was asked: rtsp, isapi or onvif
	Channel    int    // of a stream, else 0
	RetryAfter time.Duration
	// Certificate is the SHA-256 of the device's certificate, which the owner may confirm.
	Certificate string
}

// Error names the reason.
func (e *NotProven) Error() string { return "the device was not proven: " + e.Reason }

// notProven gives the reasons their codes and words.
var notProven = map[string]Error{
	"wrong_password":          {Code: "device_wrong_password", Message: "The device refuses this user name and password."},
	"no_such_path":            {Code: "device_no_such_path", Message: "The device is there, and has no such stream."},
	"not_reachable":           {Code: "device_unreachable", Message: "Nobody answers at this address."},
	"not_rtsp":                {Code: "device_not_rtsp", Message: "What answers at this address is not an RTSP device."},
	"timeout":                 {Code: "device_timeout", Message: "The device did not answer in time."},
	"address_forbidden":       {Code: "device_address_forbidden", Message: "This service does not connect to devices at this address."},
	"description_unreadable":  {Code: "device_description_unreadable", Message: "The device is there, and the description of its stream cannot be read."},
	"certificate_not_trusted": {Code: "certificate_not_trusted", Message: "The certificate of the device is not trusted. Compare its fingerprint with the one that the device shows, and confirm it."},
	"unsupported":             {Code: "device_unsupported", Message: "What answers at this address does not do what is needed."},
	"too_many_attempts":       {Code: "device_attempts_exhausted", Message: "Wrong passwords were given to this device. It could lock us out: wait before you try again."},
	"too_many_proofs":         {Code: "device_proofs_exhausted", Message: "Too many devices were connected to for your account. Wait before you try again."},
}

// proofRefused is the answer where a device was not proven; fieldOf says which field
// the address of a service, or of a channel's stream, was in.
func proofRefused(err error, fieldOf func(reason, service string, channel int) Field) error {
	failed, ok := errors.AsType[*NotProven](err)
	if !ok {
		return unavailable(fmt.Errorf("proving a device: %w", err))
	}
	as, known := notProven[failed.Reason]
	if !known {
		as = notProven["unsupported"]
	}
	e := &Error{Code: as.Code, Kind: Invalid, Message: as.Message, Certificate: failed.Certificate, Cause: err}
	if failed.RetryAfter > 0 {
		e.Kind, e.RetryAfter = TooSoon, failed.RetryAfter
		return e
	}
	if at := fieldOf(failed.Reason, failed.Service, failed.Channel); at != "" {
		e.Fields = map[Field]string{at: as.Message}
	}
	return e
}

// prove connects to a device that is to be added, and completes what is given with what
// it says. Its channels may be narrowed by the owner, and not widened. It must run
// outside of any turn: the device may be slow.
func (d *Devices) prove(ctx context.Context, c command, n NewDevice) (NewDevice, device.Facts, error) {
	asked := n.withChannels()
	camera := asked.camera()
	if !camera.hasAddress() {
		return n, device.Facts{}, invalid(map[Field]string{"rtsp_url": "is needed: the device is proven by connecting to it"})
	}
	facts, err := d.prover.Prove(ctx, c.Account, camera)
	if err != nil {
		return n, device.Facts{}, proofRefused(err, n.fieldOf)
	}
	if n.Serial, err = provenSerial(n.Serial, facts.Serial); err != nil {
		return n, device.Facts{}, err
	}
	n, err = n.withFacts(facts)
	return n, device.Facts{Model: facts.Model, Firmware: facts.Firmware, ProvenAt: d.core.now()}, err
}

// proves reports whether devices are connected to before they are added.
func (d *Devices) proves() bool { return d.prover != nil && !d.unproven }

// hasAddress reports whether there is anything to connect to.
func (c Camera) hasAddress() bool {
	return c.ISAPIURL != "" || c.ONVIFURL != "" || slices.ContainsFunc(c.Channels, func(ch CameraChannel) bool { return ch.MainURL != "" })
}

// hasAnyAddress reports whether any address is given, also one that proves nothing.
func (c Camera) hasAnyAddress() bool {
	return c.hasAddress() || slices.ContainsFunc(c.Channels, func(ch CameraChannel) bool { return ch.SubURL != "" })
}

// fieldOf returns the field that held an address which was connected to.
func (d NewDevice) fieldOf(reason, service string, channel int) Field {
	if reason == "wrong_password" && service == "rtsp" {
		return "password"
	}
	switch service {
	case "isapi":
		return "isapi_url"
	case "onvif":
		return "onvif_url"
	}
	for i, ch := range d.Channels {
		if ch.Channel == channel && ch.MainURL != "" {
			return Field("channels").Entry(i).Dot("main_url")
		}
	}
	return "rtsp_url"
}

// NotFoundAt is the refusal where a device that somebody looked for was not proven.
func NotFoundAt(err error) error {
	return proofRefused(err, func(reason, _ string, _ int) Field {
		if reason == "wrong_password" {
			return "password"
		}
		return "address"
	})
}

// notOfSerials are characters that serials of ours cannot have.
var notOfSerials = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// provenSerial returns the serial of a device: what it says, where that can be one.
func provenSerial(typed, said string) (string, error) {
	said = strings.Trim(notOfSerials.ReplaceAllString(said, "-"), "-")
	found, ok := device.Serial(said)
	if !ok {
		return typed, nil
	}
	if wanted, _ := device.Serial(typed); typed != "" && wanted != found {
		message := "The device says that its serial is " + said + "."
		return "", &Error{Code: "serial_mismatch", Kind: Invalid, Message: message, Fields: map[Field]string{"serial": message}}
	}
	if typed == "" {
		return said, nil
	}
	return typed, nil
}

// hikvisionFirst is the path of channel 1's main stream as Hikvision devices have it.
var hikvisionFirst = regexp.MustCompile(`(?i)^(.*/streaming/channels/)101(/?)$`)

// withFacts completes the channels with what the device says. A channel without
// declared capabilities has all but those that it is known to lack.
func (d NewDevice) withFacts(facts DeviceFacts) (NewDevice, error) {
	of := make(map[int]ChannelFacts, len(facts.Channels))
	listed := 0
	for _, c := range facts.Channels {
		of[c.Channel] = c
		if c.Listed {
			listed++
		}
	}
	given := len(d.Channels) > 0
	if !given {
		d.Channels = d.listedChannels(facts)
	}
	d = d.withChannels()
	for i := range d.Channels {
		c, at := &d.Channels[i], Field("channels").Entry(i)
		fact := of[c.Channel]
		if given && listed > 0 && !fact.Listed {
			return d, &Error{Code: "unknown_channel", Kind: Invalid, Message: "The device has no channel " + strconv.Itoa(c.Channel) + ".",
				Fields: map[Field]string{at.Dot("channel"): "is not one of the device's"}}
		}
		if c.Name == "" {
			c.Name = fact.Name
		}
		if c.CapabilitiesUnknown {
			c.Capabilities, c.CapabilitiesUnknown = privilege.All.Without(fact.Lacks), false
			continue
		}
		if beyond := c.Capabilities & fact.Lacks; beyond != privilege.None {
			message := fmt.Sprintf("Channel %d cannot do %s.", c.Channel, strings.Join(beyond.Names(), ", "))
			return d, &Error{Code: "beyond_capability", Kind: Invalid, Message: message, Fields: map[Field]string{at.Dot("capabilities"): message}}
		}
	}
	return d, nil
}

// listedChannels are the cameras that the device lists, where the address of the first
// says how those of the others are; else none.
func (d NewDevice) listedChannels(facts DeviceFacts) []NewChannel {
	m := hikvisionFirst.FindStringSubmatch(pathOf(d.RTSPURL))
	if m == nil {
		return nil
	}
	var list []NewChannel
	for _, c := range facts.Channels {
		if !c.Listed {
			continue
		}
		ch := NewChannel{Channel: c.Channel, CapabilitiesUnknown: true}
		if c.Channel != 1 { // channel 1's is the device's own address
			ch.MainURL = withPath(d.RTSPURL, m[1]+strconv.Itoa(c.Channel)+"01"+m[2])
		}
		list = append(list, ch)
	}
	return list
}

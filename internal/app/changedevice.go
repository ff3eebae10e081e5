package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"latchkey/domain/device"
	"latchkey/domain/event"
)

// DeviceNames are the names that a device and its channels get; what is not listed keeps
// its name.
type DeviceNames struct {
	Name     string // "": the device keeps its name
	Channels []ChannelName
}

// ChannelName is the name that a channel gets.
type ChannelName struct {
	Channel int
	Name    string // "" for none
}

// Rename gives a device of the caller's, or channels of it, other names.
func (d *Devices) Rename(ctx context.Context, m Meta, typed string, n DeviceNames) (DeviceChanged, error) {
	id := device.Canonical(typed)
	c, err := d.core.begin(m, "rename device", id, n)
	if err != nil {
		return DeviceChanged{}, err
	}
	f := faults{}
	f.text("name", n.Name, maxName)
	if n.Name != "" && strings.TrimSpace(n.Name) == "" {
		f.add("name", "is needed")
	}
	names := 0
	for i, ch := range n.Channels {
		names += len(ch.Name)
		f.text(Field("channels").Entry(i).Dot("name"), ch.Name, maxName)
	}
	if names > maxNames {
		f.add("channels", "have names that are too long together")
	}
	if err := f.err(); err != nil {
		return DeviceChanged{}, err
	}
	rename := device.Rename{Device: id, By: c.Account, At: c.at}
	if rename.Name, err = d.core.seal(ctx, c.Account, event.FieldDevice, n.Name); err != nil {
		return DeviceChanged{}, err
	}
	for _, ch := range n.Channels {
		name, err := d.core.seal(ctx, c.Account, event.FieldChannel, ch.Name)
		if err != nil {
			return DeviceChanged{}, err
		}
		rename.Channels = append(rename.Channels, device.ChannelName{Channel: ch.Channel, Name: name})
	}
	var had []device.Channel
	done, err := d.change(ctx, c, id, func(there device.State) ([]device.Event, error) {
		had = there.Channels
		return device.Decide(there, rename)
	})
	return done, point(err, n.field(had, err))
}

// field returns the field that a refusal is about, "" for none.
func (n DeviceNames) field(had []device.Channel, err error) Field {
	seen := map[int]bool{}
	for i, ch := range n.Channels {
		known := slices.ContainsFunc(had, func(h device.Channel) bool { return h.Channel == ch.Channel })
		if errors.Is(err, device.ErrNoSuchChannel) && !known || errors.Is(err, device.ErrChannelTwice) && seen[ch.Channel] {
			return Field("channels").Entry(i).Dot("channel")
		}
		seen[ch.Channel] = true
	}
	return ""
}

// change runs a command on a device of the caller's.
func (d *Devices) change(ctx context.Context, c command, id string, decide func(device.State) ([]device.Event, error)) (DeviceChanged, error) {
	serial, ok := device.SerialOf(id)
	if !ok {
		return DeviceChanged{}, refused(device.ErrNotFound)
	}
	done, err := run(ctx, d.core, c, onDevice(serial, c.Account, device.ErrNotFound), func(there stream[device.State]) ([]device.Event, error) {
		return decide(there.state)
	})
	if err != nil {
		return DeviceChanged{}, err
	}
	return DeviceChanged{Position: done.position, Device: done.state, Unproven: !done.state.Facts.Proven()}, nil
}

// owned returns a device of the caller's, and its camera.
func (d *Devices) owned(ctx context.Context, account, id string) (device.State, Camera, error) {
	there, err := d.core.loadDevice(ctx, id)
	if err != nil {
		return there, Camera{}, err
	}
	if !there.Live || there.Owner != account {
		return there, Camera{}, refused(device.ErrNotFound)
	}
	camera, _, err := d.cameras.Camera(ctx, id)
	if err != nil {
		return there, camera, unavailable(fmt.Errorf("reading how a device is reached: %w", err))
	}
	return there, camera, nil
}

// Refresh connects to a device of the caller's and notes what it says of itself. What its
// channels can do stays.
func (d *Devices) Refresh(ctx context.Context, m Meta, typed string) (DeviceChanged, error) {
	id := device.Canonical(typed)
	c, err := d.core.begin(m, "refresh device", id)
	if err != nil {
		return DeviceChanged{}, err
	}
	there, camera, err := d.owned(ctx, c.Account, id)
	if err != nil {
		return DeviceChanged{}, err
	}
	if d.prover == nil || !camera.hasAddress() {
		return DeviceChanged{}, &Error{Code: "device_unreachable", Kind: Invalid, Message: "It is not known how to reach the device: set its address with its credentials."}
	}
	note, err := d.ask(ctx, c, there, camera, func(string, string, int) Field { return "" })
	if err != nil {
		return DeviceChanged{}, err
	}
	return d.change(ctx, c, id, func(there device.State) ([]device.Event, error) { return device.Decide(there, note) })
}

// generatedSerial is what newSerial makes: no device says that it has it.
var generatedSerial = regexp.MustCompile(`^cam-[a-z2-7]{10}$`)

// ask connects to a device that has been added, and returns the command that notes what
// it says. Another device at its address is refused.
func (d *Devices) ask(ctx context.Context, c command, there device.State, camera Camera, fieldOf func(reason, service string, channel int) Field) (device.NoteFacts, error) {
	facts, err := d.prover.Prove(ctx, c.Account, camera)
	if err != nil {
		return device.NoteFacts{}, proofRefused(err, fieldOf)
	}
	if serial, _ := device.Serial(there.Serial); !generatedSerial.MatchString(serial) {
		if _, err := provenSerial(there.Serial, facts.Serial); err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Fields = nil
			}
			return device.NoteFacts{}, err
		}
	}
	now := d.core.now()
	return device.NoteFacts{
		Device: there.Device, By: c.Account, At: now, Facts: device.Facts{Model: facts.Model, Firmware: facts.Firmware, ProvenAt: now},
	}, nil
}

// NewCredentials are how a device is reached from now on. Addresses that are "" stay.
type NewCredentials struct {
	Username, Password string
	RTSPURL            string // of channel 1; channels at the same host move with it
	ISAPIURL, ONVIFURL string
	Certificate        string // SHA-256 of the certificate that the owner confirms for rtsps
	Channels           []ChannelAddress
}

// ChannelAddress is where the streams of a channel are.
type ChannelAddress struct {
	Channel         int
	MainURL, SubURL string // "": MainURL stays, SubURL follows from it
}

// SetCredentials sets how a device of the caller's is reached. Unless devices are not
// proven, it connects to it first. Its shares stay.
func (d *Devices) SetCredentials(ctx context.Context, m Meta, typed string, n NewCredentials) (DeviceChanged, error) {
	id := device.Canonical(typed)
	given := n.asDevice()
	f := faults{}
	given = given.withCredentials(f)
	given.checkAddresses(f)
	c, err := d.core.begin(m, "set credentials", id, given.withoutSecrets())
	if err != nil {
		return DeviceChanged{}, err
	}
	if err := f.err(); err != nil {
		return DeviceChanged{}, err
	}
	there, camera, err := d.owned(ctx, c.Account, id)
	if err != nil {
		return DeviceChanged{}, err
	}
	if camera, err = given.onto(camera, there); err != nil {
		return DeviceChanged{}, err
	}
	var note device.Command
	if d.proves() {
		if !camera.hasAddress() {
			return DeviceChanged{}, invalid(map[Field]string{"rtsp_url": "is needed: the device is proven by connecting to it"})
		}
		if note, err = d.ask(ctx, c, there, camera, given.givenField); err != nil {
			return DeviceChanged{}, err
		}
	}
	done, err := d.change(ctx, c, id, func(there device.State) ([]device.Event, error) {
		events, err := decideOwned(there, id, c.Account, note)
		if err != nil {
			return nil, err
		}
		if err := d.cameras.SetCamera(ctx, id, camera); err != nil {
			return nil, unavailable(fmt.Errorf("storing how a device is reached: %w", err))
		}
		return events, nil
	})
	if err != nil {
		return DeviceChanged{}, err
	}
	// A removal on another server may have come in between, and forgotten the camera before
	// this stored it.
	if now, err := d.core.loadDevice(ctx, id); err == nil && !now.Live {
		_ = forgetCamera(ctx, d.cameras, id) // or the sweep does
		return DeviceChanged{}, refused(device.ErrNotFound)
	}
	return done, nil
}

// decideOwned decides a command, nil for none, on a device of an account.
func decideOwned(there device.State, id, account string, c device.Command) ([]device.Event, error) {
	if c != nil {
		return device.Decide(there, c)
	}
	if !there.Live || there.Owner != account || there.Device != id {
		return nil, device.ErrNotFound
	}
	return nil, nil
}

// givenField is fieldOf where addresses may have been left out.
func (d NewDevice) givenField(reason, service string, channel int) Field {
	at := d.fieldOf(reason, service, channel)
	left := at == "rtsp_url" && d.RTSPURL == "" || at == "isapi_url" && d.ISAPIURL == "" || at == "onvif_url" && d.ONVIFURL == ""
	switch {
	case !left:
		return at
	case reason == "wrong_password":
		return "password"
	}
	return ""
}

func (n NewCredentials) asDevice() NewDevice {
	d := NewDevice{Username: n.Username, Password: n.Password, RTSPURL: n.RTSPURL, ISAPIURL: n.ISAPIURL, ONVIFURL: n.ONVIFURL, Certificate: n.Certificate}
	for _, ch := range n.Channels {
		d.Channels = append(d.Channels, NewChannel{Channel: ch.Channel, MainURL: ch.MainURL, SubURL: ch.SubURL})
	}
	return d
}

// onto returns a device's camera with what is given in place of what it has.
func (d NewDevice) onto(c Camera, there device.State) (Camera, error) {
	f := faults{}
	c.Username, c.Password = d.Username, d.Password
	c.ISAPIURL, c.ONVIFURL = cmp.Or(d.ISAPIURL, c.ISAPIURL), cmp.Or(d.ONVIFURL, c.ONVIFURL)
	c.Certificate = cmp.Or(fingerprint(d.Certificate), c.Certificate)
	had := c.Channels
	c.Channels = make([]CameraChannel, len(there.Channels))
	for i, ch := range there.Channels {
		c.Channels[i] = CameraChannel{Channel: ch.Channel}
		for _, h := range had {
			if h.Channel == ch.Channel {
				c.Channels[i] = h
			}
		}
	}
	channel := func(number int, at Field) *CameraChannel {
		for i := range c.Channels {
			if c.Channels[i].Channel == number {
				return &c.Channels[i]
			}
		}
		f.add(at, "is not one of the device's channels")
		return &CameraChannel{}
	}
	if d.RTSPURL != "" {
		first := channel(1, "rtsp_url")
		from, to := hostOf(first.MainURL), hostOf(d.RTSPURL)
		for i := range c.Channels {
			c.Channels[i].MainURL, c.Channels[i].SubURL = moved(c.Channels[i].MainURL, from, to), moved(c.Channels[i].SubURL, from, to)
		}
		first.MainURL, first.SubURL = d.RTSPURL, subStream(d.RTSPURL)
	}
	for i, given := range d.Channels {
		ch := channel(given.Channel, Field("channels").Entry(i).Dot("channel"))
		if given.MainURL != "" {
			ch.MainURL, ch.SubURL = given.MainURL, subStream(given.MainURL)
		}
		ch.SubURL = cmp.Or(given.SubURL, ch.SubURL)
	}
	return c, f.err()
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// moved returns an address at the host to, if it was at from.
func moved(address, from, to string) string {
	u, err := url.Parse(address)
	if err != nil || from == "" || to == "" || u.Host != from {
		return address
	}
	u.Host = to
	return u.String()
}

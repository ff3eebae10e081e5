package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

// AddDevice gives a device to the caller. How it is reached is in the vault before
// the log says that the device exists: staged for this command, so that the loser
// of two who add the same serial overwrites nothing. What a crash leaves staged
// SettleStaged finishes, and a repeat with the same Idempotency-Key.
//
// A device that is the caller's already is refused, unless the vault has lost how
// it is reached: then that is kept, and nothing else changes.
func (s *Service) AddDevice(ctx context.Context, m Meta, d NewDevice) (Result, error) {
	c, err := s.begin(m, "add device", d.withoutSecrets())
	if err != nil {
		return Result{}, err
	}
	f := faults{}
	d = d.withCredentials(f)
	d.check(f)
	if err := f.err(); err != nil {
		return Result{}, err
	}
	d = d.withChannels()
	add, err := s.addition(ctx, c, d)
	if err != nil {
		return Result{}, err
	}
	room := s.room(c.Account, QuotaDevices)
	camera := addedCamera{service: s, command: c, camera: d.camera()}
	camera.guess(ctx, device.ID(add.Serial, 1))
	done, err := runOn(ctx, s, c, deviceStream(add.Serial), device.Evolve, func(there stream[device.State]) ([]device.Event, error) {
		events, err := device.Decide(there.state, add)
		if errors.Is(err, device.ErrAlreadyAdded) {
			return nil, camera.missing(ctx, there.state.Device, there.events[len(there.events)-1].ID, err)
		}
		if err != nil {
			return nil, err
		}
		if err := room.take(ctx, func() error { return s.spendAddition(c.Account, add.Serial) }); err != nil {
			return nil, err
		}
		id := device.Evolve(there.state, events[0]).Device
		return events, both(
			func() error { return s.refuseUsed(ctx, c.Account, id) },
			func() error { return camera.stage(ctx, id) },
		)
	}, s.loadForCommand(c, device.ErrTaken))
	room.settled(done.position, err)
	if err != nil {
		camera.refused(ctx, err)
		return Result{}, point(err, d.pointer(err))
	}
	if err := s.settleAdded(ctx, c, &camera, done); err != nil {
		return Result{}, point(err, d.pointer(err))
	}
	return Result{Position: done.position, Revision: done.revision, Created: true, Device: &done.state}, nil
}

// spendAddition asks for one more addition of a day, and of this serial.
func (s *Service) spendAddition(account, serial string) error {
	if err := s.spend(account, QuotaGenerations, serial, 1); err != nil {
		return err
	}
	return s.spend(account, QuotaAdditions, "", 1)
}

// settleAdded does what is left when a device is in the log: its camera becomes
// its own, and if its id became the owner's domain for another device while it
// was added, it is removed again.
func (s *Service) settleAdded(ctx context.Context, c command, camera *addedCamera, done outcome[device.State, device.Event]) error {
	added := len(done.events) > 0 && !done.repeat
	camera.dropBut(ctx, done.state.Device)
	used := false
	err := both(func() error {
		if !done.latest.Live || done.latest.Device != done.state.Device {
			return nil
		}
		return camera.keep(ctx, done.state.Device, added)
	}, func() (err error) {
		if added {
			used, err = s.claimed(ctx, c.Account, done.state.Device, done.state.Device)
		}
		return err
	})
	if err != nil || !used {
		return err
	}
	if err := s.removeAgain(ctx, c, done.state); err != nil {
		return err
	}
	return refused(errNameUsed)
}

// removeAgain removes a device that its owner cannot have.
func (s *Service) removeAgain(ctx context.Context, c command, d device.State) error {
	serial, _ := device.SerialOf(d.Device)
	_, err := follow(ctx, s, c.id(deviceStream(serial), 0), deviceStream(serial), device.Evolve, func(there stream[device.State]) ([]device.Event, error) {
		if there.state.Device != d.Device || !there.state.Live {
			return nil, nil
		}
		return device.Decide(there.state, device.Remove{Device: d.Device, By: c.Account, At: s.now()})
	})
	if err != nil {
		return err
	}
	s.afterwards(ctx, "forgetting how a removed device was reached", func(ctx context.Context) error {
		return s.forgetCamera(ctx, d.Device)
	})
	return nil
}

// addition is what the decider is asked.
func (s *Service) addition(ctx context.Context, c command, d NewDevice) (add device.Add, err error) {
	add = device.Add{Owner: c.Account, Written: strings.TrimSpace(d.Serial), At: c.at}
	add.Serial, _ = device.Serial(d.Serial)
	if d.Serial == "" {
		if add.Serial, err = s.newSerial(c); err != nil {
			return add, err
		}
	}
	if add.Name, err = s.seal(ctx, c.Account, event.FieldDevice, d.Name); err != nil {
		return add, err
	}
	add.Channels, err = s.channels(ctx, c.Account, d.Channels)
	return add, err
}

// RemoveDevice takes a device out of the caller's account, and out of its shares.
// That nobody may do anything on it follows from the first event alone: if its
// shares cannot be found or ended now, the command is answered all the same, and
// EndSharesOfDevice follows.
func (s *Service) RemoveDevice(ctx context.Context, m Meta, id string) (Result, error) {
	c, err := s.begin(m, "remove device", id)
	if err != nil {
		return Result{}, err
	}
	id = device.Canonical(id)
	serial, ok := device.SerialOf(id)
	if !ok {
		return Result{}, refused(device.ErrNotFound)
	}
	done, err := runOn(ctx, s, c, deviceStream(serial), device.Evolve, func(there stream[device.State]) ([]device.Event, error) {
		return device.Decide(there.state, device.Remove{Device: id, By: c.Account, At: c.at})
	}, s.loadForCommand(c, device.ErrNotFound))
	if err != nil {
		return Result{}, err
	}
	s.freed(c.Account, QuotaDevices)
	wait := s.meanwhile(ctx, "forgetting how a removed device was reached", func(ctx context.Context) error {
		return s.forgetCamera(ctx, id)
	})
	position := max(done.position, s.followRemoval(ctx, c.id(deviceStream(serial), 0), id, done.position))
	wait()
	return Result{Position: position, Revision: done.revision, Device: &done.state}, nil
}

const (
	// followWithin bounds what a removal does about the device's shares before it is
	// answered.
	followWithin = 5 * time.Second
	// findWithin bounds finding them.
	findWithin = 2 * time.Second
)

// followRemoval ends the shares of a device whose removal, the event cause, is at
// a position in the log. It returns the position of the last event that this
// needed, 0 for none.
func (s *Service) followRemoval(ctx context.Context, cause uuid.UUID, device string, at uint64) uint64 {
	if s.shares == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, followWithin)
	defer cancel()
	finding, stop := context.WithTimeout(ctx, findWithin)
	defer stop()
	removed := at
	holding, lost, err := s.shares.SharesWithDevice(finding, device, removed)
	if err == nil {
		at, err = s.endShares(ctx, cause, device, holding)
	}
	for _, id := range lost {
		ended, unknown := s.endedSince(ctx, id, device, removed)
		at, err = max(at, ended), errors.Join(err, unknown)
	}
	if err != nil {
		s.logger.WarnContext(ctx, "the shares of a removed device end later", "device", device, "error", err)
	}
	return at
}

func (s *Service) forgetCamera(ctx context.Context, device string) error {
	if err := s.cameras.ForgetCamera(ctx, device); err != nil {
		return unavailable(fmt.Errorf("forgetting how a device is reached: %w", err))
	}
	return nil
}

// withChannels writes out what is meant where the channels are not given.
func (d NewDevice) withChannels() NewDevice {
	if len(d.Channels) == 0 {
		d.Channels = []NewChannel{{Channel: 1, MainURL: d.RTSPURL, CapabilitiesUnknown: true}}
		return d
	}
	d.Channels = slices.Clone(d.Channels)
	for i := range d.Channels {
		if d.Channels[i].lacksURL() {
			d.Channels[i].MainURL = d.RTSPURL
			break
		}
	}
	return d
}

// lacksURL reports whether the device's own address is the channel's.
func (c NewChannel) lacksURL() bool { return c.Channel == 1 && c.MainURL == "" }

// withCredentials takes the user name and the password out of RTSP addresses,
// where people paste them, and has them as the device's own.
func (d NewDevice) withCredentials(f faults) NewDevice {
	d.Channels = slices.Clone(d.Channels)
	d.takeCredentials(f, "/rtsp_url", &d.RTSPURL)
	for i := range d.Channels {
		at := "/channels/" + strconv.Itoa(i)
		d.takeCredentials(f, at+"/rtsp_url", &d.Channels[i].MainURL)
		d.takeCredentials(f, at+"/sub_rtsp_url", &d.Channels[i].SubURL)
	}
	return d
}

// withoutSecrets is the device as it may be fingerprinted.
func (d NewDevice) withoutSecrets() NewDevice {
	d = d.withCredentials(faults{})
	d.Username, d.Password = "", ""
	return d
}

// takeCredentials leaves an address that it cannot read as it is, for check.
func (d *NewDevice) takeCredentials(f faults, at string, address *string) {
	u, err := url.Parse(*address)
	if err != nil || u.User == nil || u.Host == "" {
		return
	}
	name := u.User.Username()
	password, _ := u.User.Password()
	if d.Username == "" && d.Password == "" {
		f.line(at, name, maxCredential)
		f.line(at, password, maxCredential)
		if f[at] == "" {
			d.Username, d.Password = name, password
		}
	}
	if d.Username != name || d.Password != password {
		f.add(at, "holds another user name or password than the device's")
	}
	u.User = nil
	*address = u.String()
}

// check holds what is given against its bounds; what is in an account already
// the decider knows.
func (d NewDevice) check(f faults) {
	if strings.TrimSpace(d.Name) == "" {
		f.add("/name", "is needed")
	}
	f.text("/name", d.Name, maxName)
	f.line("/username", d.Username, maxCredential)
	f.line("/password", d.Password, maxCredential)
	if _, ok := device.Serial(d.Serial); !ok && d.Serial != "" {
		f.add("/serial", "must be 3 to 64 letters, digits and hyphens")
	}
	f.url("/rtsp_url", d.RTSPURL, "rtsp", "rtsps")
	if d.RTSPURL != "" && len(d.Channels) > 0 && !slices.ContainsFunc(d.Channels, NewChannel.lacksURL) {
		f.add("/rtsp_url", "is channel 1's, which is given in channels")
	}
	f.url("/isapi_url", d.ISAPIURL, "http", "https")
	f.url("/onvif_url", d.ONVIFURL, "http", "https")
	if len(d.Channels) > device.MaxChannel {
		f.add("/channels", "are more than "+strconv.Itoa(device.MaxChannel))
		return
	}
	names := 0
	for i, c := range d.Channels {
		at := "/channels/" + strconv.Itoa(i)
		names += len(c.Name)
		f.text(at+"/name", c.Name, maxName)
		f.url(at+"/rtsp_url", c.MainURL, "rtsp", "rtsps")
		f.url(at+"/sub_rtsp_url", c.SubURL, "rtsp", "rtsps")
		if c.Channel < 1 || c.Channel > device.MaxChannel {
			f.add(at+"/channel", "must be from 1 to "+strconv.Itoa(device.MaxChannel))
		}
	}
	if names > maxNames {
		f.add("/channels", "have names of more than "+strconv.Itoa(maxNames)+" bytes together")
	}
}

// pointer gives the field that a refusal is about, "" for none.
func (d NewDevice) pointer(err error) string {
	switch {
	case errors.Is(err, device.ErrTaken), errors.Is(err, device.ErrAlreadyAdded), errors.Is(err, errNameUsed):
		return "/serial"
	case errors.Is(err, device.ErrChannelTwice):
		return "/channels/" + strconv.Itoa(d.channelTwice()) + "/channel"
	}
	return ""
}

// channelTwice is the index of the first channel that was given before.
func (d NewDevice) channelTwice() int {
	seen := make(map[int]bool, len(d.Channels))
	for i, c := range d.Channels {
		if seen[c.Channel] {
			return i
		}
		seen[c.Channel] = true
	}
	return -1
}

// channels are those of the event: what may be known of them.
func (s *Service) channels(ctx context.Context, owner string, list []NewChannel) ([]device.Channel, error) {
	out := make([]device.Channel, len(list))
	for i, c := range list {
		name, err := s.seal(ctx, owner, event.FieldChannel, c.Name)
		if err != nil {
			return nil, err
		}
		out[i] = device.Channel{Channel: c.Channel, Name: name, Capabilities: c.Capabilities}
		if c.CapabilitiesUnknown {
			out[i].Capabilities = privilege.All
		}
	}
	return out, nil
}

// camera is what the vault keeps.
func (d NewDevice) camera() Camera {
	c := Camera{Username: d.Username, Password: d.Password, ISAPIURL: d.ISAPIURL, ONVIFURL: d.ONVIFURL}
	for _, ch := range d.Channels {
		sub := ch.SubURL
		if sub == "" {
			sub = subStream(ch.MainURL)
		}
		c.Channels = append(c.Channels, CameraChannel{Channel: ch.Channel, MainURL: ch.MainURL, SubURL: sub})
	}
	return c
}

// hikvisionMain is the path of a main stream as Hikvision devices have it:
// channel 12's is /Streaming/Channels/1201, and its sub stream's number is 1202.
var hikvisionMain = regexp.MustCompile(`(?i)^(.*/streaming/channels/[0-9]{1,3}0)1(/?)$`)

// subStream derives the address of the sub stream where the path says how, ""
// elsewhere.
func subStream(mainURL string) string {
	u, err := url.Parse(mainURL)
	if err != nil || mainURL == "" || u.RawPath != "" {
		return ""
	}
	m := hikvisionMain.FindStringSubmatch(u.Path)
	if m == nil {
		return ""
	}
	u.Path = m[1] + "2" + m[2]
	return u.String()
}

package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
)

// NewDevice is a device to add. Its RTSP addresses may contain a user name and a
// password, as people paste them: those become the device's own.
type NewDevice struct {
	Name, Serial       string // Serial "": it gets an id of its own
	Username, Password string
	RTSPURL            string // of channel 1, unless it is in Channels
	ISAPIURL, ONVIFURL string
	Certificate        string       `json:",omitempty"` // SHA-256 of the certificate that the owner confirms for rtsps; "" for none
	Channels           []NewChannel // empty: channel 1, which can do everything
	Published          bool         `json:",omitempty"` // its camera publishes: nothing is connected to
}

// NewChannel is a channel of a device to add.
type NewChannel struct {
	Channel             int
	Name                string
	MainURL, SubURL     string
	Capabilities        privilege.Set
	CapabilitiesUnknown bool // the owner did not declare them: treated as capable of everything
}

// withChannels adds the default channels if none are given.
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

// lacksURL reports whether the channel uses the device's own address.
func (c NewChannel) lacksURL() bool { return c.Channel == 1 && c.MainURL == "" }

// withCredentials moves the user name and password from RTSP addresses, where people
// paste them, to the device.
func (d NewDevice) withCredentials(f faults) NewDevice {
	d.Channels = slices.Clone(d.Channels)
	d.takeCredentials(f, "rtsp_url", &d.RTSPURL)
	for i := range d.Channels {
		at := Field("channels").Entry(i)
		d.takeCredentials(f, at.Dot("main_url"), &d.Channels[i].MainURL)
		d.takeCredentials(f, at.Dot("sub_url"), &d.Channels[i].SubURL)
	}
	return d
}

// withoutSecrets returns the device without secrets, for fingerprinting.
func (d NewDevice) withoutSecrets() NewDevice {
	d = d.withCredentials(faults{})
	d.Username, d.Password = "", ""
	return d
}

// takeCredentials leaves an address that it cannot read unchanged, for check.
func (d *NewDevice) takeCredentials(f faults, at Field, address *string) {
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

// check validates the input; the decider knows what is already in an account.
func (d NewDevice) check(f faults) {
	if strings.TrimSpace(d.Name) == "" {
		f.add("name", "is required")
	}
	f.text("name", d.Name, maxName)
	if _, ok := device.Serial(d.Serial); !ok && d.Serial != "" {
		f.add("serial", "must be 3 to 64 letters, digits and hyphens")
	}
	if d.RTSPURL != "" && len(d.Channels) > 0 && !slices.ContainsFunc(d.Channels, NewChannel.lacksURL) {
		f.add("rtsp_url", "is channel 1's, which is given in channels")
	}
	d.checkAddresses(f)
	if d.Published && (d.Serial != "" || d.Username != "" || d.Password != "" || d.Certificate != "" || d.withChannels().camera().hasAnyAddress()) {
		f.add("published", "goes without a serial, addresses and credentials: the device is not connected to, and proves nothing")
	}
}

// checkAddresses validates how the device is reached, and its channels.
func (d NewDevice) checkAddresses(f faults) {
	f.line("username", d.Username, maxCredential)
	f.line("password", d.Password, maxCredential)
	f.url("rtsp_url", d.RTSPURL, "rtsp", "rtsps")
	f.url("isapi_url", d.ISAPIURL, "http", "https")
	f.url("onvif_url", d.ONVIFURL, "http", "https")
	if d.Certificate != "" && fingerprint(d.Certificate) == "" {
		f.add("certificate_sha256", "must be 64 hexadecimal digits")
	}
	if len(d.Channels) > privilege.MaxChannel {
		f.add("channels", "are more than "+strconv.Itoa(privilege.MaxChannel))
		return
	}
	names := 0
	for i, c := range d.Channels {
		at := Field("channels").Entry(i)
		names += len(c.Name)
		f.text(at.Dot("name"), c.Name, maxName)
		f.url(at.Dot("main_url"), c.MainURL, "rtsp", "rtsps")
		f.url(at.Dot("sub_url"), c.SubURL, "rtsp", "rtsps")
		if c.Channel < 1 || c.Channel > privilege.MaxChannel {
			f.add(at.Dot("channel"), "must be from 1 to "+strconv.Itoa(privilege.MaxChannel))
		}
	}
	if names > maxNames {
		f.add("channels", "have names of more than "+strconv.Itoa(maxNames)+" bytes together")
	}
}

// field returns the field that a refusal is about, "" for none.
func (d NewDevice) field(err error) Field {
	switch {
	case errors.Is(err, device.ErrTaken), errors.Is(err, device.ErrAlreadyAdded), errors.Is(err, errNameUsed):
		return "serial"
	case errors.Is(err, device.ErrChannelTwice):
		return Field("channels").Entry(d.channelTwice()).Dot("channel")
	}
	return ""
}

// channelTwice returns the index of the first duplicate channel.
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

// camera returns what the vault stores.
func (d NewDevice) camera() Camera {
	c := Camera{
		Username: d.Username, Password: d.Password, ISAPIURL: d.ISAPIURL, ONVIFURL: d.ONVIFURL, Certificate: fingerprint(d.Certificate),
	}
	for _, ch := range d.Channels {
		sub := ch.SubURL
		if sub == "" {
			sub = subStream(ch.MainURL)
		}
		c.Channels = append(c.Channels, CameraChannel{Channel: ch.Channel, MainURL: ch.MainURL, SubURL: sub})
	}
	return c
}

// fingerprint returns a SHA-256 as it is stored; it may be written with colons, as tools
// print it. "" if it is not one.
func fingerprint(text string) string {
	text = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if sum, err := hex.DecodeString(text); err != nil || len(sum) != sha256.Size {
		return ""
	}
	return text
}

// pathOf is the path of an address, "" if it is ambiguous.
func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.RawPath != "" {
		return ""
	}
	return u.Path
}

// withPath is an address with another path.
func withPath(address, path string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.Path = path
	return u.String()
}

// hikvisionMain is the path of a main stream on Hikvision devices: channel 12's is
// /Streaming/Channels/1201, and its sub stream's number is 1202.
var hikvisionMain = regexp.MustCompile(`(?i)^(.*/streaming/channels/[0-9]{1,3}0)1(/?)$`)

// subStream derives the address of the sub stream if the path allows it, "" otherwise.
func subStream(mainURL string) string {
	m := hikvisionMain.FindStringSubmatch(pathOf(mainURL))
	if m == nil {
		return ""
	}
	return withPath(mainURL, m[1]+"2"+m[2])
}

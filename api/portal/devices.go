package portal

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"latchkey/api/client"
)

// devicesPage is the data of the page of one's own devices.
type devicesPage struct {
	Rows  []deviceRow
	Next  string
	First bool
}

type deviceRow struct {
	Path, Name, Model string
	Cameras           int
	State             deviceState
}

// deviceState is whether a device responds, in words.
type deviceState struct {
	Kind   string // online, offline or unknown
	Text   string
	Since  *stamp
	Reason string
}

func devicePath(device string) string { return "/devices/" + url.PathEscape(device) }

func (v *visit) stateOf(o client.Online) deviceState {
	s := deviceState{Kind: string(o.State), Text: v.t("state." + string(o.State)), Since: v.at(o.Since)}
	if key := "offline." + o.Reason; o.Reason != "" {
		if !v.has(key) {
			key = "offline.other"
		}
		s.Reason = v.t(key)
	}
	return s
}

func showDevices(v *visit) error {
	p, err := v.devices()
	if err != nil {
		return err
	}
	return v.page("devices", v.t("devices.title"), p)
}

func (v *visit) devices() (*devicesPage, error) {
	cursor := v.r.URL.Query().Get("cursor")
	a, err := v.api.ListDevicesWithResponse(v.ctx(), &client.ListDevicesParams{Limit: mostRows, Cursor: cursor})
	if err != nil {
		return nil, err
	}
	p := &devicesPage{Next: a.JSON200.Next, First: cursor == ""}
	for _, d := range a.JSON200.Items {
		p.Rows = append(p.Rows, deviceRow{devicePath(d.ID), cmp.Or(d.Name, d.ID), d.Model, len(d.Channels), v.stateOf(d.Online)})
	}
	return p, nil
}

// fingerprint is that of a certificate which the owner may confirm, "" for none.
func fingerprint(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.CertificateSha256
	}
	return ""
}

// devicePage is the data of the page of one device.
type devicePage struct {
	Names, Connection form
	Trust             string
	Path, ID, Name    string
	Serial, Model     string
	Firmware          string
	Added             *stamp
	Proven            bool
	State             deviceState
	Channels          []client.Channel
	Viewers           []viewerRow
	MoreViewers       bool
}

type viewerRow struct {
	ID, Share                        string
	Name, Camera, Functions, Address string
	Own                              bool
	Since                            *stamp
}

const mostViewers = 200

func (v *visit) device() (*devicePage, error) {
	id := v.r.PathValue("device")
	a, err := v.api.GetDeviceWithResponse(v.ctx(), id, nil)
	if err != nil {
		return nil, err
	}
	d := *a.JSON200
	p := &devicePage{
		Names: newForm("name", d.Name), Connection: newForm(), Path: devicePath(d.ID), ID: d.ID, Name: cmp.Or(d.Name, d.ID),
		Serial: d.Serial, Model: d.Model, Firmware: d.Firmware, Added: v.at(d.AddedAt), Proven: d.Proven, State: v.stateOf(d.Online), Channels: d.Channels,
	}
	for _, c := range d.Channels {
		p.Names.Values["channel"+strconv.Itoa(c.Channel)] = c.Name
	}
	w, err := v.api.ListDeviceViewersWithResponse(v.ctx(), id, &client.ListDeviceViewersParams{Limit: mostViewers})
	if err != nil {
		return nil, err
	}
	p.Viewers, p.MoreViewers = v.viewerRows(w.JSON200.Items, d.Channels), w.JSON200.Next != ""
	return p, nil
}

// viewerRows are viewers of a device with some channels.
func (v *visit) viewerRows(list []client.Viewer, channels []client.Channel) (rows []viewerRow) {
	names := map[int]string{}
	for _, c := range channels {
		names[c.Channel] = cmp.Or(c.Name, v.t("camera.number", "number", c.Channel))
	}
	for _, one := range list {
		row := viewerRow{ID: one.ID, Share: one.Share, Camera: names[one.Channel], Functions: v.functions(one.Privileges), Address: one.Address, Own: one.Own, Since: v.at(one.Since)}
		if !one.Own {
			row.Name = cmp.Or(one.Name, v.recipientName(one.Recipient))
		}
		rows = append(rows, row)
	}
	return rows
}

func showDevice(v *visit) error {
	p, err := v.device()
	if err != nil {
		return err
	}
	return v.page("device", p.Name, p)
}

// renameDevice renames a device and its cameras.
func renameDevice(v *visit) error {
	p, err := v.device()
	if err != nil {
		return err
	}
	names := []string{"name"}
	change := map[string]any{}
	channels := []any{}
	for _, c := range p.Channels {
		field := "channel" + strconv.Itoa(c.Channel)
		names = append(names, field)
		if typed := strings.TrimSpace(v.r.PostForm.Get(field)); v.r.PostForm.Has(field) && typed != c.Name {
			channels = append(channels, map[string]any{"channel": c.Channel, "name": typed})
		}
	}
	if name := strings.TrimSpace(v.r.PostForm.Get("name")); name != p.Names.Get("name") {
		change["name"] = name
	}
	if len(channels) > 0 {
		change["channels"] = channels
	}
	if len(change) > 0 {
		if err := v.api.Call(v.ctx(), "PATCH", "/devices/"+url.PathEscape(p.ID), change, nil); err != nil {
			p.Names = v.typed(names...)
			return v.again("device", p.Name, &p.Names, p, err, nil)
		}
	}
	v.say("saved")
	v.redirect(p.Path)
	return nil
}

// connectDevice sets how a device is reached. Addresses that are left empty stay.
func connectDevice(v *visit) error {
	p, err := v.device()
	if err != nil {
		return err
	}
	f := v.typed(addressFields...)
	p.Connection = withoutSecrets(f)
	_, err = v.api.SetDeviceCredentialsWithResponse(v.ctx(), p.ID, &client.SetDeviceCredentialsParams{IdempotencyKey: v.key()}, client.DeviceCredentials{
		Username: f.Get("username"), Password: v.r.PostForm.Get("password"), CertificateSha256: v.r.PostForm.Get("certificate_sha256"),
		RtspURL: strings.TrimSpace(f.Get("rtsp_url")), IsapiURL: strings.TrimSpace(f.Get("isapi_url")), OnvifURL: strings.TrimSpace(f.Get("onvif_url")),
	})
	if err != nil {
		p.Trust = fingerprint(err)
		return v.again("device", p.Name, &p.Connection, p, err, nil)
	}
	v.say("connected", "device", p.Name)
	v.redirect(p.Path)
	return nil
}

// endViewer cuts off one viewer.
func endViewer(v *visit) error {
	p, err := v.device()
	if err != nil {
		return err
	}
	viewer := v.r.PostForm.Get("viewer")
	if viewer == "" {
		return errNoPage
	}
	if ok, err := v.confirmed(v.t("viewers.end.ask"), v.t("viewers.end"), p.Path); !ok {
		return err
	}
	if _, err := v.api.EndDeviceViewerWithResponse(v.ctx(), p.ID, viewer); err != nil {
		return v.again("device", p.Name, &p.Names, p, err, nil)
	}
	v.say("viewer_ended")
	v.redirect(p.Path)
	return nil
}

func askRemove(v *visit) error {
	p, err := v.device()
	if err != nil {
		return err
	}
	return v.page("removedevice", v.t("remove.title"), p)
}

// removeDevice removes a device from the account and from every share.
func removeDevice(v *visit) error {
	p, err := v.device()
	if err != nil {
		return err
	}
	if _, err := v.api.RemoveDeviceWithResponse(v.ctx(), p.ID, &client.RemoveDeviceParams{IdempotencyKey: v.key()}); err != nil {
		return v.again("removedevice", v.t("remove.title"), &p.Names, p, err, nil)
	}
	v.say("device_removed", "device", p.Name)
	v.redirect("/devices")
	return nil
}

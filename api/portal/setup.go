package portal

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"latchkey/api/client"
)

// The set-up of a service has three pages: the first account, its first camera, and with
// whom that is shared. Each can be left and come back to; /setup leads to the next one.

const (
	setupCamera = "/setup/camera"
	setupShare  = "/setup/share"
)

// setupPage is the data of the page for the first account.
type setupPage struct {
	Form      form
	Countries []countryChoice
	Over      bool // there is an account
	Step      int
}

// showSetup asks for the first account. The secret of the link is after its #, which
// browsers do not send: setup.js puts it into the field.
func showSetup(v *visit) error {
	if v.token != "" {
		devices, err := v.offeredDevices()
		if err != nil {
			return err
		}
		if len(devices) == 0 {
			v.redirect(setupCamera)
		} else {
			v.redirect(setupShare)
		}
		return nil
	}
	needed, err := v.unused()
	if err != nil {
		return err
	}
	return v.page("setup", v.t("setup.title"), setupPage{newForm("kind", "email", "country", v.usualCountry()), v.countries(), !needed, 1})
}

// unused reports whether the service waits for its first account.
func (v *visit) unused() (bool, error) {
	a, err := v.api.GetSetupWithResponse(v.ctx())
	if err != nil {
		return false, err
	}
	return a.JSON200.Needed, nil
}

// setUp makes the first account and logs in.
func setUp(v *visit) error {
	if v.token != "" {
		v.redirect("/setup")
		return nil
	}
	p := setupPage{Form: v.typed("kind", "email", "country", "phone", "name", "secret"), Countries: v.countries(), Step: 1}
	email, phone := v.address()
	password := v.r.PostForm.Get("password")
	if email == "" && phone == "" {
		p.Form.Wrong[addressField(&p.Form)] = v.t("reason.It is required.")
	}
	secret := secretOf(p.Form.Get("secret"))
	if secret == "" {
		p.Form.Wrong["secret"] = v.t("reason.It is required.")
	}
	if len(p.Form.Wrong) > 0 {
		return v.render(statusWrong, "setup", v.t("setup.title"), p)
	}
	_, err := v.api.SetUpWithResponse(v.ctx(), &client.SetUpParams{IdempotencyKey: v.key()}, client.FirstAccount{
		Secret: secret, Email: email, Phone: phone, Password: password, Name: strings.TrimSpace(p.Form.Get("name")), Language: client.Language(v.messages()),
	})
	if err != nil {
		return v.again("setup", v.t("setup.title"), &p.Form, &p, err, nil)
	}
	if err := v.begin(email+phone, password); err != nil {
		v.say("registered")
		v.redirect("/login")
		return nil
	}
	v.redirect(setupCamera)
	return nil
}

// secretOf returns the secret of what was typed or pasted: it alone, or the whole link.
func secretOf(typed string) string {
	if _, after, ok := strings.Cut(typed, "#"); ok {
		typed = after
	}
	return strings.TrimSpace(typed)
}

// cameraPage is the data of the page for the first camera.
type cameraPage struct {
	Form     form
	Trust    string // the fingerprint that may be confirmed
	Searched bool
	Found    []client.FoundDevice
	Next     bool // there is a camera already
	Step     int
}

func showSetupCamera(v *visit) error {
	devices, err := v.offeredDevices()
	if err != nil {
		return err
	}
	p, err := v.cameraSearched()
	if err != nil {
		return err
	}
	p.Next, p.Step = len(devices) > 0, 2
	return v.page("setupcamera", v.t("setup.camera.title"), p)
}

// cameraSearched is the form for a camera, with those of the network if they are asked for.
func (v *visit) cameraSearched() (cameraPage, error) {
	query := v.r.URL.Query()
	p := cameraPage{Form: newForm("address", query.Get("address"), "name", query.Get("name"))}
	if query.Has("search") {
		a, err := v.api.SearchDevicesWithResponse(v.ctx())
		if err != nil && v.refused(&p.Form, err, nil) == 0 {
			return p, err
		}
		if err == nil {
			p.Searched, p.Found = true, a.JSON200.Found
		}
	}
	return p, nil
}

// addSetupCamera looks at what is at the address, and adds it.
func addSetupCamera(v *visit) error {
	p := cameraPage{Form: withoutSecrets(v.typed("address", "name", "username")), Step: 2}
	name, err := v.addFound(v.typed("address", "name", "username"), v.r.PostForm.Get("password"), v.r.PostForm.Get("certificate_sha256"))
	if err != nil {
		p.Trust = fingerprint(err)
		return v.again("setupcamera", v.t("setup.camera.title"), &p.Form, &p, err, nil)
	}
	v.say("device_added", "device", name)
	v.redirect(setupShare)
	return nil
}

// addFound adds the device at an address that a person typed, once the service has found
// out how it is reached, and returns its name.
func (v *visit) addFound(f form, password, certificate string) (name string, err error) {
	address, username := strings.TrimSpace(f.Get("address")), f.Get("username")
	if username == "" && password == "" { // they may be in the address, which the answer has without
		if u, err := url.Parse(address); err == nil && u.User != nil {
			username = u.User.Username()
			password, _ = u.User.Password()
			u.User = nil
			address = u.String()
		}
	}
	a, err := v.api.CheckDeviceWithResponse(v.ctx(), client.DeviceToCheck{Address: address, Username: username, Password: password, CertificateSha256: certificate})
	if err != nil {
		return "", err
	}
	found := a.JSON200
	name = cmp.Or(strings.TrimSpace(f.Get("name")), found.Model, v.t("camera.number", "number", 1))
	_, err = v.api.AddDeviceWithResponse(v.ctx(), &client.AddDeviceParams{IdempotencyKey: v.key()}, client.NewDevice{
		Name: name, RtspURL: found.RtspURL, IsapiURL: found.IsapiURL, OnvifURL: found.OnvifURL,
		Username: username, Password: password, CertificateSha256: certificate,
	})
	return name, err
}

// firstSharePage is the data of the page for the first share.
type firstSharePage struct {
	Form      form
	Countries []countryChoice
	Devices   []client.OfferedDevice
	Functions []client.Privilege // that a device of these can do
	On        map[client.Privilege]bool
	Step      int
}

// mostOffered is how many devices the page for the first share has.
const mostOffered = 20

func (v *visit) offeredDevices() ([]client.OfferedDevice, error) {
	a, err := v.api.GetShareFormWithResponse(v.ctx(), &client.GetShareFormParams{Limit: mostOffered})
	if err != nil {
		return nil, err
	}
	return a.JSON200.Items, nil
}

func (v *visit) firstShare(f form, on map[client.Privilege]bool) (firstSharePage, error) {
	devices, err := v.offeredDevices()
	p := firstSharePage{Form: f, Countries: v.countries(), Devices: devices, On: on, Step: 3}
	for _, d := range devices {
		for _, c := range d.Channels {
			for _, one := range c.Privileges {
				if !slices.Contains(p.Functions, one) {
					p.Functions = append(p.Functions, one)
				}
			}
		}
	}
	return p, err
}

func showSetupShare(v *visit) error {
	p, err := v.firstShare(newForm("kind", "email", "country", v.usualCountry()), map[client.Privilege]bool{"live_view": true})
	if err != nil {
		return err
	}
	if len(p.Devices) == 0 {
		v.redirect(setupCamera)
		return nil
	}
	return v.page("setupshare", v.t("setup.share.title"), p)
}

// makeSetupShare shares the devices that are ticked, or the only one, with somebody.
func makeSetupShare(v *visit) error {
	on := map[client.Privilege]bool{}
	for _, one := range v.r.PostForm["function"] {
		on[client.Privilege(one)] = true
	}
	p, err := v.firstShare(v.typed("kind", "email", "country", "phone"), on)
	if err != nil {
		return err
	}
	email, phone := v.address()
	if email == "" && phone == "" {
		p.Form.Wrong[addressField(&p.Form)] = v.t("reason.It is required.")
	}
	chosen := v.r.PostForm["device"]
	var devices []client.ShareDeviceGrants
	for _, d := range p.Devices {
		if len(p.Devices) > 1 && !slices.Contains(chosen, d.Device) {
			continue
		}
		if grants := grantsOf(d, on); len(grants) > 0 {
			devices = append(devices, client.ShareDeviceGrants{Device: d.Device, Channels: grants})
		}
	}
	if len(devices) == 0 {
		p.Form.Fault = v.t("setup.share.nothing")
	}
	if len(p.Form.Wrong) > 0 || p.Form.Fault != "" {
		return v.render(statusWrong, "setupshare", v.t("setup.share.title"), p)
	}
	a, err := v.api.CreateShareWithResponse(v.ctx(), &client.CreateShareParams{IdempotencyKey: v.key()}, client.NewShare{
		Recipient: client.Recipient{Email: email, Phone: phone}, Devices: devices,
	})
	if err != nil {
		return v.again("setupshare", v.t("setup.share.title"), &p.Form, &p, err, nil)
	}
	made := a.JSON201
	if made == nil {
		made = a.JSON200
	}
	v.say("shared", "person", v.recipientName(made.Recipient))
	v.redirect(home)
	return nil
}

// grantsOf are the functions that are ticked, on each channel that has them.
func grantsOf(d client.OfferedDevice, on map[client.Privilege]bool) []client.Grant {
	var list []client.Grant
	for _, c := range d.Channels {
		var can client.PrivilegeSet
		for _, one := range c.Privileges {
			if on[one] {
				can = append(can, one)
			}
		}
		if len(can) > 0 {
			list = append(list, client.Grant{Channel: c.Channel, Privileges: can})
		}
	}
	return list
}

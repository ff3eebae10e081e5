package portal

import (
	"maps"
	"net/url"
	"strings"

	"latchkey/api/client"
)

// newDevicePage is the data of the page that adds a device by one address; the service
// finds out the others.
type newDevicePage struct {
	cameraPage
	Taken bool // another account has the device
}

func showNewDevice(v *visit) error {
	p, err := v.cameraSearched()
	if err != nil {
		return err
	}
	return v.page("newdevice", v.t("devices.add"), newDevicePage{cameraPage: p})
}

// addNewDevice looks at what is at the address, and adds it.
func addNewDevice(v *visit) error {
	p := newDevicePage{cameraPage: cameraPage{Form: withoutSecrets(v.typed("address", "name", "username"))}}
	name, err := v.addFound(v.typed("address", "name", "username"), v.r.PostForm.Get("password"), v.r.PostForm.Get("certificate_sha256"))
	if err != nil {
		p.Trust, p.Taken = fingerprint(err), client.HasCode(err, "device_taken")
		return v.again("newdevice", v.t("devices.add"), &p.Form, &p, err, nil)
	}
	v.say("device_added", "device", name)
	v.redirect("/devices")
	return nil
}

// deviceAddressesPage is the data of the page that adds a device by each of its addresses.
type deviceAddressesPage struct {
	Form  form
	Trust string
	Taken bool
}

func showDeviceAddresses(v *visit) error {
	return v.page("deviceaddresses", v.t("devices.each"), deviceAddressesPage{Form: newForm()})
}

// addressFields are where a device is; the password is not among what is sent back.
var addressFields = []string{"rtsp_url", "isapi_url", "onvif_url", "username"}

// withoutSecrets is a form as it may be sent back: without what stands before an @ in an
// address.
func withoutSecrets(f form) form {
	f.Values = maps.Clone(f.Values)
	for name, value := range f.Values {
		if u, err := url.Parse(strings.TrimSpace(value)); err == nil && u.User != nil {
			u.User = nil
			f.Values[name] = u.String()
		}
	}
	return f
}

// addDevice adds a device. The API connects to it first.
func addDevice(v *visit) error {
	f := v.typed(append([]string{"name", "serial"}, addressFields...)...)
	_, err := v.api.AddDeviceWithResponse(v.ctx(), &client.AddDeviceParams{IdempotencyKey: v.key()}, client.NewDevice{
		Name: strings.TrimSpace(f.Get("name")), Serial: strings.TrimSpace(f.Get("serial")),
		RtspURL: strings.TrimSpace(f.Get("rtsp_url")), IsapiURL: strings.TrimSpace(f.Get("isapi_url")), OnvifURL: strings.TrimSpace(f.Get("onvif_url")),
		Username: f.Get("username"), Password: v.r.PostForm.Get("password"), CertificateSha256: v.r.PostForm.Get("certificate_sha256"),
	})
	if err == nil {
		v.say("device_added", "device", strings.TrimSpace(f.Get("name")))
		v.redirect("/devices")
		return nil
	}
	p := deviceAddressesPage{Form: withoutSecrets(f), Trust: fingerprint(err), Taken: client.HasCode(err, "device_taken")}
	return v.again("deviceaddresses", v.t("devices.each"), &p.Form, &p, err, nil)
}

package portal

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"latchkey/api/client"
)

// keysPage is the data of the page of stream keys.
type keysPage struct {
	Form    form
	Rows    []keyRow
	Next    string
	First   bool
	Devices []otherDevice // that a key can be for
}

type keyRow struct {
	Name, Label, Device string
	Publishes           int // the channel, of a publishing key
	Made, Ends          *stamp
}

// keyMade is the data of the page that shows a secret, once.
type keyMade struct {
	Name, Secret string
	Cameras      []cameraAddress
}

// cameraAddress is where a player finds a camera, ready to be copied.
type cameraAddress struct {
	Name     string
	URL      string
	Snippets []snippet
}

// snippet is a setting of a program. Its words are snippet.<kind>.
type snippet struct{ Kind, Text string }

const mostCameras = 50 // with ready addresses

func showKeys(v *visit) error {
	p, err := v.keys(newForm())
	if err != nil {
		return err
	}
	return v.page("keys", v.t("keys.title"), p)
}

func (v *visit) keys(f form) (*keysPage, error) {
	cursor := v.r.URL.Query().Get("cursor")
	a, err := v.api.ListStreamKeysWithResponse(v.ctx(), &client.ListStreamKeysParams{Limit: mostRows, Cursor: cursor})
	if err != nil {
		return nil, err
	}
	may, err := v.mayWatch()
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	p := &keysPage{Form: f, Next: a.JSON200.Next, First: cursor == ""}
	for _, d := range may {
		if _, seen := names[d.Device]; !seen {
			names[d.Device] = cmp.Or(d.Name, d.Device)
			p.Devices = append(p.Devices, otherDevice{Device: d.Device, Name: names[d.Device]})
		}
	}
	for _, k := range a.JSON200.Items {
		row := keyRow{Name: k.Name, Label: k.Label, Publishes: k.PublishChannel, Made: v.at(k.CreatedAt), Ends: v.at(k.ExpiresAt)}
		if k.Device != "" {
			row.Device = cmp.Or(names[k.Device], k.Device)
		}
		p.Rows = append(p.Rows, row)
	}
	return p, nil
}

// mayWatch lists the devices on which somebody has privileges, their own and others'.
func (v *visit) mayWatch() ([]client.DevicePrivileges, error) {
	a, err := v.api.ListPrivilegesWithResponse(v.ctx(), &client.ListPrivilegesParams{Limit: 200})
	if err != nil {
		return nil, err
	}
	return a.JSON200.Items, nil
}

// makeKey makes a stream key and shows its secret: the one page that follows a POST
// without a redirect, as the secret is nowhere else.
func makeKey(v *visit) error {
	f := v.typed("label", "device", "expires")
	k := client.NewStreamKey{Label: strings.TrimSpace(f.Get("label")), Device: f.Get("device")}
	var err error
	if text := f.Get("expires"); text != "" {
		at, wrong := parseMinute(text, v.zone)
		if wrong != nil {
			f.Wrong["expires"] = v.t("terms.wrong.time")
			return v.keysAgain(f, statusWrong)
		}
		k.ExpiresAt = &at
	}
	a, err := v.api.CreateStreamKeyWithResponse(v.ctx(), &client.CreateStreamKeyParams{IdempotencyKey: v.key()}, k)
	if err != nil {
		status := v.refused(&f, err, map[string]string{"expires_at": "expires"})
		if status == 0 {
			return err
		}
		return v.keysAgain(f, status)
	}
	may, err := v.mayWatch()
	if err != nil {
		return err
	}
	made := keyMade{Name: a.JSON201.Name, Secret: a.JSON201.Secret}
	for _, d := range may {
		if a.JSON201.Device == "" || a.JSON201.Device == d.Device {
			made.Cameras = append(made.Cameras, v.addresses(d, made)...)
		}
	}
	made.Cameras = made.Cameras[:min(len(made.Cameras), mostCameras)]
	return v.render(http.StatusOK, "keymade", v.t("keys.made"), made)
}

func (v *visit) keysAgain(f form, status int) error {
	p, err := v.keys(f)
	if err != nil {
		return err
	}
	return v.render(status, "keys", v.t("keys.title"), p)
}

// addresses are those of the channels of a device that may be watched live.
func (v *visit) addresses(d client.DevicePrivileges, k keyMade) []cameraAddress {
	var list []cameraAddress
	for _, c := range d.Channels {
		if !slices.Contains(c.Privileges, client.PrivilegeLiveView) {
			continue
		}
		u := url.URL{Scheme: "rtsp", User: url.UserPassword(k.Name, k.Secret), Host: v.door(), Path: "/" + d.Device + "/" + strconv.Itoa(c.Channel)}
		list = append(list, cameraAddress{
			Name: cmp.Or(d.Name, d.Device) + " · " + v.t("camera.number", "number", c.Channel),
			URL:  u.String(), Snippets: snippets(u.String(), plainName(d.Device)+"_"+strconv.Itoa(c.Channel)),
		})
	}
	return list
}

// door is where players connect: the host that the browser uses, with the port of the door.
func (v *visit) door() string {
	host := v.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, port, err := net.SplitHostPort(v.cfg.Door())
	if err != nil {
		port = "554"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// plainName is a name that programs accept for a camera: letters, digits and _.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(s))
}

// snippets are the settings of programs for one camera.
func snippets(address, name string) []snippet {
	return []snippet{
		{"vlc", address},
		{"ffmpeg", "ffplay -rtsp_transport tcp '" + address + "'"},
		{"go2rtc", "streams:\n  " + name + ": " + address},
		{"frigate", "cameras:\n  " + name + ":\n    ffmpeg:\n      inputs:\n        - path: " + address + "\n          input_args: preset-rtsp-restream\n          roles:\n            - detect\n            - record"},
		{"homeassistant", address},
		{"blueiris", address},
	}
}

// askRevoke asks before a key is revoked.
func askRevoke(v *visit) error {
	return v.page("revokekey", v.t("revoke.title"), v.r.PathValue("key"))
}

func revokeKey(v *visit) error {
	if _, err := v.api.RevokeStreamKeyWithResponse(v.ctx(), v.r.PathValue("key"), &client.RevokeStreamKeyParams{IdempotencyKey: v.key()}); err != nil {
		return err
	}
	v.say("key_revoked")
	v.redirect("/account/keys")
	return nil
}

package portal

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"latchkey/api/client"
)

const (
	mostTiles     = 48 // cameras on a page
	devicesAtOnce = 20 // of the API
)

// livePage is the data of the page of all live pictures.
type livePage struct {
	Tiles []tile // own first
	Next  string // the path of the next page, "" for none
	First bool
	Empty bool // nothing on any page
}

// tile is a camera that may be seen.
type tile struct {
	Device     string
	Channel    int
	Path       string // of the large view
	Name       string
	From       string // the owner; "" for one's own
	Live       string // now, paused, not_now or not_granted
	Privileges []client.Privilege
	State      string // in words, while there is no picture
	Since      *stamp // of State
	Streams    string // what the API knows of them, as JSON; "" for nothing
	Still      string // the address of a still picture
	Recordings string // the page of them
}

// May is for templates: whether a privilege is granted.
func (t tile) May(privilege string) bool {
	return slices.Contains(t.Privileges, client.Privilege(privilege))
}

// Allowed lists the privileges for scripts.
func (t tile) Allowed() string {
	var names []string
	for _, p := range t.Privileges {
		names = append(names, string(p))
	}
	return strings.Join(names, " ")
}

func livePath(device string, channel int) string {
	return "/live/" + url.PathEscape(device) + "/" + strconv.Itoa(channel)
}

// showLive shows own cameras first, then those of others.
func showLive(v *visit) error {
	query := v.r.URL.Query()
	p := &livePage{First: len(query) == 0}
	at := place{client.ListPrivilegesParamsRole(query.Get("role")), query.Get("cursor"), 0}
	at.skip, _ = strconv.Atoi(query.Get("skip")) // not a number is the beginning
	if at.role != client.ListPrivilegesParamsRoleRecipient {
		at.role = client.ListPrivilegesParamsRoleOwner
	}
	next, err := v.tiles(p, at)
	if err != nil {
		return err
	}
	p.Next = next.path()
	p.Empty = p.First && p.Next == "" && len(p.Tiles) == 0
	return v.page("live", v.t("live.title"), p)
}

// place is where a page begins: the API lists devices, and one may have many cameras.
type place struct {
	role   client.ListPrivilegesParamsRole // "" is the end
	cursor string
	skip   int // cameras after the cursor that were on pages before
}

func (at place) path() string {
	if at.role == "" {
		return ""
	}
	q := url.Values{"role": {string(at.role)}}
	if at.cursor != "" {
		q.Set("cursor", at.cursor)
	}
	if at.skip > 0 {
		q.Set("skip", strconv.Itoa(at.skip))
	}
	return "/live?" + q.Encode()
}

// tiles fills a page, and returns where the next one begins.
func (v *visit) tiles(p *livePage, at place) (place, error) {
	for at.role != "" {
		a, err := v.api.ListPrivilegesWithResponse(v.ctx(), &client.ListPrivilegesParams{Role: at.role, Cursor: at.cursor, Limit: devicesAtOnce})
		if err != nil {
			return at, err
		}
		seen := 0
		for _, d := range a.JSON200.Items {
			for _, t := range v.tilesOf(d) {
				if seen++; seen <= at.skip {
					continue
				}
				if len(p.Tiles) == mostTiles {
					at.skip = seen - 1
					return at, nil
				}
				p.Tiles = append(p.Tiles, t)
			}
		}
		switch at.cursor, at.skip = a.JSON200.Next, 0; {
		case at.cursor != "":
		case at.role == client.ListPrivilegesParamsRoleOwner:
			at.role = client.ListPrivilegesParamsRoleRecipient
		default:
			at.role = ""
		}
	}
	return at, nil
}

// tilesOf returns the cameras of a device that somebody may watch, now or at other times,
// or whose recordings they may watch.
func (v *visit) tilesOf(d client.DevicePrivileges) []tile {
	var list []tile
	for _, g := range d.Channels {
		i := slices.IndexFunc(d.Cameras, func(c client.SeenCamera) bool { return c.Channel == g.Channel })
		if i < 0 {
			continue
		}
		t := v.tileOf(d, g, d.Cameras[i])
		if d.Paused || t.May("live_view") || t.May("playback") {
			list = append(list, t)
		}
	}
	return list
}

func (v *visit) tileOf(d client.DevicePrivileges, g client.Grant, c client.SeenCamera) tile {
	t := tile{
		Device: d.Device, Channel: c.Channel, Path: livePath(d.Device, c.Channel), Live: string(c.Live), Privileges: g.Privileges,
		Name:       v.tileName(d, c),
		Still:      RelayPath + "/devices/" + url.PathEscape(d.Device) + "/channels/" + strconv.Itoa(c.Channel) + "/snapshot",
		Recordings: "/playback/" + url.PathEscape(d.Device) + "/" + strconv.Itoa(c.Channel),
	}
	if !d.Owner {
		t.From = v.personName(d.From)
	}
	if raw, err := json.Marshal(c.Streams); err == nil && (c.Streams.Main.Video.Codec != "" || c.Streams.Sub.Video.Codec != "") {
		t.Streams = string(raw)
	}
	t.State, t.Since = v.whyDark(d, c)
	return t
}

// tileName says which camera it is: many devices call theirs "Camera 01". It is the name of
// the device and, of one of several, that of the camera.
func (v *visit) tileName(d client.DevicePrivileges, c client.SeenCamera) string {
	device := cmp.Or(d.Name, d.Device)
	switch {
	case len(d.Channels) == 1 && (c.Channel == 1 || c.Name == ""), c.Name == device:
		return device
	case c.Name == "":
		return v.t("live.number", "device", device, "number", c.Channel)
	}
	return v.t("live.named", "device", device, "camera", c.Name)
}

// whyDark says in words why there is no live picture, "" if there is nothing to say.
func (v *visit) whyDark(d client.DevicePrivileges, c client.SeenCamera) (string, *stamp) {
	switch c.Live {
	case client.LivePaused:
		return v.t("live.paused"), nil
	case client.LiveNotGranted:
		return v.t("live.recordings_only"), nil
	case client.LiveNotNow:
		var when []string
		for _, k := range d.Conditions {
			if !k.InForce && (k.Channel == 0 || k.Channel == c.Channel) && slices.Contains(k.Privileges, "live_view") {
				when = append(when, v.only(k)...)
			}
		}
		return cmp.Or(strings.Join(when, " "), v.t("state.not_now")), nil
	}
	if d.Online.State == client.ReachableStateOffline {
		if since := v.at(d.Online.Since); since != nil {
			return v.t("live.offline_since"), since
		}
		return v.t("live.offline"), nil
	}
	return "", nil
}

// only says when somebody may watch, in few words.
func (v *visit) only(k client.Condition) []string {
	var list []string
	zone := v.zoneOf(k.Hours)
	if k.From.After(v.cfg.Now()) {
		list = append(list, v.t("live.from", "time", v.timeIn(k.From, zone)))
	}
	if !k.Until.IsZero() && !k.Until.After(v.cfg.Now()) {
		list = append(list, v.t("live.until", "time", v.timeIn(k.Until, zone)))
	}
	if len(list) > 0 {
		return list
	}
	for _, s := range k.Hours.Spans {
		if len(s.Days) == len(days) {
			list = append(list, v.t("live.hours", "start", s.Start, "end", s.End))
		} else {
			list = append(list, v.t("live.hours_days", "days", v.week(s.Days), "start", s.Start, "end", s.End))
		}
	}
	return list
}

// showCamera shows one camera, large.
func showCamera(v *visit) error {
	a, err := v.api.ListPrivilegesWithResponse(v.ctx(), &client.ListPrivilegesParams{Device: v.r.PathValue("device")})
	if err != nil {
		return err
	}
	for _, d := range a.JSON200.Items {
		for _, t := range v.tilesOf(d) {
			if strconv.Itoa(t.Channel) == v.r.PathValue("channel") {
				return v.page("camera", t.Name, t)
			}
		}
	}
	return errNoPage
}

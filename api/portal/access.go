package portal

import (
	"cmp"
	"net/url"
	"strings"

	"latchkey/api/client"
)

// accessPage is the data of the page that says who can get into a device.
type accessPage struct {
	Device, Path, Name string // of the device: its page, this page, and what it is called
	Query              string
	Rows               []accessRow
	Next               string
	First              bool
	Sessions           int // of the owner
	SessionUsed        *stamp
	Viewers            []viewerRow
	MoreViewers        bool
	Past               []pastRow
}

// accessRow is a way into a device.
type accessRow struct {
	Share, Key    string // either of them
	Path          string // where it is changed or, of a key, revoked
	Name, Address string
	Functions     string
	When          []string
	States        []string
	Changed       string // what gave it its state, and who did it
	ChangedAt     *stamp
	Used          *stamp
	Keys          string // how many stream keys the person has
	Watching      bool
	Ends          bool // it gives something, which can be taken back
}

// pastRow is the last use by somebody who cannot get in any more.
type pastRow struct {
	Name string
	At   *stamp
}

const mostWays = 50 // on a page

func accessPath(device string) string { return devicePath(device) + "/access" }

func (v *visit) accessOf() (*accessPage, string, error) {
	query := v.r.URL.Query()
	d, err := v.api.GetDeviceWithResponse(v.ctx(), v.r.PathValue("device"), nil)
	if err != nil {
		return nil, "", err
	}
	id := d.JSON200.ID
	p := &accessPage{
		Device: devicePath(id), Path: accessPath(id), Name: cmp.Or(d.JSON200.Name, id),
		Query: strings.TrimSpace(query.Get("query")), First: query.Get("cursor") == "",
	}
	w, err := v.api.ListDeviceViewersWithResponse(v.ctx(), id, &client.ListDeviceViewersParams{Limit: mostViewers})
	if err != nil {
		return nil, "", err
	}
	p.Viewers, p.MoreViewers = v.viewerRows(w.JSON200.Items, d.JSON200.Channels), w.JSON200.Next != ""
	a, err := v.api.ListDeviceAccessWithResponse(v.ctx(), id, &client.ListDeviceAccessParams{
		Limit: mostWays, Cursor: query.Get("cursor"), Query: p.Query, Order: client.Newest,
	})
	if err != nil {
		return nil, "", err
	}
	watching := map[string]bool{} // shares and keys
	for _, one := range w.JSON200.Items {
		watching[one.Share], watching[one.StreamKey] = true, true
	}
	for _, one := range a.JSON200.Items {
		row := v.accessRow(one)
		row.Watching = watching[cmp.Or(row.Share, row.Key)]
		p.Rows = append(p.Rows, row)
	}
	p.Next, p.Sessions, p.SessionUsed = a.JSON200.Next, a.JSON200.Sessions.Count, v.at(a.JSON200.Sessions.UsedAt)
	for _, one := range a.JSON200.Past {
		row := pastRow{At: v.at(one.LastUse.At)}
		if !one.Own {
			row.Name = cmp.Or(one.Name, v.recipientName(one.Recipient))
		}
		p.Past = append(p.Past, row)
	}
	return p, id, nil
}

func (v *visit) accessRow(w client.DeviceWay) accessRow {
	if w.Share == "" {
		k := w.StreamKey
		what := v.t("access.key")
		if k.PublishChannel > 0 {
			what = v.t("access.key.publishes", "number", k.PublishChannel)
		}
		return accessRow{
			Key: k.Name, Path: "/account/keys/" + url.PathEscape(k.Name) + "/delete", Name: cmp.Or(k.Label, v.t("keys.unnamed")), Address: k.Name,
			Functions: what, Changed: v.t("access.changed.key"), ChangedAt: v.at(k.CreatedAt), Used: v.at(w.LastUse.At), Ends: true,
		}
	}
	r := accessRow{
		Share: w.Share, Path: sentPath(w.Share), Name: v.recipientName(w.Recipient), Functions: v.functions(allOf(w.Channels)),
		When: append(v.when(w.ShareTerms), v.when(w.Terms)...), Changed: v.changeOf(w.Changed), ChangedAt: v.at(w.Changed.At), Used: v.at(w.LastUse.At),
		Ends: w.Status == "accepted" || w.Status == "invited",
	}
	if w.Name != "" {
		r.Name, r.Address = w.Name, r.Name
	}
	if key := "status." + w.Status; v.has(key) {
		r.States = append(r.States, v.t(key))
	}
	switch {
	case w.Paused:
		r.States = append(r.States, v.t("sent.paused"))
	case w.Status == "accepted" && !w.InForce:
		r.States = append(r.States, v.t("state.not_now"))
	}
	if w.StreamKeys > 0 {
		r.Keys = v.n("access.keys", w.StreamKeys)
	}
	return r
}

// changeOf says what gave a way its state. Types of events may be added.
func (v *visit) changeOf(c client.Cause) string {
	name := strings.TrimPrefix(c.Type, "latchkey.share.")
	name, _, _ = strings.Cut(name, ".")
	if key := "access.changed." + name; name != "key" && v.has(key) {
		return v.t(key)
	}
	return v.t("access.changed.other")
}

func showAccess(v *visit) error {
	p, _, err := v.accessOf()
	if err != nil {
		return err
	}
	return v.page("access", v.t("access.title"), p)
}

// endAccess takes a device back from somebody, or ends one viewer, and asks before it.
func endAccess(v *visit) error {
	p, id, err := v.accessOf()
	if err != nil {
		return err
	}
	f := v.r.PostForm
	switch share, viewer := f.Get("share"), f.Get("viewer"); {
	case share != "":
		s, err := v.api.GetShareWithResponse(v.ctx(), share, nil)
		if err != nil {
			return err
		}
		who := v.recipientName(s.JSON200.Recipient)
		ask := v.t("access.ask", "person", who, "device", p.Name)
		n := 0
		for _, one := range p.Viewers {
			if one.Share == share {
				n++
			}
		}
		if n > 0 {
			ask += " " + v.n("access.ask.watching", n)
		}
		if sure, err := v.confirmed(ask, v.t("access.take"), p.Path); err != nil || !sure {
			return err
		}
		if _, err := v.api.RemoveShareDeviceWithResponse(v.ctx(), share, id, &client.RemoveShareDeviceParams{IdempotencyKey: v.key()}); err != nil {
			return err
		}
		v.say("taken_back", "person", who, "device", p.Name)
	case viewer != "":
		if sure, err := v.confirmed(v.t("access.ask.viewer"), v.t("viewers.end"), p.Path); err != nil || !sure {
			return err
		}
		if _, err := v.api.EndDeviceViewerWithResponse(v.ctx(), id, viewer); err != nil && !client.HasCode(err, "viewer_not_found") {
			return err
		}
		v.say("viewer_ended")
	default:
		return errNoPage
	}
	v.redirect(p.Path)
	return nil
}

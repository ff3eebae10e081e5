package portal

import (
	"cmp"
	"strings"

	"latchkey/api/client"
)

// everyWayPage is the data of the page that says who can get in anywhere.
type everyWayPage struct {
	Query    string
	Rows     []sentRow
	Next     string
	First    bool
	Watching []watchingRow
	Devices  bool // there are more devices than were asked who watches them
	Keys     int
	MoreKeys bool
	Sessions int
	Used     *stamp // by a session
}

// watchingRow is a device that is watched now.
type watchingRow struct {
	Path, Name string
	People     string
}

// showEveryWay shows who can get into any device. What one shares is listed as on its own
// page; who can get into one device is said by that device's page.
func showEveryWay(v *visit) error {
	query := v.r.URL.Query()
	p := everyWayPage{Query: strings.TrimSpace(query.Get("query")), First: query.Get("cursor") == ""}
	shares, next, err := v.sentShares(p.Query, query.Get("cursor"))
	if err != nil {
		return err
	}
	if p.Rows, err = v.sentRows(shares); err != nil {
		return err
	}
	p.Next = next
	d, err := v.api.ListDevicesWithResponse(v.ctx(), &client.ListDevicesParams{Limit: mostAsked})
	if err != nil {
		return err
	}
	p.Devices = d.JSON200.Next != ""
	for _, one := range d.JSON200.Items {
		w, err := v.api.ListDeviceViewersWithResponse(v.ctx(), one.ID, &client.ListDeviceViewersParams{Limit: mostViewers})
		if err != nil {
			return err
		}
		if n := len(w.JSON200.Items); n > 0 {
			p.Watching = append(p.Watching, watchingRow{accessPath(one.ID), cmp.Or(one.Name, one.ID), v.n("access.viewers", n)})
		}
	}
	k, err := v.api.ListStreamKeysWithResponse(v.ctx(), &client.ListStreamKeysParams{Limit: mostBadge})
	if err != nil {
		return err
	}
	p.Keys, p.MoreKeys = len(k.JSON200.Items), k.JSON200.Next != ""
	s, err := v.api.ListSessionsWithResponse(v.ctx())
	if err != nil {
		return err
	}
	p.Sessions = len(s.JSON200.Items)
	for _, one := range s.JSON200.Items {
		if at := v.at(one.UsedAt); at != nil && (p.Used == nil || at.ISO > p.Used.ISO) {
			p.Used = at
		}
	}
	return v.page("everyway", v.t("access.title"), p)
}

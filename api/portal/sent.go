package portal

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"latchkey/api/client"
)

// mostFound is how many people a page of a search has: each is read again.
const mostFound = 20

// sentPage is the data of the page of what one shares.
type sentPage struct {
	Form  form
	Query string
	Rows  []sentRow
	Next  string
	First bool
}

// sentRow is somebody with whom devices are shared.
type sentRow struct {
	Path, Name, Remark string
	What               string // they have
	States             []string
	Accepted           bool   // a device
	Used               *stamp // last, by them; nil: not yet
}

func sentPath(share string) string { return "/my-shares/" + url.PathEscape(share) }

func showSent(v *visit) error {
	query := v.r.URL.Query()
	p := sentPage{Form: newForm("query", query.Get("query")), Query: strings.TrimSpace(query.Get("query")), First: query.Get("cursor") == ""}
	shares, next, err := v.sentShares(p.Query, query.Get("cursor"))
	if err != nil {
		return err
	}
	if p.Rows, err = v.sentRows(shares); err != nil {
		return err
	}
	p.Next = next
	return v.page("sent", v.t("sent.title"), p)
}

// sentShares reads a page of shares, or of those that a search finds.
func (v *visit) sentShares(query, cursor string) ([]client.Share, string, error) {
	if query == "" {
		a, err := v.api.ListSentSharesWithResponse(v.ctx(), &client.ListSentSharesParams{Limit: mostRows, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return a.JSON200.Items, a.JSON200.Next, nil
	}
	a, err := v.api.ListRecipientsWithResponse(v.ctx(), &client.ListRecipientsParams{Query: query, Limit: mostFound, Cursor: cursor})
	if err != nil {
		return nil, "", err
	}
	var list []client.Share
	for _, entry := range a.JSON200.Items {
		if !entry.DeletedAt.IsZero() {
			continue
		}
		s, err := v.api.GetShareWithResponse(v.ctx(), entry.Share, nil)
		if client.HasCode(err, "share_not_found") { // deleted since
			continue
		}
		if err != nil {
			return nil, "", err
		}
		list = append(list, *s.JSON200)
	}
	return list, a.JSON200.Next, nil
}

// sentRows are the rows of shares, with when each was last used.
func (v *visit) sentRows(shares []client.Share) ([]sentRow, error) {
	var accepted []string
	rows := make([]sentRow, len(shares))
	for i, s := range shares {
		rows[i] = sentRow{Path: sentPath(s.ID), Name: v.recipientName(s.Recipient), Remark: s.Remark, What: v.whatTheyHave(s), States: v.statesOf(s), Accepted: has(s, client.Accepted)}
		if rows[i].Accepted {
			accepted = append(accepted, s.ID)
		}
	}
	if len(accepted) == 0 {
		return rows, nil
	}
	a, err := v.api.ListShareUsesWithResponse(v.ctx(), &client.ListShareUsesParams{Shares: accepted})
	if err != nil {
		return nil, err
	}
	for _, u := range a.JSON200.Items {
		i := slices.IndexFunc(shares, func(s client.Share) bool { return s.ID == u.Share })
		rows[i].Used = v.at(u.LastUse.At)
	}
	return rows, nil
}

// has reports whether a device of a share has a status.
func has(s client.Share, status client.ShareDeviceStatus) bool {
	return slices.ContainsFunc(s.Devices, func(d client.ShareDevice) bool { return d.Status == status })
}

// given are the devices that somebody has or is offered.
func given(s client.Share) []client.ShareDevice {
	return slices.DeleteFunc(slices.Clone(s.Devices), func(d client.ShareDevice) bool { return d.Status != "accepted" && d.Status != "invited" })
}

// whatTheyHave says in one line what somebody has.
func (v *visit) whatTheyHave(s client.Share) string {
	devices := given(s)
	if len(devices) == 0 {
		return v.t("sent.nothing")
	}
	var all []client.Privilege
	for _, d := range devices {
		all = append(all, allOf(d.Channels)...)
	}
	return v.n("sent.devices", len(devices)) + " · " + v.functions(all)
}

// statesOf says how a share stands.
func (v *visit) statesOf(s client.Share) []string {
	var states []string
	if s.Status == "paused" {
		states = append(states, v.t("sent.paused"))
	}
	for _, status := range []client.ShareDeviceStatus{"invited", "accepted", "rejected", "left"} {
		if has(s, status) {
			states = append(states, v.t("status."+string(status)))
		}
	}
	if until := s.Terms.Until; !until.IsZero() {
		states = append(states, v.t("sent.ends", "time", v.timeIn(until, v.zoneOf(s.Terms.Hours))))
	}
	return states
}

// ownShare reads a share of the caller's. Those that they receive have another page.
func (v *visit) ownShare() (client.Share, string, error) {
	a, err := v.api.GetShareWithResponse(v.ctx(), v.r.PathValue("share"), nil)
	if err != nil {
		return client.Share{}, "", err
	}
	me, err := v.account()
	if err != nil {
		return client.Share{}, "", err
	}
	if a.JSON200.Owner != me.ID {
		return client.Share{}, "", errNoPage
	}
	return *a.JSON200, a.HTTPResponse.Header.Get("ETag"), nil
}

// endPage is the data of the page that asks before a share is deleted.
type endPage struct {
	Form       form
	Path, Name string
	Devices    []string
	Watching   int
}

func (v *visit) ending(f form) (endPage, error) {
	s, _, err := v.ownShare()
	if err != nil {
		return endPage{}, err
	}
	p := endPage{Form: f, Path: sentPath(s.ID), Name: v.recipientName(s.Recipient)}
	for _, d := range given(s) {
		p.Devices = append(p.Devices, cmp.Or(d.Name, d.Device))
	}
	p.Watching = v.watching(s)
	return p, nil
}

// mostAsked is how many devices are asked who watches them, before a share is deleted.
const mostAsked = 20

// watching returns how many viewers a share has now, as far as that is known.
func (v *visit) watching(s client.Share) int {
	n := 0
	for i, d := range given(s) {
		if i == mostAsked {
			break
		}
		a, err := v.api.ListDeviceViewersWithResponse(v.ctx(), d.Device, &client.ListDeviceViewersParams{Limit: mostViewers})
		if err != nil {
			continue
		}
		for _, one := range a.JSON200.Items {
			if one.Share == s.ID {
				n++
			}
		}
	}
	return n
}

func askEnd(v *visit) error {
	p, err := v.ending(newForm())
	if err != nil {
		return err
	}
	return v.page("end", v.t("end.title"), p)
}

// end deletes a share.
func end(v *visit) error {
	p, err := v.ending(newForm())
	if err != nil {
		return err
	}
	if _, err := v.api.DeleteShareWithResponse(v.ctx(), v.r.PathValue("share"), &client.DeleteShareParams{IdempotencyKey: v.key()}); err != nil {
		return v.again("end", v.t("end.title"), &p.Form, p, err, nil)
	}
	v.say("ended", "person", p.Name)
	v.redirect("/my-shares")
	return nil
}

// pause pauses a share, or resumes it.
func pause(v *visit) error {
	s, _, err := v.ownShare()
	if err != nil {
		return err
	}
	switch v.r.PostForm.Get("do") {
	case "pause":
		_, err = v.api.PauseShareWithResponse(v.ctx(), s.ID, &client.PauseShareParams{IdempotencyKey: v.key()})
		v.say("paused", "person", v.recipientName(s.Recipient))
	case "resume":
		_, err = v.api.ResumeShareWithResponse(v.ctx(), s.ID, &client.ResumeShareParams{IdempotencyKey: v.key()})
		v.say("resumed", "person", v.recipientName(s.Recipient))
	default:
		return errNoPage
	}
	if err != nil {
		v.set(cookieSaid, "", 0)
		return err
	}
	v.redirect(sentPath(s.ID))
	return nil
}

package portal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/api/client"
)

const (
	formPages = 10  // of one's own devices that the form reads
	formRows  = 200 // devices on each
	mostSpans = 50  // of weekly hours
)

// editor is the data of the page on which a share is made or changed.
type editor struct {
	Form       form
	Path       string // of the share; "" for a new one
	Name       string // of the recipient
	States     []string
	Paused     bool
	ETag       string
	Unreadable bool
	Countries  []countryChoice
	History    []historyRow
	Presets    []client.Preset
	Cards      []deviceCard
	Others     []otherDevice // that may be added
	Gone       []string      // devices that were rejected or left, and are sent back as they are
	Privileges []client.Privilege
	Spans      []spanRow
	Days       []client.HoursSpansDays
	TermsWere  string
	TermsOpen  bool
	Theirs     *theirs // after a lost race
	Summary    []string
}

type historyRow struct{ Path, Name, Remark string }

// deviceCard is a device of the form, with a row for each channel.
type deviceCard struct {
	Device, Name, Model string
	Status, Firmware    string
	Remove              bool
	Channels            []channelRow
}

type channelRow struct {
	Channel int
	Name    string
	Had     bool // it was in the share
	Boxes   []box
	Cannot  string // the functions that it lacks
	Limits  []string
}

// box is a tick: a privilege of a channel.
type box struct {
	ID, Value string
	Privilege client.Privilege
	On        bool
}

type otherDevice struct{ Device, Name, Firmware string }

type spanRow struct {
	Number     int
	On         map[string]bool
	Start, End string
}

// theirs is a share as somebody else saved it meanwhile, in words.
type theirs struct {
	Remark  string
	When    []string
	Devices []theirDevice
}

type theirDevice struct{ Name, Functions string }

// ticks are the privileges that are ticked, by device and channel.
type ticks map[string]map[int][]client.Privilege

func (t ticks) put(device string, channel int, p ...client.Privilege) {
	if t[device] == nil {
		t[device] = map[int][]client.Privilege{}
	}
	t[device][channel] = append(t[device][channel], p...)
}

func ticksOf(grants []client.Grant, device string, t ticks) {
	for _, g := range grants {
		t.put(device, g.Channel, g.Privileges...)
	}
}

// offered reads the devices that may be shared: one's own, with what each channel can do.
func (v *visit) offered(needed []string) (map[string]client.OfferedDevice, []client.OfferedDevice, []client.Preset, error) {
	found := map[string]client.OfferedDevice{}
	var list []client.OfferedDevice
	var presets []client.Preset
	cursor := ""
	for range formPages {
		a, err := v.api.GetShareFormWithResponse(v.ctx(), &client.GetShareFormParams{Limit: formRows, Cursor: cursor})
		if err != nil {
			return nil, nil, nil, err
		}
		presets = a.JSON200.Presets
		for _, d := range a.JSON200.Items {
			found[d.Device] = d
			list = append(list, d)
		}
		if cursor = a.JSON200.Next; cursor == "" {
			break
		}
	}
	for _, device := range needed {
		if _, ok := found[device]; ok || cursor == "" {
			continue
		}
		a, err := v.api.GetShareFormWithResponse(v.ctx(), &client.GetShareFormParams{Device: device})
		if client.HasCode(err, "device_not_found") {
			continue
		}
		if err != nil {
			return nil, nil, nil, err
		}
		for _, d := range a.JSON200.Items {
			found[d.Device] = d
		}
	}
	return found, list, presets, nil
}

// fill puts cards, presets and what else can be chosen into an editor. order are the
// devices of the form, on what is ticked.
func (v *visit) fill(e *editor, s client.Share, order []string, on ticks, had map[string]map[int]bool, remove map[string]bool) error {
	found, list, presets, err := v.offered(order)
	if err != nil {
		return err
	}
	e.Presets, e.Privileges, e.Days = presets, privileges, days
	for _, device := range order {
		d, ok := found[device]
		if !ok {
			continue // it is not theirs any more
		}
		card := deviceCard{Device: device, Name: cmp.Or(d.Name, device), Model: d.Model, Firmware: d.NeedsFirmware, Remove: remove[device]}
		var shared client.ShareDevice
		for _, in := range s.Devices {
			if in.Device == device {
				shared, card.Status = in, v.t("status."+string(in.Status))
			}
		}
		for _, c := range d.Channels {
			card.Channels = append(card.Channels, v.channelRow(device, c, on[device][c.Channel], had[device][c.Channel], shared))
		}
		e.Cards = append(e.Cards, card)
	}
	for _, d := range list {
		if !slices.Contains(order, d.Device) {
			e.Others = append(e.Others, otherDevice{d.Device, cmp.Or(d.Name, d.Device), d.NeedsFirmware})
		}
	}
	for _, d := range s.Devices {
		if (d.Status == "rejected" || d.Status == "left") && !slices.Contains(order, d.Device) {
			e.Gone = append(e.Gone, d.Device)
		}
	}
	return nil
}

func (v *visit) channelRow(device string, c client.OfferedChannel, on []client.Privilege, had bool, shared client.ShareDevice) channelRow {
	row := channelRow{Channel: c.Channel, Name: cmp.Or(c.Name, v.t("camera.number", "number", c.Channel)), Had: had}
	var cannot []client.Privilege
	for _, p := range privileges {
		if !slices.Contains(c.Privileges, p) {
			cannot = append(cannot, p)
			continue
		}
		value := device + "/" + strconv.Itoa(c.Channel) + "/" + string(p)
		row.Boxes = append(row.Boxes, box{"grant-" + strings.ReplaceAll(value, "/", "-"), value, p, slices.Contains(on, p)})
	}
	if len(cannot) > 0 {
		row.Cannot = v.functions(cannot)
	}
	for _, g := range shared.Channels {
		if g.Channel == c.Channel {
			row.Limits = v.limits(g)
		}
	}
	return row
}

func showShare(v *visit) error {
	s, etag, err := v.ownShare()
	if err != nil {
		return err
	}
	e, err := v.editorOf(s, etag)
	if err != nil {
		return err
	}
	return v.page("share", v.t("share.title"), e)
}

// editorOf is the form of a share as it is.
func (v *visit) editorOf(s client.Share, etag string) (*editor, error) {
	e := v.newEditor(s, etag)
	on, had := ticks{}, map[string]map[int]bool{}
	var order []string
	for _, d := range given(s) {
		order = append(order, d.Device)
		ticksOf(d.Channels, d.Device, on)
		had[d.Device] = map[int]bool{}
		for _, g := range d.Channels {
			had[d.Device][g.Channel] = true
		}
	}
	if err := v.fill(e, s, order, on, had, nil); err != nil {
		return nil, err
	}
	e.Summary = v.summary(e, e.Name, s.Terms)
	return e, nil
}

func (v *visit) newEditor(s client.Share, etag string) *editor {
	e := &editor{
		Form: newForm("remark", s.Remark), Path: sentPath(s.ID), Name: v.recipientName(s.Recipient), States: v.statesOf(s),
		Paused: s.Status == "paused", ETag: etag, Unreadable: s.Unreadable,
	}
	v.termsInto(e, s.Terms)
	return e
}

// minutes is how browsers write an instant without a zone.
const minutes = "2006-01-02T15:04"

// termsInto puts terms into the fields of a form.
func (v *visit) termsInto(e *editor, t client.Terms) {
	zone := v.zoneOf(t.Hours)
	write := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.In(zone).Format(minutes)
	}
	values := e.Form.Values
	values["from"], values["until"], values["zone"] = write(t.From), write(t.Until), zone.String()
	if t.Playback.LastDays > 0 {
		values["last_days"] = strconv.Itoa(t.Playback.LastDays)
	}
	if t.Playback.SinceAcceptance {
		values["since_acceptance"] = "yes"
	}
	for _, s := range t.Hours.Spans {
		row := spanRow{Number: len(e.Spans), On: map[string]bool{}, Start: s.Start, End: strings.Replace(s.End, "24:00", "00:00", 1)} // as browsers write it
		for _, d := range s.Days {
			row.On[string(d)] = true
		}
		e.Spans = append(e.Spans, row)
	}
	e.TermsWere = termsText(e)
	e.TermsOpen = !isEmpty(t)
	v.emptySpan(e)
}

// emptySpan adds a row for one more span.
func (v *visit) emptySpan(e *editor) {
	if len(e.Spans) < mostSpans {
		e.Spans = append(e.Spans, spanRow{Number: len(e.Spans), On: map[string]bool{}})
	}
}

func isEmpty(t client.Terms) bool {
	return t.From.IsZero() && t.Until.IsZero() && len(t.Hours.Spans) == 0 && t.Playback == client.PlaybackLimit{}
}

// saveShare saves a share as a whole, or shows the form with a device or a preset more.
func saveShare(v *visit) error {
	s, _, err := v.ownShare()
	if err != nil {
		return err
	}
	e := v.newEditor(s, v.r.PostForm.Get("etag"))
	e.Form = v.typed(append([]string{"remark"}, termFields...)...)
	sent := v.posted(e)
	e.TermsWere = v.r.PostForm.Get("terms_were")
	body := map[string]any{"remark": strings.TrimSpace(e.Form.Get("remark")), "devices": sent.devicesOf()}
	if s.Unreadable {
		body["unreadable"] = true
	}
	changed := termsText(e) != e.TermsWere
	terms, ok := v.terms(e)
	e.TermsOpen = changed || !isEmpty(s.Terms) || !ok
	if changed {
		body["terms"] = terms
	}
	if done, err := v.without(e, s, &sent); done || err != nil {
		return err
	}
	if !ok && changed {
		return v.editAgain(e, s, sent, statusWrong)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = v.api.ReplaceShareWithBodyWithResponse(v.ctx(), s.ID, &client.ReplaceShareParams{IdempotencyKey: v.key(), IfMatch: e.ETag}, "application/json", bytes.NewReader(raw))
	if err != nil {
		return v.notSaved(e, s, sent, err)
	}
	v.say("saved")
	v.redirect(sentPath(s.ID))
	return nil
}

// notSaved shows the form again with what was wrong; after a lost race, with what somebody
// else saved beside it, and with its revision.
func (v *visit) notSaved(e *editor, s client.Share, sent sentForm, err error) error {
	status := v.refused(&e.Form, err, nil)
	if status == 0 {
		return err
	}
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.Code == "revision_changed" {
		e.ETag, s = refused.Etag, refused.Current
		e.Theirs = &theirs{Remark: s.Remark, When: v.when(s.Terms)}
		for _, d := range given(s) {
			e.Theirs.Devices = append(e.Theirs.Devices, theirDevice{cmp.Or(d.Name, d.Device), v.functions(allOf(d.Channels))})
		}
	}
	return v.editAgain(e, s, sent, status)
}

func (v *visit) editAgain(e *editor, s client.Share, sent sentForm, status int) error {
	v.emptySpan(e)
	if e.Path == "" {
		v.peopleInto(e)
	}
	if err := v.fill(e, s, sent.order, sent.on, sent.had, sent.remove); err != nil {
		return err
	}
	if e.Path != "" {
		e.Gone = sent.gone
	}
	if err := v.summaryInto(e); err != nil {
		return err
	}
	title := v.t("share.title")
	if e.Path == "" {
		title = v.t("share.new")
	}
	return v.render(status, "share", title, e)
}

// peopleInto puts countries, and those with whom one has shared before, into the form of a
// new share. Without the history the form works as well.
func (v *visit) peopleInto(e *editor) {
	e.Countries = v.countries()
	a, err := v.api.ListShareHistoryWithResponse(v.ctx(), &client.ListShareHistoryParams{Limit: mostRows})
	if err != nil {
		return
	}
	for _, h := range a.JSON200.Items {
		e.History = append(e.History, historyRow{"/my-shares/new?from=" + url.QueryEscape(h.ID), v.recipientName(h.Recipient), h.Remark})
	}
}

func showNewShare(v *visit) error {
	e := &editor{Form: newForm("kind", "email", "country", v.usualCountry())}
	v.termsInto(e, client.Terms{})
	v.peopleInto(e)
	on := ticks{}
	var order []string
	query := v.r.URL.Query()
	e.Form.Values["email"] = query.Get("email")
	if phone := query.Get("phone"); phone != "" {
		e.Form.Values["kind"], e.Form.Values["phone"] = "phone", phone
	}
	if id := query.Get("from"); id != "" {
		entry, err := v.historyEntry(id)
		if err != nil {
			return err
		}
		e.Form.Values["remark"] = entry.Remark
		if entry.Recipient.Phone != "" {
			e.Form.Values["kind"], e.Form.Values["phone"] = "phone", entry.Recipient.Phone
		}
		e.Form.Values["email"] = entry.Recipient.Email
		for _, d := range entry.Devices {
			order = append(order, d.Device)
			ticksOf(d.Channels, d.Device, on)
		}
	}
	sent := sentForm{order: order, on: on}
	if device := query.Get("device"); device != "" && !slices.Contains(order, device) {
		if err := v.addDevice(device, &sent); err != nil {
			return err
		}
	}
	if err := v.fill(e, client.Share{}, sent.order, on, nil, nil); err != nil {
		return err
	}
	e.Summary = v.summary(e, e.Form.Get("email")+e.Form.Get("phone"), client.Terms{})
	return v.page("share", v.t("share.new"), e)
}

// historyEntry finds somebody of the history by the id of the entry.
func (v *visit) historyEntry(id string) (client.HistoryEntry, error) {
	cursor := ""
	for range formPages {
		a, err := v.api.ListShareHistoryWithResponse(v.ctx(), &client.ListShareHistoryParams{Limit: 200, Cursor: cursor})
		if err != nil {
			return client.HistoryEntry{}, err
		}
		for _, h := range a.JSON200.Items {
			if h.ID == id {
				return h, nil
			}
		}
		if cursor = a.JSON200.Next; cursor == "" {
			break
		}
	}
	return client.HistoryEntry{}, errNoPage
}

// createShare shares devices with somebody.
func createShare(v *visit) error {
	e := &editor{Form: v.typed(append([]string{"remark", "kind", "email", "country", "phone"}, termFields...)...)}
	sent := v.posted(e)
	e.TermsWere = v.r.PostForm.Get("terms_were")
	changed := termsText(e) != e.TermsWere
	e.TermsOpen = changed
	terms, ok := v.terms(e)
	if done, err := v.without(e, client.Share{}, &sent); done || err != nil {
		return err
	}
	if v.r.PostForm.Get("do") == "code" && ok {
		return makeCode(v, e, sent, changed, terms)
	}
	email, phone := v.address()
	if email == "" && phone == "" {
		e.Form.Wrong[addressField(&e.Form)] = v.t("reason.It is required.")
	}
	if len(sent.order) == 0 {
		e.Form.Fault = v.t("share.no_device")
	}
	if len(e.Form.Wrong) > 0 || e.Form.Fault != "" || !ok {
		return v.editAgain(e, client.Share{}, sent, statusWrong)
	}
	recipient := map[string]any{"email": email}
	if phone != "" {
		recipient = map[string]any{"phone": phone}
	}
	body := map[string]any{"recipient": recipient, "remark": strings.TrimSpace(e.Form.Get("remark")), "devices": sent.devicesOf()}
	if changed {
		body["terms"] = terms
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	a, err := v.api.CreateShareWithBodyWithResponse(v.ctx(), &client.CreateShareParams{IdempotencyKey: v.key()}, "application/json", bytes.NewReader(raw))
	if err != nil {
		return v.notSaved(e, client.Share{}, sent, err)
	}
	made := a.JSON201
	if made == nil {
		made = a.JSON200
	}
	v.say("shared", "person", v.recipientName(made.Recipient))
	v.redirect(sentPath(made.ID))
	return nil
}

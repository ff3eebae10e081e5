package api

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/domain/privilege"
)

// read is the share as its owner reads it.
func (v *village) read() rest.Share {
	v.t.Helper()
	var s rest.Share
	v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200).decode(v.t, &s)
	return s
}

// may are the privileges on the first channel of a device of the share.
func (v *village) may(device string) []string {
	v.t.Helper()
	for _, d := range v.read().Devices {
		if d.Device == device && len(d.Channels) > 0 {
			return d.Channels[0].Privileges.Names()
		}
	}
	return nil
}

// send posts a form of the page with these values changed: nil removes one.
func (p webPage) send(action string, change map[string][]string) webPage {
	p.b.w.t.Helper()
	values := p.form(action)
	for name, list := range change {
		values[name] = list
	}
	return p.b.open("POST", action, values)
}

func TestPortalSentShares(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	b.get("/my-shares").want(200, "/my-shares", "bob@example.com", "The neighbour", "1 device · Live View, Playback", "Invited")
	v.accept()
	b.get("/my-shares").want(200, "/my-shares", "Accepted")
	b.get("/my-shares?query=NEIGH").want(200, "/my-shares?query=NEIGH", "bob@example.com")
	b.get("/my-shares?query=zzz").want(200, "/my-shares?query=zzz", "You share with nobody like that.")
	v.as(v.recipient).get("/my-shares").want(200, "/my-shares", "You do not share anything yet.")
	b.get("/my-shares?cursor=nonsense").want(400, "/my-shares?cursor=nonsense", "Start again at the first page.")
}

func TestPortalShareIsSaved(t *testing.T) {
	v := portalVillage(t)
	v.accept()
	path := "/my-shares/" + v.id
	b := v.as(v.owner)
	p := b.get(path).want(200, path, "bob@example.com", "Front door", "Accepted", "Live View", "Not before")
	if got := p.form(path); !slices.Equal(got["grant"], []string{v.device + "/1/live_view", v.device + "/1/playback"}) || got.Get("remark") != "The neighbour" {
		t.Errorf("the form has %v", got)
	}
	p.send(path, nil).want(200, path, "Saved.")
	if s := v.read(); len(s.Devices) != 1 || s.Remark != "The neighbour" || !slices.Equal(v.may(v.device), []string{"live_view", "playback"}) {
		t.Errorf("saving what is there changed it: %+v", s)
	}
	p = b.get(path).send(path, map[string][]string{"grant": {v.device + "/1/ptz"}, "remark": {"Bob <b>"}}).want(200, path, "Saved.").lacks("<b>")
	if got := v.may(v.device); !slices.Equal(got, []string{"ptz"}) || v.read().Remark != "Bob <b>" {
		t.Errorf("saved %v, %s", got, v.read().Remark)
	}
	// A device more, which is not saved before Save is pressed.
	p = p.send(path, map[string][]string{"do": {"add"}, "add": {v.spare}}).want(200, path, "Garden")
	if len(v.read().Devices) != 1 {
		t.Error("adding a device to the form has saved it")
	}
	p = p.send(path, nil).want(200, path, "Saved.")
	if got := v.may(v.spare); !slices.Equal(got, []string{"live_view"}) {
		t.Errorf("the device that was added has %v", got)
	}
	// A preset only fills the ticks.
	p = p.send(path, map[string][]string{"do": {"preset:family"}}).want(200, path)
	if got := p.form(path)["grant"]; len(got) != 10 {
		t.Errorf("the preset ticks %v", got)
	}
	// All ticks gone: it stays, and nothing may be done with it. One that is not shared any more goes.
	p = p.send(path, map[string][]string{"grant": nil, "remove": {v.spare}}).want(200, path, "Saved.")
	s := v.read()
	if i := slices.IndexFunc(s.Devices, func(d rest.ShareDevice) bool { return d.Device == v.device }); i < 0 || len(s.Devices[i].Channels) != 1 || len(v.may(v.device)) != 0 {
		t.Errorf("without ticks: %+v", s.Devices)
	}
	if slices.ContainsFunc(s.Devices, func(d rest.ShareDevice) bool { return d.Device == v.spare && d.Status != rest.Removed }) {
		t.Errorf("it is still shared: %+v", s.Devices)
	}
	p.send(path, map[string][]string{"csrf": {"x"}}).want(403, path)
}

func TestPortalShareTerms(t *testing.T) {
	v := portalVillage(t)
	path := "/my-shares/" + v.id
	b := v.as(v.owner)
	b.cookies["latchkey-zone"] = "Europe%2FBerlin"
	p := b.get(path).send(path, map[string][]string{
		"until": {"2099-07-02T00:30"}, "last_days": {"7"}, "span0-day": {"mon", "sat"}, "span0-start": {"18:00"}, "span0-end": {"00:00"},
	}).want(200, path, "Saved.", "Ends 2 Jul 2099, 00:30 (Europe/Berlin)")
	terms := v.read().Terms
	if terms.Until.Format("2006-01-02T15:04:05Z07:00") != "2099-07-01T22:30:00Z" || terms.Playback.LastDays != 7 || terms.Hours.Zone != "Europe/Berlin" || len(terms.Hours.Spans) != 1 || terms.Hours.Spans[0].End.String() != "24:00" {
		t.Fatalf("terms: %+v", terms)
	}
	got := p.form(path)
	if got.Get("until") != "2099-07-02T00:30" || got.Get("span0-end") != "00:00" || got.Get("zone") != "Europe/Berlin" {
		t.Errorf("the form has %v", got)
	}
	revision := v.do("GET", v.path(), v.owner.token, nil).Header.Get("ETag")
	p = p.send(path, nil).want(200, path, "Saved.")
	if now := v.do("GET", v.path(), v.owner.token, nil).Header.Get("ETag"); now != revision {
		t.Errorf("saving the same changed %s to %s", revision, now)
	}
	for name, change := range map[string]map[string][]string{
		"There is no such time zone.":                                {"zone": {"../etc/passwd"}},
		"This is not a date and time.":                               {"until": {"tomorrow"}},
		"A number of days, from 1 to 3650.":                          {"last_days": {"many"}},
		"Each span needs at least one day, a start and another end.": {"span0-start": {""}},
		"It must be in the future.":                                  {"until": {"2001-01-01T00:00"}},
	} {
		wrong := p.send(path, change).want(422, path, name)
		for field, want := range change {
			if got := wrong.form(path).Get(field); got != want[0] && field != "span0-start" {
				t.Errorf("%s: what was typed is gone: %q", field, got)
			}
		}
	}
	p.send(path, map[string][]string{"until": {""}, "last_days": {""}, "span0-day": nil, "span0-start": {""}, "span0-end": {""}}).want(200, path, "Saved.").lacks("Ends")
	if got := v.read().Terms; !got.Until.IsZero() || len(got.Hours.Spans) != 0 || got.Playback.LastDays != 0 {
		t.Errorf("the terms are still %+v", got)
	}
}

// TestPortalLostRace: whoever saves second sees what the first saved beside what they
// entered, and nothing is overwritten before they say so.
func TestPortalLostRace(t *testing.T) {
	v := portalVillage(t)
	path := "/my-shares/" + v.id
	first, second := v.as(v.owner).get(path), v.as(v.owner).get(path)
	first.send(path, map[string][]string{"remark": {"The first"}, "grant": {v.device + "/1/ptz"}}).want(200, path, "Saved.")
	lost := second.send(path, map[string][]string{"remark": {"The second"}, "grant": {v.device + "/1/alarm"}})
	lost.want(412, path, "Somebody changed this in the meantime.", "As it was saved meanwhile", "The first", "PTZ")
	if got := lost.form(path); got.Get("remark") != "The second" || !slices.Equal(got["grant"], []string{v.device + "/1/alarm"}) {
		t.Errorf("what was entered is gone: %v", got)
	}
	if got := v.may(v.device); !slices.Equal(got, []string{"ptz"}) {
		t.Errorf("overwritten with %v", got)
	}
	lost.send(path, nil).want(200, path, "Saved.")
	if got := v.may(v.device); !slices.Equal(got, []string{"alarm"}) || v.read().Remark != "The second" {
		t.Errorf("saved %v, %s", got, v.read().Remark)
	}
}

func TestPortalNewShare(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	p := b.get("/my-shares/new").want(200, "/my-shares/new", "Add a device")
	p.send("/my-shares/new", map[string][]string{"email": {"rita@example.com"}}).want(422, "/my-shares/new", "Add at least one device.")
	p = p.send("/my-shares/new", map[string][]string{"do": {"add"}, "add": {v.spare}, "email": {"rita@example.com"}}).want(200, "/my-shares/new", "Garden")
	if got := p.form("/my-shares/new"); got.Get("email") != "rita@example.com" || !slices.Equal(got["grant"], []string{v.spare + "/1/live_view"}) {
		t.Errorf("the form has %v", got)
	}
	p.send("/my-shares/new", map[string][]string{"email": {""}}).want(422, "/my-shares/new", "It is required.")
	p.send("/my-shares/new", map[string][]string{"email": {v.owner.email}}).want(422, "/my-shares/new", "You cannot share with your own address.")
	p.send("/my-shares/new", map[string][]string{"kind": {"phone"}, "phone": {"12"}, "country": {"DE"}}).want(422, "/my-shares/new", "This is not a number with its country code")
	installer := p.send("/my-shares/new", map[string][]string{"do": {"preset:installer"}}).want(200, "/my-shares/new")
	if got := installer.form("/my-shares/new"); got.Get("until") != "2026-02-01T12:00" || len(got["grant"]) != 3 {
		t.Errorf("the preset fills %v", got)
	}
	values := p.form("/my-shares/new")
	values.Set("remark", "My aunt")
	made := b.open("POST", "/my-shares/new", values)
	made.want(200, made.path, "Shared with rita@example.com.", "Garden", "Invited")
	if !strings.HasPrefix(made.path, "/my-shares/") || len(v.shares(v.owner, "sent")) != 2 {
		t.Errorf("%s, %d shares", made.path, len(v.shares(v.owner, "sent")))
	}
	// Sent twice, it takes effect once.
	b.open("POST", "/my-shares/new", values).want(200, made.path)
	if n := len(v.shares(v.owner, "sent")); n != 2 {
		t.Errorf("%d shares", n)
	}

	ask := b.get(made.path+"/delete").want(200, made.path+"/delete", "rita@example.com can no longer use any of these devices.", "Garden")
	ask.submit(made.path+"/delete", "csrf", "x").want(403, made.path+"/delete")
	ask.submit(made.path+"/delete").want(200, "/my-shares", "You no longer share with rita@example.com.")
	p = b.get("/my-shares/new").want(200, "/my-shares/new", "Somebody you shared with before", "rita@example.com", "My aunt")
	var from string
	for _, a := range p.all(elements("a")) {
		if strings.HasPrefix(attrValue(a, "href"), "/my-shares/new?from=") {
			from = attrValue(a, "href")
		}
	}
	if strings.Contains(from, "rita") {
		t.Errorf("the address is in %s", from)
	}
	p = b.get(from).want(200, from, "Garden")
	if got := p.form("/my-shares/new"); got.Get("email") != "rita@example.com" || got.Get("remark") != "My aunt" || len(got["grant"]) != 1 {
		t.Errorf("the history fills %v", got)
	}
	v.as(v.stranger).get(from).want(404, from)
	b.get("/my-shares/new?device="+v.device).want(200, "/my-shares/new?device="+v.device, "Front door")
}

func TestPortalPause(t *testing.T) {
	v := portalVillage(t)
	path := "/my-shares/" + v.id
	b := v.as(v.owner)
	p := b.get(path)
	p.submit(path+"/pause", "do", "pause", "csrf", "x").want(403, path+"/pause")
	p = p.submit(path+"/pause", "do", "pause").want(200, path, "Paused. bob@example.com sees nothing")
	if v.read().Status != "paused" {
		t.Error("it is not paused")
	}
	p.submit(path+"/pause", "do", "resume").want(200, path, "Resumed for bob@example.com.")
	if v.read().Status != "live" {
		t.Error("it is not resumed")
	}
}

// TestPortalOnlyTheOwnerSeesAShare: nobody else finds its pages or moves anything.
func TestPortalOnlyTheOwnerSeesAShare(t *testing.T) {
	v := portalVillage(t)
	v.accept()
	path := "/my-shares/" + v.id
	form := v.as(v.owner).get(path).form(path)
	for _, who := range []person{v.recipient, v.stranger} {
		b := v.as(who)
		form.Set("csrf", b.get("/account").form("/account").Get("csrf"))
		form.Set("grant", v.device+"/1/ptz")
		form.Set("do", "save")
		b.get(path).want(404, path)
		b.get(path+"/delete").want(404, path+"/delete")
		b.open("POST", path, form).want(404, path)
		b.open("POST", path+"/delete", form).want(404, path+"/delete")
		form.Set("do", "pause")
		b.open("POST", path+"/pause", form).want(404, path+"/pause")
		// A device of somebody else is not offered, and cannot be put into a share.
		form.Set("do", "save")
		form.Set("email", "x@example.com")
		b.open("POST", "/my-shares/new", form).want(404, "/my-shares/new")
		b.get("/my-shares/new?device="+v.device).want(404, "/my-shares/new?device="+v.device)
	}
	if got := v.may(v.device); !slices.Equal(got, []string{"live_view", "playback"}) || v.read().Status != "live" {
		t.Errorf("%v, %s", got, v.read().Status)
	}
}

// TestPortalCannot: what a channel cannot do is not offered, and is not taken either.
func TestPortalCannot(t *testing.T) {
	v := portalVillage(t)
	var d rest.Device
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, map[string]any{
		"name": "Hall", "username": "u", "password": "p",
		"channels": []any{map[string]any{"channel": 1, "rtsp_url": "rtsp://192.0.2.10/1", "capabilities": []string{"live_view"}}},
	}), 201).decode(t, &d)
	b := v.as(v.owner)
	p := b.get("/my-shares/new?device="+d.ID).want(200, "/my-shares/new?device="+d.ID, "This camera does not offer: Playback, Two-way Audio, PTZ, Alarm.")
	if strings.Contains(p.body, d.ID+"/1/ptz") {
		t.Error("it is offered")
	}
	p.send("/my-shares/new", map[string][]string{"email": {"rita@example.com"}, "grant": {d.ID + "/1/ptz"}}).want(422, "/my-shares/new", "The camera cannot do this.")
}

func TestPortalSentWorstStrings(t *testing.T) {
	v := portalVillage(t)
	for _, name := range []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "שלום עולם", "{person} {n}", strings.Repeat("W", 120)} {
		device := v.camera(v.owner, name)
		v.wantStatus(v.do("PUT", v.path(), v.owner.token, map[string]any{"remark": name, "devices": []any{grant(device, "live_view")}}), 200)
		for _, tag := range []string{"en", "de", "en-XA"} {
			b := v.as(v.owner)
			b.cookies["latchkey-language"] = tag
			for _, path := range []string{"/my-shares", "/my-shares/" + v.id, "/my-shares/" + v.id + "/delete", "/my-shares/new?device=" + device} {
				if p := b.get(path); p.status != 200 || !strings.Contains(p.main(), name) {
					t.Errorf("%s: %d, without %q: %s", path, p.status, name, p.main())
				}
			}
		}
	}
}

// usesSeen are the uses of a test, and how often it was asked for them.
type usesSeen struct {
	index
	list  []LastUse
	asked int
}

func (u *usesSeen) LastUsesBy(_ context.Context, devices, accounts []string) (list []LastUse, err error) {
	u.asked++
	for _, one := range u.list {
		if slices.Contains(devices, one.Device) && slices.Contains(accounts, one.Account) {
			list = append(list, one)
		}
	}
	return list, nil
}

// TestPortalSharesSayWhenTheyWereUsed: each row of what one shares has its last use, and a
// page asks for all of them once.
func TestPortalSharesSayWhenTheyWereUsed(t *testing.T) {
	uses := &usesSeen{}
	v := portalVillage(t, func(c *Config) { uses.index, c.Uses = c.Uses.(index), uses })
	b := v.as(v.owner)
	b.get("/my-shares").want(200, "/my-shares", "Invited").lacks("Not used yet")
	if uses.asked != 0 {
		t.Error("asked for the uses of shares that nobody has accepted")
	}
	v.accept()
	var second struct{ ID string }
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{
		"recipient": map[string]any{"email": v.stranger.email},
		"devices":   []any{map[string]any{"device": v.device, "channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}},
	}), 201).decode(t, &second)
	v.wantStatus(v.do("POST", "/api/v1/shares/"+second.ID+"/devices/"+v.device+"/accept", v.stranger.token, nil), 200)
	for _, path := range []string{"/my-shares", "/my-shares/access", "/my-shares?query=bob"} {
		b.get(path).want(200, path, "Not used yet").lacks("Last used 31 Jan 2026, 13:00")
	}
	at := v.clock.Now().Add(time.Hour)
	uses.list = []LastUse{{Device: v.device, Account: v.recipient.id, Channel: 1, Privileges: privilege.LiveView, At: v.clock.Now().Add(-48 * time.Hour)}}
	b.get("/my-shares").want(200, "/my-shares", "Not used yet").lacks("Last used") // of a share before this one
	uses.list = []LastUse{
		{Device: v.device, Account: v.recipient.id, Channel: 1, Privileges: privilege.LiveView, At: at},
		{Device: v.spare, Account: v.stranger.id, Channel: 1, Privileges: privilege.LiveView, At: at}, // not in their share
	}
	for _, path := range []string{"/my-shares", "/my-shares/access"} {
		uses.asked = 0
		b.get(path).want(200, path, "Last used 31 Jan 2026, 13:00", "Not used yet")
		if uses.asked != 1 {
			t.Errorf("%s asked %d times for the uses", path, uses.asked)
		}
	}
	b.get("/my-shares?query=bob").want(200, "/my-shares?query=bob", "Last used 31 Jan 2026, 13:00").lacks("Not used yet")

	list := func(who person) (items []rest.ShareUse) {
		var a rest.ShareUses
		v.wantStatus(v.do("GET", "/api/v1/shares/uses?shares="+v.id+","+second.ID+","+v.id, who.token, nil), 200).decode(t, &a)
		return a.Items
	}
	if got := list(v.owner); len(got) != 1 || got[0].Share != v.id || got[0].Device != v.device || !got[0].LastUse.At.Equal(at) {
		t.Errorf("the uses: %+v", got)
	}
	for _, who := range []person{v.recipient, v.stranger} { // it is not theirs to know
		if got := list(who); len(got) != 0 {
			t.Errorf("others read %+v", got)
		}
	}
	v.wantProblem(v.do("GET", "/api/v1/shares/uses", v.owner.token, nil), 400, "invalid_parameter")
}

// TestPortalEndOfAShareIsToldInItsZone: each page tells it by the clocks by which it is
// edited, wherever the browser is, and names them.
func TestPortalEndOfAShareIsToldInItsZone(t *testing.T) {
	v := portalVillage(t)
	v.accept()
	path := "/my-shares/" + v.id
	b := v.as(v.owner)
	b.cookies["latchkey-zone"] = "Europe%2FBerlin"
	b.get(path).send(path, map[string][]string{"until": {"2099-07-02T00:30"}, "span0-day": {"mon"}, "span0-start": {"18:00"}, "span0-end": {"20:00"}}).want(200, path, "Saved.")
	far, theirs := v.as(v.owner), v.as(v.recipient)
	far.cookies["latchkey-zone"], theirs.cookies["latchkey-zone"] = "Asia%2FTokyo", "America%2FLima"
	const end = "2 Jul 2099, 00:30 (Europe/Berlin)"
	for _, p := range []string{"/my-shares", "/my-shares/access"} {
		far.get(p).want(200, p, "Ends "+end)
	}
	far.get(path).want(200, path, "Ends "+end, "Until "+end)
	of := "/devices/" + v.device + "/access"
	far.get(of).want(200, of, "Until "+end)
	got := "/shared-with-me/" + v.id + "/" + v.device
	theirs.get(got).want(200, got, "Until "+end)

	// Without weekly hours nothing says which zone it was: it is the browser's, for both.
	far.get(path).send(path, map[string][]string{"zone": {"Asia/Tokyo"}, "until": {"2099-07-02T00:30"}, "span0-day": nil, "span0-start": {""}, "span0-end": {""}}).
		want(200, path, "Saved.", "Ends 2 Jul 2099, 00:30 (Asia/Tokyo)")
	theirs.get(got).want(200, got, "Until 1 Jul 2099, 10:30 (America/Lima)")
}

// TestPortalKeepsLimits: limits of single privileges have no fields in the form. What is
// saved keeps them, and the form says how they are removed.
func TestPortalKeepsLimits(t *testing.T) {
	v := portalVillage(t)
	v.accept()
	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, map[string]any{
		"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view", "playback"}, "limits": []any{
			map[string]any{"privileges": []string{"playback"}, "until": "2099-07-01T22:30:00Z"},
		}}},
	}))
	limits := func() int { return len(v.read().Devices[0].Channels[0].Limits) }
	path := "/my-shares/" + v.id
	p := v.as(v.owner).get(path).want(200, path, "Playback: Until 1 Jul 2099, 22:30 UTC", "This stays when you save.")
	p = p.send(path, map[string][]string{"grant": {v.device + "/1/ptz", v.device + "/1/playback"}, "remark": {"New"}}).want(200, path, "Saved.", "Playback: Until 1 Jul 2099, 22:30 UTC")
	if got := v.may(v.device); limits() != 1 || !slices.Equal(got, []string{"playback", "ptz"}) {
		t.Errorf("saving left %d limits of %v", limits(), got)
	}
	p = p.send(path, map[string][]string{"grant": {v.device + "/1/ptz"}}).want(200, path, "Saved.")
	p.send(path, map[string][]string{"grant": {v.device + "/1/ptz", v.device + "/1/playback"}}).want(200, path, "Saved.").lacks("Until 1 Jul", "This stays when you save.")
	if limits() != 0 {
		t.Errorf("%d limits are left after the tick was taken away", limits())
	}
}

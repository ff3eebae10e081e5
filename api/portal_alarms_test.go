package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/internal/alarms"
	"latchkey/internal/vault"
)

// alarmAt raises an alarm of a device for accounts.
func (v *village) alarmAt(t testing.TB, id, device string, channel int, at time.Time, to ...person) {
	t.Helper()
	n := vault.RaisedAlarm{Alarm: alarms.Alarm{ID: id, Device: device, Channel: channel, By: max(channel, 1), Kind: "motion", Raised: at}}
	for _, p := range to {
		n.Accounts = append(n.Accounts, p.id)
	}
	if _, _, err := v.alarms.RaiseAlarm(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func TestPortalAlarms(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	b.get("/alarms").want(200, "/alarms", "There has been no alarm yet.").lacks(`class="badge"`, "Mark all as seen")
	at := time.Date(2026, 3, 29, 14, 5, 6, 0, time.UTC)
	v.alarmAt(t, "first", v.device, 1, at, v.owner, v.recipient)
	v.alarmAt(t, "second", v.spare, 0, at.Add(time.Hour), v.owner)
	v.alarmAt(t, "third", v.device, 1, at.Add(time.Hour+time.Minute), v.owner)

	p := b.get("/alarms").want(200, "/alarms", "Motion", "Front door", "Garden", "29 Mar 2026, 15:00 UTC", "29 Mar 2026, 14:00 UTC", "14:05:06", "Mark all as seen")
	if main := p.main(); strings.Index(main, "15:06:06") > strings.Index(main, "14:05:06") {
		t.Error("the newest is not the first")
	}
	if !strings.Contains(p.body, `<span class="badge">3`) {
		t.Error("the bar does not say that three are new")
	}
	if link := "/playback/" + v.device + "/1?at=2026-03-29T14%3A05%3A06Z"; !strings.Contains(p.body, `href="`+link+`"`) {
		t.Errorf("no link to %s", link)
	}
	p = p.submit("/alarms", "do", "seen", "alarm", "first").want(200, "/alarms", "Mark as not seen")
	if !strings.Contains(p.body, `<span class="badge">2`) {
		t.Error("one was seen, and the badge stays")
	}
	b.get("/alarms?unseen=yes").want(200, "/alarms?unseen=yes", "15:06:06").lacks("14:05:06")
	p.submit("/alarms", "do", "unseen", "alarm", "first").want(200, "/alarms").lacks("Mark as not seen")

	b.get("/alarms?camera="+v.spare).want(200, "/alarms?camera="+v.spare, "Garden").lacks("14:05:06", "15:06:06")
	b.get("/alarms?day=2026-03-28").want(200, "/alarms?day=2026-03-28", "There is no such alarm.")
	b.get("/alarms?day=2026-03-29").want(200, "/alarms?day=2026-03-29", "14:05:06").lacks("Mark all as seen")
	b.get("/alarms?day=soon").want(200, "/alarms?day=soon", "This is not a date and time.")
	berlin := v.as(v.owner)
	berlin.cookies["latchkey-zone"] = "Asia/Kolkata" // half an hour off
	berlin.get("/alarms").want(200, "/alarms", "29 Mar 2026, 19:00", "19:35:06")

	one := b.get("/alarms/first").want(200, "/alarms/first", "Motion", "Front door", "29 Mar 2026, 14:05 UTC", "Not yet")
	one.submit("/alarms", "do", "seen").want(200, "/alarms/first", "Mark as not seen")
	one.submit("/alarms", "do", "nothing").want(404, "/alarms")

	p = b.get("/alarms")
	v.alarmAt(t, "later", v.device, 1, at.Add(3*time.Hour), v.owner) // after the page was read
	p = p.submit("/alarms", "do", "all").want(200, "/alarms", "Marked as seen: 2.")
	if !strings.Contains(p.body, `<span class="badge">1`) {
		t.Error("what came later is taken as seen")
	}

	rita := v.as(v.recipient)
	rita.get("/alarms").want(200, "/alarms", "Motion").lacks("Garden", "second", "/playback/") // not accepted yet
	rita.get("/alarms/second").want(404, "/alarms/second")
	rita.get("/alarms").submit("/alarms", "do", "seen", "alarm", "third").want(404, "/alarms")
	v.alarms.permit(t, v.recipient.id, 1, false)
	rita.get("/alarms").want(200, "/alarms", "There has been no alarm yet.")
}

func TestPortalAlarmsHavePages(t *testing.T) {
	v := portalVillage(t)
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	for i := range 120 {
		v.alarmAt(t, fmt.Sprint("a", i), v.device, 1, at.Add(time.Duration(i)*time.Minute), v.owner)
	}
	b := v.as(v.owner)
	p := b.get("/alarms?camera=" + v.device)
	if !strings.Contains(p.body, `<span class="badge">99&#43;`) {
		t.Error("the badge does not say that there are more than 99")
	}
	seen := 0
	for range 5 {
		seen += strings.Count(p.body, `name="do" value="seen"`)
		next := p.all(func(n *html.Node) bool { return attrValue(n, "rel") == "next" })
		if len(next) == 0 {
			break
		}
		p = b.get(attrValue(next[0], "href")).want(200, attrValue(next[0], "href"), "First page")
	}
	if seen != 120 {
		t.Errorf("the pages have %d alarms, want 120", seen)
	}
}

func TestPortalAddressForAlarms(t *testing.T) {
	v := portalVillage(t)
	b, path := v.as(v.owner), "/devices/"+v.device+"/alarms"
	p := b.get(path).want(200, path, "This device has no address for alarms.").submit(path, "do", "make").want(200, path, "This is the only time that the address is shown.")
	address := textOf(p.all(elements("code"))[0])
	if !strings.HasPrefix(address, "http://example.com/api/v1/alarm-receivers/") {
		t.Errorf("the address is %s", address)
	}
	p = b.get(path).want(200, path, "Never").lacks(address)
	ask := p.submit(path, "do", "make").want(200, path, "Are you sure?", "can no longer post alarms to its present address")
	if got := v.alarms.receiver[v.device][1]; !strings.HasSuffix(address, got) {
		t.Error("the address ended before anybody was sure")
	}
	ask.submit(path).want(200, path, "This is the only time").lacks(address)
	b.get(path).submit(path, "do", "remove").submit(path).want(200, path, "The address is removed.", "This device has no address for alarms.")
	for _, other := range []person{v.recipient, v.stranger} {
		v.as(other).get(path).want(404, path)
	}
}

func TestPortalBrowsersThatAreNotified(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	page := b.get("/alarms").want(200, "/alarms", "Notify this browser of alarms")
	csrf := attrValue(page.all(elements("html"))[0], "data-csrf")
	const body = `{"endpoint":"https://push.example.com/x","expirationTime":null,"keys":{"p256dh":"k","auth":"a"}}`
	if a := b.relay(http.MethodPost, "/do/accounts/me/push-subscriptions", body); a.Code != http.StatusForbidden {
		t.Errorf("without the page's token: %d", a.Code)
	}
	if a := b.relay(http.MethodPost, "/do/accounts/me/push-subscriptions", body, "Latchkey-CSRF", csrf); a.Code != http.StatusCreated {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	p := b.get("/alarms").want(200, "/alarms", "Notified browsers", "This browser")
	p.submit("/alarms/browsers", "browser", "b0").want(200, "/alarms/browsers", "Are you sure?").submit("/alarms/browsers").want(200, "/alarms", "That browser is no longer notified.").lacks("Notified browsers")

	w := b.request(http.MethodGet, "/sw.js?lang=de", nil)
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/javascript") || !strings.Contains(w.Body.String(), `"push.alarm":"Es gibt einen Alarm von {time}."`) || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("the worker: %d %v %s", w.Code, w.Header(), w.Body)
	}
	m := v.browser().request(http.MethodGet, "/manifest.webmanifest", nil)
	if m.Code != 200 || m.Header().Get("Content-Type") != "application/manifest+json" {
		t.Errorf("the manifest: %d %v", m.Code, m.Header())
	}
	for _, part := range strings.Split(m.Body.String(), `"`) {
		if strings.HasPrefix(part, "/static/") {
			if icon := b.request(http.MethodGet, part, nil); icon.Code != 200 || icon.Header().Get("Content-Type") != "image/png" {
				t.Errorf("%s: %d", part, icon.Code)
			}
		}
	}
}

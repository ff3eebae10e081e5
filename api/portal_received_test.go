package api

import (
	"strings"
	"testing"

	"latchkey/api/internal/rest"
)

// portalVillage is a village whose people use the portal.
func portalVillage(t testing.TB, change ...func(*Config)) *village {
	t.Helper()
	m := newMemoryAlarms(t)
	w := newPortalWorld(t, append(change, func(c *Config) { c.Alarms = m })...)
	v := &village{world: w, owner: w.person("alice"), recipient: w.person("bob"), stranger: w.person("mallory"), alarms: m}
	v.device, v.spare = w.camera(v.owner, "Front door"), w.camera(v.owner, "Garden")
	v.id = w.share(v.owner, v.recipient.email, grant(v.device, "live_view", "playback")).ID
	return v
}

// as is a browser in which somebody is logged in.
func (w *world) as(p person) *browser {
	b := w.browser()
	b.cookies["latchkey-session"] = p.token
	return b
}

func TestPortalNewSharings(t *testing.T) {
	v := portalVillage(t)
	v.share(v.owner, v.recipient.email+".example", grant(v.spare, "ptz")) // of somebody else
	b := v.as(v.recipient)
	account := b.get("/account").want(200, "/account")
	if !strings.Contains(account.body, `<dialog id="sharings"`) || !strings.Contains(account.body, `<span class="badge">1`) {
		t.Error("the account does not say that there is a new sharing")
	}
	p := b.get("/shared-with-me").want(200, "/shared-with-me", "You have 1 new sharing", "Front door", "From alice (alice@example.com)", "Live View, Playback", "1 camera").lacks("<dialog", "The neighbour", "Garden")

	p = p.submit("/shared-with-me", "decision", "later").want(200, "/shared-with-me", "Put off.", "Put off until later", "Front door").lacks("You have 1 new sharing")
	p.submit("/shared-with-me", "decision", "maybe").want(404, "/shared-with-me")
	stranger := v.as(v.stranger)
	theirs := p.form("/shared-with-me")
	theirs.Set("csrf", stranger.get("/account").form("/account").Get("csrf"))
	theirs.Set("decision", "accept")
	stranger.open("POST", "/shared-with-me", theirs).want(404, "/shared-with-me", "There is no such sharing")
	p.submit("/shared-with-me", "decision", "accept", "csrf", "x").want(403, "/shared-with-me")

	done := p.submit("/shared-with-me", "decision", "accept").want(200, "/shared-with-me", "Accepted.", "Devices you accepted", "Front door").lacks("Put off until later")
	var s rest.Share
	v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200).decode(t, &s)
	if s.Devices[0].Status != rest.Accepted {
		t.Error("it is not accepted")
	}
	// The same page again, as after going back: it is accepted already, which is what was wanted.
	p.submit("/shared-with-me", "decision", "accept").want(200, "/shared-with-me")
	done.lacks("The neighbour")

	v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil), 204)
	p.submit("/shared-with-me", "decision", "reject", "key", "another").want(404, "/shared-with-me", "There is no such sharing, or no longer.")
}

func TestPortalReceivedDevice(t *testing.T) {
	v := portalVillage(t)
	path := "/shared-with-me/" + v.id + "/" + v.device
	b := v.as(v.recipient)
	b.get(path).want(404, path) // not accepted yet
	v.accept()
	b.get("/shared-with-me").want(200, "/shared-with-me", "Front door", "From alice", "Live View, Playback").lacks("new sharing")
	p := b.get(path).want(200, path, "Sharing Details", "Front door", "alice@example.com", "Camera 1", "Live View, Playback").lacks("The neighbour")

	p = p.submit(path, "domain", "Not a domain").want(422, path, "lower-case letters")
	if p.form(path).Get("domain") != "Not a domain" {
		t.Error("what was typed is gone")
	}
	p.submit(path, "domain", "door").want(200, path, "Saved.")
	b.get("/shared-with-me").want(200, "/shared-with-me", "door")

	for _, who := range []person{v.stranger, v.owner} {
		other := v.as(who)
		other.get(path).want(404, path)
		other.get(path+"/delete").want(404, path+"/delete")
		forged := p.form(path)
		forged.Set("csrf", other.get("/account").form("/account").Get("csrf"))
		other.open("POST", path, forged).want(404, path)
		other.open("POST", path+"/delete", forged).want(404, path+"/delete")
	}

	v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200)
	b.get(path).want(200, path, "Paused by the owner")
	b.get("/shared-with-me").want(200, "/shared-with-me", "Paused by the owner")

	ask := b.get(path+"/delete").want(200, path+"/delete", "Delete this sharing?", "Front door leaves your list", "only if alice shares it again")
	ask.submit(path+"/delete", "csrf", "x").want(403, path+"/delete")
	ask.submit(path+"/delete").want(200, "/shared-with-me", "Front door is deleted from your list.", "Nobody shares a device with you yet.")
	b.get(path).want(404, path)
	if v.shares(v.owner, "sent")[0].Devices[0].Status != "left" {
		t.Error("it is not left")
	}
}

// TestPortalTermsInWords: when a sharing holds is said in sentences, in the zone of its
// weekly hours or, without any, in that of the browser.
func TestPortalTermsInWords(t *testing.T) {
	v := portalVillage(t)
	v.accept()
	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, map[string]any{
		"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view", "playback"}, "limits": []any{
			map[string]any{"privileges": []string{"playback"}, "until": "2099-07-01T22:30:00Z"},
		}}},
		"terms": map[string]any{
			"until": "2099-07-01T22:30:00Z", "playback": map[string]any{"last_days": 7},
			"hours": map[string]any{"zone": "Europe/Berlin", "spans": []any{map[string]any{"days": []string{"mon", "tue", "wed", "sat"}, "start": "18:00", "end": "08:00"}}},
		},
	}))
	path := "/shared-with-me/" + v.id + "/" + v.device
	b := v.as(v.recipient)
	b.cookies["latchkey-zone"] = "Europe%2FBerlin"
	b.get(path).want(200, path, "Until 2 Jul 2099, 00:30 (Europe/Berlin)", "Mon–Wed, Sat from 18:00 to 08:00 (Europe/Berlin)", "Recordings of the last 7 days only", "Playback: Until 2 Jul 2099, 00:30")
	b.accept = "de"
	b.get(path).want(200, path, "Bis 2.7.2099, 00:30", "Mo–Mi, Sa von 18:00 bis 08:00 (Europe/Berlin)", "Wiedergabe: Bis 2.7.2099, 00:30 (Europe/Berlin)")
}

// TestPortalReceivedWorstStrings: names are shown as they are, and are nothing else.
func TestPortalReceivedWorstStrings(t *testing.T) {
	v := portalVillage(t)
	long := strings.Repeat("W", 120)
	for _, name := range []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "שלום עולם", "{device} {n}", long, "é"} {
		device := v.camera(v.owner, name)
		v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{"recipient": map[string]any{"email": v.recipient.email}, "devices": []any{grant(device, "live_view")}}), 200)
		for _, tag := range []string{"en", "de", "en-XA"} {
			b := v.as(v.recipient)
			b.cookies["latchkey-language"] = tag
			p := b.get("/shared-with-me")
			if !strings.Contains(p.main(), name) {
				t.Errorf("%s: %q is not shown: %s", tag, name, p.main())
			}
		}
		v.wantStatus(v.do("POST", v.path("/devices/", device, "/accept"), v.recipient.token, nil), 200)
		path := "/shared-with-me/" + v.id + "/" + device
		v.as(v.recipient).get(path).want(200, path, name)
		p := v.as(v.recipient).get(path+"/delete").want(200, path+"/delete", name)
		p.submit(path+"/delete").want(200, "/shared-with-me", name)
	}
}

package api

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestPortalADeviceChangesHands(t *testing.T) {
	v := portalVillage(t)
	owner := v.as(v.owner)
	path := "/devices/" + v.device + "/transfer"
	p := owner.get(path).want(200, path, "Front door stays yours until the other account accepts.")
	p.submit(path, "email", "", "password", password).want(422, path, "It is required.")
	p.submit(path, "email", v.recipient.email, "password", "wrong").want(403, path)
	p.submit(path, "email", v.recipient.email, "password", password, "csrf", "x").want(403, path)
	p.submit(path, "email", v.recipient.email, "password", password, "shares", "end").
		want(200, "/devices/requests", "Front door is offered to "+v.recipient.email)
	v.as(v.stranger).get(path).want(404, path)
	requests := v.as(v.recipient).get("/devices/requests")
	requests.submit("/devices/requests", "do", "accept:x").want(404, "/devices/requests")
	requests.submit("/devices/requests", "do", "nonsense").want(404, "/devices/requests")
}

// buttonValue is the value of the first button whose value begins with a text.
func (p webPage) buttonValue(begin string) string {
	p.b.w.t.Helper()
	found := p.all(func(n *html.Node) bool {
		return n.Data == "button" && strings.HasPrefix(attrValue(n, "value"), begin)
	})
	if len(found) == 0 {
		p.b.w.t.Fatalf("%s has no button %s", p.path, begin)
	}
	return attrValue(found[0], "value")
}

func TestPortalAccessIsAskedFor(t *testing.T) {
	v := portalVillage(t)
	const path = "/devices/requests"
	ask := v.as(v.stranger).get(path)
	ask.submit(path+"/access", "serial", "").want(422, path+"/access", "It is required.")
	ask.submit(path+"/access", "serial", "DS-7216", "message", "I live <b>here</b>").want(200, path, "If another account has the device, its owner sees your request.")
	ask.submit(path+"/access", "serial", "DS-7216", "csrf", "x").want(403, path+"/access")
}

func TestPortalInvitationCodes(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	const path = "/my-shares/new"
	b.get(path).submit(path, "do", "code").want(422, path, "Add at least one device.")
	made := b.get(path+"?device="+v.device).submit(path, "do", "code", "remark", "The new neighbour").want(200, path, "It is shown only now.")
	link := rawText(made.all(elements("code"))[0])
	_, code, ok := strings.Cut(link, "/invite#")
	if !ok || !strings.HasPrefix(link, "http://example.com/invite#") || len(made.all(elements("svg"))) == 0 {
		t.Fatalf("the link is %q", link)
	}
	list := b.get("/my-shares/codes").want(200, "/my-shares/codes", "The new neighbour", "Front door: ").lacks(code)
	v.as(v.stranger).get("/my-shares/codes").want(200, "/my-shares/codes", "No code is open.")
	list.submit("/my-shares/codes", "code", list.buttonValue("")).want(200, "/my-shares/codes", "Are you sure?").
		submit("/my-shares/codes").want(200, "/my-shares/codes", "The code is worthless now.", "No code is open.")
	v.as(v.stranger).get("/invite").submit("/invite", "code", code).lacks("Front door")
}

func TestPortalClosesAnAccount(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	const path = "/account/close"
	p := b.get(path).want(200, path, "2 devices leave your account.")
	p.submit(path, "password", password).want(422, path, "Tick this to close the account.")
	p.submit(path, "password", password, "sure", "yes", "csrf", "x").want(403, path)
	b.get("/devices").want(200, "/devices", "Front door")
}

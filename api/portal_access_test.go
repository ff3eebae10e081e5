package api

import (
	"strings"
	"testing"

	"latchkey/api/internal/rest"
)

func TestPortalWhoCanGetIn(t *testing.T) {
	v := portalVillage(t)
	b, path := v.as(v.owner), "/devices/"+v.device+"/access"
	b.get("/devices/"+v.device).want(200, "/devices/"+v.device, "Who can get in")
	b.get(path).want(200, path, "Nobody is watching.", v.recipient.email, "Live View, Playback", "Invited", "Changed", "Not used yet", "1 session")
	v.accept()
	v.wantStatus(v.do("POST", "/api/v1/stream-keys", v.owner.token, map[string]any{"label": "Television set"}), 201)
	p := b.get(path).want(200, path, "Accepted", "Television set")
	if main := p.main(); strings.Index(main, "Television set") > strings.Index(main, v.recipient.email) {
		t.Error("the newest is not the first")
	}
	b.get(path+"?query=bob").want(200, path+"?query=bob", v.recipient.email).lacks("Television set")
	b.get(path+"?query=nobody").want(200, path+"?query=nobody", "You share with nobody like that.")

	const all = "/my-shares/access"
	b.get("/my-shares").want(200, "/my-shares", "Who can get in")
	b.get(all).want(200, all, "Nobody is watching.", v.recipient.email, "1 device · Live View, Playback", "1 stream key", "1 session").lacks(">alice<")
	b.get(all+"?query=nobody").want(200, all+"?query=nobody", "You share with nobody like that.")
	v.as(v.stranger).get(all).want(200, all, "Nobody but you can get in.").lacks(v.recipient.email)

	ask := p.submit(path, "share", v.id).want(200, path, "can no longer use Front door")
	var s rest.Share
	v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200).decode(t, &s)
	if s.Devices[0].Status != rest.Accepted {
		t.Fatal("it was taken back before anybody was sure")
	}
	ask.submit(path).want(200, path, "can no longer use Front door").lacks(`value="` + v.id + `"`)
	v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200).decode(t, &s)
	if len(s.Devices) > 0 && s.Devices[0].Status == rest.Accepted {
		t.Errorf("it is not taken back: %+v", s.Devices)
	}
	form := ask.form(path)
	form.Del("share")
	b.open("POST", path, form).want(404, path)
	for _, other := range []person{v.recipient, v.stranger} {
		v.as(other).get(path).want(404, path)
	}
}

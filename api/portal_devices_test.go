package api

import (
	"strings"
	"testing"

	"latchkey/api/internal/rest"
)

func TestPortalDevices(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	b.get("/devices").want(200, "/devices", "Front door", "Garden", "1 camera")
	empty := v.as(v.stranger).get("/devices").want(200, "/devices", "You have no device yet.")

	each := empty.b.get("/devices/new/addresses").want(200, "/devices/new/addresses")
	each.submit("/devices", "name", "Hall", "rtsp_url", "http://u:hunter2@192.0.2.10/", "username", "u", "password", "hunter2").
		want(422, "/devices", "It begins with rtsp:// or rtsps://.").lacks("hunter2")
	each.submit("/devices", "name", "Hall", "rtsp_url", "rtsp://192.0.2.10/", "csrf", "x").want(403, "/devices")
	each.submit("/devices", "name", "Hall", "rtsp_url", "rtsp://192.0.2.10/1", "username", "u", "password", "hunter2").
		want(200, "/devices", "Hall is added.", "Hall").lacks("hunter2", "192.0.2.10")

	path := "/devices/" + v.device
	p := b.get(path).want(200, path, "Front door", "Nobody is watching.", "Camera 1").lacks("192.0.2.10", "hunter2")
	p = p.submit(path, "name", "Back door", "channel1", "Lens").want(200, path, "Saved.", "Back door")
	if got := p.form(path); got.Get("name") != "Back door" || got.Get("channel1") != "Lens" {
		t.Errorf("renamed: %v", got)
	}
	p.submit(path, "name", "").want(422, path, "It is required.")
	p.submit(path, "name", "Back door").want(200, path, "Saved.") // nothing changed
	p.submit(path+"/connection", "username", "u", "password", "another").want(200, path, "Back door is connected.").lacks("another\"")
	p.submit(path+"/connection", "rtsp_url", "nonsense").want(422, path+"/connection")

	for _, who := range []person{v.recipient, v.stranger} {
		other := v.as(who)
		form := p.form(path)
		form.Set("csrf", other.get("/account").form("/account").Get("csrf"))
		form.Set("viewer", "x")
		other.get(path).want(404, path)
		other.get(path+"/delete").want(404, path+"/delete")
		for _, action := range []string{path, path + "/connection", path + "/viewers", path + "/delete"} {
			other.open("POST", action, form).want(404, action)
		}
	}

	ask := b.get(path+"/delete").want(200, path+"/delete", "Back door leaves your account and every sharing.")
	ask.submit(path+"/delete", "csrf", "x").want(403, path+"/delete")
	ask.submit(path+"/delete").want(200, "/devices", "Back door is removed.")
	b.get(path).want(404, path)
}

func TestPortalDeviceWorstStrings(t *testing.T) {
	v := portalVillage(t)
	for _, name := range []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "שלום עולם", "{device} {n}", strings.Repeat("W", 120)} {
		device := v.camera(v.owner, name)
		var d rest.Device
		v.wantStatus(v.do("PATCH", "/api/v1/devices/"+device, v.owner.token, map[string]any{"channels": []any{map[string]any{"channel": 1, "name": name}}}), 200).decode(t, &d)
		for _, tag := range []string{"en", "de", "en-XA"} {
			b := v.as(v.owner)
			b.cookies["latchkey-language"] = tag
			for _, path := range []string{"/devices", "/devices/" + device, "/devices/" + device + "/delete"} {
				if p := b.get(path); p.status != 200 || !strings.Contains(p.main(), name) {
					t.Errorf("%s: %d, without %q: %s", path, p.status, name, p.main())
				}
			}
		}
	}
}

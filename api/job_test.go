package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/api/internal/rest"
)

const password = "correct horse battery"

// person is an account with a session.
type person struct {
	id, email, token string
}

func (w *world) person(name string) person {
	w.t.Helper()
	p := person{email: name + "@example.com"}
	var account rest.Account
	w.wantStatus(w.do("POST", "/api/v1/accounts", "", rest.Registration{Email: p.email, Password: password, Name: name}), 201).decode(w.t, &account)
	var session rest.Session
	w.wantStatus(w.do("POST", "/api/v1/sessions", "", rest.Credentials{Login: p.email, Password: password}), 201).decode(w.t, &session)
	if session.Account != account.ID {
		w.t.Fatalf("the session is of %s, not of %s", session.Account, account.ID)
	}
	p.id, p.token = account.ID, session.Token
	return p
}

// camera adds a device with one channel to an account.
func (w *world) camera(owner person, name string) string {
	w.t.Helper()
	var d rest.Device
	a := w.wantStatus(w.do("POST", "/api/v1/devices", owner.token, rest.NewDevice{
		Name: name, RtspURL: "rtsp://192.0.2.10/Streaming/Channels/101", Username: "viewer", Password: "hunter2",
	}), 201)
	a.decode(w.t, &d)
	if strings.Contains(string(a.body), "192.0.2.10") || strings.Contains(string(a.body), "hunter2") {
		w.t.Errorf("the answer tells how the device is reached: %s", a.body)
	}
	return d.ID
}

func grant(device string, privileges ...string) map[string]any {
	return map[string]any{"device": device, "channels": []any{map[string]any{"channel": 1, "privileges": privileges}}}
}

func (w *world) share(owner person, recipient string, devices ...any) rest.Share {
	w.t.Helper()
	var s rest.Share
	w.wantStatus(w.do("POST", "/api/v1/shares", owner.token, map[string]any{
		"recipient": map[string]any{"email": recipient}, "remark": "The neighbour", "devices": devices,
	}), 201).decode(w.t, &s)
	return s
}

func (w *world) shares(p person, which string) []rest.Share {
	w.t.Helper()
	var list rest.ShareList
	w.wantStatus(w.do("GET", "/api/v1/shares/"+which, p.token, nil), 200).decode(w.t, &list)
	return list.Items
}

// village is the set of people that most tests need: an owner with two
// devices, one of which is shared and accepted.
type village struct {
	*world
	owner, recipient, stranger person
	device, spare              string
	id                         string // of the share
	alarms                     *memoryAlarms
}

func newVillage(t testing.TB, change ...func(*Config)) *village {
	t.Helper()
	w := newWorld(t, change...)
	v := &village{world: w, owner: w.person("alice"), recipient: w.person("bob"), stranger: w.person("mallory")}
	v.device, v.spare = w.camera(v.owner, "Front door"), w.camera(v.owner, "Garden")
	v.id = w.share(v.owner, v.recipient.email, grant(v.device, "live_view", "playback")).ID
	return v
}

func (v *village) path(parts ...string) string {
	return "/api/v1/shares/" + v.id + strings.Join(parts, "")
}

func (v *village) accept() {
	v.t.Helper()
	v.wantStatus(v.do("POST", v.path("/devices/", v.device, "/accept"), v.recipient.token, nil), 200)
}

// changed is the share that a command answered.
func (v *village) changed(a answer) rest.Share {
	v.t.Helper()
	var s rest.Share
	v.wantStatus(a, 200).decode(v.t, &s)
	if a.Header.Get("Latchkey-Position") == "" || a.Header.Get("ETag") == "" {
		v.t.Errorf("headers: %v", a.Header)
	}
	return s
}

func TestTheMainJob(t *testing.T) {
	v := newVillage(t)

	sent := v.shares(v.owner, "sent")
	if len(sent) != 1 || sent[0].ID != v.id || sent[0].Share != v.id || sent[0].Recipient.Email != v.recipient.email ||
		sent[0].Remark != "The neighbour" || sent[0].Owner != v.owner.id || sent[0].From != (rest.Person{}) {
		t.Fatalf("sent: %+v", sent)
	}
	d := sent[0].Devices[0]
	if d.Device != v.device || d.Name != "Front door" || d.Status != rest.Invited || d.InvitedAt.IsZero() || len(d.Channels) != 1 ||
		!slices.Equal(d.Channels[0].Privileges.Names(), []string{"live_view", "playback"}) {
		t.Fatalf("the device in it: %+v", d)
	}

	received := v.shares(v.recipient, "received")
	from := rest.Person{Email: v.owner.email, Name: "alice"}
	if len(received) != 1 || received[0].From != from || received[0].ID != v.id || received[0].Remark != "" || received[0].Recipient.Email != v.recipient.email {
		t.Fatalf("received: %+v", received)
	}

	s := v.changed(v.do("POST", v.path("/devices/", v.device, "/accept"), v.recipient.token, nil))
	if s.From != from || s.Remark != "" || len(s.Devices) != 1 || s.Devices[0].Status != rest.Accepted || s.Devices[0].Name != "Front door" {
		t.Fatalf("accepted: %+v", s)
	}
	s = v.changed(v.do("PUT", v.path("/devices/", v.device, "/domain"), v.recipient.token, `{"domain":"door"}`))
	if s.Devices[0].Domain != "door" {
		t.Fatalf("with a domain: %+v", s)
	}
	if sent := v.shares(v.owner, "sent"); sent[0].Devices[0].Domain != "" || sent[0].Devices[0].Status != rest.Accepted {
		t.Fatalf("the owner sees %+v", sent[0].Devices[0])
	}

	var may rest.PrivilegeList
	v.wantStatus(v.do("GET", "/api/v1/privileges", v.recipient.token, nil), 200).decode(t, &may)
	if len(may.Items) != 1 || may.Items[0].Device != v.device || may.Items[0].Role != rest.DevicePrivilegesRoleRecipient ||
		may.Items[0].Domain != "door" || !slices.Equal(may.Items[0].Channels[0].Privileges.Names(), []string{"live_view", "playback"}) {
		t.Fatalf("privileges: %+v", may)
	}

	s = v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`))
	if got := s.Devices[0].Channels[0].Privileges.Names(); !slices.Equal(got, []string{"ptz"}) || s.Devices[0].Status != rest.Accepted {
		t.Fatalf("edited: %+v", s)
	}
	s = v.changed(v.do("PUT", v.path(), v.owner.token, map[string]any{"remark": "", "devices": []any{grant(v.spare, "live_view")}}))
	if live := present(s); len(live) != 1 || live[0].Device != v.spare || s.Remark != "" {
		t.Fatalf("saved as a whole: %+v", s)
	}

	deleted := v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil), 204)
	if deleted.Header.Get("Latchkey-Position") == "" {
		t.Error("the answer has no position")
	}
	if received := v.shares(v.recipient, "received"); len(received) != 0 {
		t.Fatalf("received after the end: %+v", received)
	}
	var history rest.HistoryList
	v.wantStatus(v.do("GET", "/api/v1/shares/history", v.owner.token, nil), 200).decode(t, &history)
	if len(history.Items) != 1 || history.Items[0].Recipient.Email != v.recipient.email || history.Items[0].DeletedAt.IsZero() {
		t.Fatalf("history: %+v", history)
	}
	v.wantProblem(v.do("DELETE", v.path(), v.owner.token, nil), 404, "share_not_found")
	v.wantProblem(v.do("GET", v.path(), v.owner.token, nil), 404, "share_not_found")
	v.wantProblem(v.do("GET", v.path(), v.recipient.token, nil), 404, "share_not_found")
}

// present are the devices that are in the share now.
func present(s rest.Share) []rest.ShareDevice {
	return slices.DeleteFunc(slices.Clone(s.Devices), func(d rest.ShareDevice) bool {
		return d.Status == rest.Removed || d.Status == rest.Left
	})
}

func TestStreamKeys(t *testing.T) {
	v := newVillage(t)
	var made rest.StreamKeySecret
	v.wantStatus(v.do("POST", "/api/v1/stream-keys", v.recipient.token, nil), 201).decode(t, &made)
	if made.Name == "" || made.Secret == "" || made.CreatedAt.IsZero() || !made.ExpiresAt.IsZero() {
		t.Fatalf("made: %+v", made)
	}
	a := v.wantStatus(v.do("GET", "/api/v1/stream-keys", v.recipient.token, nil), 200)
	var list rest.StreamKeyList
	a.decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Name != made.Name || strings.Contains(string(a.body), made.Secret) {
		t.Fatalf("listed: %s", a.body)
	}
	v.wantStatus(v.do("DELETE", "/api/v1/stream-keys/"+made.Name, v.stranger.token, nil), 404)
	v.wantStatus(v.do("DELETE", "/api/v1/stream-keys/"+made.Name, v.recipient.token, nil), 204)
	v.wantStatus(v.do("DELETE", "/api/v1/stream-keys/"+made.Name, v.recipient.token, nil), 404)
	v.wantStatus(v.do("POST", "/api/v1/stream-keys", v.owner.token, map[string]any{"device": "no-such-device"}), 404)
}

func TestExtendingAShare(t *testing.T) {
	v := newVillage(t)
	body := map[string]any{"recipient": map[string]any{"email": v.recipient.email}, "devices": []any{grant(v.spare, "live_view")}}
	var s rest.Share
	a := v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, body), 200)
	a.decode(t, &s)
	if s.ID != v.id || len(s.Devices) != 2 || a.Header.Get("Location") != v.path() {
		t.Fatalf("extended: %+v at %s", s, a.Header.Get("Location"))
	}
	v.wantProblem(v.do("POST", "/api/v1/shares", v.owner.token, body), 409, "already_shared")
}

func TestDevices(t *testing.T) {
	v := newVillage(t)
	var list rest.DeviceList
	v.wantStatus(v.do("GET", "/api/v1/devices?limit=1", v.owner.token, nil), 200).decode(t, &list)
	if len(list.Items) != 1 || list.Next == "" {
		t.Fatalf("the first page: %+v", list)
	}
	first := list.Items[0].ID
	second := v.wantStatus(v.do("GET", "/api/v1/devices?limit=1&cursor="+url.QueryEscape(list.Next), v.owner.token, nil), 200)
	list = rest.DeviceList{}
	second.decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID == first || list.Next != "" {
		t.Fatalf("the second page: %+v", list)
	}
	var d rest.Device
	v.wantStatus(v.do("GET", "/api/v1/devices/"+v.device, v.owner.token, nil), 200).decode(t, &d)
	if d.Name != "Front door" || len(d.Channels) != 1 || len(d.Channels[0].Capabilities.Names()) != 5 {
		t.Fatalf("the device: %+v", d)
	}
	v.wantStatus(v.do("DELETE", "/api/v1/devices/"+v.device, v.owner.token, nil), 204)
	v.wantStatus(v.do("GET", "/api/v1/devices/"+v.device, v.owner.token, nil), 404)
	v.wantStatus(v.do("DELETE", "/api/v1/devices/"+v.device, v.owner.token, nil), 404)
}

// TestTheAuthorizationMatrix: nobody is told 401, a stranger 404, whatever the
// route; owner and recipient have what is theirs.
func TestTheAuthorizationMatrix(t *testing.T) {
	whole := `{"remark":"","devices":[]}`
	one := `{"channels":[{"channel":1,"privileges":["live_view"]}]}`
	for _, c := range []struct {
		method, path, body         string
		owner, recipient, stranger int
	}{
		{"GET", "/devices", "", 200, 200, 200},
		{"GET", "/devices/{device}", "", 200, 404, 404},
		{"DELETE", "/devices/{device}", "", 204, 404, 404},
		{"POST", "/devices", `{"name":"New","rtsp_url":"rtsp://192.0.2.11/1"}`, 201, 201, 201},
		{"POST", "/shares", `{"recipient":{"email":"carol@example.com"},"devices":[{"device":"{device}","channels":[{"channel":1,"privileges":["live_view"]}]}]}`, 201, 404, 404},
		{"GET", "/shares/sent", "", 200, 200, 200},
		{"GET", "/shares/received", "", 200, 200, 200},
		{"GET", "/shares/history", "", 200, 200, 200},
		{"GET", "/shares/uses?shares={share}", "", 200, 200, 200},
		{"GET", "/shares/{share}", "", 200, 200, 404},
		{"PUT", "/shares/{share}", whole, 200, 403, 404},
		{"DELETE", "/shares/{share}", "", 204, 204, 404},
		{"PUT", "/shares/{share}/devices/{device}", one, 200, 403, 404},
		{"DELETE", "/shares/{share}/devices/{device}", "", 204, 204, 404},
		{"POST", "/shares/{share}/devices/{device}/accept", "", 403, 200, 404},
		{"POST", "/shares/{share}/devices/{device}/reject", "", 403, 200, 404},
		{"PUT", "/shares/{share}/devices/{device}/domain", `{"domain":"door"}`, 403, 200, 404},
		{"GET", "/stream-keys", "", 200, 200, 200},
		{"POST", "/stream-keys", `{"device":"{device}"}`, 201, 201, 404},
		{"DELETE", "/stream-keys/{key}", "", 204, 404, 404},
		{"GET", "/privileges", "", 200, 200, 200},
		{"DELETE", "/sessions/current", "", 204, 204, 204},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			for _, who := range []struct {
				name string
				want int
			}{{"owner", c.owner}, {"recipient", c.recipient}, {"stranger", c.stranger}, {"nobody", 401}, {"impostor", 401}} {
				v := newVillage(t)
				if !strings.HasSuffix(c.path, "/accept") {
					v.accept()
				}
				var key rest.StreamKeySecret
				v.wantStatus(v.do("POST", "/api/v1/stream-keys", v.owner.token, nil), 201).decode(t, &key)
				fill := strings.NewReplacer("{share}", v.id, "{device}", v.device, "{key}", key.Name)
				token := map[string]string{"owner": v.owner.token, "recipient": v.recipient.token, "stranger": v.stranger.token, "impostor": "nobodys"}[who.name]
				var body any
				if c.body != "" {
					body = fill.Replace(c.body)
				}
				a := v.do(c.method, "/api/v1"+fill.Replace(c.path), token, body)
				if a.StatusCode != who.want {
					t.Errorf("%s: %d, want %d: %s", who.name, a.StatusCode, who.want, a.body)
				}
				if a.StatusCode == 401 && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s: 401 without a challenge", who.name)
				}
			}
		})
	}
}

// TestEveryOperationNeedsASessionOrSaysSo compares the specification with the
// few operations that are for everybody.
func TestEveryOperationNeedsASessionOrSaysSo(t *testing.T) {
	w := newWorld(t)
	public := []string{"POST /api/v1/accounts", "GET /api/v1/setup", "POST /api/v1/sessions/by-link", "POST /api/v1/setup", "POST /api/v1/password-resets", "POST /api/v1/password-resets/confirm", "GET /api/v1/countries", "POST /api/v1/sessions", "POST /api/v1/alarm-receivers/:key", "GET /api/v1/openapi.yaml", "GET /", "GET /invite", "GET /healthz", "GET /readyz", "GET /metrics"}
	for key, op := range w.server.operations {
		if op.public != slices.Contains(public, key) {
			t.Errorf("%s: public is %v", key, op.public)
		}
		if op.public {
			continue
		}
		method, path, _ := strings.Cut(key, " ")
		w.wantProblem(w.do(method, path, "", nil), http.StatusUnauthorized, "unauthenticated")
	}
}

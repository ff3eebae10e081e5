package api

import (
	"strings"
	"testing"

	"latchkey/api/internal/rest"
)

func (v *village) invitations(p person, query string) rest.InvitationList {
	v.t.Helper()
	var list rest.InvitationList
	v.wantStatus(v.do("GET", "/api/v1/invitations"+query, p.token, nil), 200).decode(v.t, &list)
	return list
}

// TestYouHaveNewSharings: one request says how many there are, of what and from whom.
func TestYouHaveNewSharings(t *testing.T) {
	v := newVillage(t)
	v.wantStatus(v.do("PUT", v.path("/devices/", v.spare), v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`), 200)
	list := v.invitations(v.recipient, "?limit=1")
	if list.Count != 2 || len(list.Items) != 1 || list.Next == "" || list.Items[0].Device != (rest.InvitedDevice{ID: v.spare, Name: "Garden"}) ||
		list.Items[0].From.Email != v.owner.email || list.Items[0].Share != v.id || list.Items[0].InvitedAt.IsZero() || len(list.Items[0].Channels) != 1 {
		t.Fatalf("invitations: %+v", list)
	}
	for _, p := range []person{v.owner, v.stranger} {
		if list := v.invitations(p, ""); list.Count != 0 || len(list.Items) != 0 {
			t.Errorf("others see %+v", list)
		}
	}
	dismiss := v.path("/devices/", v.device, "/dismiss")
	v.wantProblem(v.do("POST", dismiss, v.stranger.token, nil), 404, "share_not_found")
	v.wantProblem(v.do("POST", dismiss, v.owner.token, nil), 403, "not_the_recipient")
	v.wantStatus(v.do("POST", dismiss, v.recipient.token, nil), 204)
	v.wantStatus(v.do("POST", dismiss, v.recipient.token, nil), 204)
	if list := v.invitations(v.recipient, ""); list.Count != 1 || list.Items[0].Device.ID != v.spare {
		t.Errorf("after one was dismissed: %+v", list)
	}
	if list := v.invitations(v.recipient, "?dismissed=true"); list.Count != 1 || list.Items[0].Device.ID != v.device {
		t.Errorf("dismissed: %+v", list)
	}
	if received := v.shares(v.recipient, "received"); len(received) != 1 || received[0].Devices[0].Status != "invited" {
		t.Errorf("received: %+v", received)
	}
	v.accept()
	v.wantProblem(v.do("POST", dismiss, v.recipient.token, nil), 409, "not_invited")
	if list := v.invitations(v.recipient, "?dismissed=true"); list.Count != 0 {
		t.Errorf("dismissed and accepted: %+v", list)
	}
}

// TestDecidingSeveral: each decision stands alone, and a repeat changes nothing.
func TestDecidingSeveral(t *testing.T) {
	v := newVillage(t)
	v.wantStatus(v.do("PUT", v.path("/devices/", v.spare), v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`), 200)
	decisions := func(list ...[3]string) map[string]any {
		var out []any
		for _, d := range list {
			out = append(out, map[string]any{"share": d[0], "device": d[1], "decision": d[2]})
		}
		return map[string]any{"decisions": out}
	}
	body := decisions([3]string{v.id, v.device, "accept"}, [3]string{v.id, "cam-missing", "accept"}, [3]string{"x", v.spare, "reject"}, [3]string{v.id, v.spare, "reject"})
	decide := func(p person, body any, key string) answer {
		return v.do("POST", "/api/v1/invitations/decisions", p.token, body, "Idempotency-Key", key)
	}
	first := v.wantStatus(decide(v.recipient, body, "k"), 200)
	var got rest.DecisionResults
	first.decode(t, &got)
	var said []string
	for _, d := range got.Decisions {
		said = append(said, d.Code)
		if (d.Status == 200) != (d.Code == "") {
			t.Errorf("%+v", d)
		}
	}
	if strings.Join(said, ",") != ",device_not_in_share,share_not_found," {
		t.Errorf("answered %q", said)
	}
	sent := v.shares(v.owner, "sent")[0]
	if sent.Devices[0].Status != "accepted" || sent.Devices[1].Status != "rejected" {
		t.Errorf("sent: %+v", sent.Devices)
	}
	sameAnswer(t, first, decide(v.recipient, body, "k"))
	v.wantProblem(decide(v.recipient, decisions([3]string{v.id, v.device, "reject"}), "k"), 422, "idempotency_key_reused")
	if sent := v.shares(v.owner, "sent")[0]; sent.Devices[0].Status != "accepted" {
		t.Error("a request with a used key rejected a device")
	}
	p := v.wantProblem(decide(v.recipient, decisions([3]string{v.id, v.device, "accept"}, [3]string{v.id, " " + strings.ToUpper(v.device), "reject"}), "k2"), 422, "invalid_body")
	if p.Errors["/decisions/1/device"] == "" {
		t.Errorf("a device that is listed twice: %+v", p.Errors)
	}
	v.wantProblem(decide(v.recipient, `{"decisions":[]}`, "k3"), 422, "invalid_body")

	var others rest.DecisionResults
	v.wantStatus(decide(v.stranger, body, "k"), 200).decode(t, &others)
	for i, d := range others.Decisions {
		if d.Status != 404 || d.Code != "share_not_found" {
			t.Errorf("a stranger's decision %d: %+v", i, d)
		}
	}
}

// TestDecidingAgain: a list of decisions that is sent again with its key repeats what was
// done, and does not try again what was refused: it would decide about another offer.
func TestDecidingAgain(t *testing.T) {
	v := newVillage(t)
	body := map[string]any{"decisions": []any{
		map[string]any{"share": v.id, "device": v.device, "decision": "accept"}, map[string]any{"share": v.id, "device": v.spare, "decision": "accept"},
	}}
	send := func() (statuses []int) {
		t.Helper()
		var got struct{ Decisions []struct{ Status int } }
		v.wantStatus(v.do("POST", "/api/v1/invitations/decisions", v.recipient.token, body, "Idempotency-Key", "k"), 200).decode(t, &got)
		for _, d := range got.Decisions {
			statuses = append(statuses, d.Status)
		}
		return statuses
	}
	if got := send(); len(got) != 2 || got[0] != 200 || got[1] != 404 {
		t.Fatalf("the first time: %v", got)
	}
	v.wantStatus(v.do("PUT", v.path("/devices/", v.spare), v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`), 200)
	for range 2 {
		if got := send(); len(got) != 2 || got[0] != 200 || got[1] != 404 {
			t.Errorf("sent again: %v", got)
		}
	}
	v.wantStatus(v.do("DELETE", v.path("/devices/", v.device), v.recipient.token, nil), 204)
	if got := send(); got[0] != 200 || got[1] != 404 {
		t.Errorf("after one was left: %v", got)
	}
	for _, d := range v.shares(v.owner, "sent")[0].Devices {
		if want := map[string]rest.ShareDeviceStatus{v.device: "left", v.spare: "invited"}[d.Device]; d.Status != want {
			t.Errorf("%s is %s, want %s: a repeat accepts nothing again", d.Device, d.Status, want)
		}
	}
}

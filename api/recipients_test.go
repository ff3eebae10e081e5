package api

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"latchkey/api/internal/rest"
)

func (v *village) recipients(p person, query string) []rest.RecipientEntry {
	v.t.Helper()
	path := "/api/v1/shares/recipients"
	if query != "" {
		path += "?query=" + url.QueryEscape(query)
	}
	var list rest.RecipientList
	v.wantStatus(v.do("GET", path, p.token, nil), 200).decode(v.t, &list)
	return list.Items
}

// TestRecipientsFillTheForm: what an entry says can be sent as a new share.
func TestRecipientsFillTheForm(t *testing.T) {
	v := newVillage(t)
	v.accept()
	v.share(v.owner, "carol@example.com", grant(v.spare, "live_view", "ptz"))
	list := v.recipients(v.owner, "")
	if len(list) != 2 || list[0].Recipient.Email != "carol@example.com" || list[1].Recipient.Email != v.recipient.email || list[1].LiveDevices != 1 || !list[1].DeletedAt.IsZero() {
		t.Fatalf("recipients: %+v", list)
	}
	v.wantProblem(v.do("DELETE", "/api/v1/shares/recipients/"+list[1].ID, v.owner.token, nil), 409, "still_shared")
	v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil), 204)

	list = v.recipients(v.owner, "")
	bob := list[1]
	if bob.LiveDevices != 0 || bob.DeletedAt.IsZero() || bob.Remark != "The neighbour" || len(bob.Devices) != 1 || bob.Devices[0].Device != v.device || bob.Devices[0].Name != "Front door" {
		t.Fatalf("after the share was deleted: %+v", bob)
	}
	var again rest.Share
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{
		"recipient": bob.Recipient, "remark": bob.Remark, "devices": bob.Devices,
	}), 201).decode(t, &again)
	if again.ID != v.id || len(again.Devices) != 1 || again.Devices[0].Channels[0].Privileges != bob.Devices[0].Channels[0].Privileges {
		t.Errorf("the share of a filled form: %+v", again)
	}
	if list = v.recipients(v.owner, ""); list[0].ID != v.id {
		t.Errorf("the last used is not first: %+v", list)
	}
	if others := v.recipients(v.recipient, ""); len(others) != 0 {
		t.Errorf("the recipient sees %+v", others)
	}
}

// TestForgettingARecipient: they are in no list until they are used again.
func TestForgettingARecipient(t *testing.T) {
	v := newVillage(t)
	v.wantStatus(v.do("DELETE", v.path(), v.owner.token, nil), 204)
	var history rest.HistoryList
	v.wantStatus(v.do("GET", "/api/v1/shares/history", v.owner.token, nil), 200).decode(t, &history)
	if len(history.Items) != 1 || len(history.Items[0].Devices) != 1 || history.Items[0].ID != v.id {
		t.Fatalf("history: %+v", history)
	}
	path := "/api/v1/shares/recipients/" + v.id
	missing := v.wantProblem(v.do("DELETE", "/api/v1/shares/recipients/nothing", v.owner.token, nil), 404, "recipient_not_found")
	for _, p := range []person{v.stranger, v.recipient} {
		if got := v.wantProblem(v.do("DELETE", path, p.token, nil), 404, "recipient_not_found"); got.Detail != missing.Detail {
			t.Errorf("somebody else's entry is answered %q, a missing one %q", got.Detail, missing.Detail)
		}
	}
	first := v.wantStatus(v.do("DELETE", path, v.owner.token, nil, "Idempotency-Key", "forget"), 204)
	sameAnswer(t, first, v.do("DELETE", path, v.owner.token, nil, "Idempotency-Key", "forget"))
	v.wantProblem(v.do("DELETE", path, v.owner.token, nil), 404, "recipient_not_found")
	v.wantStatus(v.do("GET", "/api/v1/shares/history", v.owner.token, nil), 200).decode(t, &history)
	if list := v.recipients(v.owner, ""); len(list)+len(history.Items) != 0 {
		t.Errorf("after it was forgotten: %+v, %+v", list, history.Items)
	}
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{"recipient": map[string]any{"email": v.recipient.email}}), 201)
	if list := v.recipients(v.owner, ""); len(list) != 1 || len(list[0].Devices) != 0 {
		t.Errorf("used again: %+v", list)
	}
}

// TestSearchingRecipients: by a part of the address or of the remark, in any case, and
// numbers as people write them.
func TestSearchingRecipients(t *testing.T) {
	v := newVillage(t)
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{"recipient": map[string]any{"phone": "+8618969190000"}, "remark": "Größe Ürümqi"}), 201)
	for query, want := range map[string]string{
		"BOB@": v.recipient.email, "neighBOUR": v.recipient.email, "GRÖSSE": "+8618969190000", "ürümqi": "+8618969190000",
		"+86 189-6919": "+8618969190000", "1896919": "+8618969190000", "0189 6919": "+8618969190000", "0086 189": "+8618969190000", "nobody": "", "example.com +": "",
	} {
		got := ""
		for _, item := range v.recipients(v.owner, query) {
			got += item.Recipient.Email + item.Recipient.Phone
		}
		if got != want {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
	v.vault.lose("login-" + v.vault.LoginHash("email", v.recipient.email))
	if list := v.recipients(v.owner, "bob"); len(list) != 0 {
		t.Errorf("text that cannot be read is found: %+v", list)
	}
	for _, query := range []string{"query=", "query=" + fmt.Sprintf("%0129d", 1), "query=a&query=b"} {
		v.wantProblem(v.do("GET", "/api/v1/shares/recipients?"+query, v.owner.token, nil), 400, "invalid_parameter")
	}
}

// TestTermsAreNotForgotten: a form that is filled again has the times that the share had,
// and an invitation tells them.
func TestTermsAreNotForgotten(t *testing.T) {
	v := newVillage(t)
	until := v.clock.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	body := map[string]any{
		"recipient": map[string]any{"email": "carol@example.com"}, "terms": map[string]any{"until": until.Add(time.Hour)},
		"devices": []any{map[string]any{"device": v.spare, "channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}, "terms": map[string]any{"until": until}}},
	}
	var s rest.Share
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, body), 201).decode(t, &s)
	carol := v.person("carol")
	news := v.invitations(carol, "")
	if len(news.Items) != 1 || !news.Items[0].Terms.Until.Equal(until) || !news.Items[0].ShareTerms.Until.Equal(until.Add(time.Hour)) {
		t.Errorf("the invitation: %+v", news)
	}
	v.wantStatus(v.do("DELETE", "/api/v1/shares/"+s.ID, v.owner.token, nil), 204)
	entry := v.recipients(v.owner, "carol")[0]
	if !entry.Terms.Until.Equal(until.Add(time.Hour)) || len(entry.Devices) != 1 || !entry.Devices[0].Terms.Until.Equal(until) {
		t.Errorf("the entry: %+v", entry)
	}
	var again rest.Share
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{"recipient": entry.Recipient, "terms": entry.Terms, "devices": entry.Devices}), 201).decode(t, &again)
	if !again.Terms.Until.Equal(until.Add(time.Hour)) || !again.Devices[0].Terms.Until.Equal(until) {
		t.Errorf("shared again: %+v", again)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// decision is one entry of a list of decisions.
func decision(share, device, what string) map[string]any {
	return map[string]any{"share": share, "device": device, "decision": what}
}

// TestReceiving: somebody is told how many new sharings there are, dismisses one, decides
// the others together, and the owner hears of each decision at once.
func TestReceiving(t *testing.T) {
	s := serve(t, binary, t.TempDir())
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	const rounds = 9
	var devices []string
	for range rounds + 1 {
		devices = append(devices, owner.addDevice("rtsp://127.0.0.1:1/cam", "u", "p"))
	}
	var invitations []any
	for _, d := range devices {
		invitations = append(invitations, invitation(d, "live_view"))
	}
	var share struct{ ID string }
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": recipient.login}, "devices": invitations}, &share)
	type list struct {
		Count int
		Items []struct {
			Share  string
			Device struct{ ID, Name string }
			From   struct{ Email string }
		}
	}
	var news list
	recipient.must("GET", "/invitations", nil, &news)
	if news.Count != rounds+1 || len(news.Items) != rounds+1 || news.Items[0].From.Email != owner.login || news.Items[0].Device.Name != "Front door" {
		t.Fatalf("invitations: %+v", news)
	}
	recipient.must("POST", "/shares/"+share.ID+"/devices/"+devices[rounds]+"/dismiss", nil, nil)
	news = list{}
	if recipient.must("GET", "/invitations", nil, &news); news.Count != rounds {
		t.Errorf("after one was dismissed: %+v", news)
	}

	theirs, status := owner.follow("")
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	if e, _ := theirs.next(); e.name != "ready" {
		t.Fatalf("the stream begins with %+v", e)
	}
	var took []time.Duration
	for i, d := range devices[:rounds] {
		what, event := "accept", "accepted"
		if i%2 == 1 {
			what, event = "reject", "rejected"
		}
		began := time.Now()
		var result struct{ Decisions []struct{ Status int } }
		recipient.must("POST", "/invitations/decisions", map[string]any{"decisions": []any{decision(share.ID, d, what)}}, &result)
		if len(result.Decisions) != 1 || result.Decisions[0].Status != 200 {
			t.Fatalf("decided: %+v", result)
		}
		theirs.want(event, share.ID, d)
		took = append(took, time.Since(began))
	}
	if slices.Sort(took); took[rounds/2] > 100*time.Millisecond {
		t.Errorf("from the decision to the owner's event: %v", took)
	}
	news = list{}
	if recipient.must("GET", "/invitations?dismissed=true", nil, &news); news.Count != 1 || news.Items[0].Device.ID != devices[rounds] {
		t.Errorf("the dismissed one after the others were decided: %+v", news)
	}
}

// TestCodes: devices change hands by code, across a restart; a changed password ends the
// codes of the account.
func TestCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, binary, dir)
	owner, stranger := s.register(t, "owner"), s.register(t, "stranger")
	s.register(t, "recipient")
	device := owner.addDevice("rtsp://127.0.0.1:1/cam", "u", "p")
	type code struct{ ID, Code string }
	var first, second, own code
	offer := map[string]any{"devices": []any{invitation(device, "live_view")}}
	owner.must("POST", "/invitation-codes", offer, &first)
	owner.must("POST", "/invitation-codes", offer, &second)
	stranger.must("POST", "/accounts/me/code", nil, &own)
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, secret := range []string{first.Code, second.Code, own.Code} {
		wantNowhere(t, dir, secret)
	}
	s = serve(t, binary, dir)
	owner, stranger = s.login(t, "owner"), s.login(t, "stranger")
	recipient := s.login(t, "recipient")
	redeem := func(u *user, c code) error {
		return u.call("POST", "/invitation-codes/redeem", map[string]any{"code": c.Code}, nil)
	}
	undecided := owner.addDevice("rtsp://127.0.0.1:1/other", "u", "p")
	owner.share(recipient, undecided, "live_view")
	if err := redeem(recipient, first); err != nil {
		t.Fatal(err)
	}
	if err := redeem(stranger, first); !hasCode(err, "code_invalid") {
		t.Errorf("a used code: %v", err)
	}
	var privileges struct{ Items []struct{ Device string } }
	if recipient.must("GET", "/privileges", nil, &privileges); len(privileges.Items) != 1 || privileges.Items[0].Device != device {
		t.Errorf("after redeeming what a code offers, and not deciding about another device: %+v", privileges)
	}
	var share struct{ Recipient struct{ Email string } }
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"code": own.Code}, "devices": []any{invitation(device, "ptz")}}, &share)
	if share.Recipient.Email != stranger.login {
		t.Errorf("shared by the recipient's code: %+v", share)
	}
	owner.must("PUT", "/accounts/me/password", map[string]any{"current": userPassword, "new": "four words nobody knows"}, nil)
	if err := redeem(stranger, second); !hasCode(err, "code_invalid") {
		t.Errorf("a code from before the password was changed: %v", err)
	}
}

// wantNowhere fails if a text stands readable in a folder.
func wantNowhere(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) {
			t.Errorf("%q stands readable in %s", text, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

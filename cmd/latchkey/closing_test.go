package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// grep lists the files of a folder in which a text stands, in UTF-8 or UTF-16.
func grep(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	var wide []byte
	for _, c := range []byte(text) {
		wide = append(wide, c, 0)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(raw, []byte(text)) || bytes.Contains(raw, wide)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestClosedAccount: nothing of a closed account works, nothing of its person is left, and
// the history still says what happened.
func TestClosedAccount(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, binary, data)
	owner, rita, sam := s.register(t, "owner"), s.register(t, "rita"), s.register(t, "sam")
	const number = "+4915112345678"
	rita.must("POST", "/accounts/me/addresses", map[string]any{"phone": number}, nil)
	rita.must("PUT", "/accounts/me", map[string]any{"name": "Rita Rosenstrauch", "user_name": "rosenrita"}, nil)
	hers := rita.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	given := owner.share(rita, device, "live_view")
	rita.accept(given, device)
	waiting := owner.share(&user{login: "nobody@example.com"}, device, "live_view")
	var made struct{ ID string }
	rita.must("POST", "/shares", map[string]any{
		"recipient": map[string]any{"email": sam.login}, "remark": "Samuels Gartenhaus", "devices": []any{invitation(hers, "live_view")},
	}, &made)
	sam.accept(made.ID, hers)
	key := rita.streamKey()
	other := s.login(t, "rita")

	if err := rita.call("DELETE", "/accounts/me", map[string]any{"password": "not this one"}, nil); !hasCode(err, "wrong_password") {
		t.Fatalf("with a wrong password: %v", err)
	}
	rita.must("GET", "/devices", nil, nil)
	rita.must("DELETE", "/accounts/me", map[string]any{"password": userPassword}, nil)

	for _, u := range []*user{rita, other} {
		if err := u.call("GET", "/devices", nil, nil); !hasCode(err, "unauthenticated") {
			t.Errorf("a session: %v", err)
		}
	}
	for _, login := range []string{rita.login, number, "rosenrita"} {
		if err := rita.call("POST", "/sessions", map[string]any{"login": login, "password": userPassword}, nil); !hasCode(err, "invalid_credentials") {
			t.Errorf("logging in as %s: %v", login, err)
		}
	}
	for _, path := range []string{"/" + hers + "/1", "/" + device + "/1"} {
		if status := describeStatus(t, s.rtsp, path, key); status != 401 {
			t.Errorf("the key at %s: status %d", path, status)
		}
	}
	if n := sam.received(); n != 0 {
		t.Errorf("sam still has %d shares", n)
	}
	var share struct{ Devices []struct{ Status string } }
	owner.must("GET", "/shares/"+given, nil, &share)
	for _, d := range share.Devices {
		if d.Status == "accepted" || d.Status == "invited" {
			t.Errorf("the owner's share still has %+v", share.Devices)
		}
	}
	owner.must("GET", "/shares/"+waiting, nil, nil)
	s.stop(t)

	left := exec.Command(binary, "audit", "replay", "--data", data, "--quiet")
	history, err := left.CombinedOutput()
	if err != nil || !strings.Contains(string(history), "was closed") {
		t.Errorf("the history: %v\n%s", err, tail(string(history), 1500))
	}
	copied := t.TempDir()
	if out, err := exec.Command("cp", "-a", data+"/.", copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, text := range []string{rita.login, number, "4915112345678", "Rosenstrauch", "rosenrita", "Gartenhaus"} {
		for _, dir := range []string{data, copied} {
			if found := grep(t, dir, text); found != nil {
				t.Errorf("%q is in %v", text, found)
			}
		}
		// A remark is about its recipient, and is forgotten with them.
		if strings.Contains(string(history), text) && text != "Gartenhaus" {
			t.Errorf("%q is in the history", text)
		}
		if strings.Contains(s.said(), text) {
			t.Errorf("%q is in the log of the service", text)
		}
	}
	s = serve(t, binary, data)
	again := s.register(t, "rita") // the address is free
	if n := again.received(); n != 0 {
		t.Errorf("whoever has the address next has %d shares", n)
	}
	again.must("PUT", "/accounts/me", map[string]any{"user_name": "rosenrita"}, nil)
}

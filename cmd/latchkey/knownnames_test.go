package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/mailtest"
)

// shown is what an answer shows: its status, its headers and its body, less what differs
// from request to request.
func (u *user) shown(method, path string, body any) string {
	u.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		u.t.Fatal(err)
	}
	r, err := http.NewRequest(method, "http://"+u.api.host+"/api/v1"+path, strings.NewReader(string(raw)))
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	var lines []string
	for name, values := range a.Header {
		lines = append(lines, name+": "+strings.Join(values, ", "))
	}
	slices.Sort(lines)
	all := fmt.Sprintf("%d\n%s\n%s", a.StatusCode, strings.Join(lines, "\n"), answer)
	return differs.ReplaceAllString(all, "*")
}

// differs is what tells nothing: ids, times, positions, tokens, and addresses of one length.
var differs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|[A-Z2-7]{26}|(knows|nobod)@example.com|[0-9T:.-]{19,32}Z|\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|(Latchkey-Position|X-Request-Id|Content-Length): \S+|"request_id":"[^"]*"|"current":(true|false)`)

// TestRegisteringAKnownAddress: with the real binary and real mail, an address that has an
// account and one that has none give the same answers, until it is proven; and the one who
// has it is told by mail.
func TestRegisteringAKnownAddress(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	known := s.register(t, "knows")
	if err := known.verify(known.addresses().Items[0].ID, codeFor(t, mail, known.login, 1)); err != nil {
		t.Fatal(err)
	}
	owner := s.register(t, "owner")
	if err := owner.verify(owner.addresses().Items[0].ID, codeFor(t, mail, owner.login, 1)); err != nil {
		t.Fatal(err)
	}
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	share := owner.share(known, device, "live_view")
	known.accept(share, device)

	walk := func(address string) (said []string) {
		stranger := &user{t: t, api: s.api}
		step := func(method, path string, body any) {
			said = append(said, method+" "+regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(path, "*")+": "+stranger.shown(method, path, body))
		}
		step("POST", "/accounts", map[string]any{"email": address, "password": otherPassword, "name": "Mallory"})
		step("POST", "/accounts", map[string]any{"email": address, "password": "yet another password", "name": "Mallory"})
		step("POST", "/accounts", map[string]any{"email": address, "password": "short", "name": "Mallory"})
		step("POST", "/sessions", map[string]any{"login": address, "password": "a wrong password"})
		step("POST", "/password-resets", map[string]any{"login": address})
		step("POST", "/password-resets/confirm", map[string]any{"login": address, "code": "00000000", "new_password": "a third long password"})
		step("POST", "/sessions", map[string]any{"login": address, "password": otherPassword})
		var session struct{ Token string }
		stranger.must("POST", "/sessions", map[string]any{"login": address, "password": otherPassword}, &session)
		stranger.token = session.Token
		for _, path := range []string{"/accounts/me", "/accounts/me/addresses", "/shares/received", "/shares/sent", "/privileges", "/invitations", "/accounts/me/sessions"} {
			step("GET", path, nil)
		}
		id := stranger.addresses().Items[0].ID
		step("POST", "/accounts/me/addresses/"+id+"/code", nil)
		step("POST", "/accounts/me/addresses/"+id+"/verify", map[string]any{"code": "00000000"})
		step("POST", "/accounts/me/addresses", map[string]any{"email": address})
		step("DELETE", "/accounts/me/addresses/"+id, nil)
		step("POST", "/shares", map[string]any{"recipient": map[string]any{"email": address}, "remark": "", "devices": []any{}})
		step("POST", "/accounts/me/code", nil)
		step("PUT", "/accounts/me/password", map[string]any{"current": otherPassword, "new": "a third long password"})
		step("POST", "/sessions", map[string]any{"login": address, "password": otherPassword})
		step("POST", "/sessions", map[string]any{"login": address, "password": "a third long password"})
		return said
	}
	has, none := walk(known.login), walk("nobod@example.com")
	for i := range has {
		if has[i] != none[i] {
			t.Errorf("for an address that has an account:\n%s\nfor another:\n%s", has[i], none[i])
		}
	}
	eventually(t, "the holder is told", func() bool {
		return slices.ContainsFunc(mail.To(known.login), func(m mailtest.Mail) bool {
			return strings.Contains(m.Text, "Somebody tried to register")
		})
	})
	for i, m := range mail.To(known.login)[1:] {
		if _, body, _ := strings.Cut(m.Text, "\n\n"); code.MatchString(body) && !strings.Contains(m.Text, "new password") {
			t.Errorf("mail %d has a code:\n%s", i+1, m.Text)
		}
	}
	// Nothing of it has changed anything for whoever has the address.
	again := s.login(t, "knows")
	if list := again.addresses().Items; len(list) != 1 || !list[0].Verified {
		t.Errorf("%+v", list)
	}
	if n := again.received(); n != 1 {
		t.Errorf("%d shares are left", n)
	}
}

// TestRemovingSomebodyElsesAddress: adding an address of somebody else's and removing it
// again leaves their shares alone.
func TestRemovingSomebodyElsesAddress(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	rita, eve, owner := s.register(t, "rita"), s.register(t, "eve"), s.register(t, "owner")
	for _, u := range []*user{rita, owner} {
		if err := u.verify(u.addresses().Items[0].ID, codeFor(t, mail, u.login, 1)); err != nil {
			t.Fatal(err)
		}
	}
	owner.share(rita, owner.addDevice("rtsp://127.0.0.1:1/h264", "", ""), "live_view")
	var foreign struct{ ID string }
	eve.must("POST", "/accounts/me/addresses", map[string]any{"email": rita.login}, &foreign)
	eve.must("DELETE", "/accounts/me/addresses/"+foreign.ID, nil, nil)
	if n := rita.received(); n != 1 {
		t.Errorf("%d shares are left", n)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"

	"latchkey/internal/mailtest"
)

// TestForgottenPassword: a code that was sent to a verified address sets a new password,
// and ends what was open with the one before.
func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	rita, eve := s.register(t, "rita"), s.register(t, "eve")
	if err := rita.verify(rita.addresses().Items[0].ID, codeFor(t, mail, rita.login, 1)); err != nil {
		t.Fatal(err)
	}
	codeFor(t, mail, eve.login, 1)
	key := rita.streamKey()
	nobody := &user{t: t, api: s.api}
	ask := func(login string) { nobody.must("POST", "/password-resets", map[string]any{"login": login}, nil) }
	ask("nobody@example.com")
	ask(eve.login) // she has not verified it
	ask("not an address")
	ask(rita.login)
	code := resetCodeFor(t, mail, rita.login, 2)
	confirm := func(login, code, password string) error {
		return nobody.call("POST", "/password-resets/confirm", map[string]any{"login": login, "code": code, "new_password": password}, nil)
	}
	for login, code := range map[string]string{rita.login: wrong(code), "nobody@example.com": code, eve.login: code} {
		if err := confirm(login, code, otherPassword); !hasCode(err, "wrong_code") {
			t.Errorf("%s with %s: %v", login, code, err)
		}
	}
	if err := confirm(rita.login, code, "short"); !hasCode(err, "invalid_body") {
		t.Errorf("a bad password: %v", err)
	}
	if err := confirm(rita.login, code, otherPassword); err != nil {
		t.Fatal(err)
	}
	if err := confirm(rita.login, code, "another long password"); !hasCode(err, "wrong_code") {
		t.Errorf("the code again: %v", err)
	}
	if err := rita.call("GET", "/devices", nil, nil); !hasCode(err, "unauthenticated") {
		t.Errorf("the session of before: %v", err)
	}
	if status := describeStatus(t, s.rtsp, "/none/1", key); status != 401 {
		t.Errorf("the key of before: status %d", status)
	}
	nobody.must("POST", "/sessions", map[string]any{"login": rita.login, "password": otherPassword}, nil)
	if n := len(mail.To(eve.login)) + len(mail.To("nobody@example.com")); n != 1 {
		t.Errorf("%d mails went to who has verified nothing", n)
	}
}

// TestPendingCodesEnd: a code for a new password is of no use once the password was
// changed, or the address that it was sent to was removed; and it is of that address only.
// So are invitations that whoever knew the password may have made.
func TestPendingCodesEnd(t *testing.T) {
	t.Setenv("LATCHKEY_REGISTRATION", "open")
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	rita := s.register(t, "rita")
	if err := rita.verify(rita.addresses().Items[0].ID, codeFor(t, mail, rita.login, 1)); err != nil {
		t.Fatal(err)
	}
	const second = "rita.second@example.com"
	add := func(n int) (id string) {
		var address struct{ ID string }
		rita.must("POST", "/accounts/me/addresses", map[string]any{"email": second}, &address)
		if err := rita.verify(address.ID, codeFor(t, mail, second, n)); err != nil {
			t.Fatal(err)
		}
		return address.ID
	}
	id := add(1)
	nobody := &user{t: t, api: s.api}
	ask := func(login string) { nobody.must("POST", "/password-resets", map[string]any{"login": login}, nil) }
	refused := func(login, code, when string) {
		t.Helper()
		body := map[string]any{"login": login, "code": code, "new_password": "a password of somebody else"}
		if err := nobody.call("POST", "/password-resets/confirm", body, nil); !hasCode(err, "wrong_code") {
			t.Errorf("%s: %v", when, err)
		}
	}
	ask(second)
	code := resetCodeFor(t, mail, second, 2)
	refused(rita.login, code, "for another address of the account")
	rita.must("DELETE", "/accounts/me/addresses/"+id, nil, nil)
	refused(second, code, "after the address was removed")
	refused(rita.login, code, "after it was removed, for another address")
	add(3)
	refused(second, code, "after the address was added again")

	ask(rita.login)
	code = resetCodeFor(t, mail, rita.login, 2)
	var invitation struct{ ID string }
	rita.must("POST", "/accounts/me/invitations", nil, &invitation)
	var session struct{ Token string }
	rita.must("PUT", "/accounts/me/password", map[string]any{"current": userPassword, "new": otherPassword}, &session)
	refused(rita.login, code, "after the password was changed")
	rita.token = session.Token
	var list struct{ Items []any }
	if rita.must("GET", "/accounts/me/invitations", nil, &list); len(list.Items) != 0 {
		t.Errorf("an invitation of before the change: %v", list.Items)
	}
	nobody.must("POST", "/sessions", map[string]any{"login": rita.login, "password": otherPassword}, nil)

	ask(rita.login)
	code = resetCodeFor(t, mail, rita.login, 3)
	rita.must("DELETE", "/accounts/me", map[string]any{"password": otherPassword}, nil)
	refused(rita.login, code, "after the account was closed")
}

var resetCode = regexp.MustCompile(`\b[0-9]{4}-[0-9]{4}-[0-9]{4}\b`)

// resetCodeFor waits for the n-th mail to an address and returns the code for a new password
// in it.
func resetCodeFor(t *testing.T, mail *mailtest.Server, address string, n int) string {
	t.Helper()
	eventually(t, "a code for a new password comes for "+address, func() bool { return len(mail.To(address)) >= n })
	found := resetCode.FindString(mail.To(address)[n-1].Text)
	if found == "" {
		t.Fatalf("no code is in\n%s", mail.To(address)[n-1].Text)
	}
	return found
}

// TestStrangersBlockNoReset: whoever asks for codes for somebody else, or tries some, from
// many networks, neither keeps that person from a new password nor fills their mailbox.
func TestStrangersBlockNoReset(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	rita := s.register(t, "rita")
	if err := rita.verify(rita.addresses().Items[0].ID, codeFor(t, mail, rita.login, 1)); err != nil {
		t.Fatal(err)
	}
	from := func(network int, path string, body map[string]any) int {
		t.Helper()
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 3, byte(network))}}
		client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		for {
			r, err := client.Post("http://"+s.http+"/api/v1"+path, "application/json", bytes.NewReader(raw)) //nolint:noctx // a test
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if !bytes.Contains(answer, []byte("passwords_busy")) {
				return r.StatusCode
			}
		}
	}
	ask := map[string]any{"login": rita.login}
	for network := range 12 {
		if got := from(network+1, "/password-resets", ask); got != http.StatusAccepted {
			t.Fatalf("stranger %d asks: %d", network, got)
		}
	}
	for try := range 8 {
		if got := from(99, "/password-resets", ask); got != http.StatusAccepted {
			t.Fatalf("the person asks for the time %d: %d", try, got)
		}
	}
	code := resetCodeFor(t, mail, rita.login, 2)
	for network := range 4 {
		for try := range 8 {
			wrong := map[string]any{"login": rita.login, "code": fmt.Sprintf("00000000%02d%02d", network, try), "new_password": otherPassword}
			if got := from(network+1, "/password-resets/confirm", wrong); got != http.StatusForbidden {
				t.Fatalf("stranger %d guesses: %d", network, got)
			}
		}
	}
	right := map[string]any{"login": rita.login, "code": code, "new_password": otherPassword}
	if got := from(99, "/password-resets/confirm", right); got != http.StatusNoContent {
		t.Errorf("the person's own code: %d", got)
	}
	if n := len(mail.To(rita.login)); n != 2 {
		t.Errorf("%d mails came to the person", n)
	}
}

package main

import (
	"testing"

	"latchkey/internal/mailtest"
)

// TestForgottenPassword: a code that was sent to a verified address sets a new password,
// and ends what was open with the one before.
func TestForgottenPassword(t *testing.T) {
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
	code := codeFor(t, mail, rita.login, 2)
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

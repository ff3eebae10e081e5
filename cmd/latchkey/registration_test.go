package main

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// TestWhoMayRegister: the first account by what serve prints, others by an invitation of
// an account or by the operator; each invitation once.
func TestWhoMayRegister(t *testing.T) {
	t.Setenv("LATCHKEY_REGISTRATION", "invited") // as without --mail
	t.Setenv("LATCHKEY_VERIFICATION", "required")
	data := t.TempDir()
	s := serve(t, binary, data)
	var token string
	eventually(t, "serve prints a link", func() bool {
		found := setUpLink.FindStringSubmatch(s.said())
		if found != nil {
			token = found[2]
		}
		return found != nil
	})
	register := func(name, token string) error {
		body := map[string]any{"email": name + "@example.com", "password": userPassword, "name": name}
		if token != "" {
			body["invitation"] = token
		}
		return (&user{t: t, api: s.api}).call("POST", "/accounts", body, nil)
	}
	refused := func(name, token, code string) {
		t.Helper()
		if err := register(name, token); !hasCode(err, code) {
			t.Errorf("%s with %q: %v", name, token, err)
		}
	}
	refused("eve", "", "invitation_required")
	refused("eve", strings.Repeat("A", 26), "invitation_required")
	if err := register("olga", token); err != nil {
		t.Fatal(err)
	}
	refused("eve", token, "invitation_required")
	olga := s.login(t, "olga")
	if list := olga.addresses().Items; len(list) != 1 || !list[0].Verified {
		t.Errorf("whoever sets the service up: %+v", list)
	}
	var invitation, another struct{ ID, Token string }
	olga.must("POST", "/accounts/me/invitations", nil, &invitation)
	olga.must("POST", "/accounts/me/invitations", nil, &another)
	if err := register("rita", invitation.Token); err != nil {
		t.Fatal(err)
	}
	refused("eve", invitation.Token, "invitation_required")
	rita := s.login(t, "rita")
	if err := rita.call("DELETE", "/accounts/me/invitations/"+another.ID, nil, nil); !hasCode(err, "invitation_not_found") {
		t.Errorf("somebody else revokes it: %v", err)
	}
	olga.must("DELETE", "/accounts/me/invitations/"+another.ID, nil, nil)
	refused("eve", another.Token, "invitation_required")
	var list struct{ Items []struct{ Used bool } }
	if olga.must("GET", "/accounts/me/invitations", nil, &list); len(list.Items) != 1 || !list.Items[0].Used {
		t.Errorf("%+v", list)
	}
	s.stop(t)

	create := exec.Command(binary, "account", "create", "--data", data, "--email", "sam@example.com", "--name", "Sam")
	create.Stdin = strings.NewReader(userPassword + "\n")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s = serve(t, binary, data, "--registration", "closed")
	if setUpLink.MatchString(s.said()) {
		t.Errorf("a service with accounts prints a link:\n%s", s.said())
	}
	refused("eve", "", "registration_closed")
	sam := s.login(t, "sam")
	if list := sam.addresses().Items; len(list) != 1 || !list[0].Verified {
		t.Errorf("an account of the operator's: %+v", list)
	}
	if err := sam.call("POST", "/accounts/me/invitations", nil, nil); !hasCode(err, "registration_closed") {
		t.Errorf("inviting where it is closed: %v", err)
	}
}

// TestARefusedRegistrationUsesNoInvitation: only a registration that succeeds does, and only
// one of two at once.
func TestARefusedRegistrationUsesNoInvitation(t *testing.T) {
	data := t.TempDir()
	s := serve(t, binary, data)
	s.register(t, "olga")
	s.stop(t)
	t.Setenv("LATCHKEY_REGISTRATION", "invited")
	s = serve(t, binary, data)
	olga := s.login(t, "olga")
	var invitation struct{ ID, Token string }
	olga.must("POST", "/accounts/me/invitations", nil, &invitation)
	nobody := &user{t: t, api: s.api}
	register := func(email, password string) error {
		return nobody.call("POST", "/accounts", map[string]any{"email": email, "password": password, "name": "x", "invitation": invitation.Token}, nil)
	}
	used := func(want bool) {
		t.Helper()
		var list struct{ Items []struct{ Used bool } }
		if olga.must("GET", "/accounts/me/invitations", nil, &list); len(list.Items) != 1 || list.Items[0].Used != want {
			t.Errorf("used: %+v; want %v", list.Items, want)
		}
	}
	if err := register(olga.login, userPassword); !hasCode(err, "login_taken") {
		t.Errorf("an address that is taken: %v", err)
	}
	if err := register("rita@example.com", "short"); !hasCode(err, "invalid_body") {
		t.Errorf("a bad password: %v", err)
	}
	used(false)
	answers := make([]error, 4)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = register(fmt.Sprintf("guest%d@example.com", i), userPassword) })
	}
	wg.Wait()
	won := 0
	for _, err := range answers {
		if err == nil {
			won++
		} else if !hasCode(err, "invitation_required") {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d registered by one invitation: %v", won, answers)
	}
	used(true)
}

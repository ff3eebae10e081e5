package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/api/client"
	"latchkey/internal/mailtest"
)

// verifying starts a service that asks for proofs, and sends codes to a mail server.
func verifying(t *testing.T, data string, mail *mailtest.Server, more ...string) *service {
	t.Helper()
	return serveIn(t, append(mailEnv(t, mail), "LATCHKEY_VERIFICATION=required"), binary, data, more...)
}

var code = regexp.MustCompile(`\b[0-9]{8}\b`)

// codeFor waits for the n-th mail to an address and returns the code in it.
func codeFor(t *testing.T, mail *mailtest.Server, address string, n int) string {
	t.Helper()
	eventually(t, "a code comes for "+address, func() bool { return len(mail.To(address)) >= n })
	list := mail.To(address)
	if len(list) != n || !list[n-1].TLS {
		t.Fatalf("%d mails came to %s; want %d, by TLS", len(list), address, n)
	}
	_, body, _ := strings.Cut(list[n-1].Text, "\n\n") // the header has ids
	found := code.FindString(body)
	if found == "" {
		t.Fatalf("no code is in\n%s", list[n-1].Text)
	}
	return found
}

type addressList struct {
	Items []struct {
		ID, Email, Phone  string
		Verified, Primary bool
	}
}

func (u *user) addresses() addressList {
	u.t.Helper()
	var list addressList
	u.must("GET", "/accounts/me/addresses", nil, &list)
	return list
}

func (u *user) verify(id, code string) error {
	return u.call("POST", "/accounts/me/addresses/"+id+"/verify", map[string]any{"code": code}, nil)
}

// proveFirst verifies the address that the user registered with.
func (u *user) proveFirst(mail *mailtest.Server) {
	u.t.Helper()
	if err := u.verify(u.addresses().Items[0].ID, codeFor(u.t.(*testing.T), mail, u.login, 1)); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) received() (n int) {
	u.t.Helper()
	var list struct{ Items []any }
	u.must("GET", "/shares/received", nil, &list)
	return len(list.Items)
}

func wrong(code string) string {
	if code[0] == '0' {
		return "1" + code[1:]
	}
	return "0" + code[1:]
}

// TestAnUnverifiedAddressProvesNothing: what is shared with an address waits until the
// code comes back that was sent to it.
func TestAnUnverifiedAddressProvesNothing(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	offer := map[string]any{"recipient": map[string]any{"email": rita.login}, "devices": []any{invitation(device, "live_view")}}
	for _, path := range []string{"/shares", "/invitation-codes"} {
		if err := owner.call("POST", path, offer, nil); !hasCode(err, "address_not_verified") {
			t.Errorf("POST %s in the name of an address that is not proven: %v", path, err)
		}
		delete(offer, "recipient")
	}
	owner.proveFirst(mail)
	share := owner.share(rita, device, "live_view")
	accept := "/shares/" + share + "/devices/" + device + "/accept"
	refused := func(when string) {
		t.Helper()
		if n := rita.received(); n != 0 {
			t.Errorf("%s: %d shares are listed", when, n)
		}
		for _, path := range []string{accept, "/shares/" + share + "/devices/" + device + "/reject"} {
			if err := rita.call("POST", path, nil, nil); !hasCode(err, "share_not_found") {
				t.Errorf("%s: %s: %v", when, path, err)
			}
		}
		for _, path := range []string{"/shares/" + share, "/shares/" + share + "/devices/" + device} {
			if err := rita.call("DELETE", path, nil, nil); !hasCode(err, "share_not_found") {
				t.Errorf("%s: leaving by %s: %v", when, path, err)
			}
		}
		if err := rita.call("GET", "/shares/"+share, nil, nil); !hasCode(err, "share_not_found") {
			t.Errorf("%s: reading: %v", when, err)
		}
	}
	refused("before the code")
	first := codeFor(t, mail, rita.login, 1)
	id := rita.addresses().Items[0].ID
	if err := rita.verify(id, wrong(first)); !hasCode(err, "wrong_code") {
		t.Fatal(err)
	}
	if err := owner.verify(id, first); !hasCode(err, "address_not_found") {
		t.Fatalf("somebody else verifies the address: %v", err)
	}
	rita.must("POST", "/accounts/me/addresses/"+id+"/code", nil, nil)
	second := codeFor(t, mail, rita.login, 2)
	if err := rita.verify(id, first); first != second && !hasCode(err, "wrong_code") {
		t.Fatalf("the code before: %v", err)
	}
	refused("after a wrong code")
	if err := rita.verify(id, " "+second[:4]+" "+second[4:6]+"-"+second[6:]+"\n"); err != nil { // as people type
		t.Fatal(err)
	}
	if err := rita.verify(id, second); err != nil {
		t.Errorf("verifying again: %v", err)
	}
	if n := rita.received(); n != 1 {
		t.Fatalf("%d shares are listed after the code", n)
	}
	rita.accept(share, device)
	if err := rita.call("DELETE", "/accounts/me/addresses/"+id, nil, nil); !hasCode(err, "last_address") {
		t.Errorf("removing the last address: %v", err)
	}
}

// TestSeveralAddresses: each verified address of an account receives what is shared with
// it and can be used to log in, and so can the user name.
func TestSeveralAddresses(t *testing.T) {
	var mu sync.Mutex
	texts := map[string]string{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ To, Text string }
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &m)
		mu.Lock()
		defer mu.Unlock()
		texts[m.To] = m.Text
	}))
	defer hook.Close()
	mail := mailtest.Start(t)
	t.Setenv("LATCHKEY_SMS_HOOK_SECRET", "a secret of both sides")
	s := verifying(t, t.TempDir(), mail, "--sms-hook", hook.URL)
	owner, rita, sam := s.register(t, "owner"), s.register(t, "rita"), s.register(t, "sam")
	for _, u := range []*user{owner, rita, sam} {
		u.proveFirst(mail)
	}
	const number = "+4915112345678"
	var phone struct{ ID string }
	rita.must("POST", "/accounts/me/addresses", map[string]any{"phone": "0049 151 12345678"}, &phone)
	logIn := func(name string) error {
		return s.api.do(t.Context(), "POST", "/sessions", "", map[string]any{"login": name, "password": userPassword}, nil)
	}
	if err := logIn(number); !hasCode(err, "invalid_credentials") {
		t.Errorf("logging in with an address that is not verified: %v", err)
	}
	sent := func() string { mu.Lock(); defer mu.Unlock(); return code.FindString(texts[number]) }
	eventually(t, "a text message comes", func() bool { return sent() != "" })
	if err := rita.call("POST", "/accounts/me/addresses/"+phone.ID+"/primary", nil, nil); !hasCode(err, "address_not_verified") {
		t.Errorf("others see an address that is not verified: %v", err)
	}
	if err := rita.verify(phone.ID, sent()); err != nil {
		t.Fatal(err)
	}
	rita.must("POST", "/accounts/me/addresses/"+phone.ID+"/primary", nil, nil)
	rita.share(sam, rita.addDevice("rtsp://127.0.0.1:1/h264", "", ""), "live_view")
	var news struct {
		Items []struct{ From struct{ Email, Phone string } }
	}
	if sam.must("GET", "/invitations", nil, &news); len(news.Items) != 1 || news.Items[0].From.Phone != number {
		t.Errorf("who shares by the address that they chose: %+v", news)
	}
	rita.must("POST", "/accounts/me/addresses/"+rita.addresses().Items[0].ID+"/primary", nil, nil)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	for _, to := range []map[string]any{{"phone": number}, {"email": rita.login}} {
		owner.must("POST", "/shares", map[string]any{"recipient": to, "remark": "", "devices": []any{invitation(device, "live_view")}}, nil)
	}
	if n := rita.received(); n != 2 {
		t.Errorf("%d shares reached the account by its two addresses", n)
	}
	rita.must("PUT", "/accounts/me", map[string]any{"user_name": "rita.b", "name": "Rita B", "language": "de"}, nil)
	if err := sam.call("PUT", "/accounts/me", map[string]any{"user_name": "rita.b"}, nil); !hasCode(err, "user_name_taken") {
		t.Errorf("a user name that another account has: %v", err)
	}
	if err := sam.call("PUT", "/accounts/me", map[string]any{"user_name": "1sam"}, nil); !hasCode(err, "invalid_body") {
		t.Errorf("a user name that is none: %v", err)
	}
	for _, name := range []string{number, rita.login, "rita.b", "Rita.B"} {
		if err := logIn(name); err != nil {
			t.Errorf("logging in as %s: %v", name, err)
		}
	}
	rita.must("PUT", "/accounts/me", map[string]any{"user_name": ""}, nil)
	sam.must("PUT", "/accounts/me", map[string]any{"user_name": "rita.b"}, nil)

	// An address of another account: the same answer, and its reader is told.
	var foreign struct{ ID string }
	sam.must("POST", "/accounts/me/addresses", map[string]any{"email": rita.login}, &foreign)
	eventually(t, "rita is told", func() bool { return len(mail.To(rita.login)) == 2 })
	if _, body, _ := strings.Cut(mail.To(rita.login)[1].Text, "\n\n"); code.MatchString(body) {
		t.Errorf("a code was sent for an address of another account:\n%s", body)
	}
	registered := rita.addresses().Items[0]
	rita.must("DELETE", "/accounts/me/addresses/"+registered.ID, nil, nil)
	if err := logIn(rita.login); !hasCode(err, "invalid_credentials") {
		t.Errorf("logging in with an address that was removed: %v", err)
	}
	if list := rita.addresses().Items; len(list) != 1 || !list[0].Primary || list[0].Phone != number {
		t.Errorf("the addresses: %+v", list)
	}
	sam.must("POST", "/accounts/me/addresses/"+foreign.ID+"/code", nil, nil)
	if err := sam.verify(foreign.ID, codeFor(t, mail, rita.login, 3)); err != nil {
		t.Errorf("an address that is free again: %v", err)
	}
}

// TestCodeIsSentOnceAfterAKill: a process is killed while the mail server takes its time.
func TestCodeIsSentOnceAfterAKill(t *testing.T) {
	t.Parallel()
	for _, step := range []string{mailtest.StepMail, mailtest.StepTaken} {
		t.Run(step, func(t *testing.T) {
			mail := mailtest.Start(t)
			reached, goOn := make(chan struct{}, 9), make(chan struct{})
			mail.Answer(func(at string, try int) error {
				if at != step || try > 1 {
					return nil
				}
				reached <- struct{}{}
				<-goOn
				if step == mailtest.StepMail {
					return mailtest.ErrCut // the process is gone
				}
				return nil
			})
			data := t.TempDir()
			s := verifying(t, data, mail)
			s.register(t, "rita")
			<-reached
			s.kill()
			close(goOn)
			s = verifying(t, data, mail)
			rita := s.login(t, "rita")
			if step == mailtest.StepMail { // the code was not handed over for certain, and is asked for again
				rita.must("POST", "/accounts/me/addresses/"+rita.addresses().Items[0].ID+"/code", nil, nil)
			}
			if err := rita.verify(rita.addresses().Items[0].ID, codeFor(t, mail, rita.login, 1)); err != nil {
				t.Fatal(err)
			}
			other := s.register(t, "other") // what comes later was sent
			codeFor(t, mail, other.login, 1)
			if n := len(mail.To(rita.login)); n != 1 {
				t.Errorf("%d mails came", n)
			}
		})
	}
}

// TestTwoAccountsVerifyOneAddress: two accounts send the codes that came to one address at
// the same moment. One of them has it.
func TestTwoAccountsVerifyOneAddress(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	both := []*user{s.register(t, "rita"), s.register(t, "sam")}
	for round := range 3 {
		address := fmt.Sprintf("both%d@example.com", round)
		ids, codes := make([]string, 2), make([]string, 2)
		for i, u := range both {
			var made struct{ ID string }
			u.must("POST", "/accounts/me/addresses", map[string]any{"email": address}, &made)
			ids[i], codes[i] = made.ID, codeFor(t, mail, address, i+1)
		}
		answers := make([]error, 2)
		var wg sync.WaitGroup
		for i, u := range both {
			wg.Go(func() { answers[i] = u.verify(ids[i], codes[i]) })
		}
		wg.Wait()
		won := 0
		for i, u := range both {
			if answers[i] == nil {
				won++
			} else if !hasCode(answers[i], "login_taken") {
				t.Errorf("the other one gets %v", answers[i])
			}
			for _, a := range u.addresses().Items {
				if a.ID == ids[i] && a.Verified != (answers[i] == nil) {
					t.Errorf("verified: %v, after %v", a.Verified, answers[i])
				}
			}
		}
		if won != 1 {
			t.Errorf("%d accounts have the address", won)
		}
	}
}

// allowed reports whether an account may view a device, by each of the ways to ask.
func (u *user) allowed(device string) (check bool, listed int) {
	u.t.Helper()
	var one struct{ Allowed bool }
	if err := u.call("GET", "/privileges/check?channel=1&privilege=live_view&device="+device, nil, &one); err != nil && !hasCode(err, "device_not_found") {
		u.t.Fatal(err)
	}
	var all struct{ Items []struct{ Device string } }
	u.must("GET", "/privileges", nil, &all)
	for _, item := range all.Items {
		if item.Device == device {
			listed++
		}
	}
	return one.Allowed, listed
}

// wantNothing checks that an account has nothing of a device by any way, and no share.
func (u *user) wantNothing(device, when string) {
	u.t.Helper()
	if check, listed := u.allowed(device); check || listed != 0 || u.received() != 0 {
		u.t.Errorf("%s: allowed %v, listed %d times, %d shares", when, check, listed, u.received())
	}
}

// TestASharesAddressIsRemoved: a share belongs to the address that it was given to. An
// account that removes the address leaves it, if it says so; the next holder of the address
// is shown nothing of it.
func TestASharesAddressIsRemoved(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	owner, uma := s.register(t, "owner"), s.register(t, "uma")
	verify := func(u *user, address string, n int) (id string) {
		for _, a := range u.addresses().Items {
			if a.Email == address {
				id = a.ID
			}
		}
		if err := u.verify(id, codeFor(t, mail, address, n)); err != nil {
			t.Fatal(err)
		}
		return id
	}
	verify(owner, owner.login, 1)
	first := verify(uma, uma.login, 1)
	const second = "uma.second@example.com"
	uma.must("POST", "/accounts/me/addresses", map[string]any{"email": second}, nil)
	verify(uma, second, 1)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	share := owner.share(uma, device, "live_view")
	uma.accept(share, device)
	key := uma.streamKey()

	err := uma.call("DELETE", "/accounts/me/addresses/"+first, nil, nil)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != "address_has_shares" || !slices.Equal(e.Shares, []string{share}) {
		t.Fatalf("removing the address of a share: %v", err)
	}
	if check, listed := uma.allowed(device); !check || listed != 1 || uma.received() != 1 {
		t.Errorf("after the refusal: %v, %d, %d shares", check, listed, uma.received())
	}
	uma.must("DELETE", "/accounts/me/addresses/"+first+"?leave_shares=true", nil, nil)
	uma.wantNothing(device, "after the removal")
	if status := describeStatus(t, s.rtsp, "/"+device+"/1", key); status != 404 {
		t.Errorf("the door: status %d", status)
	}
	wantLeft := func(when string) {
		t.Helper()
		var is struct {
			Devices []struct {
				Status  string
				InForce bool `json:"in_force"`
			}
		}
		if owner.must("GET", "/shares/"+share, nil, &is); len(is.Devices) != 1 || is.Devices[0].Status != "left" || is.Devices[0].InForce {
			t.Errorf("%s the owner sees %+v", when, is.Devices)
		}
	}
	wantLeft("after the removal")

	next := s.register(t, "uma")
	verify(next, next.login, 2)
	next.wantNothing(device, "the next holder")
	for _, call := range [][2]string{
		{"GET", ""}, {"DELETE", ""}, {"DELETE", "/devices/" + device},
		{"POST", "/devices/" + device + "/accept"}, {"POST", "/devices/" + device + "/reject"},
	} {
		if err := next.call(call[0], "/shares/"+share+call[1], nil, nil); !hasCode(err, "share_not_found") {
			t.Errorf("the next holder: %s %s: %v", call[0], call[1], err)
		}
	}
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": next.login}, "devices": []any{invitation(device, "live_view")}}, nil)
	next.accept(share, device)
	if check, listed := next.allowed(device); !check || listed != 1 || next.received() != 1 {
		t.Errorf("the next holder, shared with: %v, %d, %d shares", check, listed, next.received())
	}
	next.must("DELETE", "/accounts/me", map[string]any{"password": userPassword}, nil)
	wantLeft("after it was closed")
}

// TestAClosedRecipientsAddressAgain: the owner shares with an address whose account was
// closed: the share begins again with the address as it was typed.
func TestAClosedRecipientsAddressAgain(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	cam, dvr := owner.addDevice("rtsp://127.0.0.1:1/h264", "", ""), owner.addDevice("rtsp://127.0.0.1:1/h265", "", "")
	share := owner.share(rita, cam, "live_view")
	rita.accept(share, cam)
	rita.must("DELETE", "/accounts/me", map[string]any{"password": userPassword}, nil)
	next := s.register(t, "rita")
	if err := next.call("GET", "/shares/"+share, nil, nil); !hasCode(err, "share_not_found") {
		t.Errorf("the next holder reads the share of the one before: %v", err)
	}
	var made struct {
		ID        string
		Recipient struct{ Email string }
	}
	owner.must("POST", "/shares", map[string]any{
		"recipient": map[string]any{"email": rita.login}, "remark": "Again", "devices": []any{invitation(dvr, "live_view")},
	}, &made)
	if made.ID != share || made.Recipient.Email != rita.login {
		t.Errorf("the answer is %+v", made)
	}
	var is struct {
		Remark    string
		Recipient struct{ Email string }
		Devices   []struct{ Device, Status string }
	}
	owner.must("GET", "/shares/"+share, nil, &is)
	if is.Recipient.Email != rita.login || is.Remark != "Again" || len(is.Devices) != 1 || is.Devices[0].Device != dvr {
		t.Errorf("the owner sees %+v", is)
	}
	var ways struct {
		Items []struct{ Recipient struct{ Email string } }
	}
	owner.must("GET", "/devices/"+dvr+"/access", nil, &ways)
	if len(ways.Items) != 1 || ways.Items[0].Recipient.Email != rita.login {
		t.Errorf("whoever has access: %+v", ways.Items)
	}
	next.accept(share, dvr)
	next.must("GET", "/shares/"+share, nil, &is)
	if len(is.Devices) != 1 || is.Devices[0].Device != dvr {
		t.Errorf("the next holder sees %+v", is.Devices)
	}
}

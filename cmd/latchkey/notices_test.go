package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mailtest"
)

// mailing starts a service that sends mail, and asks for no proofs.
func mailing(t *testing.T, data string, mail *mailtest.Server, more ...string) *service {
	t.Helper()
	return serveIn(t, mailEnv(t, mail), binary, data, more...)
}

// mailEnv is the environment of a service that sends by a mail server.
func mailEnv(t *testing.T, mail *mailtest.Server) []string {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, mail.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"SSL_CERT_FILE=" + ca, "LATCHKEY_MAIL=smtp://" + mailtest.User + ":mail%20secret@" + mail.Addr + "?from=noreply@example.com"}
}

// decoded returns the subject and the text of a mail.
func decoded(t testing.TB, m mailtest.Mail) (subject, text string) {
	t.Helper()
	return decodeMail(t, m.Text)
}

// mailTo waits for the n-th mail to an address.
func mailTo(t testing.TB, mail *mailtest.Server, address string, n int) (subject, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("mail %d comes for %s", n, address), func() bool { return len(mail.To(address)) >= n })
	list := mail.To(address)
	if len(list) != n {
		t.Fatalf("%d mails came to %s; want %d:\n%+v", len(list), address, n, list)
	}
	return decoded(t, list[n-1])
}

func hasAll(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}

// invite shares devices with an address and returns the share.
func (u *user) invite(address string, devices ...string) (share string) {
	u.t.Helper()
	list := make([]any, len(devices))
	for i, d := range devices {
		list[i] = invitation(d, "live_view")
	}
	var out struct{ ID string }
	u.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": address}, "remark": "secret remark", "devices": list}, &out)
	return out.ID
}

// TestBothSidesAreToldByMail: of an invitation the recipient, of the decision the owner,
// of changes, pauses and the end both; registered or not, and never the remark.
func TestBothSidesAreToldByMail(t *testing.T) {
	t.Parallel() // they wait for mail most of the time
	mail := mailtest.Start(t)
	s := mailing(t, t.TempDir(), mail)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	share := owner.invite(rita.login, device)
	stranger := "stranger@example.com"
	owner.invite(stranger, device)
	for _, to := range []string{rita.login, stranger} {
		subject, text := mailTo(t, mail, to, 1)
		if subject != "You have a new sharing" {
			t.Errorf("%s: the subject %q", to, subject)
		}
		hasAll(t, text, "owner (owner@example.com) shares “Front door” with you", "accept or reject")
	}
	rita.accept(share, device)
	subject, text := mailTo(t, mail, owner.login, 1)
	hasAll(t, subject, "accepted")
	hasAll(t, text, "rita@example.com accepted “Front door”")
	owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view", "playback"}}}}, nil)
	_, text = mailTo(t, mail, rita.login, 2)
	hasAll(t, text, "owner (owner@example.com) changed what you may do with “Front door”")
	_, text = mailTo(t, mail, owner.login, 2)
	hasAll(t, text, "You changed what rita@example.com may do with “Front door”", "change your password")
	owner.must("POST", "/shares/"+share+"/pause", nil, nil)
	_, text = mailTo(t, mail, rita.login, 3)
	hasAll(t, text, "paused everything that is shared with you")
	owner.must("POST", "/shares/"+share+"/resume", nil, nil)
	_, text = mailTo(t, mail, rita.login, 4)
	hasAll(t, text, "resumed everything")
	owner.must("DELETE", "/shares/"+share, nil, nil)
	_, text = mailTo(t, mail, rita.login, 5)
	hasAll(t, text, "no longer shares “Front door” with you")
	for _, m := range mail.Took() {
		if _, text := decoded(t, m); strings.Contains(text, "secret remark") || !m.TLS {
			t.Errorf("a mail with the remark, or without TLS:\n%s", text)
		}
	}
	if n := len(mail.To(stranger)); n != 1 {
		t.Errorf("somebody without an account got %d mails", n)
	}
}

// TestSeveralSharingsGoTogether: within a short time they are one mail, also in German,
// and one that was withdrawn before it was sent is not in it.
func TestSeveralSharingsGoTogether(t *testing.T) {
	t.Parallel() // they wait for mail most of the time
	mail := mailtest.Start(t)
	s := mailing(t, t.TempDir(), mail)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	rita.must("PUT", "/accounts/me", map[string]any{"language": "de"}, nil)
	var devices []string
	for range 4 {
		devices = append(devices, owner.addDevice("rtsp://127.0.0.1:1/h264", "", ""))
	}
	share := owner.invite(rita.login, devices...)
	owner.must("DELETE", "/shares/"+share+"/devices/"+devices[3], nil, nil)
	withdrawn := owner.invite("nobody@example.com", devices[0])
	owner.must("DELETE", "/shares/"+withdrawn, nil, nil)
	subject, text := mailTo(t, mail, rita.login, 1)
	if subject != "Mit Ihnen werden 3 Geräte neu geteilt" || strings.Count(text, "teilt „Front door“ mit Ihnen") != 3 {
		t.Errorf("%q:\n%s", subject, text)
	}
	if n := len(mail.To("nobody@example.com")); n != 0 {
		t.Errorf("%d mails tell of what was withdrawn", n)
	}
}

// TestANoticeIsSentOnceAfterAKill: a service that is killed after events and before it has
// sent their mails sends each of them once when it runs again.
func TestANoticeIsSentOnceAfterAKill(t *testing.T) {
	t.Parallel() // they wait for mail most of the time
	mail := mailtest.Start(t)
	data := t.TempDir()
	s := mailing(t, data, mail)
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	var addresses []string
	for i := range 5 {
		address := fmt.Sprintf("guest%d@example.com", i)
		addresses = append(addresses, address)
		owner.invite(address, device)
	}
	s.kill()
	s = mailing(t, data, mail)
	for _, a := range addresses {
		mailTo(t, mail, a, 1)
	}
	s.kill()
	s = mailing(t, data, mail)
	owner = s.login(t, "owner")
	owner.invite("last@example.com", device)
	mailTo(t, mail, "last@example.com", 1)
	for _, a := range addresses {
		mailTo(t, mail, a, 1)
	}
}

// TestHostileNamesStayNames: a name cannot add a header, a line or a link to a mail.
func TestHostileNamesStayNames(t *testing.T) {
	t.Parallel() // they wait for mail most of the time
	mail := mailtest.Start(t)
	s := mailing(t, t.TempDir(), mail)
	owner := s.register(t, "owner")
	for i, name := range []string{"Win https://evil.example now", "evil.example", "“Door”. Call +1 555", "x\u00a0y"} {
		device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
		owner.must("PATCH", "/devices/"+device, map[string]any{"name": name}, nil)
		address := fmt.Sprintf("guest%d@example.com", i)
		owner.invite(address, device)
		_, text := mailTo(t, mail, address, 1)
		if strings.Contains(text, "evil") || strings.Contains(text, "““") {
			t.Errorf("%q:\n%s", name, text)
		}
	}
}

// TestNoticesGoToProvenAddresses: an address of an account that has not proven it gets an
// invitation as any address does; everything else goes to one that is proven.
func TestNoticesGoToProvenAddresses(t *testing.T) {
	t.Parallel() // they wait for mail most of the time
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	for _, u := range []*user{owner, rita} {
		if err := u.verify(u.addresses().Items[0].ID, codeFor(t, mail, u.login, 1)); err != nil {
			t.Fatal(err)
		}
	}
	const other = "rita.other@example.com"
	var added struct{ ID string }
	rita.must("POST", "/accounts/me/addresses", map[string]any{"email": other}, &added)
	code := codeFor(t, mail, other, 1)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	share := owner.invite(other, device)
	_, text := mailTo(t, mail, other, 2)
	hasAll(t, text, "shares “Front door” with you", "register with this address first")
	if strings.Contains(text, "decide in your account") {
		t.Errorf("the account is told of:\n%s", text)
	}
	if err := rita.verify(added.ID, code); err != nil {
		t.Fatal(err)
	}
	rita.accept(share, device)
	owner.must("POST", "/shares/"+share+"/pause", nil, nil)
	_, text = mailTo(t, mail, rita.login, 2)
	hasAll(t, text, "paused everything that is shared with you")
	if n := len(mail.To(other)); n != 2 {
		t.Errorf("%d mails went to the other address", n)
	}
}

// TestARestoredLogTellsNothingAgain: what was told before a backup was made is not told by
// the service that was restored from it, nor by one whose read models are made again.
func TestARestoredLogTellsNothingAgain(t *testing.T) {
	t.Parallel() // they wait for mail most of the time
	mail := mailtest.Start(t)
	data, backups, restored := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "new")
	s := mailing(t, data, mail)
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	owner.invite("first@example.com", device)
	mailTo(t, mail, "first@example.com", 1)
	owner.offer(device, "given@example.com", "end")
	mailTo(t, mail, "given@example.com", 1)
	mustLatchkey(t, "backup", backups, "--data", data, "--quiet")
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, name := range []string{"projections.db", "projections.db-wal", "projections.db-shm"} {
		if err := os.Remove(filepath.Join(data, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	mustLatchkey(t, "restore", onlyFile(t, backups), "--data", restored, "--journal", filepath.Join(data, journalName), "--quiet")
	for i, dir := range []string{data, restored} {
		s := mailing(t, dir, mail)
		address := fmt.Sprintf("next%d@example.com", i)
		s.login(t, "owner").invite(address, device)
		mailTo(t, mail, address, 1) // everything before is decided
		if n := len(mail.To("first@example.com")); n != 1 {
			t.Errorf("%s: %d mails tell of the first invitation", dir, n)
		}
		if n := len(mail.To("given@example.com")); n != 1 {
			t.Errorf("%s: %d mails tell of the offer", dir, n)
		}
		s.kill()
	}
}

// TestInvitationsByTextMessage: an invitation to a number that no account has comes by text
// message, without the remark.
func TestInvitationsByTextMessage(t *testing.T) {
	texts := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ To, Text string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		texts <- m.To + ": " + m.Text
	}))
	defer hook.Close()
	t.Setenv("LATCHKEY_SMS_HOOK_SECRET", "a secret of both sides")
	s := serve(t, binary, t.TempDir(), "--sms-hook", hook.URL)
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"phone": "+4915112345678"}, "remark": "secret remark", "devices": []any{invitation(device, "live_view")}}, nil)
	select {
	case text := <-texts:
		hasAll(t, text, "+4915112345678: owner (owner@example.com) shares “Front door” with you", "with this number")
		if strings.Contains(text, "remark") {
			t.Errorf("%q", text)
		}
	case <-time.After(patience):
		t.Fatal("no text message comes")
	}
}

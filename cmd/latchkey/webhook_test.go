package main

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/webhook"
)

// receiver is a server that an account names as its webhook.
type receiver struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	got    []delivery
	answer func(n int, d delivery) int // the status; nil: 200
}

type delivery struct {
	header http.Header
	body   string
	kind   string
	share  string
	device string
	ends   time.Time
}

func (d delivery) id() string { return d.header.Get(webhook.HeaderID) }

// newReceiver starts a receiver with TLS, whose certificate services trust that are
// started later.
func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(r.Close)
	return r
}

// trust lets services trust receivers that are started later.
func trust(t *testing.T, r *receiver) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "receiver.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	raw, err := io.ReadAll(q.Body)
	var b struct {
		Type string
		Data struct {
			Share, Device string
			Ends          time.Time
		}
	}
	if err != nil || json.Unmarshal(raw, &b) != nil {
		r.t.Errorf("a delivery cannot be read: %s, %v", raw, err)
	}
	d := delivery{q.Header.Clone(), string(raw), b.Type, b.Data.Share, b.Data.Device, b.Data.Ends}
	r.mu.Lock()
	r.got = append(r.got, d)
	n, answer := len(r.got), r.answer
	r.mu.Unlock()
	if answer != nil {
		w.WriteHeader(answer(n, d))
	}
}

func (r *receiver) answers(f func(n int, d delivery) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) deliveries() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.got...)
}

// wait waits for n deliveries and returns the last one.
func (r *receiver) wait(n int) delivery {
	r.t.Helper()
	eventually(r.t, "delivery "+strconv.Itoa(n)+" comes", func() bool { return len(r.deliveries()) >= n })
	return r.deliveries()[n-1]
}

// signed fails unless a delivery is signed with a secret.
func (d delivery) signed(t testing.TB, secret string) {
	t.Helper()
	seconds, err := strconv.ParseInt(d.header.Get(webhook.HeaderTimestamp), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 2*patience {
		t.Errorf("the time of the delivery: %d, %v", seconds, err)
	}
	want, err := webhook.Sign(secret, d.id(), time.Unix(seconds, 0), []byte(d.body))
	if err != nil || d.id() == "" || strings.Contains(d.id(), ".") || !strings.Contains(" "+d.header.Get(webhook.HeaderSignature)+" ", " "+want+" ") {
		t.Errorf("the delivery %q is signed %q; want %q, %v", d.id(), d.header.Get(webhook.HeaderSignature), want, err)
	}
}

type hookAnswer struct {
	URL, Secret    string
	Enabled        bool
	DisabledReason string `json:"disabled_reason"`
	Failures       int
	LastOutcome    string `json:"last_outcome"`
	LastStatus     int    `json:"last_status"`
}

func (u *user) setWebhook(url string) (secret string) {
	u.t.Helper()
	var made hookAnswer
	u.must("PUT", "/accounts/me/webhook", map[string]any{"url": url}, &made)
	return made.Secret
}

func (u *user) webhook() (now hookAnswer) {
	u.t.Helper()
	u.must("GET", "/accounts/me/webhook", nil, &now)
	if now.Secret != "" {
		u.t.Error("the secret is shown again")
	}
	return now
}

const loopbackHooks = "--webhook-nets=127.0.0.0/8"

// TestWebhooksTellBothSides: each side gets ids, signed with its own secret, tried again
// with the same id, and nothing that is not so any more.
func TestWebhooksTellBothSides(t *testing.T) {
	ofOwner, ofRita := newReceiver(t), newReceiver(t)
	trust(t, ofOwner)
	s := serve(t, binary, t.TempDir(), loopbackHooks)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	secrets := map[*receiver]string{ofOwner: owner.setWebhook(ofOwner.URL + "/hook"), ofRita: rita.setWebhook(ofRita.URL)}
	if secrets[ofOwner] == secrets[ofRita] || !strings.HasPrefix(secrets[ofRita], webhook.SecretPrefix) {
		t.Fatalf("the secrets %v", secrets)
	}
	ofRita.answers(func(n int, _ delivery) int {
		if n == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	share := owner.share(rita, device, "live_view")
	failed, taken := ofRita.wait(1), ofRita.wait(2)
	if failed.id() != taken.id() || taken.kind != "invited" || taken.share != share || taken.device != device {
		t.Errorf("the first try %+v, the second %+v", failed, taken)
	}
	rita.accept(share, device)
	if d := ofOwner.wait(1); d.kind != "accepted" || d.share != share {
		t.Errorf("the owner is told %+v", d)
	}
	owner.must("DELETE", "/shares/"+share, nil, nil)
	if d := ofRita.wait(3); d.kind != "device_withdrawn" || strings.Contains(d.body, "@") || strings.Contains(d.body, "Front door") || strings.Contains(d.body, "neighbour") {
		t.Errorf("the recipient is told %s", d.body)
	}
	ofOwner.wait(2) // its own
	for r, secret := range secrets {
		for _, d := range r.deliveries() {
			d.signed(t, secret)
		}
	}
	if now := rita.webhook(); !now.Enabled || now.Failures != 0 || now.LastOutcome != "delivered" || now.URL != ofRita.URL {
		t.Errorf("%+v", now)
	}
	for _, line := range []string{secrets[ofRita], secrets[ofOwner], "/hook"} {
		if strings.Contains(s.said(), line) {
			t.Errorf("%q is in what the service says", line)
		}
	}
}

// TestAWebhookIsTested: a test says how it went; another secret replaces the one before,
// which signs for a while yet; 410 ends it until a test succeeds; a changed password
// removes it.
func TestAWebhookIsTested(t *testing.T) {
	r := newReceiver(t)
	trust(t, r)
	s := serve(t, binary, t.TempDir(), loopbackHooks)
	owner := s.register(t, "owner")
	var test struct {
		Delivered bool
		Outcome   string
		Status    int
	}
	if err := owner.call("POST", "/accounts/me/webhook/test", nil, nil); !hasCode(err, "webhook_not_found") {
		t.Errorf("a test without a webhook: %v", err)
	}
	first := owner.setWebhook(r.URL)
	second := owner.setWebhook(r.URL)
	owner.must("POST", "/accounts/me/webhook/test", nil, &test)
	if !test.Delivered || test.Status != 200 {
		t.Errorf("%+v", test)
	}
	d := r.wait(1)
	d.signed(t, second)
	d.signed(t, first)
	third := owner.setWebhook(r.URL + "/other")
	r.answers(func(int, delivery) int { return http.StatusGone })
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	rita := s.register(t, "rita")
	share := owner.share(rita, device, "live_view")
	rita.accept(share, device)
	r.wait(2).signed(t, third)
	if strings.Contains(r.wait(2).header.Get(webhook.HeaderSignature), " ") {
		t.Error("another address is signed for with the secret before")
	}
	eventually(t, "the webhook is disabled", func() bool { return owner.webhook().DisabledReason == "gone" })
	r.answers(nil)
	owner.must("POST", "/accounts/me/webhook/test", nil, &test)
	if now := owner.webhook(); !now.Enabled {
		t.Errorf("after a test: %+v", now)
	}
	r.answers(func(int, delivery) int { return http.StatusFound })
	owner.must("POST", "/accounts/me/webhook/test", nil, &test)
	if test.Delivered || test.Outcome != "redirect" || test.Status != http.StatusFound {
		t.Errorf("a redirect: %+v", test)
	}
	owner.must("PUT", "/accounts/me/password", map[string]any{"current": userPassword, "new": "four words nobody knows"}, nil)
	var session struct{ Token string }
	owner.must("POST", "/sessions", map[string]any{"login": owner.login, "password": "four words nobody knows"}, &session)
	owner.token = session.Token
	if err := owner.call("GET", "/accounts/me/webhook", nil, nil); !hasCode(err, "webhook_not_found") {
		t.Errorf("after the password was changed: %v", err)
	}
	owner.setWebhook(r.URL)
	owner.must("DELETE", "/accounts/me/webhook", nil, nil)
	if err := owner.call("DELETE", "/accounts/me/webhook", nil, nil); !hasCode(err, "webhook_not_found") {
		t.Errorf("removing it again: %v", err)
	}
}

// TestWebhooksReachNobodyElse: what the policy forbids is refused as a URL where that can
// be told, and else when it is called; and one that hangs holds nobody else up.
func TestWebhooksReachNobodyElse(t *testing.T) {
	hanging, healthy := newReceiver(t), newReceiver(t)
	trust(t, healthy)
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	for _, url := range []string{
		"http://example.com/", "https://127.0.0.1/", "https://[::1]:8443/", "https://10.1.2.3/", "https://169.254.169.254/latest", "https://localhost/",
		"https://[::ffff:192.168.1.1]/", "https://[fd00::1]/", "https://user:word@example.com/", "ftp://example.com/", "https:///x", "https://100.64.0.1/", "https://0.0.0.0/",
	} {
		if err := owner.call("PUT", "/accounts/me/webhook", map[string]any{"url": url}, nil); !hasCode(err, "invalid_body") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := owner.call("GET", "/accounts/me/webhook", nil, nil); !hasCode(err, "webhook_not_found") {
		t.Errorf("after refusals: %v", err)
	}
	s.kill()

	s = serve(t, binary, t.TempDir(), loopbackHooks)
	owner, rita, sam := s.register(t, "owner"), s.register(t, "rita"), s.register(t, "sam")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	release := make(chan struct{})
	defer close(release)
	hanging.answers(func(int, delivery) int { <-release; return 200 })
	rita.setWebhook(hanging.URL)
	sam.setWebhook(healthy.URL)
	owner.share(rita, device, "live_view")
	hanging.wait(1)
	owner.share(sam, device, "live_view")
	healthy.wait(1)
	if code := s.stop(t); code != 0 {
		t.Errorf("with a webhook that hangs, the service stops with status %d", code)
	}
}

// TestAWebhookIsCalledAfterAKill: what a killed service was calling is called again with
// the same id.
func TestAWebhookIsCalledAfterAKill(t *testing.T) {
	r := newReceiver(t)
	trust(t, r)
	data := t.TempDir()
	s := serve(t, binary, data, loopbackHooks)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	rita.setWebhook(r.URL)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	release := make(chan struct{})
	r.answers(func(n int, _ delivery) int {
		if n == 1 {
			<-release
		}
		return 200
	})
	owner.share(rita, device, "live_view")
	r.wait(1)
	s.kill()
	close(release)
	s = serve(t, binary, data, loopbackHooks)
	if first, again := r.wait(1), r.wait(2); first.id() != again.id() || first.body != again.body {
		t.Errorf("%+v, then %+v", first, again)
	}
	rita = s.login(t, "rita")
	if now := rita.webhook(); now.LastOutcome != "delivered" {
		t.Errorf("%+v", now)
	}
}

type noticeChannel struct {
	Enabled bool
	Kinds   map[string]bool
}

type noticeSettings struct {
	Mail, Webhook noticeChannel
	OwnActions    bool `json:"own_actions"`
	Muted         struct{ Shares, Devices []string }
}

// TestNoticesAreMuted: by channel, kind, share and device; what is muted stays in the
// lists.
func TestNoticesAreMuted(t *testing.T) {
	r := newReceiver(t)
	trust(t, r)
	s := serve(t, binary, t.TempDir(), loopbackHooks)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	rita.setWebhook(r.URL)
	muted, heard := owner.addDevice("rtsp://127.0.0.1:1/h264", "", ""), owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	var now noticeSettings
	rita.must("GET", "/accounts/me/notices", nil, &now)
	if !now.Mail.Enabled || !now.Webhook.Kinds["reminders"] || !now.OwnActions || len(now.Muted.Shares) != 0 {
		t.Errorf("at first: %+v", now)
	}
	rita.must("PUT", "/accounts/me/notices", map[string]any{
		"mail": map[string]any{"enabled": false}, "webhook": map[string]any{"kinds": map[string]any{"changes": false}}, "muted": map[string]any{"devices": []string{muted}},
	}, &now)
	if now.Mail.Enabled || now.Webhook.Kinds["changes"] || !now.Webhook.Kinds["ends"] || len(now.Muted.Devices) != 1 {
		t.Errorf("after a change: %+v", now)
	}
	for _, body := range []map[string]any{{"mail": map[string]any{"kinds": map[string]any{"weather": true}}}, {"muted": map[string]any{"shares": []string{""}}}, {"mail": nil}} {
		if err := rita.call("PUT", "/accounts/me/notices", body, nil); !hasCode(err, "invalid_body") {
			t.Errorf("%v: %v", body, err)
		}
	}
	share := owner.share(rita, muted, "live_view")
	owner.must("PUT", "/shares/"+share+"/devices/"+heard, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	if d := r.wait(1); d.kind != "invited" || d.device != heard {
		t.Errorf("%+v", d)
	}
	var list struct{ Count int }
	if rita.must("GET", "/invitations", nil, &list); list.Count != 2 {
		t.Errorf("%d invitations are listed", list.Count)
	}
	rita.accept(share, heard)
	owner.must("PUT", "/shares/"+share+"/devices/"+heard, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback"}}}}, nil)
	owner.must("DELETE", "/shares/"+share, nil, nil)
	if d := r.wait(2); d.kind != "device_withdrawn" || d.device != heard {
		t.Errorf("%+v", d)
	}
	if n := len(r.deliveries()); n != 2 {
		t.Errorf("%d deliveries", n)
	}
}

// TestBothSidesAreRemindedOnce: of what ends within a day, and of an end that was moved
// within that day not again.
func TestBothSidesAreRemindedOnce(t *testing.T) {
	ofOwner, ofRita := newReceiver(t), newReceiver(t)
	trust(t, ofOwner)
	data := t.TempDir()
	s := serve(t, binary, data, loopbackHooks)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	owner.setWebhook(ofOwner.URL)
	rita.setWebhook(ofRita.URL)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	until := time.Now().Add(20 * time.Hour).UTC().Truncate(time.Second)
	limited := func(until time.Time) map[string]any {
		return map[string]any{"device": device, "channels": []any{map[string]any{
			"channel": 1, "privileges": []string{"live_view"}, "limits": []any{map[string]any{"privileges": []string{"live_view"}, "until": until}},
		}}}
	}
	var share struct{ ID string }
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": rita.login}, "remark": "", "devices": []any{limited(until)}}, &share)
	rita.accept(share.ID, device)
	reminders := func(r *receiver) (list []delivery) {
		for _, d := range r.deliveries() {
			if d.kind == "ends_soon" {
				list = append(list, d)
			}
		}
		return list
	}
	for _, r := range []*receiver{ofOwner, ofRita} {
		eventually(t, "a reminder comes", func() bool { return len(reminders(r)) > 0 })
		if got := reminders(r)[0]; !got.ends.Equal(until) || got.share != share.ID || got.device != device {
			t.Errorf("%s", got.body)
		}
	}
	owner.must("PUT", "/shares/"+share.ID, map[string]any{"remark": "", "devices": []any{limited(until.Add(time.Hour))}}, nil)
	s.kill()
	s = serve(t, binary, data, loopbackHooks) // looks for what ends at once
	sam := s.register(t, "sam")
	owner = s.login(t, "owner")
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": sam.login}, "remark": "", "devices": []any{limited(until)}}, &share)
	sam.accept(share.ID, device)
	eventually(t, "the next reminder comes", func() bool { return len(reminders(ofOwner)) >= 2 })
	if a, b := len(reminders(ofOwner)), len(reminders(ofRita)); a != 2 || b != 1 {
		t.Errorf("%d and %d reminders", a, b)
	}
}

// TestAClosedAccountIsToldNothing: its webhook is forgotten, and nothing is sent to its
// address; whoever is left is told.
func TestAClosedAccountIsToldNothing(t *testing.T) {
	ofOwner, ofRita := newReceiver(t), newReceiver(t)
	trust(t, ofOwner)
	s := serve(t, binary, t.TempDir(), loopbackHooks)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	owner.setWebhook(ofOwner.URL)
	rita.setWebhook(ofRita.URL)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	share := owner.share(rita, device, "live_view")
	ofRita.wait(1)
	rita.accept(share, device)
	ofOwner.wait(1)
	rita.must("DELETE", "/accounts/me", map[string]any{"password": userPassword}, nil)
	if d := ofOwner.wait(2); d.kind != "device_left" {
		t.Errorf("the owner is told %s", d.body)
	}
	owner.must("POST", "/shares/"+share+"/pause", nil, nil)
	owner.must("DELETE", "/shares/"+share, nil, nil)
	sam := s.register(t, "sam")
	again := owner.share(sam, device, "live_view")
	sam.accept(again, device)
	ofOwner.wait(3) // everything before is decided
	if n := len(ofRita.deliveries()); n != 1 {
		t.Errorf("a closed account got %d deliveries", n)
	}
}

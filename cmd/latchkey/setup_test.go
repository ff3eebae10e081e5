package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/simcamera"
)

// setUpLink is what serve prints while there is no account: where, and the secret.
var setUpLink = regexp.MustCompile(`(?m)^  (https?://\S+)/setup#([A-Z2-7]{26})$`)

func (s *service) setUpLink(t *testing.T) (at, secret string) {
	t.Helper()
	eventually(t, "serve prints a link", func() bool { return setUpLink.MatchString(s.said()) })
	found := setUpLink.FindStringSubmatch(s.said())
	return found[1], found[2]
}

// visitor is a browser without scripts: it fills in forms, and keeps cookies.
type visitor struct {
	t      *testing.T
	client *http.Client
	at     string
}

func newVisitor(t *testing.T, at string) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar}, at}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// ask returns the path that the browser ends at, and the page.
func (v *visitor) ask(method, path string, form url.Values) (string, string) {
	v.t.Helper()
	r, err := http.NewRequest(method, v.at+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.Request.URL.Path, string(page)
}

// fill opens a page and sends its form with values, as pairs.
func (v *visitor) fill(path string, pairs ...string) (string, string) {
	v.t.Helper()
	_, page := v.ask(http.MethodGet, path, nil)
	form := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return v.ask(http.MethodPost, path, form)
}

// TestFirstRun: on an empty folder, serve prints a link with which whoever reads it makes the
// first account, adds a camera and shares it; then it is dead. Another start makes another
// link, and nobody sets the service up without.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	closed := []string{"LATCHKEY_REGISTRATION=closed", "LATCHKEY_VERIFICATION=required"}
	s := serveIn(t, closed, binary, data)
	_, old := s.setUpLink(t)
	s.stop(t)
	s = serveIn(t, closed, binary, data)
	at, secret := s.setUpLink(t)
	if at != "http://"+s.http || old == secret {
		t.Fatalf("the link leads to %s; the secret before was %s, and is %s", at, old, secret)
	}
	if strings.Count(s.said(), secret) != 1 {
		t.Error("the secret is also in the log")
	}
	stranger := newVisitor(t, at)
	if path, page := stranger.ask(http.MethodGet, "/", nil); path != "/setup" || !strings.Contains(page, "Latchkey printed a link when it started") {
		t.Errorf("a stranger gets %s: %s", path, page)
	}
	account := []string{"kind", "email", "email", "olga@example.com", "password", userPassword, "name", "Olga"}
	for _, wrong := range []string{old, strings.Repeat("A", 26)} {
		if path, page := stranger.fill("/setup", append([]string{"secret", wrong}, account...)...); path != "/setup" || !strings.Contains(page, "This link no longer holds.") {
			t.Errorf("a link that does not hold: %s: %s", path, page)
		}
	}
	b := newVisitor(t, at)
	if path, page := b.fill("/setup", append([]string{"secret", secret}, account...)...); path != "/setup/camera" {
		t.Fatalf("%s: %s", path, page)
	}
	if path, page := stranger.fill("/setup", "secret", secret, "kind", "email", "email", "eve@example.com", "password", userPassword); path != "/setup" || !strings.Contains(page, "Latchkey is set up") && !strings.Contains(page, "This link no longer holds.") {
		t.Errorf("the link is not dead: %s: %s", path, page)
	}
	if path, _ := stranger.ask(http.MethodGet, "/", nil); path != "/login" {
		t.Errorf("then a stranger gets %s", path)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cam, err := simcamera.Start(ctx, simcamera.Config{RTSP: "127.0.0.1:0", HTTP: "127.0.0.1:0", Username: cameraUser, Password: cameraPassword, Serial: "FIRST-RUN-1", Model: "DS-2CD2042WD-I"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cam.Close() })
	if path, page := b.fill("/setup/camera", "address", cam.HTTPAddr(), "username", cameraUser, "password", "wrong"); path != "/setup/camera" || !strings.Contains(page, "The device refused the user name or the password.") {
		t.Errorf("a wrong password: %s: %s", path, page)
	}
	if path, page := b.fill("/setup/camera", "address", cam.HTTPAddr(), "name", "Front door", "username", cameraUser, "password", cameraPassword); path != "/setup/share" || !strings.Contains(page, "Front door") {
		t.Fatalf("%s: %s", path, page)
	}
	if path, page := b.fill("/setup/share", "kind", "email", "email", "rita@example.com", "function", "live_view"); path == "/setup/share" {
		t.Fatalf("%s: %s", path, page)
	}
	olga := s.login(t, "olga")
	var shares struct{ Items []struct{ Devices []any } }
	if olga.must("GET", "/shares/sent", nil, &shares); len(shares.Items) != 1 || len(shares.Items[0].Devices) != 1 {
		t.Errorf("%+v", shares)
	}
	s.stop(t)
	s = serveIn(t, closed, binary, data)
	if s.stop(t); setUpLink.MatchString(s.said()) {
		t.Errorf("a service with an account prints a link:\n%s", s.said())
	}
}

// TestTwoSetUpsAtOnce: of several browsers with the link, one makes an account.
func TestTwoSetUpsAtOnce(t *testing.T) {
	t.Parallel()
	s := serveIn(t, []string{"LATCHKEY_REGISTRATION=open"}, binary, t.TempDir())
	_, secret := s.setUpLink(t)
	answers := make([]error, 4)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			body := map[string]any{"secret": secret, "email": string(rune('a'+i)) + "@example.com", "password": userPassword}
			answers[i] = (&user{t: t, api: s.api}).call("POST", "/setup", body, nil)
		})
	}
	all.Wait()
	made := 0
	for _, err := range answers {
		if err == nil {
			made++
		} else if !hasCode(err, "setup_link_invalid") {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d accounts: %v", made, answers)
	}
}

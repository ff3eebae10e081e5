package portaltest

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/browsertest"
	"latchkey/internal/mailtest"
	"latchkey/internal/simcamera"
)

// patience bounds every wait for something that must happen. It says nothing about how
// fast that should be.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	os.Exit(func() int {
		defer func() {
			if binary.dir != "" {
				os.RemoveAll(binary.dir)
			}
		}()
		return browsertest.Main(m)
	}())
}

// binary is latchkey, built for the first test that needs it, with the race detector.
var binary struct {
	once sync.Once
	dir  string
	err  error
}

func latchkey(t testing.TB) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "latchkey-portal-"); binary.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-race", "-ldflags=-s -w", "-o", filepath.Join(binary.dir, "latchkey"), "latchkey/cmd/latchkey").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("building latchkey: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return filepath.Join(binary.dir, "latchkey")
}

// server is a running `latchkey serve`, with a mail server that takes its codes.
type server struct {
	t      testing.TB
	origin string // of the portal, such as http://127.0.0.1:10000
	rtsp   string // address of the door
	mail   *mailtest.Server
	signal func(os.Signal) error

	mu   sync.Mutex
	log  bytes.Buffer
	done chan struct{}
}

// serve starts a service; it ends with the test.
func serve(t testing.TB, more ...string) *server {
	t.Helper()
	return serveAt(t, "", more...)
}

// serveSecurely is serve within TLS, by an authority of the service's own.
func serveSecurely(t testing.TB) *server {
	t.Helper()
	addr := freeAddr(t)
	return serveAt(t, "https://"+addr, "--https", addr)
}

// web calls the API of services, whose authorities it does not know.
var web = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // of this machine

// serveAt is serve with the origin that pages are opened at; "": that of HTTP.
func serveAt(t testing.TB, origin string, more ...string) *server {
	t.Helper()
	s := &server{t: t, mail: mailtest.Start(t), done: make(chan struct{})}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.mail.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	s.origin, s.rtsp = cmp.Or(origin, "http://"+addr), freeAddr(t)
	cmd := exec.Command(latchkey(t), append([]string{"serve", "--data", t.TempDir(), "--http", addr,
		"--rtsp", s.rtsp, "--webrtc", freeAddr(t), "--metrics", "off", "--registration", "open", "--log-level", "warn"}, more...)...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+ca,
		fmt.Sprintf("LATCHKEY_MAIL=smtp://%s:%s@%s?from=door@example.com", mailtest.User, strings.ReplaceAll(mailtest.Password, " ", "%20"), s.mail.Addr))
	cmd.Stdout, cmd.Stderr = s, s
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting latchkey: %v", err)
	}
	s.signal = cmd.Process.Signal
	go func() { _ = cmd.Wait(); close(s.done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-s.done
		if strings.Contains(s.said(), "DATA RACE") {
			t.Error("latchkey has a data race")
		}
		if t.Failed() {
			said := s.said()
			t.Logf("latchkey said:\n%s", said[max(0, len(said)-8000):])
		}
	})
	s.eventually("latchkey is ready", func() bool {
		a, err := web.Get(s.origin + "/readyz")
		if err != nil {
			return false
		}
		a.Body.Close()
		return a.StatusCode == http.StatusOK
	})
	return s
}

// Write collects what the service logs.
func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *server) eventually(what string, is func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		select {
		case <-s.done:
			s.t.Fatalf("latchkey has ended before %s", what)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freeAddr is an address that nobody listens on, below the ports that systems give to
// outgoing connections.
func freeAddr(t testing.TB) string {
	t.Helper()
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(9000))
		if _, given := givenAddrs.LoadOrStore(addr, true); given {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

var givenAddrs sync.Map

// account is somebody with an account, and a session of the API.
type account struct {
	s           *server
	email, name string
	token       string
}

const password = "correct horse battery"

// codes have eight digits, or twelve in groups.
var codes = regexp.MustCompile(`\b[0-9]{8}\b|\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b`)

// code returns the code in the n-th mail to an address, counted from 1.
func (s *server) code(address string, n int) string {
	s.t.Helper()
	s.eventually("a code comes for "+address, func() bool { return len(s.mail.To(address)) >= n })
	_, body, _ := strings.Cut(s.mail.To(address)[n-1].Text, "\n\n")
	return codes.FindString(body)
}

// register makes an account whose address is proven.
func (s *server) register(email, name string) *account {
	s.t.Helper()
	a := &account{s: s, email: email, name: name}
	a.must("POST", "/accounts", map[string]any{"email": email, "password": password, "name": name}, nil)
	var session struct{ Token string }
	a.must("POST", "/sessions", map[string]any{"login": email, "password": password}, &session)
	a.token = session.Token
	var addresses struct{ Items []struct{ ID string } }
	a.must("GET", "/accounts/me/addresses", nil, &addresses)
	a.must("POST", "/accounts/me/addresses/"+addresses.Items[0].ID+"/verify", map[string]any{"code": s.code(email, 1)}, nil)
	return a
}

// must calls the API as the account, and again while it asks for patience.
func (a *account) must(method, path string, body, out any) {
	a.s.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		a.s.t.Fatal(err)
	}
	a.s.eventually(method+" "+path, func() bool {
		r, err := http.NewRequest(method, a.s.origin+"/api/v1"+path, bytes.NewReader(raw))
		if err != nil {
			a.s.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if a.token != "" {
			r.Header.Set("Authorization", "Bearer "+a.token)
		}
		res, err := web.Do(r)
		if err != nil {
			a.s.t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			a.s.t.Fatal(err)
		}
		switch {
		case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
			return false
		case res.StatusCode >= 400:
			a.s.t.Fatalf("%s %s: %s", method, path, answer)
		case out != nil:
			if err := json.Unmarshal(answer, out); err != nil {
				a.s.t.Fatalf("%s %s: %v", method, path, err)
			}
		}
		return true
	})
}

const cameraUser, cameraPassword = "admin", "camera-secret-41"

// camera starts a simulated camera; it ends with the test.
func camera(t testing.TB, serial string, change ...func(*simcamera.Config)) *simcamera.Camera {
	t.Helper()
	cfg := simcamera.Config{RTSP: "127.0.0.1:0", HTTP: "127.0.0.1:0", Username: cameraUser, Password: cameraPassword,
		Serial: serial, Model: "DS-2CD2386G2", Firmware: "V5.7.3 build 220112"}
	for _, f := range change {
		f(&cfg)
	}
	c, err := simcamera.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// add adds a camera to the account and returns the device's id.
func (a *account) add(c *simcamera.Camera, name string) string {
	a.s.t.Helper()
	var device struct{ ID string }
	a.must("POST", "/devices", map[string]any{"name": name, "rtsp_url": c.URL(1, false), "isapi_url": "http://" + c.HTTPAddr(),
		"username": cameraUser, "password": cameraPassword}, &device)
	return device.ID
}

// offer shares channel 1 of devices and returns the share's id.
func (a *account) offer(to *account, remark string, devices []string, privileges ...string) string {
	a.s.t.Helper()
	return a.offerFor(to, remark, nil, devices, privileges...)
}

// offerFor is offer with conditions.
func (a *account) offerFor(to *account, remark string, terms map[string]any, devices []string, privileges ...string) string {
	a.s.t.Helper()
	var list []any
	for _, d := range devices {
		list = append(list, map[string]any{"device": d, "channels": []any{map[string]any{"channel": 1, "privileges": privileges}}})
	}
	body := map[string]any{"recipient": map[string]any{"email": to.email}, "remark": remark, "devices": list}
	if terms != nil {
		body["terms"] = terms
	}
	var share struct{ ID string }
	a.must("POST", "/shares", body, &share)
	return share.ID
}

func (a *account) accept(share, device string) {
	a.s.t.Helper()
	a.must("POST", "/shares/"+share+"/devices/"+device+"/accept", nil, nil)
}

// browse opens a private window and logs in.
func (a *account) browse(look browsertest.Look) *browsertest.Person {
	a.s.t.Helper()
	person := browsertest.New(a.s.t, a.s.origin, look)
	page := person.Open("/login")
	a.logIn(page, password)
	page.Close()
	return person
}

// logIn fills in the log-in page.
func (a *account) logIn(page *browsertest.Page, password string) {
	a.s.t.Helper()
	page.Fill("#login", a.email)
	page.Fill("#password", password)
	page.Submit("main button.main")
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/pause"
)

// binary is latchkey as built for these tests, with the race detector.
var binary string

// patience bounds every wait for something that must happen. It says nothing
// about how fast that should be.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	// What a test is not about, it need not do.
	os.Setenv("LATCHKEY_VERIFICATION", "off")
	os.Setenv("LATCHKEY_REGISTRATION", "open")
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "latchkey-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if _, set := os.LookupEnv("LATCHKEY_DEVICE_PROOF"); !set { // most cameras of these tests are nowhere
			os.Setenv("LATCHKEY_DEVICE_PROOF", "off")
		}
		binary = filepath.Join(dir, "latchkey")
		if out, err := build(binary); err != nil {
			fmt.Fprintf(os.Stderr, "building latchkey: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func build(path string, args ...string) ([]byte, error) {
	return exec.Command("go", append(append([]string{"build", "-race", "-ldflags=-s -w"}, args...), "-o", path, ".")...).CombinedOutput()
}

// process is a running command.
type process struct {
	cmd  *exec.Cmd
	name string

	mu   sync.Mutex
	log  bytes.Buffer
	done chan struct{} // closed when it has ended
	err  error
}

// start runs a command; it is killed at the end of the test, and its output is
// shown when the test has failed.
func start(t testing.TB, name string, arg ...string) *process {
	t.Helper()
	p := newProcess(name, arg...)
	p.launch(t)
	return p
}

func newProcess(name string, arg ...string) *process {
	p := &process{cmd: exec.Command(name, arg...), name: filepath.Base(name), done: make(chan struct{})}
	p.cmd.Stderr = p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p
}

func (p *process) launch(t testing.TB) {
	t.Helper()
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = p
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s said:\n%s", p.name, strings.Join(p.cmd.Args[1:], " "), tail(p.said(), 6000))
		}
	})
}

// Write collects what the command prints.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// stop asks it to end, as Ctrl-C does, and answers its exit status.
func (p *process) stop(t testing.TB) int {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("stopping %s: %v", p.name, err)
	}
	p.wait(t)
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) wait(t testing.TB) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%s does not end", p.name)
	}
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// eventually waits until cond holds. It is for what no event tells: another
// process's state.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freeAddr is an address that nobody listens on, and that neither another test gets nor
// an outgoing connection: it is below the ports that systems give to those.
func freeAddr(t testing.TB) string {
	t.Helper()
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
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

// startNodeProcess starts `latchkey node` in a folder and returns its socket.
func startNodeProcess(t testing.TB, dir string) (socket string) {
	t.Helper()
	startNodeIn(t, dir)
	return filepath.Join(dir, "n.sock")
}

// startNodeIn starts `latchkey node` on the log in a folder, with the socket
// n.sock there.
func startNodeIn(t testing.TB, dir string) *process {
	t.Helper()
	socket := filepath.Join(dir, "n.sock")
	n := start(t, binary, "node", "--data", filepath.Join(dir, "log"), "--socket", socket)
	eventually(t, "the node listens", func() bool {
		if n.ended() {
			t.Fatalf("latchkey node has ended: %s", n.said())
		}
		return answers(socket)
	})
	return n
}

// service is a running `latchkey serve`.
type service struct {
	*process
	http, rtsp, metrics string
	api                 *apiClient
}

// serve starts `latchkey serve` and waits until it is ready.
func serve(t testing.TB, bin, data string, more ...string) *service {
	t.Helper()
	return serveIn(t, nil, bin, data, more...)
}

// serveIn is serve with more variables in the environment.
func serveIn(t testing.TB, env []string, bin, data string, more ...string) *service {
	t.Helper()
	s := &service{http: freeAddr(t), rtsp: freeAddr(t), metrics: freeAddr(t)}
	s.process = newProcess(bin, append([]string{"serve", "--data", data, "--http", s.http, "--rtsp", s.rtsp, "--metrics", s.metrics}, more...)...)
	s.cmd.Env = append(os.Environ(), env...)
	s.launch(t)
	s.api = newAPIClient(s.http)
	s.waitReady(t)
	return s
}

func (s *service) waitReady(t testing.TB) {
	t.Helper()
	eventually(t, "latchkey serve is ready", func() bool {
		if s.ended() {
			t.Fatalf("latchkey serve has ended: %s", tail(s.said(), 3000))
		}
		res, err := http.Get("http://" + s.http + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// camera is GStreamer's RTSP server, a camera that we did not write.
type gstCamera struct {
	*process
	addr string
}

const cameraUser, cameraPassword = "admin", "camera-secret-41"

func startGstCamera(t testing.TB, method string) *gstCamera {
	t.Helper()
	p := newProcess("/usr/bin/python3", "testdata/camera.py", method, cameraUser, cameraPassword)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	port := firstLine(t, p)
	return &gstCamera{process: p, addr: "127.0.0.1:" + port}
}

// firstLine launches p and waits for the first line of its standard output.
func firstLine(t testing.TB, p *process) string {
	t.Helper()
	r, w := io.Pipe()
	p.cmd.Stdout = w
	p.launch(t)
	go func() { <-p.done; w.Close() }()
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(r).ReadString('\n') // "" when it ended before
		lines <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, r) // until it ends
	}()
	select {
	case line := <-lines:
		if line == "" {
			t.Fatalf("%s has ended: %s", p.name, tail(p.said(), 3000))
		}
		return line
	case <-time.After(patience):
		t.Fatalf("%s prints nothing", p.name)
		return ""
	}
}

// user is an account with a session.
type user struct {
	t     testing.TB
	api   *apiClient
	login string
	token string
	basic string // instead of a token: name and password
}

const userPassword = "correct horse battery"

// register makes an account with a session.
func (s *service) register(t testing.TB, name string) *user {
	t.Helper()
	u := &user{t: t, api: s.api, login: name + "@example.com"}
	u.must("POST", "/accounts", map[string]any{"email": u.login, "password": userPassword, "name": name}, nil)
	return s.login(t, name)
}

// login makes a session for an account that exists.
func (s *service) login(t testing.TB, name string) *user {
	t.Helper()
	u := &user{t: t, api: s.api, login: name + "@example.com"}
	var session struct{ Token string }
	u.must("POST", "/sessions", map[string]any{"login": u.login, "password": userPassword}, &session)
	u.token = session.Token
	return u
}

// call tries again while others of this network hash their passwords, as an app
// does.
func (u *user) call(method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := u.api.do(ctx, method, path, u.token, body, out)
		if !hasCode(err, "passwords_busy") || !pause.For(ctx, 50*time.Millisecond) {
			return err
		}
	}
}

func (u *user) must(method, path string, body, out any) {
	u.t.Helper()
	if err := u.call(method, path, body, out); err != nil {
		u.t.Fatal(err)
	}
}

// addDevice adds a camera and answers the device's id.
func (u *user) addDevice(rtspURL, username, password string) string {
	u.t.Helper()
	var device struct{ ID string }
	u.must("POST", "/devices", map[string]any{"name": "Front door", "rtsp_url": rtspURL, "username": username, "password": password}, &device)
	return device.ID
}

// invitation is one device of a share with the privileges on channel 1.
func invitation(device string, privileges ...string) map[string]any {
	return map[string]any{"device": device, "channels": []any{map[string]any{"channel": 1, "privileges": privileges}}}
}

// share invites the other user to a device and answers the share's id.
func (u *user) share(with *user, device string, privileges ...string) string {
	u.t.Helper()
	var share struct{ ID string }
	u.must("POST", "/shares", map[string]any{
		"recipient": map[string]any{"email": with.login}, "remark": "a neighbour",
		"devices": []any{invitation(device, privileges...)},
	}, &share)
	return share.ID
}

func (u *user) accept(share, device string) {
	u.t.Helper()
	u.must("POST", "/shares/"+share+"/devices/"+device+"/accept", nil, nil)
}

// streamKey makes a key and answers it as "name:secret".
func (u *user) streamKey() string {
	u.t.Helper()
	var key struct{ Name, Secret string }
	u.must("POST", "/stream-keys", map[string]any{}, &key)
	return key.Name + ":" + key.Secret
}

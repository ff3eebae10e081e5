package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestPowerCut cuts the power at random moments under load: the service runs on
// a file system of its own, whose disk is copied as it is at that moment, so that
// all is lost that was not synced. A service on the copy must have everything
// that was acknowledged, and whatever was cut off must be healed by repeating it.
func TestPowerCut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	acknowledged := 0
	for round := range rounds(t, "LATCHKEY_POWERCUT_ROUNDS", 3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) { acknowledged += powerCut(t) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%d commands were acknowledged", acknowledged)
}

func powerCut(t *testing.T) (acknowledged int) {
	dir := t.TempDir()
	disk := newDisk(t, filepath.Join(dir, "disk.img"))
	s := serve(t, binary, disk.mount(t, filepath.Join(dir, "before")))
	l := &cutLoad{}
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() { l.work(s, worker) })
	}
	after := 1 + rand.IntN(60)
	eventually(t, "commands are acknowledged", func() bool { return l.done() >= after })
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	left := disk.copy(t, filepath.Join(dir, "copy.img"))
	s.kill()
	wg.Wait()

	s = serve(t, binary, left.mount(t, filepath.Join(dir, "after")))
	l.check(t, s)
	s.kill()
	return l.done()
}

// disk is a file with a file system in it.
type disk struct{ image string }

func newDisk(t *testing.T, image string) *disk {
	t.Helper()
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(384 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	mustRun(t, "mkfs.ext4", "-q", image)
	return &disk{image}
}

// mount answers a data folder on the disk; it is unmounted at the end of the test.
func (d *disk) mount(t *testing.T, at string) string {
	t.Helper()
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "mount", "-o", "loop", d.image, at)
	t.Cleanup(func() { mustRun(t, "umount", "-l", at) })
	return filepath.Join(at, "data")
}

// copy answers what the disk holds now, less what was not written to it yet.
func (d *disk) copy(t *testing.T, image string) *disk {
	t.Helper()
	mustRun(t, "cp", "--sparse=always", d.image, image)
	return &disk{image}
}

func mustRun(t *testing.T, name string, arg ...string) {
	t.Helper()
	cmd := exec.Command(name, arg...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/sbin:/usr/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(arg, " "), err, out)
	}
}

// deadCamera is an address at which no camera is: the door answers 503 to whoever
// may see it, and 404 to whoever may not or where it knows no camera.
const deadCamera = "rtsp://127.0.0.1:9/stream"

// cutLoad is what was acknowledged, and what was cut off.
type cutLoad struct {
	mu           sync.Mutex
	acknowledged int
	accounts     []string
	devices      []cutDevice
	grants       []*cutGrant
	cutAccounts  []string
	cutDevices   []cutDevice
}

type cutDevice struct{ owner, serial string }

// cutGrant is a share of a device. known: whether it is given was acknowledged.
type cutGrant struct {
	owner, recipient, device, key string
	given, known                  bool
}

func (l *cutLoad) ack(note func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged++
	note()
}

func (l *cutLoad) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acknowledged
}

// work makes accounts, devices and shares until a call fails.
func (l *cutLoad) work(s *service, worker int) {
	for i := 0; ; i++ {
		owner, recipient := fmt.Sprintf("owner-%d-%d", worker, i), fmt.Sprintf("recipient-%d-%d", worker, i)
		if l.pair(s, owner, recipient, fmt.Sprintf("cut-%d-%d", worker, i)) != nil {
			return
		}
	}
}

func (l *cutLoad) pair(s *service, ownerName, recipientName, serial string) error {
	owner, err := l.account(s, ownerName)
	if err != nil {
		return err
	}
	recipient, err := l.account(s, recipientName)
	if err != nil {
		return err
	}
	device := cutDevice{ownerName, serial}
	if err := owner.call("POST", "/devices", cutCamera(serial), nil); err != nil {
		l.cut(device)
		return err
	}
	l.ack(func() { l.devices = append(l.devices, device) })
	var key struct{ Name, Secret string }
	if err := recipient.call("POST", "/stream-keys", map[string]any{}, &key); err != nil {
		return err
	}
	g := &cutGrant{owner: ownerName, recipient: recipientName, device: serial, key: key.Name + ":" + key.Secret, known: true}
	l.ack(func() { l.grants = append(l.grants, g) })
	var share struct{ ID string }
	if err := owner.call("POST", "/shares", map[string]any{"recipient": map[string]any{"email": recipient.login}, "remark": "cut",
		"devices": []any{invitation(serial, "live_view")}}, &share); err != nil {
		return err
	}
	at := "/shares/" + share.ID + "/devices/" + serial
	for range 3 {
		for _, step := range []struct {
			who          *user
			method, path string
			body         any
			given        bool
		}{
			{recipient, "POST", at + "/accept", nil, true},
			{owner, "DELETE", at, nil, false},
			{owner, "PUT", at, invitation(serial, "live_view"), false},
		} {
			l.mu.Lock()
			g.known = false
			l.mu.Unlock()
			if err := step.who.call(step.method, step.path, step.body, nil); err != nil {
				return err
			}
			l.ack(func() { g.given, g.known = step.given, true })
		}
	}
	return nil
}

func (l *cutLoad) cut(d cutDevice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutDevices = append(l.cutDevices, d)
}

func cutCamera(serial string) map[string]any {
	return map[string]any{"name": "Front door", "serial": serial, "rtsp_url": deadCamera, "username": "u", "password": "p"}
}

func (l *cutLoad) account(s *service, name string) (*user, error) {
	u := &user{api: s.api, login: name + "@example.com"}
	if err := u.call("POST", "/accounts", map[string]any{"email": u.login, "password": userPassword, "name": name}, nil); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cutAccounts = append(l.cutAccounts, name)
		return nil, err
	}
	l.ack(func() { l.accounts = append(l.accounts, name) })
	return u, u.logIn()
}

func (u *user) logIn() error {
	var session struct{ Token string }
	err := u.call("POST", "/sessions", map[string]any{"login": u.login, "password": userPassword}, &session)
	u.token = session.Token
	return err
}

// check asks the service on the copied disk for everything.
func (l *cutLoad) check(t *testing.T, s *service) {
	t.Helper()
	for _, name := range l.cutAccounts { // repeating it gives an account
		u := &user{t: t, api: s.api, login: name + "@example.com"}
		again := u.call("POST", "/accounts", map[string]any{"email": u.login, "password": userPassword, "name": name}, nil)
		if err := u.logIn(); err != nil {
			t.Errorf("%s was cut off while it registered, is answered %v when it does so again, and cannot log in: %v", name, again, err)
		}
	}
	users := map[string]*user{}
	for _, name := range l.accounts {
		u := &user{t: t, api: s.api, login: name + "@example.com"}
		if err := u.logIn(); err != nil {
			t.Errorf("%s was registered and cannot log in: %v", name, err)
			continue
		}
		users[name] = u
	}
	for _, d := range l.cutDevices {
		u := users[d.owner]
		again := u.call("POST", "/devices", cutCamera(d.serial), nil)
		if got := describeStatus(t, s.rtsp, "/"+d.serial+"/1", u.streamKey()); got != 503 {
			t.Errorf("%s was cut off while it was added, adding it again is answered %v, and the door answers %d, want 503: the camera is away", d.serial, again, got)
		}
	}
	for _, d := range l.devices {
		if got := describeStatus(t, s.rtsp, "/"+d.serial+"/1", users[d.owner].streamKey()); got != 503 {
			t.Errorf("%s was added and the door answers its owner %d, want 503: the camera is away", d.serial, got)
		}
	}
	for _, g := range l.grants {
		want := map[bool]int{true: 503, false: 404}[g.given]
		if got := describeStatus(t, s.rtsp, "/"+g.device+"/1", g.key); g.known && got != want {
			t.Errorf("%s for %s: given is %v, and the door answers %d, want %d", g.device, g.recipient, g.given, got, want)
		}
	}
}

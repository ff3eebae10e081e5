package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"latchkey/internal/bench/fanout"
)

// binaryEnv names another build of latchkey whose commands are measured alternately with
// those of this tree.
const binaryEnv = "LATCHKEY_BENCH_BINARY"

// benchCommand measures commands through the REST API of a real service, one caller at a
// time, compared with two synced writes of a bare file (the log's and the vault's), or
// with another build; then the memory of the service during and after 40,000 commands.
func benchCommand(b *bench) error {
	s, err := startServe(b, "", "service")
	if err != nil {
		return err
	}
	defer s.stop()
	builds := []*served{s}
	if other := os.Getenv(binaryEnv); other != "" {
		o, err := startServe(b, other, "other")
		if err != nil {
			return err
		}
		defer o.stop()
		builds = append(builds, o)
	}
	took, err := each(b, builds)
	if err != nil {
		return err
	}
	if err := compared(b, took); err != nil {
		return err
	}
	if err := s.longShare(b); err != nil {
		return err
	}
	return s.memory(b)
}

// compared adds the rows of commands.
func compared(b *bench, took []timings) error {
	floor, err := syncedWrites(filepath.Join(b.dir, "floor"), b.scaled(400))
	if err != nil {
		return err
	}
	beside, goal := "two synced writes", ""
	if len(took) > 1 {
		beside, goal = "the other build", "at most 1.5"
	}
	for _, name := range commands {
		p50, p99 := percentile(took[0][name], 0.5), percentile(took[0][name], 0.99)
		other := floor
		if len(took) > 1 {
			other = percentile(took[1][name], 0.5)
		}
		b.add("command: "+name, fmt.Sprintf("p50 %v, p99 %v", p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond)),
			fmt.Sprintf("%s %v", beside, other.Round(10*time.Microsecond)), p50.Seconds()/other.Seconds(), goal)
	}
	return nil
}

// syncedWrites returns the median time of two writes of 250 bytes that are synced one
// after the other.
func syncedWrites(path string, n int) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	for range n {
		began := time.Now()
		for range 2 {
			if _, err := f.Write(make([]byte, 250)); err != nil {
				return 0, err
			}
			if err := f.Sync(); err != nil {
				return 0, err
			}
		}
		took = append(took, time.Since(began))
	}
	return percentile(took, 0.5), nil
}

// commands are measured in this order.
var commands = []string{
	"add a device", "share it", "accept", "edit privileges", "make a stream key", "revoke it", "take the device back", "remove the device",
}

// timings is how long the commands of one kind took.
type timings map[string][]time.Duration

// each measures every kind of command alone, each build in turn.
func each(b *bench, builds []*served) ([]timings, error) {
	took := make([]timings, len(builds))
	owners, guests := make([]*account, len(builds)), make([]*account, len(builds))
	for i, s := range builds {
		var err error
		if owners[i], err = s.account(b.ctx, "single"); err != nil {
			return nil, err
		}
		took[i] = timings{}
	}
	for n := range b.scaled(400) {
		for i, s := range builds {
			if n%20 == 0 { // keep the share short
				var err error
				if guests[i], err = s.account(b.ctx, fmt.Sprintf("guest%d", n)); err != nil {
					return nil, err
				}
			}
			if err := took[i].cycle(b.ctx, owners[i], guests[i], fmt.Sprintf("single-%d", n)); err != nil {
				return nil, err
			}
		}
	}
	return took, nil
}

// cycle runs each command once.
func (t timings) cycle(ctx context.Context, owner, guest *account, device string) error {
	timed := func(name string, who *account, method, path string, body, into any) error {
		began := time.Now()
		if err := who.call(ctx, method, path, body, into); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		t[name] = append(t[name], time.Since(began))
		return nil
	}
	var share, key struct{ ID, Name string }
	at := func() string { return "/shares/" + share.ID + "/devices/" + device }
	for _, step := range []func() error{
		func() error { return timed("add a device", owner, "POST", "/devices", newDevice(device), nil) },
		func() error {
			return timed("share it", owner, "POST", "/shares", newShare(guest.login, device), &share)
		},
		func() error { return timed("accept", guest, "POST", at()+"/accept", nil, nil) },
		func() error {
			return timed("edit privileges", owner, "PUT", at(), map[string]any{"channels": channels("live_view", "ptz")}, nil)
		},
		func() error {
			return timed("make a stream key", guest, "POST", "/stream-keys", map[string]any{"label": "bench"}, &key)
		},
		func() error { return timed("revoke it", guest, "DELETE", "/stream-keys/"+key.Name, nil, nil) },
		func() error { return timed("take the device back", owner, "DELETE", at(), nil, nil) },
		func() error { return timed("remove the device", owner, "DELETE", "/devices/"+device, nil, nil) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// memory adds devices and shares them, with many callers at once.
func (s *served) memory(b *bench) error {
	const callers = 16
	owner, err := s.account(b.ctx, "owner")
	if err != nil {
		return err
	}
	n := b.scaled(20_000)
	peak := make(chan int)
	ctx, cancel := context.WithCancel(b.ctx)
	go func() { peak <- s.peak(ctx) }()
	began := time.Now()
	var wg sync.WaitGroup
	failed := make(chan error, callers)
	for c := range callers {
		wg.Go(func() {
			who := owner.again()
			for i := c; i < n; i += callers {
				device := fmt.Sprintf("many-%d", i)
				if err := errors.Join(who.call(b.ctx, "POST", "/devices", newDevice(device), nil),
					who.call(b.ctx, "POST", "/shares", newShare(fmt.Sprintf("p%d@bench.example", i), device), nil)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	cancel()
	most := <-peak
	select {
	case err := <-failed:
		return err
	default:
	}
	b.add("commands at once, 16 callers", fmt.Sprintf("%.0f/s", perSecond(2*n, took)), "1,000/s", perSecond(2*n, took)/1000, "")
	b.add(fmt.Sprintf("memory under %d commands", 2*n), fmt.Sprintf("%d MiB at most", most), "250 MiB", float64(most)/250, "at most 1")
	quiet := s.rss()
	for until := time.Now().Add(90 * time.Second); time.Now().Before(until) && quiet > 120; time.Sleep(time.Second) {
		quiet = s.rss()
	}
	b.add("memory when it is quiet again", fmt.Sprintf("%d MiB", quiet), "120 MiB", float64(quiet)/120, "about 1")
	return nil
}

// served is a running service.
type served struct {
	cmd  *exec.Cmd
	api  string
	rtsp string // address of the door
}

// startServe starts a build, "" for that of this tree, on a folder of its own, with more
// settings such as "VERIFICATION=required".
func startServe(b *bench, binary, folder string, more ...string) (*served, error) {
	if binary == "" {
		binary = filepath.Join(b.dir, "latchkey")
		if out, err := exec.CommandContext(b.ctx, "go", "build", "-o", binary, "./cmd/latchkey").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building latchkey: %w: %s", err, out)
		}
	}
	address, err1 := fanout.FreeAddress()
	door, err2 := fanout.FreeAddress()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s := &served{api: "http://" + address, rtsp: door}
	s.cmd = exec.Command(binary, "serve", "--data", filepath.Join(b.dir, folder), "--http", address, "--rtsp", door, "--log-level", "error")
	s.cmd.Env = append(os.Environ(), "LATCHKEY_QUOTAS=commands=1000000")                                             // one account does everything; earlier builds have none
	for _, setting := range append([]string{"REGISTRATION=open", "VERIFICATION=off", "DEVICE_PROOF=off"}, more...) { // the last one counts
		s.cmd.Env = append(s.cmd.Environ(), "LATCHKEY_"+setting)
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(s.api + "/readyz")
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return s, nil
		}
	}
	s.stop()
	return nil, errors.New("the service is not ready after 30 s")
}

func (s *served) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// rss is the resident memory in MiB.
func (s *served) rss() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(value)[0])
			return kib / 1024
		}
	}
	return 0
}

func (s *served) peak(ctx context.Context) (most int) {
	for ctx.Err() == nil {
		most = max(most, s.rss())
		time.Sleep(20 * time.Millisecond)
	}
	return most
}

// account is a caller of the API.
type account struct {
	api, login, token string
	from              string // the address that a proxy says it has; "" for none
	client            *http.Client
}

func (s *served) account(ctx context.Context, name string) (*account, error) {
	a := &account{api: s.api + "/api/v1", login: name + "@bench.example", client: &http.Client{}}
	if err := a.call(ctx, "POST", "/accounts", map[string]any{"email": a.login, "password": "a long password", "name": name}, nil); err != nil {
		return nil, err
	}
	var session struct{ Token string }
	err := a.call(ctx, "POST", "/sessions", map[string]any{"login": a.login, "password": "a long password"}, &session)
	a.token = session.Token
	return a, err
}

// again returns the same account on its own connection.
func (a *account) again() *account {
	return &account{api: a.api, login: a.login, token: a.token, client: &http.Client{Transport: &http.Transport{}}}
}

func (a *account) call(ctx context.Context, method, path string, body, into any) error {
	return a.callWith(ctx, "", method, path, body, into)
}

// callWith is call with an idempotency key, "" for none.
func (a *account) callWith(ctx context.Context, key, method, path string, body, into any) error {
	var raw io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		raw = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.api+path, raw)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.from != "" {
		req.Header.Set("X-Forwarded-For", a.from)
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if into == nil && res.StatusCode < 300 { // the caller's own work shares the cores with the service
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, res.Status, text)
	}
	return json.Unmarshal(text, into)
}

func newDevice(serial string) map[string]any {
	return map[string]any{"name": "Camera", "serial": serial, "rtsp_url": "rtsp://192.0.2.1/stream", "username": "admin", "password": "secret"}
}

func newShare(email, device string) map[string]any {
	return map[string]any{"recipient": map[string]any{"email": email}, "remark": "Neighbour",
		"devices": []any{map[string]any{"device": device, "channels": channels("live_view")}}}
}

func channels(privileges ...string) []any {
	return []any{map[string]any{"channel": 1, "privileges": privileges}}
}

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rounds is how often a test does its round: a few times, or what the variable
// says (`make torture`).
func rounds(t *testing.T, variable string, few int) int {
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number of rounds", variable, text)
	}
	return n
}

// TestTorture kills the whole process at random moments under load. After each
// kill: no acknowledged command is lost or doubled, the read models equal a
// replay of the log, and nobody may watch without a grant.
func TestTorture(t *testing.T) {
	cam := startGstCamera(t, "digest")
	data := t.TempDir()
	s := serve(t, binary, data)
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	load := &tortureLoad{device: device, granted: map[string]bool{}, keys: map[string]string{}}
	for i := range 4 {
		name := fmt.Sprintf("recipient%d", i)
		load.names = append(load.names, name)
		load.keys[name] = s.register(t, name).streamKey()
	}
	for round := range rounds(t, "LATCHKEY_TORTURE_ROUNDS", 5) {
		load.run(t, s, time.Duration(50+rand.IntN(700))*time.Millisecond)
		s.kill()
		s = serve(t, binary, data)
		load.check(t, s, round)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("%d commands were acknowledged, %d were cut off", load.acknowledged, load.unknown)
	load.readModelsEqualReplay(t, s, data)
}

// tortureLoad knows of each recipient whether they must have a grant now.
type tortureLoad struct {
	device string
	names  []string
	keys   map[string]string // stream keys by name

	mu                    sync.Mutex
	granted               map[string]bool
	acknowledged, unknown int
}

// run lets each recipient's share be made, accepted and deleted until the
// process is killed, which happens after the time given.
func (l *tortureLoad) run(t *testing.T, s *service, until time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, name := range l.names {
		owner, recipient := s.login(t, "owner"), s.login(t, name)
		wg.Go(func() { l.toggle(owner, recipient, name, stop) })
	}
	timer := time.AfterFunc(until, func() { _ = s.cmd.Process.Kill() })
	<-s.done
	timer.Stop()
	close(stop)
	wg.Wait()
}

// toggle gives and takes until a call fails. A call that fails because the
// process died may or may not have happened; doing it again with the same key
// after the restart must do it exactly once.
func (l *tortureLoad) toggle(owner, recipient *user, name string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		l.mu.Lock()
		granted := l.granted[name]
		l.mu.Unlock()
		err := l.flip(owner, recipient, granted)
		l.mu.Lock()
		if err == nil {
			l.granted[name] = !granted
			l.acknowledged++
		} else {
			delete(l.granted, name) // not known
			l.unknown++
		}
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *tortureLoad) flip(owner, recipient *user, granted bool) error {
	if granted {
		var sent struct {
			Items []struct {
				ID        string
				Recipient struct{ Email string }
			}
		}
		if err := owner.call("GET", "/shares/sent?limit=100", nil, &sent); err != nil {
			return err
		}
		for _, item := range sent.Items {
			if item.Recipient.Email == recipient.login {
				return owner.call("DELETE", "/shares/"+item.ID, nil, nil)
			}
		}
		return fmt.Errorf("the share with %s is not in the list", recipient.login)
	}
	var share struct{ ID string }
	err := owner.call("POST", "/shares", map[string]any{"recipient": map[string]any{"email": recipient.login},
		"devices": []any{invitation(l.device, "live_view")}}, &share)
	if err != nil {
		return err
	}
	return recipient.call("POST", "/shares/"+share.ID+"/devices/"+l.device+"/accept", nil, nil)
}

// check compares what the restarted process says with what was acknowledged,
// and brings every recipient whose last command was cut off to a known state.
func (l *tortureLoad) check(t *testing.T, s *service, round int) {
	t.Helper()
	owner := s.login(t, "owner")
	for _, name := range l.names {
		want, known := l.granted[name]
		got := describeStatus(t, s.rtsp, "/"+l.device+"/1", l.keys[name])
		switch {
		case known && want && got != 200:
			t.Errorf("round %d: %s was granted and the door answers %d", round, name, got)
		case known && !want && got != 404:
			t.Errorf("round %d: %s has no grant and the door answers %d", round, name, got)
		}
		if !known {
			l.settle(t, owner, s.login(t, name))
			if got := describeStatus(t, s.rtsp, "/"+l.device+"/1", l.keys[name]); got != 404 {
				t.Errorf("round %d: %s was cleared and the door answers %d", round, name, got)
			}
			l.granted[name] = false
		}
	}
}

func (l *tortureLoad) settle(t *testing.T, owner, recipient *user) {
	t.Helper()
	var sent struct {
		Items []struct {
			ID        string
			Recipient struct{ Email string }
		}
	}
	owner.must("GET", "/shares/sent?limit=100", nil, &sent)
	seen := 0
	for _, item := range sent.Items {
		if item.Recipient.Email == recipient.login {
			seen++
			owner.must("DELETE", "/shares/"+item.ID, nil, nil)
		}
	}
	if seen > 1 {
		t.Errorf("%d shares with %s", seen, recipient.login)
	}
}

// readModelsEqualReplay rebuilds every read model from the log and compares
// what the API answers before and after.
func (l *tortureLoad) readModelsEqualReplay(t *testing.T, s *service, data string) {
	t.Helper()
	before := l.answers(t, s)
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, name := range []string{"sent_shares", "received_shares", "share_history", "devices", "accounts", "privileges"} {
		if out, err := exec.Command(binary, "projections", "rebuild", name, "--data", data).CombinedOutput(); err != nil {
			t.Fatalf("rebuilding %s: %v\n%s", name, err, out)
		}
	}
	after := l.answers(t, serve(t, binary, data))
	if before != after {
		t.Errorf("the read models are not what a replay makes.\nbefore: %s\nafter:  %s", before, after)
	}
	// Every revision of every stream is there once.
	socket := filepath.Join(data, "eventstore.sock")
	out, err := exec.Command(binary, "audit", "replay", "--data", data, "--eventstore", "unix://"+socket, "--format", "ndjson", "--quiet").Output()
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]uint64{}
	for line := range strings.Lines(string(out)) {
		var e struct {
			Stream   string
			Revision uint64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Revision != next[e.Stream] {
			t.Errorf("stream %s goes on with revision %d, want %d", e.Stream, e.Revision, next[e.Stream])
		}
		next[e.Stream] = e.Revision + 1
	}
	if len(next) < 6 {
		t.Errorf("only %d streams in the log", len(next))
	}
}

// withoutPresence takes out of a list whether its devices respond and what their streams
// are, which no log says.
func withoutPresence(list any) {
	page, _ := list.(map[string]any)
	items, _ := page["items"].([]any)
	for _, item := range items {
		row, _ := item.(map[string]any)
		delete(row, "online")
		cameras, _ := row["cameras"].([]any)
		for _, camera := range cameras {
			if camera, ok := camera.(map[string]any); ok {
				delete(camera, "streams")
			}
		}
	}
}

// answers is what the API says to everybody, as one text.
func (l *tortureLoad) answers(t *testing.T, s *service) string {
	t.Helper()
	var all []string
	for _, name := range append([]string{"owner"}, l.names...) {
		u := s.login(t, name)
		for _, path := range []string{"/shares/sent", "/shares/received", "/shares/history", "/devices", "/privileges", "/stream-keys"} {
			var answer any
			u.must("GET", path+"?limit=100", nil, &answer)
			withoutPresence(answer)
			raw, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, name+path+" "+string(raw))
		}
	}
	return strings.Join(all, "\n")
}

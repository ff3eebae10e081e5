package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/testdb"
)

// threeServices are processes on one log and one PostgreSQL, behind one proxy.
func threeServices(t *testing.T) (list []*service) {
	t.Helper()
	dir := t.TempDir()
	flags := []string{"--eventstore", "unix://" + startNodeProcess(t, dir), "--database", testdb.Postgres(t), "--trusted-proxies", "127.0.0.1"}
	for i := range 3 {
		list = append(list, serve(t, binary, filepath.Join(dir, fmt.Sprint(i)), flags...))
	}
	return list
}

// atOnce sends a request to each of several services at the same time.
func atOnce(list []*service, send func(i int, s *service) reply) []reply {
	replies := make([]reply, len(list))
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range list {
		wg.Go(func() { <-begin; replies[i] = send(i, s) })
	}
	close(begin)
	wg.Wait()
	return replies
}

// TestGuessesOverThreeProcesses: guesses that are spread over processes are
// bounded as on one, and the person whose login it is still gets in from where
// they have been before.
func TestGuessesOverThreeProcesses(t *testing.T) {
	const (
		fromNetwork, everywhere           = 10, 100 // that may fail at once
		fromNetworkAgain, everywhereAgain = 30 * time.Second, 10 * time.Second
	)
	list := threeServices(t)
	logIn := func(s *service, login, password, network string) reply {
		return ask(s.http, "POST", "/sessions", "", map[string]any{"login": login, "password": password}, "X-Forwarded-For", network)
	}
	home := "192.0.2.1"
	var logins []string
	for _, name := range []string{"one", "many"} {
		login := name + "@example.com"
		if r := ask(list[0].http, "POST", "/accounts", "", map[string]any{"email": login, "password": userPassword, "name": name}); r.status != http.StatusCreated {
			t.Fatal(r)
		}
		if r := logIn(list[0], login, userPassword, home); r.status != http.StatusCreated {
			t.Fatal(r)
		}
		logins = append(logins, login)
	}

	// guess tries wrong passwords, each time on all processes at once, and counts
	// those that were looked at.
	guess := func(login string, tries int, network func(i int) string) (looked int, took time.Duration) {
		began := time.Now()
		for i := range tries {
			for n, r := range atOnce(list, func(n int, s *service) reply {
				return logIn(s, login, fmt.Sprintf("wrong guess %d-%d", i, n), network(i))
			}) {
				switch {
				case r.status == http.StatusUnauthorized && r.code == "invalid_credentials":
					looked++
				case r.status != http.StatusTooManyRequests:
					t.Fatalf("a guess on process %d: %v", n, r)
				}
			}
		}
		return looked, time.Since(began)
	}

	looked, took := guess(logins[0], 10, func(int) string { return "198.51.100.7" })
	if most := fromNetwork + 1 + int(took/fromNetworkAgain); looked < fromNetwork || looked > most {
		t.Errorf("from one network %d guesses were looked at in %v; want %d to %d", looked, took, fromNetwork, most)
	}
	looked, took = guess(logins[1], 48, func(i int) string { return fmt.Sprintf("203.0.113.%d", i) })
	// The person's own log-in has used up one, which may be back by now.
	if most := everywhere + 1 + int(took/everywhereAgain); looked < everywhere-1 || looked > most {
		t.Errorf("from many networks %d guesses were looked at in %v; want %d to %d", looked, took, everywhere-1, most)
	}
	for _, s := range list {
		if r := logIn(s, logins[0], userPassword, "198.51.100.7"); r.status != http.StatusTooManyRequests {
			t.Errorf("the right password from the network that has guessed: %v", r)
		}
		for _, login := range logins {
			if r := logIn(s, login, userPassword, home); r.status != http.StatusCreated {
				t.Errorf("%s logs in from a network of theirs: %v", login, r)
			}
		}
	}
}

// keyed is a command that is sent with an Idempotency-Key.
type keyed struct {
	method, path string
	body         any
	effects      int // 0 or 1
}

func (c keyed) send(s *service, u *user, key string) reply {
	return ask(s.http, c.method, c.path, u.token, c.body, "Idempotency-Key", key)
}

func (c keyed) String() string { return fmt.Sprint(c.method, " ", c.path, " ", c.body) }

// keyHouse is an owner who shares a device, served by three processes.
type keyHouse struct {
	t             *testing.T
	services      []*service
	owner, guest  *user
	device, share string
	keys          int
}

func (h *keyHouse) at() string { return "/shares/" + h.share + "/devices/" + h.device }

func (h *keyHouse) add(name string) keyed {
	return keyed{"POST", "/devices", map[string]any{"name": name, "rtsp_url": deadCamera}, 1}
}

func (h *keyHouse) shareWith(name string) keyed {
	return keyed{"POST", "/shares", map[string]any{"recipient": map[string]any{"email": name + "@example.com"}, "devices": []any{invitation(h.device, "live_view")}}, 1}
}

func (h *keyHouse) key(label string) keyed {
	return keyed{"POST", "/stream-keys", map[string]any{"label": label}, 1}
}

func (h *keyHouse) give(privileges ...string) keyed {
	return keyed{"PUT", h.at(), invitation(h.device, privileges...), 1}
}

func (h *keyHouse) takeBack() keyed { return keyed{"DELETE", h.at(), nil, 1} }

// count counts what there is and how often the share was changed, up to a
// position at least: every effect makes it one more.
func (h *keyHouse) count(position eventstore.Position) (n int) {
	h.t.Helper()
	read := func(path string) reply {
		h.t.Helper()
		r := ask(h.services[0].http, "GET", path, h.owner.token, nil, "Latchkey-Min-Position", fmt.Sprint(position))
		if r.status != http.StatusOK {
			h.t.Fatalf("GET %s: %v", path, r)
		}
		return r
	}
	for _, path := range []string{"/devices", "/shares/sent", "/stream-keys"} {
		var page struct{ Items []any }
		if err := json.Unmarshal(read(path+"?limit=100").body, &page); err != nil {
			h.t.Fatal(err)
		}
		n += len(page.Items)
	}
	return n + read("/shares/"+h.share).revision
}

// send sends to each process at once one of the commands, with one key.
func (h *keyHouse) send(commands ...keyed) (key string, replies []reply, position eventstore.Position) {
	h.t.Helper()
	h.keys++
	key = fmt.Sprintf("key-%d", h.keys)
	replies = atOnce(h.services, func(i int, s *service) reply { return commands[i%len(commands)].send(s, h.owner, key) })
	for _, r := range replies {
		position = max(position, r.position)
	}
	return key, replies, position
}

func (r reply) same(other reply) bool {
	return r.status < 300 && r.status == other.status && r.position == other.position && r.revision == other.revision && bytes.Equal(r.body, other.body)
}

// once: the command takes effect once, wherever it is sent how often.
func (h *keyHouse) once(c keyed) {
	h.t.Helper()
	before := h.count(0)
	key, replies, position := h.send(c)
	if !replies[0].same(replies[1]) || !replies[0].same(replies[2]) {
		h.t.Errorf("%v with one key on three processes:\n%v\n%v\n%v", c, replies[0], replies[1], replies[2])
	}
	if n := h.count(position) - before; n != c.effects {
		h.t.Errorf("%v took effect %d times; want %d", c, n, c.effects)
	}
	for _, s := range h.services {
		if r := c.send(s, h.owner, key); !r.same(replies[0]) {
			h.t.Errorf("%v is repeated: %v; want %v", c, r, replies[0])
		}
	}
	if n := h.count(position) - before; n != c.effects {
		h.t.Errorf("%v took effect %d times when it was repeated; want %d", c, n, c.effects)
	}
}

// either: one of two commands takes effect, and the other is refused.
func (h *keyHouse) either(a, b keyed) {
	h.t.Helper()
	before := h.count(0)
	_, replies, position := h.send(a, b)
	refused := func(r reply) bool {
		return r.status == http.StatusUnprocessableEntity && r.code == "idempotency_key_reused"
	}
	isA := replies[0].same(replies[2]) && refused(replies[1])
	isB := replies[1].status < 300 && refused(replies[0]) && refused(replies[2])
	if !isA && !isB {
		h.t.Errorf("%v and %v with one key:\n%v\n%v\n%v", a, b, replies[0], replies[1], replies[2])
	}
	if n := h.count(position) - before; n != 1 {
		h.t.Errorf("of %v and %v %d took effect; want one", a, b, n)
	}
}

// TestOneKeyOnThreeProcesses: a request that is sent to three processes at once
// takes effect once and is answered alike; of two different ones with one key
// exactly one takes effect.
func TestOneKeyOnThreeProcesses(t *testing.T) {
	t.Parallel()
	h := &keyHouse{t: t, services: threeServices(t)}
	h.owner, h.guest = h.services[0].register(t, "owner"), h.services[0].register(t, "guest")
	h.device = h.owner.addDevice(deadCamera, "", "")
	h.share = h.owner.share(h.guest, h.device, "live_view")
	h.guest.accept(h.share, h.device)
	for round := range 3 {
		name := func(name string) string { return fmt.Sprint(name, round) }
		unchanged := h.give("live_view", "playback")
		unchanged.effects = 0
		for _, c := range []keyed{
			h.add("Same"), h.shareWith(name("same")), h.key("same"),
			h.give("live_view", "playback"), unchanged, h.takeBack(), h.give("live_view"),
		} {
			h.once(c)
		}
		h.guest.accept(h.share, h.device)
		for _, pair := range [][2]keyed{
			{h.shareWith(name("this")), h.shareWith(name("that"))},
			{h.add("This"), h.add("That")},
			{h.key("this"), h.key("that")},
			{h.give("live_view", "ptz"), h.give("live_view", "alarm")},
			{h.shareWith(name("other")), h.key("other")},
			{h.give("live_view"), h.takeBack()},
		} {
			h.either(pair[0], pair[1])
		}
		h.owner.must("PUT", h.at(), invitation(h.device, "live_view"), nil)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/api/client"
	"latchkey/eventstore"
	"latchkey/internal/position"
	"latchkey/internal/testdb"
)

// TestPostgresCrash kills PostgreSQL under load, with the last commits of the
// read models, which do not wait for the disk. When it is back, a read that names
// the position of an acknowledged command shows its effect on every process; a
// read that names none is never older than what its process acknowledged, not
// even meanwhile; a device that is removed at once leaves the shares that the read
// models have just forgotten; and the vault has what was last put into it.
func TestPostgresCrash(t *testing.T) {
	t.Parallel()
	server := testdb.NewServer(t, "wal_writer_delay=10s")
	dir := t.TempDir()
	socket := startNodeProcess(t, dir)
	flags := []string{"--eventstore", "unix://" + socket, "--database", server.DSN}
	c := &crashed{t: t, services: []*service{
		serve(t, binary, filepath.Join(dir, "a"), flags...), serve(t, binary, filepath.Join(dir, "b"), flags...),
	}}
	c.owner = c.services[0].register(t, "owner")
	for i := range 4 {
		u := c.services[0].register(t, fmt.Sprintf("guest%d", i))
		c.guests = append(c.guests, &crashGuest{user: u, key: u.streamKey()})
	}
	for round := range rounds(t, "LATCHKEY_PGCRASH_ROUNDS", 4) {
		c.round(server, round)
		if t.Failed() {
			return
		}
	}
	lost := 0
	for _, s := range c.services {
		lost += strings.Count(s.said(), "the read models resume from an earlier checkpoint")
	}
	if lost == 0 {
		t.Error("no crash took anything from the read models: this test shows nothing")
	}
	t.Logf("%d commands were acknowledged, %d reads named no position, read models went back %d times", c.commands.Load(), c.reads.Load(), lost)
}

// crashed is two services on one database, and what they acknowledged.
type crashed struct {
	t        *testing.T
	services []*service
	owner    *user
	guests   []*crashGuest
	commands atomic.Int64
	reads    atomic.Int64
}

type crashGuest struct {
	*user
	key   string
	share string
}

// crashShare is what was acknowledged of one share.
type crashShare struct {
	id string

	mu       sync.Mutex
	revision int                 // of the last command that was acknowledged
	position eventstore.Position // of that
	by       map[*service]uint64 // revisions that each service acknowledged
}

func (s *crashShare) ack(by *service, revision int, position eventstore.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision, s.position = max(s.revision, revision), max(s.position, position)
	s.by[by] = max(s.by[by], uint64(revision))
}

func (s *crashShare) acknowledged(by *service) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[by]
}

// round gives a new device to every guest, edits it under load, crashes the
// database, and looks.
func (c *crashed) round(server *testdb.Server, n int) {
	c.t.Helper()
	kept, gone := fmt.Sprintf("kept-%d", n), fmt.Sprintf("gone-%d", n)
	for _, serial := range []string{kept, gone} {
		c.owner.must("POST", "/devices", cutCamera(serial), nil)
	}
	var shares []*crashShare
	for _, g := range c.guests {
		g.share = c.owner.share(g.user, kept, "live_view")
		shares = append(shares, &crashShare{id: g.share, by: map[*service]uint64{}})
		g.accept(g.share, kept)
	}

	ctx, done := context.WithCancel(context.Background())
	defer done()
	var load, readers sync.WaitGroup
	stop := make(chan struct{})
	for i, g := range c.guests {
		load.Go(func() { c.edit(c.services[i%2], shares[i], kept, gone, g, stop) })
	}
	for _, s := range c.services {
		readers.Go(func() { c.watch(ctx, s, shares) })
	}
	began := c.commands.Load()
	eventually(c.t, "commands are acknowledged", func() bool { return c.commands.Load() > began+60 || c.t.Failed() })
	check := c.last(n)
	server.Crash()
	close(stop)
	load.Wait()
	server.Start()

	// At once, while the read models lack their end.
	var removed reply
	eventually(c.t, "the device is removed", func() bool {
		removed = ask(c.services[1].http, "DELETE", "/devices/"+gone, c.owner.token, nil)
		return removed.status == http.StatusNoContent || removed.status == http.StatusNotFound
	})
	if removed.status != http.StatusNoContent {
		c.t.Errorf("removing the device: %v", removed)
	}
	for _, g := range c.guests {
		if got := describeStatus(c.t, c.services[1].rtsp, "/"+gone+"/1", g.key); got != 404 {
			c.t.Errorf("the device was removed, and the door answers %d", got)
		}
	}
	for _, s := range c.services {
		for i, share := range shares {
			c.sees(s, share)
			c.hasLost(s, share.id, gone, removed.position)
			c.received(s, c.guests[i], share)
		}
	}
	done()
	readers.Wait()
	for _, s := range c.services {
		s.waitReady(c.t)
		check(s)
	}
}

// last does one of the things that the vault must not forget, as the last one
// before a crash, and returns how to see that it has not.
func (c *crashed) last(n int) (check func(s *service)) {
	c.t.Helper()
	name := fmt.Sprintf("late%d", n)
	switch n % 4 {
	case 0: // a session ends
		u := c.services[0].login(c.t, "owner")
		u.must("DELETE", "/sessions/current", nil, nil)
		return func(s *service) {
			if r := ask(s.http, "GET", "/devices", u.token, nil); r.status != http.StatusUnauthorized {
				c.t.Errorf("a session that had ended: %v", r)
			}
		}
	case 1: // a device is added
		c.owner.must("POST", "/devices", cutCamera(name), nil)
		return func(s *service) {
			u := *c.owner
			u.api = s.api
			key := u.streamKey()
			eventually(c.t, "the vault has the camera of a device that was added: it is away, which is 503", func() bool {
				return describeStatus(c.t, s.rtsp, "/"+name+"/1", key) == 503
			})
		}
	case 2: // an account is made
		if r := ask(c.services[0].http, "POST", "/accounts", "", map[string]any{"email": name + "@example.com", "password": userPassword, "name": name}); r.status != http.StatusCreated {
			c.t.Fatalf("registering: %v", r)
		}
		return func(s *service) { s.login(c.t, name) }
	default: // a stream key is made
		key := c.guests[0].streamKey()
		return func(s *service) {
			if got := describeStatus(c.t, s.rtsp, fmt.Sprintf("/kept-%d/1", n), key); got != 503 {
				c.t.Errorf("a stream key was made, and the door answers it %d, want 503: the camera is away", got)
			}
		}
	}
}

// edit gives a guest one device more, which they accept, and changes its
// privileges until the load ends or the database is away.
func (c *crashed) edit(by *service, share *crashShare, kept, gone string, g *crashGuest, stop <-chan struct{}) {
	at := "/shares/" + share.id + "/devices/"
	step := func(token, method, path string, body any) bool {
		select {
		case <-stop:
			return false
		default:
		}
		r := ask(by.http, method, path, token, body)
		if r.status >= 300 {
			if r.status != http.StatusServiceUnavailable {
				c.t.Errorf("%s %s: %v", method, path, r)
			}
			return false
		}
		share.ack(by, r.revision, r.position)
		c.commands.Add(1)
		if read := ask(by.http, "GET", "/shares/"+share.id, c.owner.token, nil, "Latchkey-Min-Position", fmt.Sprint(r.position)); read.status == http.StatusOK && read.revision < r.revision {
			c.t.Errorf("a read that names position %d shows revision %d of a share that has %d", r.position, read.revision, r.revision)
		}
		return true
	}
	for i := 0; ; i++ {
		if !step(c.owner.token, "PUT", at+kept, invitation(kept, []string{"live_view", "playback"}[:1+i%2]...)) {
			return
		}
		if i%8 == 0 && (!step(c.owner.token, "PUT", at+gone, invitation(gone, "live_view")) || !step(g.token, "POST", at+gone+"/accept", nil)) {
			return
		}
		if i%8 == 7 && !step(c.owner.token, "DELETE", at+gone, nil) {
			return
		}
	}
}

// watch reads without a position until the context ends. What is answered is
// never older than what the service had acknowledged before.
func (c *crashed) watch(ctx context.Context, s *service, shares []*crashShare) {
	for i := 0; ctx.Err() == nil; i++ {
		share := shares[i%len(shares)]
		least := share.acknowledged(s)
		r := ask(s.http, "GET", "/shares/"+share.id, c.owner.token, nil)
		switch {
		case r.status == http.StatusOK && uint64(r.revision) < least:
			c.t.Errorf("a read without a position shows revision %d of a share that has %d", r.revision, least)
			return
		case r.status != http.StatusOK && r.status != http.StatusServiceUnavailable:
			c.t.Errorf("a read without a position: %v", r)
			return
		}
		c.reads.Add(1)
	}
}

// sees: a read that names the position of the share's last command shows it.
func (c *crashed) sees(s *service, share *crashShare) {
	c.t.Helper()
	var r reply
	eventually(c.t, "a read sees its position", func() bool {
		r = ask(s.http, "GET", "/shares/"+share.id, c.owner.token, nil, "Latchkey-Min-Position", fmt.Sprint(share.position))
		return r.status != http.StatusServiceUnavailable
	})
	if r.status != http.StatusOK || r.revision < share.revision {
		c.t.Errorf("a read that names position %d of revision %d: %v, revision %d", share.position, share.revision, r, r.revision)
	}
}

// hasLost: the owner no longer shares a device that was removed.
func (c *crashed) hasLost(s *service, share, device string, position eventstore.Position) {
	c.t.Helper()
	var r reply
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		r = ask(s.http, "GET", "/shares/"+share, c.owner.token, nil, "Latchkey-Min-Position", fmt.Sprint(position))
		var body crashShareBody
		if r.status == http.StatusOK && json.Unmarshal(r.body, &body) == nil && !body.has(device) {
			return
		}
		if r.status != http.StatusOK && r.status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			c.t.Errorf("the device %s was removed and is still shared: %v", device, r)
			return
		}
	}
}

// received: the guest sees the share as it was acknowledged last.
func (c *crashed) received(s *service, g *crashGuest, share *crashShare) {
	c.t.Helper()
	var r reply
	eventually(c.t, "a guest's read sees its position", func() bool {
		r = ask(s.http, "GET", "/shares/received", g.token, nil, "Latchkey-Min-Position", fmt.Sprint(share.position))
		return r.status != http.StatusServiceUnavailable
	})
	var list struct{ Items []crashShareBody }
	if err := json.Unmarshal(r.body, &list); err != nil || len(list.Items) != 1 || !list.Items[0].hasAccepted() {
		c.t.Errorf("what the guest receives: %v", r)
	}
}

type crashShareBody struct {
	Devices []struct{ Device, Status string }
}

func (s crashShareBody) has(device string) bool {
	for _, d := range s.Devices {
		if d.Device == device && d.Status != "removed" {
			return true
		}
	}
	return false
}

func (s crashShareBody) hasAccepted() bool {
	for _, d := range s.Devices {
		if d.Status == "accepted" {
			return true
		}
	}
	return false
}

// reply is an answer of the API, with what its headers say.
type reply struct {
	status   int
	code     string
	position eventstore.Position
	revision int
	body     []byte
	err      error
}

func (r reply) String() string {
	return fmt.Sprintf("status %d, position %d: %s %v", r.status, r.position, tail(string(r.body), 400), r.err)
}

// ask makes one call with headers, given as names and values. It has no position
// or revision if the answer names none.
func ask(host, method, path, token string, body any, header ...string) (r reply) {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return reply{err: err}
		}
		payload = strings.NewReader(string(raw))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+"/api/v1"+path, payload)
	if err != nil {
		return reply{err: err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	r.status = res.StatusCode
	r.position, _ = position.Parse(res.Header.Get("Latchkey-Position"))
	revision, _, _ := strings.Cut(strings.Trim(res.Header.Get("ETag"), `"`), "-")
	r.revision, _ = strconv.Atoi(revision)
	r.body, r.err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	var p client.Problem
	if r.status >= 300 && json.Unmarshal(r.body, &p) == nil {
		r.code = p.Code
	}
	return r
}

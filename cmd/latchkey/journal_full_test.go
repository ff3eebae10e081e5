package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"latchkey/internal/journal"
)

// TestJournalOnAFullDisk: the disk of the journal of revocations fills up.
// Revocations are confirmed out of what it has reserved; after that they take
// effect all the same, but are not confirmed, and readiness says why. With room
// again everything goes on by itself, and the journal lacks nothing.
func TestJournalOnAFullDisk(t *testing.T) {
	disk := smallDisk(t, 1<<20)
	file := filepath.Join(disk, "revocations.journal")
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, binary, data, "--journal", file)
	owner := s.register(t, "owner")
	var devices []any // many, to use up with few commands what is reserved
	for i := range 50 {
		owner.must("POST", "/devices", cutCamera(fmt.Sprintf("cam-%d", i)), nil)
		devices = append(devices, invitation(fmt.Sprintf("cam-%d", i), "live_view"))
	}
	type guest struct{ share, key string }
	var guests []guest
	for i := range 3 {
		u := s.register(t, fmt.Sprintf("guest%d", i))
		g := guest{owner.share(u, "cam-0", "live_view"), u.streamKey()}
		u.accept(g.share, "cam-0")
		guests = append(guests, g)
	}
	mayWatch := func(g guest) bool { return describeStatus(t, s.rtsp, "/cam-0/1", g.key) == 503 } // it may, but the camera is away
	revoked := 0
	takeAway := func(share string) reply {
		r := ask(s.http, "DELETE", "/shares/"+share, owner.token, nil, "Idempotency-Key", "take-away-"+share)
		revoked++
		return r
	}

	filler := fill(t, disk)
	if r := takeAway(guests[0].share); r.status != http.StatusNoContent || mayWatch(guests[0]) {
		t.Fatalf("a revocation out of what is reserved: %v", r)
	}
	if !s.readyWithin(patience) {
		t.Fatalf("it is not ready although the journal goes on: %s", s.readiness())
	}
	last := ""
	for i := 0; ; i++ {
		var share struct{ ID string }
		owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": fmt.Sprintf("friend%d@example.com", i)}, "devices": devices}, &share)
		r := takeAway(share.ID)
		if r.status == http.StatusNoContent && i < 100 {
			continue
		}
		if last = share.ID; r.status != http.StatusServiceUnavailable || r.code != "not_confirmed" || r.position == 0 {
			t.Fatalf("a revocation that the journal cannot take: %v", r)
		}
		break
	}

	// It is in force, and said not to be confirmed.
	answer := make(chan reply, 1)
	go func() { answer <- takeAway(guests[1].share) }()
	eventually(t, "the door knows it before the command is answered", func() bool { return !mayWatch(guests[1]) })
	if r := <-answer; r.status != http.StatusServiceUnavailable || r.code != "not_confirmed" || r.position == 0 {
		t.Errorf("another revocation that the journal cannot take: %v", r)
	}
	if !mayWatch(guests[2]) {
		t.Error("who still has the privilege is shut out")
	}
	saysWhy := func() bool {
		ready := s.readiness()
		return strings.Contains(ready, `"not_ready"`) && strings.Contains(ready, "journal of revocations") && strings.Contains(ready, "no space left")
	}
	if !saysWhy() {
		t.Errorf("readiness says %s", s.readiness())
	}
	if n := strings.Count(s.said(), "could not be written"); n == 0 || n > 3 {
		t.Errorf("that the journal could not be written was logged %d times", n)
	}
	whole(t, file, -1)

	// A process that is started meanwhile knows it too.
	s.kill()
	s = &service{http: s.http, rtsp: s.rtsp, metrics: s.metrics}
	s.process = start(t, binary, "serve", "--data", data, "--http", s.http, "--rtsp", s.rtsp, "--metrics", s.metrics, "--journal", file)
	eventually(t, "it is not ready, and says why", saysWhy)
	eventually(t, "the privileges are known again", func() bool { return strings.Contains(s.readiness(), `"index":{"ready":true`) })
	eventually(t, "the door is open again", func() bool { return mayWatch(guests[2]) })
	if mayWatch(guests[1]) {
		t.Error("what was taken away is given again after a restart")
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.waitReady(t)
	for _, share := range []string{last, guests[1].share} {
		revoked--
		if r := takeAway(share); r.status != http.StatusNoContent || r.position == 0 {
			t.Errorf("the revocation is repeated: %v", r)
		}
	}
	if r := takeAway(guests[2].share); r.status != http.StatusNoContent || mayWatch(guests[2]) {
		t.Errorf("a revocation with room again: %v", r)
	}
	whole(t, file, revoked)
}

// whole: the journal can be read, and holds so many shares; -1: any number.
func whole(t *testing.T, file string, shares int) {
	t.Helper()
	c, err := journal.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range c.Entries {
		if e.Kind == "share" {
			found[e.Share] = true
		}
	}
	if shares >= 0 && len(found) != shares {
		t.Errorf("the journal holds %d shares that were taken away; want %d", len(found), shares)
	}
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until its disk is full.
func fill(t *testing.T, disk string) (filler string) {
	t.Helper()
	filler = filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return filler
}

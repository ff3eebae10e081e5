package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/internal/testdb"
)

// listed is a share as lists show it.
type listed struct {
	ID, Remark string
	InForce    bool `json:"in_force"`
	Devices    []struct {
		Device   string
		Channels []struct{ Privileges []string }
	}
}

// listOf reads a list that must have seen a position, and returns one of its shares.
func listOf(host, token, list, share, position string) (found listed, err error) {
	r := ask(host, "GET", "/shares/"+list, token, nil, "Latchkey-Min-Position", position)
	var page struct{ Items []listed }
	if r.status != 200 || json.Unmarshal(r.body, &page) != nil {
		return listed{}, fmt.Errorf("reading the list: %v", r)
	}
	i := slices.IndexFunc(page.Items, func(s listed) bool { return s.ID == share })
	if i < 0 {
		return listed{}, fmt.Errorf("share %s is not in the list of %d %s shares", share, len(page.Items), list)
	}
	return page.Items[i], nil
}

// TestListsShowWhatTheirReadersKnow: owners change their shares at once, through two
// processes; each list that names the position of a command shows it, to the owner and to
// the recipient, in the process that did it and in the other.
func TestListsShowWhatTheirReadersKnow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	flags := []string{"--eventstore", "unix://" + startNodeProcess(t, dir), "--database", testdb.Postgres(t)}
	a := serve(t, binary, filepath.Join(dir, "a"), flags...)
	b := serve(t, binary, filepath.Join(dir, "b"), flags...)
	manyWriters(t, a, b, a)
}

// TestListsOfAFileShowWhatTheirReadersKnow is the same for one process on SQLite.
func TestListsOfAFileShowWhatTheirReadersKnow(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	manyWriters(t, s, s, s)
}

func manyWriters(t *testing.T, services ...*service) {
	guests := []*user{services[0].register(t, "guest-1"), services[0].register(t, "guest-2")}
	var all sync.WaitGroup
	for o := range 2 {
		owner := services[0].register(t, fmt.Sprintf("owner-%d", o))
		device := owner.addDevice("rtsp://127.0.0.1:1/1", "admin", "secret")
		for _, guest := range guests {
			share := owner.share(guest, device, "live_view")
			guest.accept(share, device)
			all.Go(func() {
				for n := range 40 {
					if err := writeAndRead(services, n, owner, guest, share, device); err != nil {
						t.Errorf("%s, round %d: %v", owner.login, n, err)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

// writeAndRead changes a share that nobody else changes, and reads the lists of both sides.
func writeAndRead(services []*service, n int, owner, guest *user, share, device string) error {
	privileges := []string{"live_view", "ptz", "playback"}[:1+n%3]
	r := ask(services[n%len(services)].http, "PUT", "/shares/"+share, owner.token, map[string]any{"remark": fmt.Sprint(n), "devices": []any{invitation(device, privileges...)}})
	if r.status != 200 {
		return fmt.Errorf("changing the share: %v", r)
	}
	at := r.position.String()
	for _, s := range services {
		got, err := listOf(s.http, owner.token, "sent", share, at)
		if err == nil && got.Remark != fmt.Sprint(n) {
			err = fmt.Errorf("the owner's list has the remark %q", got.Remark)
		}
		if err != nil {
			return err
		}
		got, err = listOf(s.http, guest.token, "received", share, at)
		if err == nil && len(got.Devices[0].Channels[0].Privileges) != len(privileges) {
			err = fmt.Errorf("the recipient's list has %v, not %v", got.Devices[0].Channels, privileges)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestListsFollowTheClock: a share that ends is not in force in any list that was asked
// for after its end, although nothing happens then.
func TestListsFollowTheClock(t *testing.T) {
	s := serve(t, binary, t.TempDir())
	owner, guest := s.register(t, "owner"), s.register(t, "guest")
	device := owner.addDevice("rtsp://127.0.0.1:1/1", "admin", "secret")
	share := owner.share(guest, device, "live_view")
	guest.accept(share, device)
	until := time.Now().Add(2 * time.Second).Truncate(time.Second)
	owner.must("PUT", "/shares/"+share, map[string]any{"remark": "", "devices": []any{invitation(device, "live_view")}, "terms": map[string]any{"until": until.UTC().Format(time.RFC3339)}}, nil)
	for ended := false; !ended; {
		ended = !time.Now().Before(until)
		for token, list := range map[string]string{owner.token: "sent", guest.token: "received"} {
			got, err := listOf(s.http, token, list, share, "0")
			if err != nil {
				t.Fatal(err)
			}
			if !got.InForce && time.Now().Before(until) || got.InForce && ended {
				t.Fatalf("%v before its end the %s share is in force: %v", time.Until(until), list, got.InForce)
			}
		}
	}
}

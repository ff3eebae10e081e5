package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"latchkey/api/client"
)

// quotaOf is the quota that an error names, with its status; "" for no error.
func quotaOf(err error) string {
	p, ok := errors.AsType[*client.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(p.Status, " ", p.Code, " ", p.Quota)
}

type ownAccount struct {
	Email  string
	Quotas []struct {
		Quota, Per string
		Most, Used int
	}
}

func (u *user) quotas() map[string]string {
	var me ownAccount
	u.must("GET", "/accounts/me", nil, &me)
	if me.Email != u.login {
		u.t.Errorf("I am %s, want %s", me.Email, u.login)
	}
	got := map[string]string{}
	for _, q := range me.Quotas {
		got[q.Quota] = strings.TrimSpace(fmt.Sprint(q.Used, "/", q.Most, " ", q.Per))
	}
	return got
}

// TestQuotas: one account gets so much and no more, however it asks, is told what is
// used up, and can always take away.
func TestQuotas(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir(), "--quotas", "devices=3,shares=2,stream_keys=2,serial_added=4,sessions=3")
	owner := s.register(t, "owner")
	add := func(serial string) error {
		return owner.call("POST", "/devices", map[string]any{"name": "A camera", "serial": serial}, nil)
	}

	var tried sync.WaitGroup
	results := make(chan string, 20)
	for i := range 20 {
		tried.Go(func() { results <- quotaOf(add(fmt.Sprintf("SERIAL-%d", i))) })
	}
	tried.Wait()
	close(results)
	count := map[string]int{}
	for r := range results {
		count[r]++
	}
	if count["<nil>"] != 3 || count["422 quota_exceeded devices"] != 17 {
		t.Errorf("20 additions at once gave %v, want 3 devices", count)
	}

	var list struct{ Items []struct{ ID, Serial string } }
	owner.must("GET", "/devices", nil, &list)
	serial := list.Items[0].Serial
	for i := range 4 { // it was added once already
		owner.must("DELETE", "/devices/"+list.Items[0].ID, nil, nil)
		want := "<nil>"
		if i == 3 {
			want = "429 quota_exceeded serial_added"
		}
		if got := quotaOf(add(serial)); got != want {
			t.Errorf("addition %d of %s: %s, want %s", i+2, serial, got, want)
		}
		owner.must("GET", "/devices", nil, &list)
		for list.Items[0].Serial != serial && i < 3 {
			list.Items = list.Items[1:]
		}
	}
	if got := quotaOf(add("ANOTHER-1")); got != "<nil>" {
		t.Errorf("where one was removed: %s", got)
	}

	shareWith := func(name string) error {
		return owner.call("POST", "/shares", map[string]any{"recipient": map[string]any{"email": name + "@example.com"}, "devices": []any{}}, nil)
	}
	for i, want := range []string{"<nil>", "<nil>", "422 quota_exceeded shares"} {
		if got := quotaOf(shareWith(fmt.Sprint("friend", i))); got != want {
			t.Errorf("share %d: %s, want %s", i, got, want)
		}
	}
	if got := quotaOf(shareWith("friend0")); got != "<nil>" {
		t.Errorf("a share that there is was refused: %s", got)
	}
	for i, want := range []string{"<nil>", "<nil>", "422 quota_exceeded stream_keys"} {
		if got := quotaOf(owner.call("POST", "/stream-keys", map[string]any{}, nil)); got != want {
			t.Errorf("stream key %d: %s, want %s", i, got, want)
		}
	}
	got := owner.quotas()
	for name, want := range map[string]string{"devices": "3/3", "shares": "2/2", "stream_keys": "2/2", "serial_added": "0/4 day", "devices_added": "7/50000 day"} {
		if got[name] != want {
			t.Errorf("told of %s: %q, want %q", name, got[name], want)
		}
	}

	// A log-in always works: an older session ends.
	sessions := []*user{owner}
	for range 4 {
		sessions = append(sessions, s.login(t, "owner"))
	}
	lives := 0
	for _, u := range sessions {
		if u.call("GET", "/devices", nil, nil) == nil {
			lives++
		}
	}
	if lives != 3 {
		t.Errorf("%d of 5 sessions live, want 3", lives)
	}
	if got := sessions[4].quotas()["sessions"]; got != "3/3" {
		t.Errorf("told of sessions: %q, want 3/3", got)
	}
}

// TestQuotasOfTime: an account that has written what it may in a day, or does too
// much in a second, can take away all the same.
func TestQuotasOfTime(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir(), "--quotas", "log_bytes=8KiB,commands=2")
	owner, other := s.register(t, "owner"), s.register(t, "other")
	add := func(u *user, serial string, channels int) error {
		var list []any
		for c := range channels {
			list = append(list, map[string]any{"channel": c + 1})
		}
		return u.call("POST", "/devices", map[string]any{"name": "A recorder", "serial": serial, "channels": list}, nil)
	}
	if err := add(owner, "RECORDER-1", 40); err != nil {
		t.Fatal(err)
	}
	if got := quotaOf(add(owner, "RECORDER-2", 200)); got != "429 quota_exceeded log_bytes" {
		t.Errorf("more than may be written: %s", got)
	}
	if err := add(other, "RECORDER-3", 40); err != nil {
		t.Errorf("another account: %v", err)
	}
	refused := 0
	for range 20 {
		if got := quotaOf(owner.call("POST", "/stream-keys", map[string]any{"device": "none"}, nil)); got == "429 quota_exceeded commands" {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("%d of 20 commands were refused, want most where 2 a second may be", refused)
	}
	owner.must("DELETE", "/devices/RECORDER-1", nil, nil)
}

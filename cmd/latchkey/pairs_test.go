package main

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStoresOfDifferentTimes puts the log, the vault, the read models and the
// rest of a data folder together from different times of one life. Each mixture
// is served as its log says, or refused in words; and whatever of it is the
// newest, no revocation that was answered by then is undone.
func TestStoresOfDifferentTimes(t *testing.T) {
	t.Parallel()
	life := livedLife(t)
	outcomes := map[string]int{}
	for n := range rounds(t, "LATCHKEY_PAIRS", 12) {
		m := mixture{rand.IntN(len(life)), rand.IntN(len(life)), rand.IntN(len(life)), rand.IntN(len(life))}
		switch n {
		case 0: // nothing is mixed
			m = mixture{3, 3, 3, 3}
		case 1: // only the log is older
			m = mixture{2, 5, 5, 5}
		case 2: // only the read models are newer
			m = mixture{2, 2, 5, 2}
		case 3: // only the vault is older
			m = mixture{5, 2, 5, 5}
		}
		t.Run(m.String(), func(t *testing.T) { outcomes[m.try(t, life)]++ })
	}
	t.Logf("%v", outcomes)
	if outcomes["served"] == 0 || outcomes["refused"] == 0 {
		t.Errorf("of the mixtures %v, want some of each", outcomes)
	}
}

// moment is a stopped data folder, and what was acknowledged by then.
type moment struct {
	dir     string
	granted map[string]bool // by the recipients' stream keys
	devices []string
}

// livedLife is a service that is stopped and copied now and then.
func livedLife(t *testing.T) []moment {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	s := serve(t, binary, data)
	owner := s.register(t, "owner")
	now := moment{granted: map[string]bool{}}
	add := func(serial string) {
		owner.must("POST", "/devices", cutCamera(serial), nil)
		now.devices = append(now.devices, serial)
	}
	add("shared-1")
	type guest struct {
		*user
		share, key string
	}
	var guests []*guest
	for i := range 3 {
		u := s.register(t, fmt.Sprintf("guest%d", i))
		g := &guest{u, owner.share(u, "shared-1", "live_view"), u.streamKey()}
		g.accept(g.share, "shared-1")
		now.granted[g.key] = true
		guests = append(guests, g)
	}
	var life []moment
	for i := range 7 {
		if s.stop(t) != 0 {
			t.Fatalf("the service ended badly: %s", s.said())
		}
		kept := moment{filepath.Join(dir, fmt.Sprint(i)), maps.Clone(now.granted), slices.Clone(now.devices)}
		copyStores(t, data, kept.dir, func(string) bool { return true })
		life = append(life, kept)

		s = serve(t, binary, data)
		owner = s.login(t, "owner")
		add(fmt.Sprintf("later-%d", i))
		s.register(t, fmt.Sprintf("late%d", i))
		g := guests[i%len(guests)]
		g.user = s.login(t, fmt.Sprintf("guest%d", i%len(guests)))
		at := "/shares/" + g.share + "/devices/shared-1"
		if now.granted[g.key] {
			owner.must("DELETE", at, nil, nil)
		} else {
			owner.must("PUT", at, invitation("shared-1", "live_view"), nil)
			g.accept(g.share, "shared-1")
		}
		now.granted[g.key] = !now.granted[g.key]
	}
	s.kill()
	return life
}

// mixture says of which moment each store is.
type mixture struct{ log, vault, readModels, rest int }

func (m mixture) String() string {
	return fmt.Sprintf("log %d vault %d read models %d rest %d", m.log, m.vault, m.readModels, m.rest)
}

func (m mixture) try(t *testing.T, life []moment) string {
	data := filepath.Join(t.TempDir(), "data")
	of := func(name string) int {
		switch {
		case strings.HasPrefix(name, "log"):
			return m.log
		case strings.HasPrefix(name, "vault.db"):
			return m.vault
		case strings.HasPrefix(name, "projections.db"):
			return m.readModels
		}
		return m.rest
	}
	for i := range life {
		copyStores(t, life[i].dir, data, func(name string) bool { return of(name) == i })
	}
	truth, newest := life[m.log], life[max(m.log, m.vault, m.readModels, m.rest)]

	s := &service{http: freeAddr(t), rtsp: freeAddr(t), metrics: freeAddr(t)}
	s.process = start(t, binary, "serve", "--data", data, "--http", s.http, "--rtsp", s.rtsp, "--metrics", s.metrics)
	s.api = newAPIClient(s.http)
	ready := s.readyWithin(20 * time.Second)
	if s.ended() {
		if s.cmd.ProcessState.ExitCode() <= 0 || strings.TrimSpace(s.said()) == "" {
			t.Fatalf("it ended with %v and said %q", s.cmd.ProcessState, s.said())
		}
		if m.log == m.vault && m.log == m.readModels && m.log == m.rest {
			t.Fatalf("a folder of one time is refused: %s", s.said())
		}
		lines := strings.Split(strings.TrimSpace(s.said()), "\n")
		t.Log(lines[len(lines)-1])
		return "refused"
	}
	for key := range truth.granted {
		status := describeStatus(t, s.rtsp, "/shared-1/1", key)
		in := status == 200 || status == 503 && ready // 503: it may, but the camera is away
		if in && !newest.granted[key] {
			t.Errorf("a revocation that was answered is undone (ready: %v)", ready)
		}
		if ready && in != truth.granted[key] {
			t.Errorf("the door answers %d, and by the log the grant is %v", status, truth.granted[key])
		}
	}
	if !ready {
		t.Logf("not ready: %s", s.readiness())
		return "not ready"
	}
	owner := s.login(t, "owner")
	var list struct{ Items []struct{ ID string } }
	owner.must("GET", "/devices?limit=100", nil, &list)
	var got []string
	for _, item := range list.Items {
		got = append(got, item.ID)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(truth.devices))
	if !slices.Equal(got, want) {
		t.Errorf("it lists the devices %v, and the log holds %v", got, want)
	}
	return "served"
}

// readyWithin reports whether the service is ready in time; it returns at once
// when the process has ended.
func (s *service) readyWithin(d time.Duration) bool {
	for until := time.Now().Add(d); time.Now().Before(until) && !s.ended(); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + s.http + "/readyz")
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return true
		}
	}
	return false
}

func (s *service) readiness() string {
	res, err := http.Get("http://" + s.metrics + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// copyStores copies the files of a data folder, those whose first name is wanted.
func copyStores(t *testing.T, from, to string, wanted func(name string) bool) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == "." || !wanted(strings.Split(name, string(filepath.Separator))[0]) {
			return err
		}
		if d.IsDir() || !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

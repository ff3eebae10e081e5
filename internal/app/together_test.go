package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// together runs n commands at once, by turns on each of the servers.
func together(t *testing.T, n int, servers []*server, do func(s *server, i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = do(servers[i%len(servers)], i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) addCameras(n int) []DeviceGrants {
	list := make([]DeviceGrants, n)
	for i := range list {
		list[i] = gives(w.addDevice(w.alice, NewDevice{Name: "one of many", RTSPURL: "rtsp://192.0.2.1/"}), 1, privilege.LiveView)
	}
	return list
}

// TestFiftyAtOnce: commands on one stream take turns, in a process and between
// two of them.
func TestFiftyAtOnce(t *testing.T) {
	const n = 50
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprint(processes, " processes"), func(t *testing.T) {
			w := newWorld(t)
			servers := []*server{w.server, w.node()}[:processes]
			devices := w.addCameras(n)
			id := w.share(devices...)
			together(t, n, servers, func(s *server, i int) error {
				_, err := s.shares.Accept(ctx, Meta{Account: w.bob}, id, devices[i].Device)
				return err
			})
			together(t, n, servers, func(s *server, _ int) error {
				_, err := s.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
				return err
			})
			there, err := w.loadShare(ctx, id)
			accepted := slices.DeleteFunc(slices.Clone(there.state.Devices), func(d share.Device) bool { return d.Status != share.StatusAccepted })
			if err != nil || len(accepted) != n {
				t.Errorf("%d devices are accepted, %v", len(accepted), err)
			}
			account, err := w.loadAccount(ctx, w.bob)
			if err != nil || len(account.state.Keys) != n || len(w.vault.secrets) != n {
				t.Errorf("%d keys, %d secrets, %v", len(account.state.Keys), len(w.vault.secrets), err)
			}
			for _, s := range servers {
				if len(s.queues.streams) != 0 {
					t.Errorf("%d streams are remembered", len(s.queues.streams))
				}
			}
		})
	}
}

func TestQueue(t *testing.T) {
	var q queues
	leave, err := q.enter(ctx, "a", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := q.enter(ctx, "b", "alice"); err != nil {
		t.Error("one stream waits for another")
	} else {
		other()
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := q.enter(short, "a", "alice"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the turn was given twice: %v", err)
	}
	const n = 20
	order := make(chan int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			leave, err := q.enter(ctx, "a", "alice")
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			leave()
		})
		waitFor(t, func() bool { return q.members("a") == i+2 })
	}
	leave()
	wg.Wait()
	for want := range n {
		if got := <-order; got != want {
			t.Fatalf("turn %d went to %d", want, got)
		}
	}
	if len(q.streams) != 0 {
		t.Error("a stream is remembered")
	}
}

// TestAccountsAlternate: whoever has many commands waiting does not keep the other
// party of a share from theirs.
func TestAccountsAlternate(t *testing.T) {
	var q queues
	leave, err := q.enter(ctx, "a", "bob")
	if err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 12)
	var wg sync.WaitGroup
	wait := func(account string) {
		before := q.members("a")
		wg.Go(func() {
			leave, err := q.enter(ctx, "a", account)
			if err != nil {
				t.Error(err)
				return
			}
			order <- account
			leave()
		})
		waitFor(t, func() bool { return q.members("a") == before+1 })
	}
	for range 10 {
		wait("bob")
	}
	wait("alice")
	wait("alice")
	leave()
	wg.Wait()
	got := ""
	for range 12 {
		got += (<-order)[:1]
	}
	if want := "ababbbbbbbbb"; got != want {
		t.Errorf("the order was %s, want %s", got, want)
	}
}

func (q *queues) members(stream string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if one := q.streams[stream]; one != nil {
		return 1 + len(one.waiting)
	}
	return 0
}

// waitFor waits for a condition.
func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// TestWaitingEnds: who waits for a turn is answered in time.
func TestWaitingEnds(t *testing.T) {
	w := newWorld(t)
	leave, err := w.queues.enter(ctx, accountStream(w.bob), "")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	w.patience = time.Millisecond
	_, err = w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
	wantCode(t, err, Unavailable, "busy")
	w.patience = time.Hour
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = w.keys.Add(short, Meta{Account: w.bob}, NewStreamKey{})
	wantCode(t, err, Unavailable, "unavailable")
}

// wantNoGhosts checks that no share holds a device that nobody has.
func (w *world) wantNoGhosts(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		there, err := w.loadShare(ctx, id)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range there.state.Devices {
			if gone, err := w.gone(ctx, d.Device); err != nil || gone && d.Listed() {
				w.t.Errorf("share %s holds %s, %s, which was removed: %s (%v)", id, d.Device, d.Status, w.log.types(shareStream(id)), err)
			}
		}
	}
}

// TestRemovedMeanwhile: a device that is removed between a command's look at it
// and its append is out of the share when the command is answered.
func TestRemovedMeanwhile(t *testing.T) {
	for name, do := range map[string]func(w *world, id string) (ShareChanged, error){
		"share": func(w *world, _ string) (ShareChanged, error) {
			return changes(w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "carol@example.com", Devices: []DeviceGrants{
				gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView),
			}}))
		},
		"save": func(w *world, id string) (ShareChanged, error) {
			return w.shares.Replace(ctx, Meta{Account: w.alice}, id, "", nil, []DeviceGrants{
				gives(w.cam, 1, privilege.Alarm), gives(w.dvr, 1, privilege.LiveView),
			})
		},
		"put": func(w *world, id string) (ShareChanged, error) {
			return w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.cam, 1, privilege.Alarm))
		},
		"accept": func(w *world, id string) (ShareChanged, error) {
			return w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.share(gives(w.cam, 1, privilege.LiveView))
			w.log.behind = true // the removal itself finds no share
			w.log.before = once(func(string) {
				if _, err := w.node().devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
					t.Error(err)
				}
			})
			r, err := do(w, id)
			if name == "put" || name == "accept" {
				wantCode(t, err, NotFound, "device_not_found")
				w.wantNoGhosts(id)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.wantNoGhosts(r.Share.ID)
			if d, _ := r.Share.Find(w.cam); d.Listed() {
				t.Errorf("the answer has the device: %+v", d)
			}
			if d, _ := r.Share.Find(w.dvr); !d.Active() {
				t.Errorf("the answer lacks the other device: %+v", d)
			}
			history := w.log.streams[shareStream(r.Share.ID)]
			if last := history[len(history)-1]; r.Position != last.Position || r.Revision != last.Revision {
				t.Errorf("answered %d@%d; the last event is %d@%d", r.Revision, r.Position, last.Revision, last.Position)
			}
		})
	}
}

// TestSharingBesideRemoving: whatever the order of the two, no share holds a
// device that was removed.
func TestSharingBesideRemoving(t *testing.T) {
	w := newWorld(t)
	other := w.node()
	for i := range 200 {
		cam := w.addDevice(w.alice, NewDevice{Name: "short-lived", RTSPURL: "rtsp://192.0.2.1/"})
		var shared ShareSaved
		var shareErr, removeErr error
		var wg sync.WaitGroup
		wg.Go(func() {
			shared, shareErr = w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{
				Email: fmt.Sprintf("guest%d@example.com", i), Devices: []DeviceGrants{gives(cam, 1, privilege.LiveView)},
			})
		})
		wg.Go(func() { _, removeErr = other.devices.Remove(ctx, Meta{Account: w.alice}, cam) })
		wg.Wait()
		if removeErr != nil {
			t.Fatal(removeErr)
		}
		if shareErr != nil {
			wantCode(t, shareErr, NotFound, "device_not_found")
			continue
		}
		w.wantNoGhosts(shared.Share.ID)
	}
}

// TestRemovalCoversItsShares: what is read at the position of the answer has the
// device in no share; also when another process has followed first.
func TestRemovalCoversItsShares(t *testing.T) {
	for _, overtaken := range []bool{false, true} {
		w := newWorld(t)
		id := w.accepted(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView))
		refused := w.share(gives(w.addDevice(w.alice, NewDevice{Name: "more", RTSPURL: "rtsp://192.0.2.1/"}), 1, privilege.LiveView))
		if refused != id {
			t.Fatal("another share")
		}
		if overtaken {
			w.log.before = func(stream string) {
				if stream != shareStream(id) {
					return
				}
				w.log.before = nil
				if err := w.node().devices.EndShares(ctx, uuid.New(), w.cam, []string{id}); err != nil {
					t.Error(err)
				}
			}
		}
		r, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
		if err != nil {
			t.Fatal(err)
		}
		w.wantNoGhosts(id)
		for _, e := range w.log.streams[shareStream(id)] {
			if e.Position > r.Position {
				t.Errorf("%s at %d is not covered by %d", e.Type, e.Position, r.Position)
			}
		}
	}
}

// TestRemovalWithoutReadModel: a removal is answered although its shares cannot
// be found, and the policy follows.
func TestRemovalWithoutReadModel(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.log.behind = true
	r, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
	removal := w.log.streams[deviceStream("cam-1")][1]
	if err != nil || r.Position != removal.Position {
		t.Fatalf("%+v, %v", r, err)
	}
	for range 2 {
		if err := w.devices.EndShares(ctx, removal.ID, w.cam, []string{id}); err != nil {
			t.Fatal(err)
		}
	}
	w.wantNoGhosts(id)
}

// TestRemovalFollowedByAnother: the position that a removal answers covers the end of
// a share that somebody else ended because of it.
func TestRemovalFollowedByAnother(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.log.finding = func() {
		removal := w.log.streams[deviceStream("cam-1")][1]
		if err := w.devices.EndShares(ctx, removal.ID, w.cam, []string{id}); err != nil {
			t.Error(err)
		}
	}
	r, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
	if err != nil {
		t.Fatal(err)
	}
	there, err := w.loadShare(ctx, id)
	if err != nil || r.Position != there.position() {
		t.Errorf("the removal answers position %d, its share ended at %d, %v", r.Position, there.position(), err)
	}
	w.wantNoGhosts(id)
}

// TestSaveKeeps: a save that changes nothing needs nothing of what it keeps.
func TestSaveKeeps(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView))
	if _, err := w.shares.Reject(ctx, Meta{Account: w.bob}, id, w.dvr); err != nil {
		t.Fatal(err)
	}
	w.log.behind = true // the removed camera is still in the share
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	before, err := w.loadShare(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var as []DeviceGrants
	for _, d := range before.state.Devices {
		as = append(as, DeviceGrants{Device: d.Device, Grants: d.Grants})
	}
	r, err := w.shares.Replace(ctx, Meta{Account: w.alice}, id, "", nil, as)
	if err != nil || r.Revision != before.revision() {
		t.Errorf("saved as it is: %+v, %v", r, err)
	}
}

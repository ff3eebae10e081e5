package app

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// edit changes what is given on Alice's camera, each time to something else.
func (w *world) edit(t testing.TB, s *server, id, key string, i int) {
	t.Helper()
	p := []privilege.Set{privilege.LiveView, privilege.LiveView | privilege.PTZ}[i%2]
	if _, err := s.shares.PutDevice(ctx, Meta{Account: w.alice, IdempotencyKey: key}, id, gives(w.cam, 1, p)); err != nil {
		t.Fatal(err)
	}
}

// TestALongStreamIsFoldedOnce: a command reads the last event that is known and what
// came after it, however long the stream is, with an idempotency key or without.
func TestALongStreamIsFoldedOnce(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.Alarm))
	for i := range 1000 {
		w.edit(t, w.server, id, "", i)
	}
	w.edit(t, w.server, id, "key", 1000)
	for i := range 10 {
		for _, key := range []string{"", fmt.Sprint("key ", i)} {
			w.log.reads = 0
			w.edit(t, w.server, id, key, i+len(key)%2)
			if w.log.reads > 8 {
				t.Fatalf("with the key %q %d events were read of the share's and the devices' streams", key, w.log.reads)
			}
		}
	}
	for range 100 {
		k, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
		if err != nil {
			t.Fatal(err)
		}
		w.log.reads = 0
		if _, err := w.keys.Revoke(ctx, Meta{Account: w.bob, IdempotencyKey: k.Key.Name}, k.Key.Name); err != nil {
			t.Fatal(err)
		}
		if w.log.reads > 4 {
			t.Fatalf("%d events were read of the account's stream", w.log.reads)
		}
	}
}

// TestARefusalIsNotStale: what another server wrote counts for a command that writes
// nothing, too, and is found without a conflict.
func TestARefusalIsNotStale(t *testing.T) {
	w := newWorld(t)
	other := w.node()
	id := w.share(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView))
	accept := func(device string) error {
		_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, device)
		return err
	}
	if err := accept(w.dvr); err != nil {
		t.Fatal(err)
	}
	if _, err := other.shares.RemoveDevice(ctx, Meta{Account: w.alice}, id, w.cam); err != nil {
		t.Fatal(err)
	}
	wantCode(t, accept(w.cam), Conflict, "not_invited")
	if _, err := other.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.cam, 1, privilege.LiveView)); err != nil {
		t.Fatal(err)
	}
	appends := 0
	w.log.before = func(string) { appends++ }
	if err := accept(w.cam); err != nil || appends != 1 {
		t.Errorf("%v after %d appends", err, appends)
	}
	w.log.before = nil
	if _, err := other.shares.Delete(ctx, Meta{Account: w.alice}, id); err != nil {
		t.Fatal(err)
	}
	wantCode(t, accept(w.cam), NotFound, "share_not_found")
}

// TestAKnownStateDoesNotSurviveItsLog: a log that was restored to an earlier point and
// went on in another way is read from its beginning, whether the new life was told or
// only the last event that is known shows it.
func TestAKnownStateDoesNotSurviveItsLog(t *testing.T) {
	for name, c := range map[string]struct {
		told   bool
		lost   int // events
		anew   int // written by another server since
		forged bool
	}{
		"shorter":                     {lost: 2},
		"as long":                     {lost: 2, anew: 2},
		"longer":                      {lost: 2, anew: 5},
		"told":                        {told: true, lost: 2, anew: 2},
		"the same last event, told":   {told: true, lost: 3, anew: 2, forged: true},
		"gone":                        {lost: 1 << 20},
		"nothing is lost":             {told: true},
		"nothing is lost, and longer": {anew: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.accepted(gives(w.cam, 1, privilege.All))
			for i := range 6 {
				w.edit(t, w.server, id, "", i)
			}
			stream := shareStream(id)
			if _, err := w.loadShare(ctx, id); err != nil {
				t.Fatal(err)
			}
			last := w.log.streams[stream][len(w.log.streams[stream])-1]
			keep := max(0, len(w.log.streams[stream])-c.lost)
			w.log.streams[stream] = w.log.streams[stream][:keep:keep]
			if c.told {
				w.log.life.Add(1)
			}
			for i := range c.anew {
				if _, err := w.node().shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, fmt.Sprint("door", i)); err != nil {
					t.Fatal(err)
				}
			}
			if c.forged {
				w.log.streams[stream] = append(w.log.streams[stream], last)
			}
			got, err := w.loadShare(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			want, err := w.node().loadShare(ctx, id)
			if err != nil || !reflect.DeepEqual(got.state, want.state) || got.revision() != want.revision() || got.life != want.life {
				t.Errorf("the state is\n%+v at %d, the log says\n%+v at %d, %v", got.state, got.revision(), want.state, want.revision(), err)
			}
		})
	}
}

// TestKnownStatesAreThoseOfTheLog: after any commands of several servers, what each
// of them knows is what the log says.
func TestKnownStatesAreThoseOfTheLog(t *testing.T) {
	w := newWorld(t)
	servers := []*server{w.server, w.node(), w.node()}
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		s := servers[random.IntN(len(servers))]
		device, key := []string{w.cam, w.dvr}[random.IntN(2)], ""
		if random.IntN(3) == 0 {
			key = fmt.Sprint("key ", random.IntN(i+1))
		}
		alice, bob := Meta{Account: w.alice, IdempotencyKey: key}, Meta{Account: w.bob, IdempotencyKey: key}
		switch random.IntN(8) { // refusals are as welcome as changes
		case 0:
			_, _ = s.shares.Accept(ctx, bob, id, device)
		case 1:
			_, _ = s.shares.Reject(ctx, bob, id, device)
		case 2:
			_, _ = s.shares.RemoveDevice(ctx, alice, id, device)
		case 3:
			_, _ = s.shares.Replace(ctx, alice, id, fmt.Sprint("remark ", i), nil, []DeviceGrants{gives(device, 1, privilege.LiveView)})
		case 4:
			if random.IntN(4) == 0 {
				_, _ = s.shares.Delete(ctx, alice, id)
			}
		case 5:
			_, _ = s.shares.Save(ctx, alice, NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(device, 1, privilege.LiveView)}})
		default:
			_, _ = s.shares.PutDevice(ctx, alice, id, gives(device, 1, []privilege.Set{privilege.None, privilege.LiveView}[random.IntN(2)]))
		}
		got, err := s.loadShare(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		want, err := fold(share.State{}, w.log.streams[shareStream(id)], share.Evolve)
		if err != nil || !reflect.DeepEqual(got.state, want) {
			t.Fatalf("after %d commands the state is\n%+v, the log says\n%+v, %v", i+1, got.state, want, err)
		}
		fresh, err := w.node().loadShare(ctx, id)
		if err != nil || got.life != fresh.life || !reflect.DeepEqual(got.last, fresh.last) {
			t.Fatalf("after %d commands %d bytes up to %d, want %d up to %d, %v", i+1, got.life, got.revision(), fresh.life, fresh.revision(), err)
		}
	}
	if n := len(w.log.streams[shareStream(id)]); n < 100 {
		t.Errorf("only %d events were written", n)
	}
}

// TestARepeatIsFoundBeyondWhatIsKnown: a server that knows only the last life of a
// share looks for a repeat in the earlier ones.
func TestARepeatIsFoundBeyondWhatIsKnown(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.alice, IdempotencyKey: "once"}
	n := NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}}
	first, err := w.shares.Save(ctx, m, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Delete(ctx, Meta{Account: w.alice}, first.Share.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com"}); err != nil {
		t.Fatal(err)
	}
	other := w.node()
	if _, err := other.loadShare(ctx, first.Share.ID); err != nil {
		t.Fatal(err)
	}
	events := len(w.log.all())
	again, err := other.shares.Save(ctx, m, n)
	if err != nil || again.Position != first.Position || len(w.log.all()) != events {
		t.Errorf("the repeat is answered %+v, %v, and wrote %d events; want %+v", again, err, len(w.log.all())-events, first)
	}
}

func TestKnownStatesAreBounded(t *testing.T) {
	one := func(name string, hints int) *known {
		k := &known{name: name, ids: idList{rest: make([]uint64, hints)}, state: share.State{}}
		k.size = knownHead + 8*hints
		return k
	}
	f := foldedStates{most: 100 * knownHead}
	for i := range 1000 {
		f.put(one(fmt.Sprint("share-", i), 1+i%10))
		f.get("share-0")
	}
	size, n := 0, 0
	for e := f.order.Front(); e != nil; e = e.Next() {
		size += e.Value.(*known).size
		n++
	}
	if size != f.bytes || size > f.most || n != len(f.by) || n < 50 {
		t.Errorf("%d states, %d by name, of %d bytes, counted as %d; want at most %d", n, len(f.by), size, f.bytes, f.most)
	}
	if _, ok := f.get("share-0"); !ok {
		t.Error("the one that is used all the time was forgotten")
	}
	f.few = 8
	f.put(one("share-new", 8))
	if _, ok := f.get("share-new"); ok {
		t.Error("a stream of few events is remembered")
	}
	f.put(one("share-0", 100*knownHead))
	if _, ok := f.get("share-0"); ok || len(f.by) != n-1 {
		t.Error("one takes the room of all others, or an old state of it stayed")
	}
}

// TestSizesGrow: a state counts as more than what is in it.
func TestSizesGrow(t *testing.T) {
	text := strings.Repeat("x", 1000)
	s := share.State{Recipient: text, Remark: text}
	for i := range 10 {
		s.Devices = append(s.Devices, share.Device{Device: fmt.Sprint(i), Account: text, Grants: make([]share.Grant, 100)})
	}
	if got := sizeOf(s); got < 2000+10*(1000+100*8) {
		t.Errorf("a share of 10 devices takes %d bytes", got)
	}
}

// TestIDsAreNotShared: two readers go on from what is known at the same time.
func TestIDsAreNotShared(t *testing.T) {
	events := func(n int) []Stored {
		list := make([]Stored, n)
		for i := range list {
			list[i].ID = uuid.New()
		}
		return list
	}
	first, left, right := events(3*idBlock-1), events(3), events(3)
	base := idList{all: true}.with(first)
	var wg sync.WaitGroup
	var one, two idList
	wg.Go(func() { one = base.with(left) })
	wg.Go(func() { two = base.with(right) })
	wg.Wait()
	for _, e := range slices.Concat(first, left) {
		if one.lack(e.ID) {
			t.Fatal("an id is missing")
		}
	}
	if !one.lack(right[0].ID) || two.lack(right[0].ID) || !base.lack(left[0].ID) || (idList{}).lack(left[0].ID) {
		t.Error("ids of others are there, or some are certain that cannot be")
	}
}

// TestReadingTogether is for the race detector.
func TestReadingTogether(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				if i == 0 {
					w.edit(t, w.server, id, "", j)
					continue
				}
				there, err := w.loadShare(ctx, id)
				if d, ok := there.state.Find(w.cam); err != nil || !ok || len(d.Grants) != 1 {
					t.Errorf("%+v, %v", there.state, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkCommand is a command on a share of about 10 and of 10,000 events, over a log
// in memory. The second must take at most twice the time of the first.
func BenchmarkCommand(b *testing.B) {
	for _, keyed := range []bool{false, true} {
		for _, n := range []int{10, 10_000} {
			b.Run(fmt.Sprintf("events=%d/key=%t", n, keyed), func(b *testing.B) {
				w := newWorld(b)
				w.folded.few = fewEvents
				shares := 0
				long := func() string {
					shares++
					r, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{
						Email: fmt.Sprintf("guest%d@example.com", shares), Devices: []DeviceGrants{gives(w.cam, 1, privilege.Alarm)},
					})
					if err != nil {
						b.Fatal(err)
					}
					for i := range n - 2 {
						w.edit(b, w.server, r.Share.ID, "", i)
					}
					return r.Share.ID
				}
				id := long()
				for i := 0; b.Loop(); i++ {
					if i%(n/2) == n/2-1 { // it has grown by half
						b.StopTimer()
						id = long()
						b.StartTimer()
					}
					key := ""
					if keyed {
						key = fmt.Sprint("key ", i)
					}
					w.edit(b, w.server, id, key, i+i/(n/2))
				}
			})
		}
	}
}

package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/eventstore"
	"latchkey/internal/testlog"
	"latchkey/projections/engine"
)

// notes is a read model with one row for each event.
func notes(name string) *engine.Projection {
	return &engine.Projection{
		Name: name, Events: []string{"test.noted"},
		Tables: []*engine.Table{{Name: name, Keys: 1, Columns: []engine.Column{engine.Text("id"), engine.Text("text"), engine.Number("position")}}},
		Fold: func(rows []*engine.Fold, e engine.Record) {
			rows[0].Put(e.Raw.ID.String(), e.Event.(string), e.Position)
		},
	}
}

// keeping is a reducer that keeps the records it gets.
type keeping struct {
	mu   sync.Mutex
	list []engine.Record
}

func (k *keeping) Reduce(_ *engine.Writer, events []engine.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, events...)
	return nil
}

func (k *keeping) Forget() {}

func note(text, metadata string) eventstore.Event {
	return eventstore.Event{ID: uuid.New(), Type: "test.noted", Data: []byte(text), Metadata: []byte(metadata)}
}

// follow runs a runner of the store.
func follow(t testing.TB, s *engine.Store, log *eventstore.Client) (r *engine.Runner, stop func()) {
	t.Helper()
	r, err := engine.NewRunner(engine.RunnerConfig{Store: s, Client: log})
	must(t, err)
	return r, run(t, r)
}

// TestRecordsAreWhole: a reducer gets all that the log has of an event: its bytes, its
// metadata and its time; live, and when the read model is made again.
func TestRecordsAreWhole(t *testing.T) {
	onEach(t, func(t *testing.T, dsn string) {
		log, kept := testlog.New(t), &keeping{}
		p := notes("kept")
		p.Fold, p.Reducer = nil, func() engine.Reducer { return kept }
		s := open(t, dsn, p)
		r, stop := follow(t, s, log)
		sent := note(`{"a": 1}`, `{"who":"me"}`)
		began := time.Now().Add(-time.Second)
		done, err := log.Append(t.Context(), "notes-1", eventstore.NoStream(), note("first", "{}"), sent)
		must(t, err)
		must(t, r.WaitFor(within(t), "kept", done.Position))
		stop()
		must(t, s.Rebuild(t.Context(), "kept", log, nil))
		if len(kept.list) != 4 {
			t.Fatalf("%d records of two events, live and rebuilt", len(kept.list))
		}
		for _, i := range []int{1, 3} {
			e := kept.list[i]
			if string(e.Raw.Data) != string(sent.Data) || string(e.Raw.Metadata) != string(sent.Metadata) || e.Raw.ID != sent.ID || e.Raw.Type != sent.Type {
				t.Errorf("record %d holds %+v", i, e.Raw)
			}
			if e.Raw.Stream != "notes-1" || e.Revision != 1 || e.Position != done.Position || e.Event != string(sent.Data) {
				t.Errorf("record %d is %+v of %s", i, e, e.Raw.Stream)
			}
			if e.Raw.Created.Before(began) || e.Raw.Created.After(time.Now().Add(time.Second)) {
				t.Errorf("record %d is of %v", i, e.Raw.Created)
			}
		}
	})
}

// TestReadModelsAreAdded: one that is new in the list is made in a database that lacks
// it, and filled; the others stay. A checkpoint that was lost is no new read model.
func TestReadModelsAreAdded(t *testing.T) {
	onEach(t, func(t *testing.T, dsn string) {
		log := testlog.New(t)
		s := open(t, dsn, notes("old"))
		r, stop := follow(t, s, log)
		done, err := log.Append(t.Context(), "notes-1", eventstore.NoStream(), note("one", "{}"), note("two", "{}"))
		must(t, err)
		must(t, r.WaitFor(within(t), "old", done.Position))
		stop()
		before := statusOf(t, s, "old")

		s = open(t, dsn, notes("old"), notes("new"))
		if after := statusOf(t, s, "old"); after != before {
			t.Errorf("the old read model was %+v and is %+v", before, after)
		}
		r, stop = follow(t, s, log)
		must(t, r.WaitFor(within(t), "new", done.Position))
		stop()
		if got := statusOf(t, s, "new"); got.Rows != 2 || got.Generation != 1 {
			t.Errorf("the new read model: %+v", got)
		}

		_, err = s.DB().ExecContext(t.Context(), "DELETE FROM projection_checkpoints WHERE name = 'new'")
		must(t, err)
		s = open(t, dsn, notes("old"), notes("new"))
		if err := s.Check(t.Context(), log); err == nil {
			t.Error("a checkpoint that was lost is not missed")
		}
	})
}

// TestStopsAlone: a read model whose reducer cannot use an event stops before it; the
// others of its feed go on, however many events come, and when the event can be used
// it goes on too.
func TestStopsAlone(t *testing.T) {
	onEach(t, func(t *testing.T, dsn string) {
		log := testlog.New(t)
		strict := notes("strict")
		strict.Fold, strict.Reducer = nil, func() engine.Reducer { return refusing{strict.Tables[0]} }
		s := open(t, dsn, notes("lax"), strict)
		r, stop := follow(t, s, log)
		fine, err := log.Append(t.Context(), "notes-1", eventstore.NoStream(), note("fine", "{}"))
		must(t, err)
		must(t, r.WaitFor(within(t), "strict", fine.Position))
		_, err = log.Append(t.Context(), "notes-1", eventstore.Any(), note("also fine", "{}"), note("bad", "{}"), note("fine again", "{}"))
		must(t, err)
		var last eventstore.Appended
		for n := 0; n <= s.Backlog(); n += 1000 {
			many := make([]eventstore.Event, 1000)
			for i := range many {
				many[i] = note("more", "{}")
			}
			last, err = log.Append(t.Context(), "notes-2", eventstore.Any(), many...)
			must(t, err)
		}
		must(t, r.WaitFor(within(t), "lax", last.Position))
		if h := r.Health(); h.State != "failed" || h.Reason != "Stopped: strict. The service's log says why." {
			t.Errorf("with a read model that has stopped: %+v", h)
		}
		until(t, func() bool { return statusOf(t, s, "strict").State == "failed" })
		if got := statusOf(t, s, "strict"); got.Rows != 2 || got.Position > last.Position {
			t.Errorf("the read model that has stopped: %+v", got)
		}
		stop()

		s = open(t, dsn, notes("lax"), notes("strict")) // a build that can use it
		r, _ = follow(t, s, log)
		must(t, r.WaitFor(within(t), "strict", last.Position))
		if strict, lax := statusOf(t, s, "strict"), statusOf(t, s, "lax"); strict.Rows != lax.Rows || strict.State != "running" {
			t.Errorf("after it went on: %+v, the other one %+v", strict, lax)
		}
	})
}

// refusing is a reducer that cannot use a note that is bad.
type refusing struct{ table *engine.Table }

func (f refusing) Reduce(w *engine.Writer, events []engine.Record) error {
	for _, e := range events {
		if e.Event == "bad" {
			return engine.Unreadable(e, errors.New("it is bad"))
		}
		if err := w.Put(f.table, [][]any{{e.Raw.ID.String(), e.Event, e.Position}}); err != nil {
			return err
		}
	}
	return nil
}

func (refusing) Forget() {}

// until waits for something that must happen, and is not signalled.
func until(t testing.TB, happened func() bool) {
	t.Helper()
	for ctx := within(t); !happened(); time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("it did not happen")
		}
	}
}

func statusOf(t testing.TB, s *engine.Store, name string) engine.Status {
	t.Helper()
	list, err := s.Status(context.Background())
	must(t, err)
	for _, m := range list {
		if m.Projection == name {
			m.Updated = time.Time{}
			return m
		}
	}
	t.Fatalf("there is no read model %s", name)
	return engine.Status{}
}

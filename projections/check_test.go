package projections_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/eventstore"
	"latchkey/projections"
	"latchkey/projections/engine"
)

// TestMarks: each checkpoint that is written says which log it is of, and which
// event it saw last.
func TestMarks(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		at := h.traffic(0, 2)
		wait(t, r, at)
		stop()
		id, err := h.client.Identity(t.Context())
		must(t, err)
		for _, name := range projections.Names() {
			m, err := markOf(t.Context(), h.store, name)
			must(t, err)
			if m.Identity != id || m.Position != at || m.Event == uuid.Nil {
				t.Errorf("%s has the mark %+v, the log is %+v at %d", name, m, id, at)
			}
			must(t, h.client.Holds(t.Context(), m))
		}
		must(t, h.store.Check(t.Context(), h.client))
	})
}

// TestCheckRefuses: read models of another log, or of one that had more, are
// refused in words, and nothing is changed.
func TestCheckRefuses(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		at := h.traffic(0, 3)
		wait(t, r, at)
		stop()
		before := dump(t, h.store)
		original, err := markOf(t.Context(), h.store, projections.Privileges)
		must(t, err)
		older := eventstore.Mark{Identity: original.Identity, Position: original.Position + 100, Event: uuid.New()}
		grown := eventstore.Mark{Identity: original.Identity, Position: original.Position, Event: uuid.New()}
		restored := original
		restored.Epoch = 2 // the log is a copy from before the restore
		other := original
		other.Log = uuid.New()
		for name, c := range map[string]struct {
			mark eventstore.Mark
			want error
			says string
		}{
			"a log that lost its end":              {older, eventstore.ErrLogCut, "latchkey recover"},
			"an older copy that has grown":         {grown, eventstore.ErrLogCut, "put the newer log back"},
			"a copy from before the restore":       {restored, eventstore.ErrLogCut, "put the newer log back"},
			"the read models of another log":       {other, eventstore.ErrOtherLog, "another log"},
			"an unmarked one that is past its end": {eventstore.Mark{}, eventstore.ErrLogCut, "revocations"},
		} {
			must(t, setMark(t.Context(), h.store, projections.Privileges, c.mark))
			if c.mark.Log == uuid.Nil {
				must(t, setCheckpoint(t.Context(), h.store, projections.Privileges, at+1000))
			}
			err := h.store.Check(t.Context(), h.client)
			if !errors.Is(err, c.want) || !engine.Misfit(err) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
			r, err := projections.NewRunner(projections.RunnerConfig{Store: h.store, Client: h.client})
			must(t, err)
			if err := r.Run(within(t)); !errors.Is(err, c.want) {
				t.Errorf("%s: the runner ended with %v", name, err)
			}
			must(t, setCheckpoint(t.Context(), h.store, projections.Privileges, at))
			must(t, setMark(t.Context(), h.store, projections.Privileges, original))
		}
		must(t, h.store.Check(t.Context(), h.client))
		if after := dump(t, h.store); after != before {
			t.Error("a check that refuses changed the read models")
		}
	})
}

// TestRestoredLog: when the epoch of the log has risen, the read models are made
// from it again by themselves, once, however many processes run.
func TestRestoredLog(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		at := h.traffic(0, 3)
		wait(t, r, at)
		stop()
		want := dump(t, h.store)
		before, err := h.store.Status(t.Context())
		must(t, err)
		must(t, spoil(t.Context(), h.store)) // rows that the log does not know
		_, err = h.client.RaiseEpoch(t.Context())
		must(t, err)
		must(t, h.store.Check(t.Context(), h.client))
		must(t, h.open().Check(t.Context(), h.client))
		status, err := h.store.Status(t.Context())
		must(t, err)
		for i, s := range status {
			if s.Position != 0 || s.Rows != 0 || s.Generation != before[i].Generation+1 {
				t.Errorf("after the check: %+v", s)
			}
		}
		a, _ := h.run(h.store)
		b, _ := h.run(h.open())
		for _, r := range []*projections.Runner{a, b} {
			must(t, r.Read(within(t), 0, func(n eventstore.Position) error {
				list, _, err := h.store.Devices(t.Context(), olga, projections.Page{Limit: 10, AtLeast: n})
				if err == nil && len(list) != 3 {
					t.Errorf("a list of %d devices was answered, the log has 3", len(list))
				}
				return err
			}))
		}
		wait(t, a, at)
		if got := dump(t, h.store); got != want {
			t.Errorf("made from the restored log:\n%s\nbefore:\n%s", got, want)
		}
	})
}

// TestRestoredUnderWay: the epoch rises under running processes, whose
// subscriptions break; each goes on with the restored log.
func TestRestoredUnderWay(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		log := newMovableLog(t)
		h.client = log.client
		a, _ := h.run(h.store)
		b, _ := h.run(h.open())
		old := h.traffic(0, 3)
		backup := log.backup(t)
		at := h.traffic(3, 3)
		wait(t, a, at)
		wait(t, b, at)
		a.Acknowledged(at)

		// The backup is put in place, as `latchkey restore` does.
		generation := h.generation(projections.Devices)
		log.replace(t, backup, true)
		for _, r := range []*projections.Runner{a, b} {
			until(t, func() bool { return h.generation(projections.Devices) == generation+1 && r.Health().Ready })
			must(t, r.Read(within(t), 0, func(n eventstore.Position) error {
				list, _, err := h.store.Devices(t.Context(), olga, projections.Page{Limit: 10, AtLeast: n})
				if err == nil && len(list) != 3 {
					t.Errorf("after the restore to position %d the list has %d devices", old, len(list))
				}
				return err
			}))
		}
		at = h.append("device-dev1", device.Removed{Device: "dev1", Owner: olga, At: epoch})
		must(t, a.Read(within(t), at, func(n eventstore.Position) error {
			_, found, err := h.store.Device(t.Context(), olga, "dev1", n)
			if found {
				t.Error("a device that was removed after the restore is listed")
			}
			return err
		}))
	})
}

// TestDivergedUnderWay: an older copy of the log is put under running processes.
// They stop, and go on when the right log is back.
func TestDivergedUnderWay(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		log := newMovableLog(t)
		h.client = log.client
		r, _ := h.run(h.store)
		h.traffic(0, 3)
		older := log.backup(t)
		at := h.traffic(3, 3)
		wait(t, r, at)
		newer := log.backup(t)
		before := dump(t, h.store)

		log.replace(t, older, false)
		h.traffic(6, 3) // what it acknowledges now is not the log's history
		until(t, func() bool { h := r.Health(); return h.State == "diverged" && !h.Ready && h.Reason != "" })
		if got := dump(t, h.store); got != before {
			t.Error("events of a log that is not the right one were written")
		}
		log.replace(t, newer, false)
		until(t, func() bool { return r.Health().Ready })
		wait(t, r, h.traffic(9, 1))
	})
}

// generation grows each time that a read model is made again.
func (h *house) generation(name string) int64 {
	h.t.Helper()
	status, err := h.store.Status(context.Background())
	must(h.t, err)
	for _, s := range status {
		if s.Projection == name {
			return s.Generation
		}
	}
	return 0
}

// TestRebuildHealsMarks: a rebuild of a read model whose mark does not fit makes
// it one of the log that is there.
func TestRebuildHealsMarks(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		at := h.traffic(0, 3)
		wait(t, r, at)
		stop()
		mark, err := markOf(t.Context(), h.store, projections.Devices)
		must(t, err)
		must(t, setMark(t.Context(), h.store, projections.Devices, eventstore.Mark{Identity: mark.Identity, Position: mark.Position + 50, Event: uuid.New()}))
		must(t, setCheckpoint(t.Context(), h.store, projections.Devices, at+50))
		if err := h.store.Check(t.Context(), h.client); !engine.Misfit(err) {
			t.Fatalf("the mark fits: %v", err)
		}
		must(t, h.store.Rebuild(t.Context(), projections.Devices, h.client, nil))
		must(t, h.store.Check(t.Context(), h.client))
		r, _ = h.run(h.store)
		wait(t, r, h.traffic(3, 1))
		list, _, err := h.store.Devices(t.Context(), olga, projections.Page{Limit: 10})
		must(t, err)
		if len(list) != 4 {
			t.Errorf("after the rebuild the list has %d devices of 4", len(list))
		}
	})
}

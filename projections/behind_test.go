package projections_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/eventstore"
	"latchkey/projections"
)

// lists are the queries, each of which must see a position.
func lists(s *projections.Store) map[string]func(ctx context.Context, atLeast eventstore.Position) error {
	at := func(n eventstore.Position) projections.Page { return projections.Page{Limit: 10, AtLeast: n} }
	return map[string]func(context.Context, eventstore.Position) error{
		"sent shares": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.SentShares(ctx, olga, at(n))
			return err
		},
		"received shares": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.ReceivedShares(ctx, rita, at(n))
			return err
		},
		"history": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.History(ctx, olga, at(n), nil)
			return err
		},
		"recipients": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.Recipients(ctx, olga, at(n), nil)
			return err
		},
		"invitations": func(ctx context.Context, n eventstore.Position) error {
			_, _, _, err := s.Invitations(ctx, rita, false, at(n))
			return err
		},
		"devices": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.Devices(ctx, olga, at(n))
			return err
		},
		"stream keys": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.StreamKeys(ctx, olga, at(n))
			return err
		},
		"privileges": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.Privileges(ctx, rita, projections.AnyRole, at(n))
			return err
		},
		"a share": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.Share(ctx, olga, given, n)
			return err
		},
		"a device": func(ctx context.Context, n eventstore.Position) error {
			_, _, err := s.Device(ctx, olga, "dev0", n)
			return err
		},
		"a person": func(ctx context.Context, n eventstore.Position) error { _, err := s.Person(ctx, olga, n); return err },
		"shares of a device": func(ctx context.Context, n eventstore.Position) error {
			_, err := s.SharesWithDevice(ctx, "dev0", n)
			return err
		},
		"removed devices": func(ctx context.Context, n eventstore.Position) error {
			_, err := s.RemovedDevices(ctx, []string{"dev0"}, n)
			return err
		},
	}
}

// TestLeastPosition: every query compares the position that it must see with the
// checkpoints in the database, whatever this process remembers; a Read waits.
func TestLeastPosition(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, stop := h.run(h.store)
		at := h.traffic(0, 1)
		for name, query := range lists(h.store) {
			must(t, r.Read(within(t), at, func(n eventstore.Position) error {
				if n < at {
					t.Errorf("%s: asked for position %d, not %d", name, n, at)
				}
				return query(t.Context(), n)
			}))
			must(t, query(t.Context(), at))
			if err := query(t.Context(), at+1); !errors.Is(err, projections.ErrBehind) {
				t.Errorf("%s at a position that is not reached: %v", name, err)
			}
		}
		stop()
		for _, name := range projections.Names() {
			must(t, setCheckpoint(t.Context(), h.store, name, at-1)) // behind this process's back
		}
		for name, query := range lists(h.store) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			if err := r.Read(ctx, at, func(n eventstore.Position) error { return query(t.Context(), n) }); !errors.Is(err, projections.ErrBehind) {
				t.Errorf("%s, after the checkpoint went back: %v", name, err)
			}
			cancel()
		}
		// A read model that stands still is shown as it is to whoever names no
		// position, but not one that was made empty.
		r.Acknowledged(at)
		for _, empty := range []bool{false, true} {
			for name, query := range lists(h.store) {
				if empty {
					for _, name := range projections.Names() {
						must(t, setCheckpoint(t.Context(), h.store, name, 0))
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				err := r.Read(ctx, 0, func(n eventstore.Position) error { return query(t.Context(), n) })
				if errors.Is(err, projections.ErrBehind) != empty {
					t.Errorf("%s of a read model that stands still, empty: %v: %v", name, empty, err)
				}
				cancel()
			}
		}
	})
}

// TestAcknowledged: what was acknowledged here is seen by every later read.
func TestAcknowledged(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		r, _ := h.run(h.store)
		for i := range 5 {
			r.Acknowledged(h.traffic(i, 1))
			must(t, r.Read(within(t), 0, func(n eventstore.Position) error {
				list, _, err := h.store.Devices(t.Context(), olga, projections.Page{Limit: 10, AtLeast: n})
				if err == nil && len(list) != i+1 {
					t.Errorf("after device %d was acknowledged the list has %d", i+1, len(list))
				}
				return err
			}))
		}
	})
}

// TestIdleCheckpoints: on a quiet log every read model notes that it has seen
// all of it, though nothing concerns it.
func TestIdleCheckpoints(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		h.run(h.store)
		at := h.traffic(0, 1) // nothing for accounts, and no deleted share
		until(t, func() bool {
			status, err := h.store.Status(t.Context())
			must(t, err)
			for _, s := range status {
				if s.Lag(at) > 0 {
					return false
				}
			}
			return true
		})
	})
}

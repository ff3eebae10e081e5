package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/eventstore"
	"latchkey/projections/engine"
)

const followers = "followers"

// lease asks for the lease and wants an answer.
func lease(t testing.TB, s *engine.Store, holder string, lasts time.Duration, want bool) {
	t.Helper()
	has, err := s.Lease(t.Context(), followers, holder, lasts)
	must(t, err)
	if has != want {
		t.Errorf("%s has the lease: %v", holder, has)
	}
}

// TestOneHasTheLease: one holder at a time, whichever process asks; the lease ends when
// it is given back, when its time is over, and when a clock was put back.
func TestOneHasTheLease(t *testing.T) {
	onEach(t, func(t *testing.T, dsn string) {
		s, other := open(t, dsn), open(t, dsn)
		lease(t, s, "a", time.Minute, true)
		lease(t, s, "a", time.Minute, true)
		lease(t, other, "b", time.Minute, false)
		must(t, other.Release(t.Context(), followers, "b"))
		lease(t, other, "b", time.Minute, false)
		must(t, s.Release(t.Context(), followers, "a"))
		lease(t, other, "b", 300*time.Millisecond, true)
		lease(t, s, "a", 300*time.Millisecond, false)
		time.Sleep(400 * time.Millisecond) // b has died
		lease(t, s, "a", time.Hour, true)
		lease(t, other, "b", 31*time.Minute, false)
		lease(t, other, "b", 29*time.Minute, true) // nobody has it for so much longer than asked for
	})
}

// TestOnlyTheHolderSaves: who lost the lease saves nothing, and who has it gives it back
// by saving; a checkpoint never goes back.
func TestOnlyTheHolderSaves(t *testing.T) {
	onEach(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		mark := func(n eventstore.Position) eventstore.Mark { return eventstore.Mark{Position: n, Event: uuid.New()} }
		reached := func(want eventstore.Position) {
			t.Helper()
			position, _, err := s.Followed(context.Background(), followers)
			must(t, err)
			if position != want {
				t.Errorf("the checkpoint is at %d, want %d", position, want)
			}
		}
		save := func(holder string, position eventstore.Position, want bool) {
			t.Helper()
			saved, err := s.SaveLeased(t.Context(), followers, holder, position, mark(position))
			must(t, err)
			if saved != want {
				t.Errorf("%s saved: %v", holder, saved)
			}
		}
		lease(t, s, "a", time.Minute, true)
		save("b", 7, false)
		reached(0)
		save("a", 5, true)
		reached(5)
		lease(t, s, "b", time.Minute, true)
		save("b", 3, true)
		reached(5)
		must(t, s.SaveFollowed(t.Context(), followers, 4, mark(4)))
		reached(5)
		must(t, s.SaveFollowed(t.Context(), followers, 9, mark(9)))
		reached(9)
	})
}

package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"latchkey/internal/outbox"
	"latchkey/internal/testdb"
	"latchkey/internal/vault"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// house is a vault, its clock, and who sends.
type house struct {
	t     *testing.T
	vault *vault.Vault
	db    *bun.DB
	clock *clock
}

func onEach(t *testing.T, f func(h *house)) {
	open := map[string]func(t *testing.T) *bun.DB{
		"sqlite": func(t *testing.T) *bun.DB {
			path := filepath.Join(t.TempDir(), "vault.db")
			if err := vault.CreateFile(path); err != nil {
				t.Fatal(err)
			}
			db, err := vault.OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return db
		},
		"postgres": func(t *testing.T) *bun.DB {
			db, err := sql.Open("pgx", testdb.Postgres(t))
			if err != nil {
				t.Fatal(err)
			}
			return bun.NewDB(db, pgdialect.New())
		},
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			h := &house{t: t, db: open(t), clock: &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
			t.Cleanup(func() { h.db.Close() })
			var err error
			if h.vault, err = vault.Open(t.Context(), h.db, vault.NewMasterKey(), h.clock.now); err != nil {
				t.Fatal(err)
			}
			f(h)
		})
	}
}

func (h *house) enqueue(id string) {
	h.t.Helper()
	m := outbox.Message{ID: id, Account: "anna", Kind: "email", To: "anna@example.com", Text: "12345678", Until: h.clock.now().Add(24 * time.Hour)}
	if err := (outbox.InVault{Vault: h.vault}).Enqueue(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
}

// sender sends as a test wants.
type sender func(m outbox.Message, handOver func() error) error

func (f sender) Send(_ context.Context, m outbox.Message, handOver func() error) error {
	return f(m, handOver)
}

// start starts an outbox; stop waits for its end.
func (h *house) start(f sender) (stop func()) {
	o := outbox.New(outbox.Config{
		Store: outbox.InVault{Vault: h.vault}, Senders: map[string]outbox.Sender{"email": f}, Now: h.clock.now,
		Logger: slog.New(slog.DiscardHandler), LookEvery: 2 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

// left counts the messages that have a text.
func (h *house) left() int {
	h.t.Helper()
	n, err := h.db.NewSelect().Table("vault_outbox").Where("length(value) > 0").Count(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return int(n)
}

// noted reports whether a message that waits has been tried so often.
func (h *house) noted(tries int) bool {
	h.t.Helper()
	n, err := h.db.NewSelect().Table("vault_outbox").Where("length(value) > 0 AND tries = ?", tries).Count(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return n == 1
}

func (h *house) eventually(what string, cond func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not: %s", what)
		}
	}
}

// TestSentOnce: each message is sent once, by one of several senders, however often it
// was enqueued, and nothing of it stays.
func TestSentOnce(t *testing.T) {
	onEach(t, func(h *house) {
		var mu sync.Mutex
		sent := map[string]int{}
		for range 3 {
			h.start(func(m outbox.Message, handOver func() error) error {
				if err := handOver(); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				sent[m.ID]++
				if m.To != "anna@example.com" || m.Text != "12345678" || m.Account != "anna" {
					h.t.Errorf("%+v", m)
				}
				return nil
			})
		}
		ids := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		for range 2 {
			for _, id := range ids {
				h.enqueue(id)
			}
		}
		h.eventually("all are done", func() bool { return h.left() == 0 })
		h.enqueue("a") // it was sent
		h.enqueue("last")
		h.eventually("the last one is sent", func() bool { mu.Lock(); defer mu.Unlock(); return sent["last"] == 1 })
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			if sent[id] != 1 {
				t.Errorf("%s was sent %d times", id, sent[id])
			}
		}
	})
}

// TestTriedAgain: what was surely not sent is tried again with growing pauses, and given
// up when it expires; what is refused for good, or unclear, is not.
func TestTriedAgain(t *testing.T) {
	for name, sc := range map[string]struct {
		answer error
		least  int
		most   int
	}{
		"later":   {errors.New("451"), 10, 60}, // each half an hour of a day, once the pauses are as long
		"refused": {outbox.ErrRefused, 1, 1},
		"unclear": {outbox.ErrUnclear, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(h *house) {
				var mu sync.Mutex
				tries := 0
				count := func() int { mu.Lock(); defer mu.Unlock(); return tries }
				h.enqueue("a")
				h.start(func(m outbox.Message, handOver func() error) error {
					mu.Lock()
					defer mu.Unlock()
					if tries++; m.Tries+1 != tries {
						h.t.Errorf("try %d is told to be %d", tries, m.Tries+1)
					}
					if err := handOver(); err != nil {
						return err
					}
					return sc.answer
				})
				for h.left() > 0 {
					before := count()
					if before > 0 {
						h.clock.advance(31 * time.Minute)
					}
					h.eventually("it is tried again or given up", func() bool { return count() > before || h.left() == 0 })
					h.eventually("the try is noted", func() bool { return h.left() == 0 || h.noted(count()) }) // else the next pause begins late
				}
				if n := count(); n < sc.least || n > sc.most {
					t.Errorf("%d tries; want %d to %d", n, sc.least, sc.most)
				}
			})
		})
	}
}

// TestKilled: whoever is killed before a message is handed over has not sent it, and
// another one does when the claim lapses. Whoever is killed afterwards may have.
func TestKilled(t *testing.T) {
	onEach(t, func(h *house) {
		ctx := h.t.Context()
		store := outbox.InVault{Vault: h.vault}
		for _, id := range []string{"before", "after"} {
			h.enqueue(id)
			h.clock.advance(time.Millisecond)
		}
		for _, id := range []string{"before", "after"} {
			if m, ok, err := store.Claim(ctx, "killed", time.Minute); err != nil || !ok || m.ID != id {
				t.Fatalf("%+v, %v, %v", m, ok, err)
			}
		}
		if err := store.HandOver(ctx, "after", "killed"); err != nil {
			t.Fatal(err)
		}
		sent := make(chan string, 9)
		h.start(func(m outbox.Message, handOver func() error) error {
			if err := handOver(); err != nil {
				return err
			}
			sent <- m.ID
			return nil
		})
		h.enqueue("another")
		h.eventually("another is sent", func() bool { return h.left() == 2 })
		h.clock.advance(time.Minute)
		h.eventually("all are done", func() bool { return h.left() == 0 })
		close(sent)
		var order []string
		for id := range sent {
			order = append(order, id)
		}
		if len(order) != 2 || order[0] != "another" || order[1] != "before" {
			t.Errorf("sent %v", order)
		}
		for _, err := range []error{store.HandOver(ctx, "before", "killed"), store.Finish(ctx, "before", "killed"), store.Retry(ctx, "before", "killed", h.clock.now())} {
			if !errors.Is(err, vault.ErrNotHeld) {
				t.Errorf("the killed one goes on: %v", err)
			}
		}
	})
}

// TestDropped: what is remembered of a message is forgotten at last.
func TestDropped(t *testing.T) {
	onEach(t, func(h *house) {
		h.enqueue("a")
		h.start(func(outbox.Message, func() error) error { return nil })
		h.eventually("it is done", func() bool { return h.left() == 0 })
		h.clock.advance(8 * 24 * time.Hour)
		if err := h.vault.DropOutgoing(h.t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := h.db.NewSelect().Table("vault_outbox").Count(h.t.Context()); err != nil || n != 0 {
			t.Errorf("%d rows are left, %v", n, err)
		}
	})
}

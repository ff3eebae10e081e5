package notices_test

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/internal/app"
	"latchkey/internal/notices"
	"latchkey/internal/outbox"
	"latchkey/internal/position"
	"latchkey/internal/testdb"
	"latchkey/internal/vault"
	"latchkey/internal/webhook"
)

const (
	olga  = "0190a000-0000-7000-8000-00000000000a"
	rita  = "0190a000-0000-7000-8000-00000000000b"
	login = "000102030405060708090a0b0c0d0e0f"
	given = olga + "." + login
)

// house is a vault with a clock, and what is looked up.
type house struct {
	t     *testing.T
	vault *vault.Vault
	mails notices.Mails
	began position.Position

	mu   sync.Mutex
	now  time.Time
	look func(a app.About) (app.Telling, bool, error)
	ends []notices.Ending
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// Look implements notices.Told: every notice is still true, and goes to its address.
func (h *house) Look(_ context.Context, a app.About) (app.Telling, bool, error) {
	if h.look != nil {
		return h.look(a)
	}
	return telling(a), true, nil
}

func telling(a app.About) app.Telling {
	t := app.Telling{About: a, Account: a.Account, AddressKind: "email", Address: string(a.Side) + "@example.com", Webhook: "wh1", DeviceName: "Yard", OtherName: "Olga", OtherAddress: "olga@example.com"}
	if a.Tiding == app.TidingInvited && a.Account == "" {
		t.Payer = olga
	}
	return t
}

func (h *house) Holder(context.Context, string) (string, error) { return rita, nil }

// databases are where a vault may be.
var databases = map[string]func(t *testing.T) *bun.DB{
	"sqlite": func(t *testing.T) *bun.DB {
		path := filepath.Join(t.TempDir(), "vault.db")
		must(t, vault.CreateFile(path))
		db, err := vault.OpenFile(path)
		must(t, err)
		return db
	},
	"postgres": func(t *testing.T) *bun.DB {
		db, err := sql.Open("pgx", testdb.Postgres(t))
		must(t, err)
		return bun.NewDB(db, pgdialect.New())
	},
}

func onEach(t *testing.T, f func(h *house)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) { f(newHouse(t, open(t))) })
	}
}

func newHouse(t *testing.T, db *bun.DB) *house {
	t.Helper()
	h := &house{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), began: 10}
	t.Cleanup(func() { db.Close() })
	var err error
	h.vault, err = vault.Open(t.Context(), db, vault.NewMasterKey(), h.clock)
	must(t, err)
	h.mails = notices.Mails{Notifier: notices.New(notices.Config{
		Told: h, Vault: h.vault, Kinds: []string{"email"}, Logger: slog.New(slog.DiscardHandler), Now: h.clock,
		EpochBegan: func(context.Context) (position.Position, error) { return h.began, nil },
		Ending:     func(context.Context, time.Time, time.Time) ([]notices.Ending, error) { return h.ends, nil },
	})}
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) happened(e event.Event, at position.Position) notices.Happened {
	return notices.Happened{Event: e, ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%d", at)), Position: at, Created: h.clock()}
}

func invited(device string) share.Invited {
	return share.Invited{Share: given, Owner: olga, Login: login, Device: device}
}

func (h *house) notify(list ...notices.Happened) {
	h.t.Helper()
	must(h.t, h.mails.Notify(h.t.Context(), list))
}

// claim takes the next message; "" if none is due.
func (h *house) claim(holder string) outbox.Message {
	h.t.Helper()
	m, _, err := h.mails.Claim(h.t.Context(), holder, time.Minute)
	must(h.t, err)
	return m
}

// TestOneMailForAll: what happens within a short time goes together, once, whoever sends
// it and however often it was kept.
func TestOneMailForAll(t *testing.T) {
	onEach(t, func(h *house) {
		events := []notices.Happened{h.happened(invited("a"), 11), h.happened(invited("b"), 12), h.happened(invited("c"), 13)}
		h.notify(events...)
		h.notify(events...)
		if m := h.claim("one"); m.ID != "" {
			h.t.Fatalf("before others could come: %+v", m)
		}
		h.advance(10 * time.Second)
		m := h.claim("one")
		if m.Subject != "You have 3 new sharings" || m.To != "recipient@example.com" || strings.Count(m.Text, "“Yard”") != 3 {
			h.t.Errorf("%+v", m)
		}
		h.notify(h.happened(invited("d"), 14))
		h.advance(10 * time.Second)
		if other := h.claim("two"); other.ID != "" {
			h.t.Errorf("while one is being sent to the same person: %+v", other)
		}
		h.advance(2 * time.Minute) // the first one is dead before it has handed anything over
		again := h.claim("two")
		if again.Subject != "You have 4 new sharings" {
			h.t.Errorf("after the death of the first: %+v", again)
		}
		if err := h.mails.HandOver(h.t.Context(), m.ID, "one"); !errors.Is(err, vault.ErrNotHeld) {
			h.t.Errorf("the first one hands over what it does not hold: %v", err)
		}
		must(h.t, h.mails.HandOver(h.t.Context(), again.ID, "two"))
		h.advance(2 * time.Minute) // the second one is dead too, and may have sent it
		h.notify(events...)
		if m := h.claim("three"); m.ID != "" {
			h.t.Errorf("what may have been sent is sent again: %+v", m)
		}
	})
}

// TestNothingOldIsTold: neither what happened long ago, nor before the log was restored.
func TestNothingOldIsTold(t *testing.T) {
	onEach(t, func(h *house) {
		old, restored := h.happened(invited("a"), 11), h.happened(invited("b"), 10)
		restored.Created = restored.Created.Add(24 * time.Hour)
		h.advance(24 * time.Hour)
		h.notify(old, restored)
		h.advance(time.Minute)
		if m := h.claim("one"); m.ID != "" {
			h.t.Errorf("%+v", m)
		}
		fresh := h.happened(invited("c"), 12)
		h.notify(old, restored, fresh)
		h.advance(25 * time.Hour)
		if m := h.claim("one"); m.ID != "" {
			h.t.Errorf("what waited for a day: %+v", m)
		}
	})
}

// TestWhatIsNotSoIsNotTold: nor what is muted, nor what cannot be looked up now; that
// waits.
func TestWhatIsNotSoIsNotTold(t *testing.T) {
	onEach(t, func(h *house) {
		away := true
		h.look = func(a app.About) (app.Telling, bool, error) {
			t := telling(a)
			if a.Device == "muted" {
				t.Settings.Devices = []string{"muted"}
			}
			if away {
				return t, false, errors.New("the log is away")
			}
			return t, a.Device != "withdrawn", nil
		}
		h.notify(h.happened(invited("muted"), 11), h.happened(invited("withdrawn"), 12), h.happened(invited("there"), 13))
		h.advance(10 * time.Second)
		if m := h.claim("one"); m.ID != "" {
			h.t.Errorf("%+v", m)
		}
		away = false
		h.advance(time.Minute)
		if m := h.claim("one"); m.Subject != "You have a new sharing" || m.Tries != 0 {
			h.t.Errorf("%+v", m)
		}
	})
}

// TestNobodyIsFlooded: an address gets a bounded number of mails a day, and the rest goes
// together later.
func TestNobodyIsFlooded(t *testing.T) {
	onEach(t, func(h *house) {
		sent, told := 0, 0
		send := func() {
			for m := h.claim("one"); m.ID != ""; m = h.claim("one") {
				sent++
				told += max(1, strings.Count(m.Text, "\n- ")+1)
				must(h.t, h.mails.HandOver(h.t.Context(), m.ID, "one"))
				must(h.t, h.mails.Finish(h.t.Context(), m.ID, "one"))
			}
		}
		for i := range 60 {
			h.notify(h.happened(invited(fmt.Sprint("cam-", i)), position.Position(20+i)))
			h.advance(10 * time.Second)
			send()
		}
		if sent != 20 {
			h.t.Errorf("%d mails were sent at once", sent)
		}
		h.advance(2 * time.Hour)
		if send(); sent != 21 || told < 60 {
			h.t.Errorf("%d mails were sent, and told of %d", sent, told)
		}
	})
}

// TestBothSidesAreReminded: once of an end, and of one that was moved only after a day.
func TestBothSidesAreReminded(t *testing.T) {
	onEach(t, func(h *house) {
		reminded := func() (n int) {
			h.t.Helper()
			must(h.t, h.mails.Remind(h.t.Context()))
			h.advance(10 * time.Second)
			for m := h.claim("one"); m.ID != ""; m = h.claim("one") {
				if n++; !strings.Contains(m.Subject, "ends soon") {
					h.t.Errorf("%+v", m)
				}
				must(h.t, h.mails.Finish(h.t.Context(), m.ID, "one"))
			}
			return n
		}
		end := h.clock().Add(20 * time.Hour)
		h.ends = []notices.Ending{{Share: given, Owner: olga, Account: rita, Device: "cam", Until: end}}
		for _, want := range []int{2, 0} {
			if n := reminded(); n != want {
				h.t.Errorf("%d reminders; want %d", n, want)
			}
		}
		h.ends[0].Until = end.Add(12 * time.Hour)
		if n := reminded(); n != 0 {
			h.t.Errorf("%d reminders of an end that was moved", n)
		}
		h.advance(25 * time.Hour)
		if n := reminded(); n != 2 {
			h.t.Errorf("%d reminders of the new end", n)
		}
	})
}

// TestAFailingWebhookIsDisabled: it is tried less and less often, with one id, and is
// disabled after a day; one that answers again is called again.
func TestAFailingWebhookIsDisabled(t *testing.T) {
	onEach(t, func(h *house) {
		var mu sync.Mutex
		calls, status := map[string]int{}, http.StatusInternalServerError
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			calls[r.Header.Get(webhook.HeaderID)]++
			w.WriteHeader(status)
		}))
		defer s.Close()
		trusted := x509.NewCertPool()
		trusted.AddCert(s.Certificate())
		hooks := notices.NewHooks(h.mails.Notifier, webhook.New(webhook.Config{Allow: func(netip.Addr) error { return nil }, Roots: trusted, Now: h.clock}))
		must(h.t, h.vault.PutWebhook(h.t.Context(), vault.Webhook{Account: rita, ID: "wh1", URL: s.URL, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}))
		try := func() (tried bool) {
			m, ok, err := hooks.Claim(h.t.Context(), "one", time.Minute)
			must(h.t, err)
			if !ok {
				return false
			}
			var body struct{ Data map[string]any }
			if err := json.Unmarshal([]byte(m.Text), &body); err != nil || body.Data["share"] != given || strings.Contains(m.Text, "@") {
				h.t.Errorf("%s, %v", m.Text, err)
			}
			if err := hooks.Send(h.t.Context(), m, nil); err != nil {
				must(h.t, hooks.Retry(h.t.Context(), m.ID, "one", h.clock()))
				return true
			}
			must(h.t, hooks.Finish(h.t.Context(), m.ID, "one"))
			return true
		}
		h.notify(h.happened(invited("a"), 11), h.happened(invited("b"), 12))
		tries := 0
		for range 24 * 60 {
			if try() {
				tries++
			}
			h.advance(time.Minute)
		}
		if tries < 10 || tries > 40 {
			h.t.Errorf("it was tried %d times in a day", tries)
		}
		h.notify(h.happened(invited("c"), 13))
		for range 5 * 60 {
			try()
			h.advance(time.Minute)
		}
		w, err := h.vault.Webhook(h.t.Context(), rita, "wh1")
		must(h.t, err)
		if w.Reason != "failing" || w.Disabled.IsZero() || len(calls) > 3 {
			h.t.Errorf("%+v after calls %v", w, calls)
		}
		status = http.StatusOK
		if outcome, _, err := hooks.Test(h.t.Context(), w, "test"); outcome != "" || err != nil {
			h.t.Errorf("a test: %s, %v", outcome, err)
		}
		h.notify(h.happened(invited("d"), 14))
		if !try() || try() {
			h.t.Error("after a test that succeeded, it is not called once")
		}
		must(h.t, h.vault.Forget(h.t.Context(), rita))
		if _, err := h.vault.Webhook(h.t.Context(), rita, "wh1"); !errors.Is(err, vault.ErrNotFound) {
			h.t.Errorf("the webhook of an erased account: %v", err)
		}
	})
}

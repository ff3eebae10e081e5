package live_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/live"
	"latchkey/internal/testlog"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/EventStore/EventStore-Client-Go/v4/esdb.discoverNode"),
		goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"))
}

const patience = 20 * time.Second

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// book is who has which login.
type book struct {
	mu     sync.Mutex
	logins map[string][]string
	asked  func() // called before it answers
}

func (b *book) LoginsOf(_ context.Context, account string, _ eventstore.Position) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.logins[account])
	if b.asked != nil {
		b.asked()
		b.asked = nil
	}
	return list, nil
}

func (b *book) give(account, login string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logins[account] = append(b.logins[account], login)
}

type house struct {
	t    *testing.T
	log  *eventstore.Client
	book *book
	hub  *live.Hub
}

func newHouse(t *testing.T, change ...func(*live.Config)) *house {
	t.Helper()
	h := &house{t: t, log: testlog.New(t), book: &book{logins: map[string][]string{"rita": {"login-r"}}}}
	h.append(device.Added{Device: "before", Owner: "olga"})
	h.start(change...)
	return h
}

// start runs a hub, a new one.
func (h *house) start(change ...func(*live.Config)) {
	cfg := live.Config{Log: h.log, Logins: h.book}
	for _, f := range change {
		f(&cfg)
	}
	h.hub = live.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	hub := h.hub
	go func() { done <- hub.Run(ctx) }()
	h.t.Cleanup(func() { cancel(); <-done })
}

func (h *house) append(e event.Event) eventstore.Position {
	h.t.Helper()
	name, data, err := catalogue.Encode(e)
	if err != nil {
		h.t.Fatal(err)
	}
	done, err := h.log.Append(context.Background(), "some-stream", eventstore.Any(), eventstore.Event{ID: uuid.New(), Type: name, Data: data, Metadata: []byte("{}")})
	if err != nil {
		h.t.Fatal(err)
	}
	return done.Position
}

// listen waits until the hub follows the log.
func (h *house) listen(account string, after *eventstore.Position) *live.Listener {
	h.t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		l, err := h.hub.Listen(context.Background(), account, after)
		if errors.Is(err, live.ErrAway) && time.Now().Before(until) {
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(l.Close)
		return l
	}
}

func (h *house) next(l *live.Listener) string {
	h.t.Helper()
	select {
	case n, ok := <-l.Notices():
		if !ok {
			return fmt.Sprintf("ended: %v", l.Why())
		}
		return text(n)
	case <-time.After(patience):
		h.t.Fatal("no notice comes")
		return ""
	}
}

func text(n live.Notice) string { return fmt.Sprintf("%s %s %s", n.Kind, n.Share, n.Device) }

func invited(login, device string) share.Invited {
	return share.Invited{Share: "s-" + login, Owner: "olga", Login: login, Device: device, At: noon}
}

// TestEachHearsTheirOwn: owner and recipient hear of a share, others nothing, and the
// remark is the owner's alone.
func TestEachHearsTheirOwn(t *testing.T) {
	h := newHouse(t)
	olga, rita, stranger := h.listen("olga", nil), h.listen("rita", nil), h.listen("sven", nil)
	h.append(share.Opened{Share: "s-login-r", Owner: "olga", Login: "login-r"})
	h.append(share.RemarkChanged{Share: "s-login-r", Owner: "olga", Remark: "x"})
	h.append(invited("login-r", "cam"))
	h.append(invited("login-x", "cam"))
	h.append(share.Accepted{Share: "s-login-r", Owner: "olga", Account: "rita", Login: "login-r", Device: "cam"})
	h.append(account.StreamKeyAdded{Account: "sven", Key: "k"})
	for _, want := range []string{"share_created s-login-r ", "share_changed s-login-r ", "invited s-login-r cam", "invited s-login-x cam", "accepted s-login-r cam"} {
		if got := h.next(olga); got != want {
			t.Errorf("the owner hears %q, want %q", got, want)
		}
	}
	for _, want := range []string{"invited s-login-r cam", "accepted s-login-r cam"} {
		if got := h.next(rita); got != want {
			t.Errorf("the recipient hears %q, want %q", got, want)
		}
	}
	if got, want := h.next(stranger), "stream_key_added  "; got != want {
		t.Errorf("the stranger hears %q, want %q", got, want)
	}
}

// TestResumed: a listener that returns hears what it missed, once and in order, from
// the hub's memory and, after a restart, from the log.
func TestResumed(t *testing.T) {
	h := newHouse(t)
	first := h.listen("rita", nil)
	after := first.From()
	first.Close()
	h.append(invited("login-r", "cam-1"))
	h.append(invited("login-x", "cam-2"))
	last := h.append(invited("login-r", "cam-3"))
	want := []string{"invited s-login-r cam-1", "invited s-login-r cam-3"}
	check := func(how string) {
		t.Helper()
		l := h.listen("rita", &after)
		var got []string
		for _, n := range l.Missed() {
			got = append(got, text(n))
		}
		for len(got) < len(want) { // the hub had not heard of them yet
			got = append(got, h.next(l))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: it hears %q, want %q", how, got, want)
		}
		l.Close()
	}
	check("from memory")
	h.start()
	check("from the log")
	l := h.listen("rita", &last)
	if len(l.Missed()) != 0 {
		t.Errorf("it hears %v again", l.Missed())
	}
	beyond := last + 1000
	if _, err := h.hub.Listen(t.Context(), "rita", &beyond); !errors.Is(err, live.ErrMissed) {
		t.Errorf("a position that the log has not reached: %v", err)
	}
}

// TestANewLogin: an account that is given a login begins again, and what had happened to
// the login before is not told.
func TestANewLogin(t *testing.T) {
	h := newHouse(t)
	start := h.append(invited("login-n", "of the holder before"))
	nora := h.listen("nora", nil)
	h.append(account.LoginClaimed{Account: "nora", Login: "login-n"})
	h.book.give("nora", "login-n")
	if got := h.next(nora); got != "ended: "+live.ErrEnded.Error() {
		t.Errorf("the listener of an account with a new login hears %q", got)
	}
	if _, err := h.hub.Listen(t.Context(), "nora", &start); !errors.Is(err, live.ErrMissed) {
		t.Errorf("returning from before the login: %v", err)
	}
	again := h.listen("nora", nil)
	h.append(invited("login-n", "cam"))
	if got := h.next(again); got != "invited s-login-n cam" {
		t.Errorf("it hears %q", got)
	}
}

// TestALoginThatComesBetween: a login that is given while a listener is made is not
// missed.
func TestALoginThatComesBetween(t *testing.T) {
	h := newHouse(t)
	h.listen("olga", nil)
	witness := h.listen("nora", nil)
	h.book.mu.Lock()
	h.book.asked = func() {
		h.append(account.LoginClaimed{Account: "nora", Login: "login-n"})
		h.next(witness) // the hub has heard of it
		h.book.logins["nora"] = []string{"login-n"}
	}
	h.book.mu.Unlock()
	l := h.listen("nora", nil)
	h.append(invited("login-n", "cam"))
	if got := h.next(l); got != "invited s-login-n cam" {
		t.Errorf("it hears %q", got)
	}
}

// TestBounds: an account has so many listeners, and one that does not listen ends.
func TestBounds(t *testing.T) {
	h := newHouse(t, func(c *live.Config) { c.MostOfAccount, c.MostInAll = 2, 3 })
	one := h.listen("rita", nil)
	h.listen("rita", nil)
	if _, err := h.hub.Listen(t.Context(), "rita", nil); !errors.Is(err, live.ErrTooMany) {
		t.Errorf("a third of an account: %v", err)
	}
	olga := h.listen("olga", nil)
	if _, err := h.hub.Listen(t.Context(), "sven", nil); !errors.Is(err, live.ErrTooMany) {
		t.Errorf("a fourth in all: %v", err)
	}
	for i := range 300 {
		h.append(invited("login-r", fmt.Sprint(i)))
		<-olga.Notices()
	}
	heard := 0
	for range one.Notices() {
		heard++
	}
	if heard != 256 || !errors.Is(one.Why(), live.ErrEnded) {
		t.Errorf("a listener that does not listen got %d notices and ended with %v", heard, one.Why())
	}
}

// TestWithdrawnUnseen: a recipient who was away hears nothing of an invitation that was
// withdrawn before it was decided; its owner does.
func TestWithdrawnUnseen(t *testing.T) {
	h := newHouse(t)
	start := h.append(device.Added{Device: "cam", Owner: "olga"})
	withdrawn := func(device string) share.DeviceRemoved {
		return share.DeviceRemoved{Share: "s-login-r", Owner: "olga", Login: "login-r", Device: device}
	}
	h.append(invited("login-r", "unseen"))
	h.append(share.PrivilegesEdited{Share: "s-login-r", Owner: "olga", Login: "login-r", Device: "unseen"})
	h.append(invited("login-r", "decided"))
	h.append(withdrawn("unseen"))
	h.append(share.Accepted{Share: "s-login-r", Owner: "olga", Account: "rita", Login: "login-r", Device: "decided"})
	h.append(withdrawn("decided"))
	h.append(withdrawn("seen before"))
	h.append(invited("login-r", "unseen")) // again, and it stays
	h.start()
	for who, want := range map[string][]string{
		"rita": {"invited s-login-r decided", "accepted s-login-r decided", "device_withdrawn s-login-r decided", "device_withdrawn s-login-r seen before", "invited s-login-r unseen"},
		"olga": {
			"invited s-login-r unseen", "privileges_changed s-login-r unseen", "invited s-login-r decided", "device_withdrawn s-login-r unseen", "accepted s-login-r decided",
			"device_withdrawn s-login-r decided", "device_withdrawn s-login-r seen before", "invited s-login-r unseen",
		},
	} {
		var got []string
		for _, n := range h.listen(who, &start).Missed() {
			got = append(got, text(n))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s hears %q, want %q", who, got, want)
		}
	}
}

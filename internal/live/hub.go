package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// Log is where events come from.
type Log interface {
	Subscribe(ctx context.Context, after eventstore.Position, prefix string, h eventstore.Handler) error
	Tail(ctx context.Context, most int, each func(eventstore.Recorded) (more bool)) error
	ReadAll(ctx context.Context, after eventstore.Position, prefix string, each func(eventstore.Recorded) error) error
	Identity(ctx context.Context) (eventstore.Identity, error)
}

// Logins knows which logins an account has, by the keyed hashes of their addresses.
type Logins interface {
	// LoginsOf returns those under which the account receives shares, with every event up
	// to a position of the log taken into account. It waits for that as long as the
	// context does.
	LoginsOf(ctx context.Context, account string, atLeast eventstore.Position) ([]string, error)
}

// Config is what a Hub needs.
type Config struct {
	Log    Log
	Logins Logins
	Logger *slog.Logger // nil: none
	// MostOfAccount is how many listeners one account may have, MostInAll how many there
	// may be. 0: 16, 4,096.
	MostOfAccount, MostInAll int
}

// Why nothing can be heard, or no longer.
var (
	ErrTooMany = errors.New("too many listeners")
	ErrAway    = errors.New("the log cannot be followed")
	// ErrEnded is returned when the listener must begin again after the last notice that
	// it got: it was too slow, or the account's logins changed.
	ErrEnded = errors.New("the listener must begin again")
	// ErrMissed is returned for a position that is too far back, or of another log: what
	// happened since must be read anew.
	ErrMissed = errors.New("what happened since is not known")
)

const (
	// recent is how many notices are kept for listeners that return.
	recent = 4096
	// queued is how many notices a listener may have waiting.
	queued = 256
	// mostRead is how many events are read from the log for one that returns later.
	mostRead = 20_000
	// retryEvery is the pause before the log is followed again.
	retryEvery = time.Second
)

// Hub follows the log and hands out notices. It is safe for concurrent use.
type Hub struct {
	cfg Config

	mu        sync.Mutex
	following bool
	since     eventstore.Position // items holds everything after it
	last      eventstore.Position // seen
	items     []item              // oldest first
	listeners map[string]map[*Listener]bool
	byLogin   map[string]map[*Listener]bool
	all       int
}

// New returns a hub that hears nothing until Run.
func New(cfg Config) *Hub {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MostOfAccount == 0 {
		cfg.MostOfAccount = 16
	}
	if cfg.MostInAll == 0 {
		cfg.MostInAll = 4096
	}
	return &Hub{cfg: cfg, listeners: map[string]map[*Listener]bool{}, byLogin: map[string]map[*Listener]bool{}}
}

// Run follows the log until the context ends. If that fails, every listener ends, and it
// begins again at the end of the log.
func (h *Hub) Run(ctx context.Context) error {
	for {
		err := h.follow(ctx)
		h.stop()
		if ctx.Err() != nil {
			return nil
		}
		h.cfg.Logger.Warn("what happens cannot be handed to listeners; trying again", "error", err)
		if !pause.For(ctx, retryEvery) {
			return nil
		}
	}
}

func (h *Hub) follow(ctx context.Context) error {
	var end eventstore.Position
	if err := h.cfg.Log.Tail(ctx, 1, func(r eventstore.Recorded) bool { end = r.Position; return false }); err != nil {
		return fmt.Errorf("finding the end of the log: %w", err)
	}
	first, err := h.cfg.Log.Identity(ctx)
	if err != nil && !errors.Is(err, eventstore.ErrNoIdentity) {
		return fmt.Errorf("asking which log it is: %w", err)
	}
	h.mu.Lock()
	h.following, h.since, h.last, h.items = true, end, end, nil
	h.mu.Unlock()
	return h.cfg.Log.Subscribe(ctx, end, event.Prefix, eventstore.Handler{
		Name: "notices",
		Resume: func(ctx context.Context) error {
			now, err := h.cfg.Log.Identity(ctx)
			switch {
			case first == eventstore.Identity{} && errors.Is(err, eventstore.ErrNoIdentity):
				return nil
			case err == nil && first != eventstore.Identity{} && now != first:
				return eventstore.ErrOtherEpoch
			}
			return err
		},
		Events:     h.hear,
		Checkpoint: func(p eventstore.Position) error { h.reach(p); return nil },
	})
}

// hear hands on what a batch of events is to accounts.
func (h *Hub) hear(events []eventstore.Recorded) error {
	heard := make([]item, 0, len(events))
	for i := range events {
		it, ok, err := read(&events[i])
		if err != nil {
			return err
		}
		if ok {
			heard = append(heard, it)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range heard {
		h.hand(&heard[i])
	}
	h.items = append(h.items, heard...)
	if more := len(h.items) - recent; more > 0 {
		h.since = h.items[more-1].Position
		h.items = slices.Clone(h.items[more:])
	}
	h.last = max(h.last, events[len(events)-1].Position)
	return nil
}

func read(r *eventstore.Recorded) (item, bool, error) {
	e, err := catalogue.Decode(r.Type, r.Data)
	if err != nil {
		return item{}, false, fmt.Errorf("event %s at position %d: %w", r.ID, r.Position, err)
	}
	it, ok := itemOf(r, e)
	return it, ok, nil
}

// hand gives an item to those whom it is for. The caller holds mu.
func (h *Hub) hand(it *item) {
	if it.claims != "" {
		for l := range h.listeners[it.claims] {
			h.end(l, ErrEnded)
		}
		return
	}
	for l := range h.listeners[it.owner] {
		h.put(l, it.Notice)
	}
	if it.recipient != it.owner {
		for l := range h.listeners[it.recipient] {
			h.put(l, it.Notice)
		}
	}
	if it.recipient == "" {
		for l := range h.byLogin[it.login] {
			if l.account != it.owner {
				h.put(l, it.Notice)
			}
		}
	}
}

// put gives a listener a notice; one that does not keep up ends. The caller holds mu.
func (h *Hub) put(l *Listener, n Notice) {
	select {
	case l.notices <- n:
	default:
		h.end(l, ErrEnded)
	}
}

func (h *Hub) reach(p eventstore.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = max(h.last, p)
}

// stop ends every listener: the log is not followed.
func (h *Hub) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.following = false
	for _, of := range h.listeners {
		for l := range of {
			h.end(l, ErrAway)
		}
	}
}

// end takes a listener out and closes its notices. The caller holds mu.
func (h *Hub) end(l *Listener, why error) {
	if !h.listeners[l.account][l] {
		return
	}
	h.all--
	drop(h.listeners, l.account, l)
	for _, login := range l.logins {
		drop(h.byLogin, login, l)
	}
	l.why = why
	close(l.notices)
}

func drop(m map[string]map[*Listener]bool, name string, l *Listener) {
	delete(m[name], l)
	if len(m[name]) == 0 {
		delete(m, name)
	}
}

func put(m map[string]map[*Listener]bool, name string, l *Listener) {
	if m[name] == nil {
		m[name] = map[*Listener]bool{}
	}
	m[name][l] = true
}

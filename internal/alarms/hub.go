package alarms

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"latchkey/internal/vault"
)

const (
	// lookEvery is how often it is looked for alarms that another process has kept.
	lookEvery = time.Second
	// queued is how many alarms a listener may have waiting, and missedMost how many one
	// gets that comes back.
	queued     = 256
	missedMost = 500
	// atOnce is how many alarms are read at once.
	atOnce = 1000
)

var (
	// ErrEnded is returned when the listener was too slow, or the store is away.
	ErrEnded = errors.New("the listener must begin again")
	// ErrMissed is returned if too many alarms were missed, or the number is unknown.
	ErrMissed = errors.New("what was missed must be read from the list")
)

// Hub hands the copies of alarms to accounts that listen. It is safe for concurrent use.
type Hub struct {
	store Store
	log   *slog.Logger
	wake  chan struct{}

	mu        sync.Mutex
	last      int64 // everything up to it was handed on
	running   bool
	listeners map[string]map[*Listener]bool
}

// NewHub makes a hub that hands out nothing until Run.
func NewHub(store Store, logger *slog.Logger) *Hub {
	return &Hub{store: store, log: logger, wake: make(chan struct{}, 1), listeners: map[string]map[*Listener]bool{}}
}

// Wake says that an alarm was kept.
func (h *Hub) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run hands on alarms until the context ends.
func (h *Hub) Run(ctx context.Context) error {
	defer h.end()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for told := false; ; {
		if err := h.look(ctx); err != nil && ctx.Err() == nil && !told {
			told = true
			h.log.Warn("alarms cannot be handed to listeners; trying again", "error", err)
		} else if err == nil {
			told = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		case <-look.C:
		}
	}
}

// look hands on what was kept since the last time.
func (h *Hub) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	until, err := h.store.LastAlarm(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	after, heard := h.last, h.running && len(h.listeners) > 0
	h.mu.Unlock()
	var list []Copy
	more := false
	if heard && until > after {
		if until-after > atOnce { // many came, or the store was away
			until, more = after+atOnce, true
		}
		if list, err = h.store.NewAlarms(ctx, after, until); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !heard && h.running && len(h.listeners) > 0 {
		h.Wake() // somebody came meanwhile
		return nil
	}
	for _, c := range list {
		for l := range h.listeners[c.Account] {
			h.put(l, c)
		}
	}
	if h.last, h.running = max(h.last, until), true; more {
		h.Wake()
	}
	return nil
}

// put gives a listener a copy; one that does not keep up ends. The caller holds mu.
func (h *Hub) put(l *Listener, c Copy) {
	select {
	case l.alarms <- c:
	default:
		h.drop(l)
	}
}

func (h *Hub) drop(l *Listener) {
	of := h.listeners[l.account]
	if !of[l] {
		return
	}
	delete(of, l)
	if len(of) == 0 {
		delete(h.listeners, l.account)
	}
	close(l.alarms)
}

func (h *Hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = false
	for _, of := range h.listeners {
		for l := range of {
			h.drop(l)
		}
	}
}

// Listener gets the alarms of one account. It is for one goroutine.
type Listener struct {
	hub     *Hub
	account string
	from    int64
	last    int64
	missed  []Copy
	alarms  chan Copy
}

// Listen returns a listener of an account. after is the number of the last alarm that it
// got before, nil if it begins with what comes from now on. Close it. Errors: ErrEnded
// before Run, and ErrMissed.
func (h *Hub) Listen(ctx context.Context, account string, after *int64) (*Listener, error) {
	l := &Listener{hub: h, account: account, alarms: make(chan Copy, queued)}
	h.mu.Lock()
	if !h.running {
		h.mu.Unlock()
		return nil, ErrEnded
	}
	if h.listeners[account] == nil {
		h.listeners[account] = map[*Listener]bool{}
	}
	h.listeners[account][l] = true
	l.from = h.last
	h.mu.Unlock()
	err := l.lastOwn(ctx)
	switch {
	case err != nil || after == nil:
	case *after > l.from:
		err = ErrMissed
	default:
		err = l.catchUp(ctx, *after)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// lastOwn finds the last alarm that the account had when the listener came.
func (l *Listener) lastOwn(ctx context.Context) error {
	list, err := l.hub.store.AlarmsOf(ctx, vault.AlarmQuery{Account: l.account, Before: l.from + 1, Most: 1})
	if err == nil && len(list) > 0 {
		l.last = list[0].Seq
	}
	return err
}

func (l *Listener) catchUp(ctx context.Context, after int64) (err error) {
	if after == l.from {
		return nil
	}
	l.missed, err = l.hub.store.AlarmsOf(ctx, missedOf(l.account, after, l.from))
	if err == nil && len(l.missed) > missedMost {
		return ErrMissed
	}
	return err
}

// Missed returns the alarms that were raised before the listener came, the oldest first.
func (l *Listener) Missed() []Copy { return l.missed }

// From returns the number from which on the listener gets everything.
func (l *Listener) From() int64 { return l.from }

// Last returns the number of the last alarm of the account up to From, 0 if it has none.
// Unlike From, it does not grow with the alarms of others.
func (l *Listener) Last() int64 { return l.last }

// Alarms returns what is raised. It is closed when the listener ends.
func (l *Listener) Alarms() <-chan Copy { return l.alarms }

// Close ends the listener.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.drop(l)
}

func missedOf(account string, after, until int64) vault.AlarmQuery {
	return vault.AlarmQuery{Account: account, After: after, Before: until + 1, OldestFirst: true, Most: missedMost + 1}
}

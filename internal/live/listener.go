package live

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"latchkey/domain/event"
	"latchkey/eventstore"
)

// Listener gets the notices of one account. It is for one goroutine.
type Listener struct {
	hub     *Hub
	account string
	logins  []string
	from    eventstore.Position
	missed  []item // that happened before it came
	notices chan Notice
	why     error // why notices was closed
}

// Listen returns a listener of an account. after is the position of the last notice that
// it got before, nil if it begins with what happens from now on. Close it.
// Errors: ErrTooMany, ErrAway, and ErrMissed if what happened since after is not known.
func (h *Hub) Listen(ctx context.Context, account string, after *eventstore.Position) (*Listener, error) {
	for {
		known, err := h.position()
		if err != nil {
			return nil, err
		}
		logins, err := h.cfg.Logins.LoginsOf(ctx, account, known)
		if err != nil {
			return nil, fmt.Errorf("reading the logins of an account: %w", err)
		}
		l := &Listener{hub: h, account: account, logins: logins, notices: make(chan Notice, queued)}
		added, err := h.add(l, known)
		if err != nil {
			return nil, err
		}
		if !added {
			continue // it was given a login meanwhile
		}
		if after != nil {
			err = l.catchUp(ctx, *after)
		}
		if err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	}
}

func (h *Hub) position() (eventstore.Position, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.following {
		return 0, ErrAway
	}
	return h.last, nil
}

// add takes a listener in whose logins are known as of a position. It reports false if
// the account was given one since.
func (h *Hub) add(l *Listener, known eventstore.Position) (added bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.following || known > h.last:
		return false, ErrAway
	case h.all >= h.cfg.MostInAll || len(h.listeners[l.account]) >= h.cfg.MostOfAccount:
		return false, ErrTooMany
	case known < h.since:
		return false, nil
	}
	for _, since := range h.after(known) {
		if since.claims == l.account {
			return false, nil
		}
	}
	h.all++
	put(h.listeners, l.account, l)
	for _, login := range l.logins {
		put(h.byLogin, login, l)
	}
	l.from = h.last
	return true, nil
}

// after returns the items after a position. The caller holds mu.
func (h *Hub) after(p eventstore.Position) []item {
	i := sort.Search(len(h.items), func(i int) bool { return h.items[i].Position > p })
	return h.items[i:]
}

// catchUp gathers what happened to the account after a position, up to where the
// listener begins.
func (l *Listener) catchUp(ctx context.Context, after eventstore.Position) (err error) {
	h := l.hub
	h.mu.Lock()
	if after > h.last {
		h.mu.Unlock()
		return ErrMissed // of another log, or of what was lost
	}
	kept := after >= h.since
	if kept {
		for _, it := range h.after(after) {
			if it.Position <= l.from {
				err = errors.Join(err, l.miss(&it))
			}
		}
	}
	h.mu.Unlock()
	if kept {
		return err
	}
	return l.readBack(ctx, after)
}

// errEnough ends reading the log.
var errEnough = errors.New("enough")

func (l *Listener) readBack(ctx context.Context, after eventstore.Position) error {
	n := 0
	err := l.hub.cfg.Log.ReadAll(ctx, after, event.Prefix, func(r eventstore.Recorded) error {
		if r.Position > l.from {
			return errEnough
		}
		if n++; n > mostRead {
			return ErrMissed
		}
		it, ok, err := read(&r)
		if err != nil || !ok {
			return err
		}
		return l.miss(&it)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// miss adds what an item is to the account. ErrMissed if the account was given a login
// there: what had happened to that login before is not the account's.
func (l *Listener) miss(it *item) error {
	if it.claims == l.account {
		return ErrMissed
	}
	if it.claims == "" && it.isFor(l.account, l.logins) {
		l.missed = append(l.missed, *it)
	}
	return nil
}

// From returns the position of the log from which on the listener hears everything.
func (l *Listener) From() eventstore.Position { return l.from }

// Missed returns what happened before the listener came, and after the position that it
// was made with.
// An invitation that was withdrawn meanwhile is not in it, unless the account withdrew it
// itself: its recipient has not seen it.
func (l *Listener) Missed() []Notice {
	unseen := l.unseen()
	var list []Notice
	for i := range l.missed {
		if !unseen[i] {
			list = append(list, l.missed[i].Notice)
		}
	}
	return list
}

// unseen finds what became of invitations that were made and withdrawn while the account
// was away, undecided.
func (l *Listener) unseen() map[int]bool {
	type invitation struct{ share, device string }
	pending := map[invitation][]int{}
	unseen := map[int]bool{}
	for i, it := range l.missed {
		if it.owner == l.account {
			continue
		}
		of := invitation{it.Share, it.Device}
		list, known := pending[of]
		switch {
		case it.Kind == Invited:
			pending[of] = []int{i}
		case !known:
		case it.Kind == PrivilegesChanged || it.Kind == TermsChanged || it.Kind == Dismissed:
			pending[of] = append(list, i)
		case it.Kind == DeviceWithdrawn:
			for _, n := range append(list, i) {
				unseen[n] = true
			}
			delete(pending, of)
		default: // it was decided
			delete(pending, of)
		}
	}
	return unseen
}

// Notices returns what happens. It is closed when the listener ends: see Why.
func (l *Listener) Notices() <-chan Notice { return l.notices }

// Why returns why Notices was closed: ErrEnded, ErrAway.
func (l *Listener) Why() error { return l.why }

// Close ends the listener.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.end(l, ErrEnded)
}

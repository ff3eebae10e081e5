package eventstore

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Health is the state of the connection to the log.
type Health struct {
	// Connected reports whether there is a connection on which a node has responded.
	Connected bool
	// Since is when Connected last changed; zero before the first call.
	Since time.Time
	// LastError describes why the connection was lost, or why none is found.
	LastError string
	// Refused describes why the last append was refused; empty if it was accepted, or a
	// later one was. RefusedAt is when that was.
	Refused   string
	RefusedAt time.Time
	// Subscriptions are the active ones, by name.
	Subscriptions []SubscriptionHealth
	// Drops counts how often the subscriptions of each name were dropped since
	// the client was opened.
	Drops map[string]uint64
}

// SubscriptionHealth is the state of a subscription.
type SubscriptionHealth struct {
	Name     string
	Position Position // everything up to here was handed over
	Open     bool     // the node has it; otherwise it is about to restart
	// Row counts the drops since it last made progress: since it delivered something, or
	// was open for 10 s.
	Row       int
	Since     time.Time // of the first drop of the row
	LastError string    // why it was last dropped
}

// Dropping reports whether the subscription is dropped repeatedly. A restarting node
// drops it two or three times.
func (s SubscriptionHealth) Dropping() bool { return s.Row >= 5 }

// calm is how long a subscription must be open to count as working.
const calm = 10 * time.Second

// health is the data for Health.
type health struct {
	mu            sync.Mutex
	now           Health
	subscriptions map[*record]bool
}

// connected reports whether the connection was lost before.
func (h *health) connected() (again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	again = !h.now.Connected && !h.now.Since.IsZero()
	h.now.Connected, h.now.Since, h.now.LastError = true, time.Now(), ""
	return again
}

func (h *health) disconnected(reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.Connected || h.now.Since.IsZero() {
		h.now.Connected, h.now.Since = false, time.Now()
	}
	h.now.LastError = inWords(reason)
}

// appended records the outcome of an append; nil: it was accepted.
func (h *health) appended(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.Refused, h.now.RefusedAt = "", (time.Time{}); err != nil {
		h.now.Refused, h.now.RefusedAt = inWords(err), time.Now()
	}
}

// Health returns the state of the connection to the log.
func (c *Client) Health() Health {
	h := &c.health
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.now
	all.Drops = make(map[string]uint64, len(h.now.Drops))
	for name, n := range h.now.Drops {
		all.Drops[name] = n
	}
	for r := range h.subscriptions {
		all.Subscriptions = append(all.Subscriptions, r.health())
	}
	slices.SortFunc(all.Subscriptions, func(a, b SubscriptionHealth) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// record is one subscription's part of the health.
type record struct {
	of     *health
	is     SubscriptionHealth
	opened time.Time
}

// record adds a subscription.
func (h *health) record(name string, at Position) *record {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &record{of: h, is: SubscriptionHealth{Name: name, Position: at}}
	if h.subscriptions == nil {
		h.subscriptions, h.now.Drops = map[*record]bool{}, map[string]uint64{}
	}
	h.subscriptions[r] = true
	return r
}

// end removes the subscription.
func (r *record) end() {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	delete(r.of.subscriptions, r)
}

func (r *record) open() {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.is.Open, r.opened = true, time.Now()
}

func (r *record) reached(p Position) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.is.Position, r.is.Row = p, 0
}

// dropped records a drop, and returns how many there were in a row and since when.
func (r *record) dropped(reason error) (row int, since time.Time) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.calm() {
		r.is.Row = 0
	}
	if r.is.Row == 0 {
		r.is.Since = time.Now()
	}
	r.is.Open, r.is.LastError = false, inWords(reason)
	r.is.Row++
	r.of.now.Drops[r.is.Name]++
	return r.is.Row, r.is.Since
}

func (r *record) calm() bool { return r.is.Open && time.Since(r.opened) >= calm }

func (r *record) health() SubscriptionHealth {
	is := r.is
	if r.calm() {
		is.Row = 0
	}
	if is.Row == 0 {
		is.Since, is.LastError = time.Time{}, ""
	}
	return is
}

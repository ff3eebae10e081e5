package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// Health is the state of the read models.
type Health struct {
	// State is a word: starting, catching_up, rebuilding, running, behind,
	// failed or diverged.
	State string
	// Ready reports whether every read model is running, and has reached the end that the
	// log had when this process began.
	Ready bool
	// Reason describes what is missing; "" if Ready.
	Reason string
	// Err is the underlying error, if any.
	Err    error
	Models []ModelHealth
}

// Model returns the state of one read model; the zero ModelHealth before it is known.
func (h Health) Model(name string) ModelHealth {
	for _, m := range h.Models {
		if m.Name == name {
			return m
		}
	}
	return ModelHealth{Name: name}
}

// ModelHealth is the state of one read model.
type ModelHealth struct {
	Name   string
	Behind uint64 // positions of the log between the last event of ours and what was written
	Err    error  // why it is stopped
}

const (
	stateStarting   = "starting"
	stateCatchingUp = "catching_up"
	stateRebuilding = "rebuilding"
	stateBehind     = "behind"
	stateDiverged   = "diverged"
)

// stalledAfter is how long a read model may be behind an event of the log, or try to
// write, before it counts as stalled. It is longer than a stopped process keeps a read
// model locked.
const stalledAfter = 5 * time.Second

// head is the last measured end of the log.
type head struct {
	last   eventstore.Position // position of the last event of ours
	marked map[string]lack
}

// lack is an end of the log that a read model has not reached, and since when.
type lack struct {
	position eventstore.Position
	since    time.Time
}

// measureEvery is how often the end of the log is measured.
const measureEvery = time.Second

// measure periodically measures the end of the log. It returns an error when the log has
// lost what this process has seen.
func (r *Runner) measure(ctx context.Context, projectors []*projector) error {
	for {
		if err := r.measureOnce(ctx, projectors); err != nil {
			return err
		}
		if !pause.For(ctx, measureEvery) {
			return nil
		}
	}
}

// measureOnce only returns errors that mean that the log has diverged; others are the
// log's own, and reported by it.
func (r *Runner) measureOnce(ctx context.Context, projectors []*projector) error {
	for _, p := range projectors {
		r.saw(p.mark())
	}
	r.mu.Lock()
	seen := r.seen
	r.mu.Unlock()
	end, err := r.cfg.Store.endOf(ctx, r.cfg.Client)
	if err != nil {
		return nil
	}
	if end.position < seen.Position {
		if err := holds(ctx, r.cfg.Client, seen); Misfit(err) || errors.Is(err, eventstore.ErrOtherEpoch) {
			return err
		}
	}
	r.mark(end.ours, projectors, time.Now())
	return nil
}

// mark records what each read model has not reached, and since when.
func (r *Runner) mark(last eventstore.Position, projectors []*projector, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head.marked == nil {
		r.head.marked = map[string]lack{}
	}
	r.head.last = last
	caughtUp := true
	for _, p := range projectors {
		done := p.reached()
		l, lacks := r.head.marked[p.p.Name]
		switch {
		case done >= last:
			delete(r.head.marked, p.p.Name)
		case !lacks || done >= l.position:
			r.head.marked[p.p.Name] = lack{last, now}
		}
		caughtUp = caughtUp && done >= r.floor
	}
	r.rebuilding = r.rebuilding && !caughtUp
}

// reached returns the position up to which the read model has every event that concerns
// it.
func (p *projector) reached() eventstore.Position {
	return max(p.covered.position(), p.progress.position())
}

// stuck returns since when the projector has been trying to write; the zero time
// if it is not.
func (p *projector) stuck() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writing
}

// Health returns the current state.
func (r *Runner) Health() Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := Health{State: stateRunning}
	for _, p := range r.projectors {
		m := ModelHealth{Name: p.p.Name, Err: p.failure()}
		if reached := p.reached(); reached < r.head.last {
			m.Behind = uint64(r.head.last - reached)
		}
		h.Models = append(h.Models, m)
	}
	if err := r.cfg.Store.damaged(); err != nil {
		h.State, h.Err = stateFailed, err
		h.Reason = "The read models' file is damaged. Stop, move " + r.cfg.Store.file + " away and start again: they are rebuilt from the log."
		return h
	}
	if r.trouble != nil {
		h.State, h.Reason, h.Err = r.troubled()
		return h
	}
	if h.State, h.Reason, h.Err = r.failing(); h.Reason != "" {
		return h
	}
	if h.State, h.Reason = r.lagging(time.Now()); h.Reason == "" {
		h.State, h.Ready = stateRunning, true
	}
	return h
}

// troubled returns why there is no round. The caller holds the lock.
func (r *Runner) troubled() (state, reason string, err error) {
	err = r.trouble
	switch {
	case errors.Is(err, errStarting):
		return stateStarting, "The log has not been checked yet.", err
	case Misfit(err):
		return stateDiverged, "The log is not the one that the read models were made from, or it lacks events that they have seen. " +
			"Put the newer log back, or run latchkey recover.", err
	case errors.Is(err, errWentBack), errors.Is(err, eventstore.ErrOtherEpoch):
		return stateCatchingUp, "The read models go back to an earlier checkpoint.", err
	case errors.Is(err, eventstore.ErrUnavailable):
		return stateBehind, "The log does not answer.", err
	case Unavailable(err):
		return stateBehind, "The database of the read models does not answer.", err
	}
	return stateFailed, "The read models are not being written: see the service's log.", err
}

// failing returns which read model, or which follower, has stopped. The caller holds the
// lock.
func (r *Runner) failing() (state, reason string, err error) {
	var names []string
	var errs []error
	for _, p := range r.projectors {
		if err := p.failure(); err != nil {
			names, errs = append(names, p.p.Name), append(errs, err)
		}
	}
	for _, f := range r.followers {
		if err := f.failure(); err != nil {
			names, errs = append(names, f.Name()), append(errs, err)
		}
	}
	if names == nil {
		return "", "", nil
	}
	return stateFailed, "Stopped: " + strings.Join(names, ", ") + ". The service's log says why.", errors.Join(errs...)
}

// lagging returns which read model has not caught up yet or has stalled. The caller holds
// the lock.
func (r *Runner) lagging(now time.Time) (state, reason string) {
	for _, p := range r.projectors {
		if p.reached() >= r.floor {
			continue
		}
		if r.rebuilding {
			return stateRebuilding, fmt.Sprintf("The log was restored: %s is made again and is at position %d of %d.", p.p.Name, p.reached(), r.floor)
		}
		return stateCatchingUp, fmt.Sprintf("%s is at position %d of %d.", p.p.Name, p.reached(), r.floor)
	}
	for _, p := range r.projectors {
		if since := p.stuck(); !since.IsZero() && now.Sub(since) > stalledAfter {
			return stateBehind, fmt.Sprintf("%s could not be written for %v.", p.p.Name, now.Sub(since).Round(time.Second))
		}
		if l, ok := r.head.marked[p.p.Name]; ok && p.reached() < l.position && now.Sub(l.since) > stalledAfter {
			return stateBehind, fmt.Sprintf("%s has lacked the event at position %d of the log for %v.", p.p.Name, l.position, now.Sub(l.since).Round(time.Second))
		}
	}
	return "", ""
}

// State returns the state of Health, and whether it is ready.
func (r *Runner) State(context.Context) (string, bool) {
	h := r.Health()
	return h.State, h.Ready
}

// Err returns why the read models are not kept up to date now, nil if they are.
func (r *Runner) Err() error { return r.Health().Err }

// tell logs each change of state once.
func (r *Runner) tell(ctx context.Context) {
	told := stateStarting
	for pause.For(ctx, measureEvery/4) {
		h := r.Health()
		if h.State == told {
			continue
		}
		told = h.State
		if h.Ready {
			r.cfg.Logger.Info("the read models are up to date", "state", h.State)
		} else {
			r.cfg.Logger.Warn("the read models are not up to date", "state", h.State, "reason", h.Reason, "error", h.Err)
		}
	}
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/internal/pause"
)

// Log is the source of events.
type Log interface {
	Subscribe(ctx context.Context, after eventstore.Position, prefix string, h eventstore.Handler) error
	Identity(ctx context.Context) (eventstore.Identity, error)
	Identify(ctx context.Context) (eventstore.Identity, error)
	Holds(ctx context.Context, m eventstore.Mark) error
	Tail(ctx context.Context, most int, each func(eventstore.Recorded) (more bool)) error
}

// Journal records what the log revokes. It is safe for concurrent use.
type Journal struct {
	logger *slog.Logger

	mu       sync.Mutex
	file     *file
	mark     eventstore.Mark     // of the last event read
	marked   eventstore.Mark     // as it is in the file
	position eventstore.Position // everything up to here was read and is synced
	target   eventstore.Position // where the log ended when the subscription began; never: not known
	advanced chan struct{}       // closed when position grows, or fault changes
	fault    error               // why it is stopped now
	stopped  bool                // waiting is useless: it met an event that it cannot read, or another log
}

// Open opens the journal at path, or creates it. ErrLocked, ErrDamaged.
func Open(path string, logger *slog.Logger) (*Journal, error) {
	f, c, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if c.Torn {
		logger.Warn("truncated an incomplete entry at the end of the journal of revocations", "position", c.Last().Position)
	}
	return &Journal{logger: logger, file: f, mark: c.Last(), marked: c.Last(), target: never, advanced: make(chan struct{})}, nil
}

// Close writes the mark and closes the file. Call it once Run has returned.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.saveMark(), j.file.f.Close())
}

// Begin checks that the log is the one that the journal was written for and has
// everything that the journal saw. A new journal, and one of a log that was restored
// since, begins with the log's first event. Errors: those of eventstore.Client.Holds;
// ErrUnavailable if it could not be determined.
func (j *Journal) Begin(ctx context.Context, log Log) error {
	j.mu.Lock()
	mark := j.mark
	j.mu.Unlock()
	if mark.Log == uuid.Nil {
		id, err := log.Identify(ctx)
		if err != nil {
			return err
		}
		return j.begin(id)
	}
	err := log.Holds(ctx, mark)
	if err == nil {
		j.advance(mark.Position)
	}
	if !errors.Is(err, eventstore.ErrOtherEpoch) {
		return about(err)
	}
	id, err := log.Identity(ctx)
	if err != nil {
		return err
	}
	if id.Epoch < mark.Epoch {
		return about(fmt.Errorf("%w: it is in epoch %d, but was in epoch %d before", eventstore.ErrLogCut, id.Epoch, mark.Epoch))
	}
	j.logger.Info("the log was restored; the journal of revocations starts from its first event", "epoch", id.Epoch)
	return j.begin(id)
}

// misfit reports whether err means that the log is not the one that the journal was
// written for, or that events that it saw are missing.
func misfit(err error) bool {
	return errors.Is(err, eventstore.ErrLogCut) || errors.Is(err, eventstore.ErrOtherLog) || errors.Is(err, eventstore.ErrNoIdentity)
}

// about adds to a mismatch with the log what it means.
func about(err error) error {
	switch {
	case errors.Is(err, eventstore.ErrNoIdentity), errors.Is(err, eventstore.ErrOtherLog):
		return fmt.Errorf("the journal of revocations belongs to another log: %w", err)
	case errors.Is(err, eventstore.ErrLogCut):
		return fmt.Errorf("the journal of revocations has seen more of this log: %w: put the newer log back, or run latchkey recover", err)
	}
	return err
}

func (j *Journal) begin(id eventstore.Identity) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.file.write([]Entry{{Kind: kindBegan, Log: id.Log, Epoch: id.Epoch}}); err != nil {
		return err
	}
	j.mark = eventstore.Mark{Identity: id}
	j.marked, j.position = j.mark, 0
	return nil
}

// never is a target that no log reaches.
const never eventstore.Position = math.MaxUint64

// tailMost is how many events are searched for the last one of ours.
const tailMost = 1000

// aim records where the log ends, so that State can report whether the journal has caught
// up.
func (j *Journal) aim(ctx context.Context, log Log) error {
	var target eventstore.Position
	err := log.Tail(ctx, tailMost, func(r eventstore.Recorded) bool {
		if strings.HasPrefix(r.Type, event.Prefix) {
			target = r.Position
		}
		return target == 0
	})
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.target = target
	return nil
}

// errAgain ends a subscription to a log that was restored in the meantime.
var errAgain = errors.New("the log was restored")

const (
	markEvery   = 250 * time.Millisecond // how often a mark is written while the log grows
	beginEvery  = time.Second            // how often an unresponsive or wrong log is retried
	writesAgain = 200 * time.Millisecond
)

// sayAgain are the intervals at which it is logged that the journal still cannot be
// written; the last one repeats.
var sayAgain = []time.Duration{10 * time.Second, 50 * time.Second, 10 * time.Minute}

// Run keeps the journal up to date until the context ends. It returns nil: State reports
// what stops it, and WaitFor then fails.
func (j *Journal) Run(ctx context.Context, log Log) error {
	var marking sync.WaitGroup
	marking.Go(func() { j.keepMark(ctx) })
	defer marking.Wait()
	for ctx.Err() == nil {
		err := j.follow(ctx, log)
		switch {
		case ctx.Err() != nil, errors.Is(err, errAgain):
		case misfit(err): // until the right log is back
			if state, _ := j.State(); state != err.Error() {
				j.logger.Error("the journal of revocations is waiting for its log; commands are not confirmed", "error", err)
			}
			j.setFault(err, true)
			pause.For(ctx, beginEvery)
		case errors.Is(err, eventstore.ErrUnavailable):
			pause.For(ctx, beginEvery)
		default:
			j.logger.Error("the journal of revocations has stopped; commands are not confirmed", "error", err)
			j.setFault(err, true)
			<-ctx.Done()
		}
	}
	return nil
}

// follow is one subscription.
func (j *Journal) follow(ctx context.Context, log Log) error {
	if err := j.Begin(ctx, log); err != nil {
		return err
	}
	j.mu.Lock()
	mark := j.mark
	j.mu.Unlock()
	return log.Subscribe(ctx, mark.Position, event.Prefix, eventstore.Handler{
		Resume: func(ctx context.Context) error {
			j.mu.Lock()
			mark := j.mark
			j.mu.Unlock()
			err := log.Holds(ctx, mark)
			if errors.Is(err, eventstore.ErrOtherEpoch) {
				return errAgain
			}
			if err != nil {
				return about(err)
			}
			if err := j.aim(ctx, log); err != nil {
				return err
			}
			j.fits()
			return nil
		},
		Events:     func(events []eventstore.Recorded) error { return j.take(ctx, events) },
		Checkpoint: func(p eventstore.Position) error { j.advance(p); return nil },
	})
}

// take records what events revoke, and returns when it is synced.
func (j *Journal) take(ctx context.Context, events []eventstore.Recorded) error {
	var entries []Entry
	for _, e := range events {
		r, ok, err := catalogue.RevocationOf(e.ID, e.Type, e.Data)
		if err != nil {
			return fmt.Errorf("position %d: %w", e.Position, err)
		}
		if ok {
			entries = append(entries, Entry{
				Kind: string(r.Kind), Position: e.Position, Event: e.ID,
				Share: r.Share, Device: r.Device, Account: r.Account, Key: r.Key,
			})
		}
	}
	last := events[len(events)-1]
	again := sayAgain
	for tries, say := 1, time.Now(); ; tries++ {
		err := j.write(entries, last.Position, last.ID)
		if err == nil {
			return nil
		}
		if now := time.Now(); !now.Before(say) {
			j.logger.Error("the journal of revocations could not be written; retrying", "error", err, "tries", tries)
			say = now.Add(again[0])
			again = again[min(1, len(again)-1):]
		}
		j.setFault(err, false)
		if !pause.For(ctx, writesAgain) {
			return ctx.Err()
		}
	}
}

// write writes entries of the log, up to the event at a position.
func (j *Journal) write(entries []Entry, position eventstore.Position, event uuid.UUID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range entries {
		entries[i].Log, entries[i].Epoch = j.mark.Log, j.mark.Epoch
	}
	if len(entries) > 0 {
		if err := j.file.write(entries); err != nil {
			return err
		}
		last := entries[len(entries)-1]
		j.marked.Identity, j.marked.Position, j.marked.Event = j.mark.Identity, last.Position, last.Event
	}
	j.mark.Position, j.mark.Event = position, event
	j.position = max(j.position, position)
	j.fault = nil
	j.wake()
	return nil
}

// Erased records that a person was erased, and returns when it is synced. The journal
// must have begun.
func (j *Journal) Erased(person string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if person == "" || j.mark.Log == uuid.Nil {
		return errors.New("recording an erasure: a person and a log are required")
	}
	err := j.file.write([]Entry{{
		Kind: kindErased, Log: j.mark.Log, Epoch: j.mark.Epoch, Position: j.mark.Position, Event: j.mark.Event, Person: person,
	}})
	if err == nil {
		j.marked = j.mark // the entry has it, too
	}
	return err
}

// WaitFor returns when everything that was revoked up to a position of the log is in the
// journal and synced.
func (j *Journal) WaitFor(ctx context.Context, position eventstore.Position) error {
	for {
		j.mu.Lock()
		advanced, at, fault, stopped := j.advanced, j.position, j.fault, j.stopped
		j.mu.Unlock()
		if at >= position {
			return nil
		}
		if stopped {
			return fmt.Errorf("waiting for the journal of revocations: %w", fault)
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for the journal of revocations to reach position %d, it is at %d: %w", position, at, ctx.Err()), fault)
		}
	}
}

// State returns "ok", "catching up", or why the journal is stopped.
func (j *Journal) State() (state string, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault != nil {
		return j.fault.Error(), false
	}
	if j.position < j.target {
		return "catching up", false
	}
	return "ok", true
}

// Position returns how far the log was read.
func (j *Journal) Position() eventstore.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.position
}

func (j *Journal) advance(position eventstore.Position) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.position = max(j.position, position)
	j.wake()
}

func (j *Journal) setFault(err error, stopped bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fault, j.stopped = err, stopped
	j.wake()
}

// fits records that the log is the right one.
func (j *Journal) fits() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.stopped {
		return
	}
	j.logger.Info("the journal of revocations is following its log again", "position", j.position)
	j.fault, j.stopped = nil, false
	j.wake()
}

// wake requires the lock.
func (j *Journal) wake() {
	close(j.advanced)
	j.advanced = make(chan struct{})
}

// keepMark writes the mark periodically.
func (j *Journal) keepMark(ctx context.Context) {
	for pause.For(ctx, markEvery) {
		j.mu.Lock()
		if err := j.saveMark(); err != nil {
			j.logger.Debug("the mark of the journal of revocations could not be written", "error", err)
		}
		j.mu.Unlock()
	}
}

// saveMark requires the lock.
func (j *Journal) saveMark() error {
	if j.mark == j.marked {
		return nil
	}
	err := j.file.writeMark(Entry{Kind: kindMark, Log: j.mark.Log, Epoch: j.mark.Epoch, Position: j.mark.Position, Event: j.mark.Event})
	if err == nil {
		j.marked = j.mark
	}
	return err
}

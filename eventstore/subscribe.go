package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
)

// Handler handles the events of a subscription. Its functions are called one at a time.
type Handler struct {
	// Name is the name of the subscription in log lines and Health; if empty, the prefix.
	Name string
	// Resume, if set, is called each time the subscription begins, including the first
	// time: after the node has opened it and before anything is delivered. This is the
	// place to check with Holds that the log is still the one read before. An error ends
	// the subscription, except ErrUnavailable: then it is restarted. The context ends
	// when the connection is lost.
	Resume func(context.Context) error
	// Events receives events in the order of the log, each once: as many as have arrived,
	// at most MaxBatch, and no more once they total MaxBatchBytes. They are valid until
	// it returns. An error ends the subscription.
	Events func([]Recorded) error
	// Checkpoint, if set, is called when every event up to a position was read, though
	// not all were selected. An error ends the subscription.
	Checkpoint func(Position) error
	// Connected, if set, is called when the subscription starts and stops working. It
	// does not report whether the subscription is up to date.
	Connected func(bool)
}

const (
	// MaxBatch is the maximum number of events that a Handler gets at once.
	MaxBatch = 1000
	// MaxBatchBytes is their maximum total size in bytes, before the last of them.
	MaxBatchBytes = 1 << 20

	// backlog is how many events may have arrived without being handled, and backlogBytes
	// their total size.
	backlog      = 4 * MaxBatch
	backlogBytes = 4 * MaxBatchBytes
)

// Pauses between the lives of a subscription that makes no progress grow to
// soonest while it began to fail a short time ago, and to latest afterwards.
const (
	firstPause = 20 * time.Millisecond
	soonest    = time.Second
	latest     = 15 * time.Second
)

// Subscribe passes the events after a position whose type has the prefix to the handler,
// old and new, until the context ends or the handler fails. When the subscription drops,
// it resumes from where it was: as soon as there is a connection if that was lost, and
// otherwise after pauses that grow while it makes no progress.
func (c *Client) Subscribe(ctx context.Context, after Position, prefix string, h Handler) error {
	s := &subscription{client: c, prefix: prefix, handler: h, after: after}
	if s.name = h.Name; s.name == "" {
		s.name = prefix
	}
	s.record = c.health.record(s.name, after)
	defer s.record.end()
	for wait := firstPause; ; {
		conn, err := s.live(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var failed *handlerError
		if errors.As(err, &failed) {
			return failed.err
		}
		if errors.Is(err, ErrClosed) {
			return err
		}
		row, since := s.record.dropped(err)
		c.report(slog.LevelWarn, s.name, "a subscription was dropped; restarting it", err, "subscription", s.name, "position", s.after)
		if row == 1 {
			wait = firstPause
		}
		if !rest(ctx, wait, conn) {
			return ctx.Err()
		}
		most := soonest
		if time.Since(since) > calm {
			most = latest
		}
		wait = min(2*wait, most)
	}
}

// rest is pause, and ends when the connection does.
func rest(ctx context.Context, d time.Duration, conn *connection) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan bool, 1)
	go func() { over <- about(ctx, d) }()
	select {
	case ended := <-over:
		return ended
	case <-conn.retired:
		return ctx.Err() == nil
	}
}

type subscription struct {
	client  *Client
	name    string
	record  *record
	prefix  string
	handler Handler
	after   Position // everything up to here was delivered
}

// handlerError is the handler's own failure.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

// arrival is an event, or a checkpoint if it has no stream.
type arrival struct {
	event    Recorded
	position Position
}

// size is how many bytes of the backlog an arrival takes: its content, and some overhead.
func (a *arrival) size() int64 {
	const itself = 256
	e := &a.event
	return min(int64(len(e.Data)+len(e.Metadata)+len(e.Stream)+len(e.Type)+itself), MaxBatchBytes)
}

// live is one life of the subscription: on the current connection, or the next one.
func (s *subscription) live(ctx context.Context) (*connection, error) {
	conn, err := s.client.connection(ctx)
	if err != nil {
		return nil, err
	}
	if !conn.enter() {
		return conn, errRetired
	}
	defer conn.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-conn.dead:
		case <-s.client.life.Done():
		case <-ctx.Done():
		}
		cancel()
	}()
	err = s.run(ctx, conn)
	var failed *handlerError
	select {
	case <-conn.dead:
		if !errors.As(err, &failed) {
			return conn, errRetired // rather than that its context ended
		}
	default:
	}
	if dropped, ok := answered(err); ok && dropped.Code() == codes.Unavailable {
		s.client.lose(conn, err) // before any call uses the library on it
	}
	return conn, err
}

// run begins the subscription and handles what arrives until it drops.
func (s *subscription) run(ctx context.Context, conn *connection) error {
	sub, err := s.begin(ctx, conn)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := s.resume(ctx); err != nil {
		return err
	}
	s.record.open()
	if s.handler.Connected != nil {
		s.handler.Connected(true)
		defer s.handler.Connected(false)
	}
	messages := make(chan arrival, backlog)
	dropped := make(chan error, 1)
	room := semaphore.NewWeighted(backlogBytes)
	go receive(ctx, sub, room, messages, dropped)
	batch := make([]Recorded, 0, MaxBatch)
	for {
		m, ok := <-messages
		if !ok {
			return fmt.Errorf("subscribing to the log: %w", <-dropped)
		}
		var size int64
		batch = batch[:0]
		for more := true; more && ok; {
			size += m.size()
			if batch, err = s.take(batch, m); err != nil {
				return err
			}
			if len(batch) == MaxBatch || size >= MaxBatchBytes {
				break
			}
			select {
			case m, ok = <-messages:
			default:
				more = false
			}
		}
		if err := s.hand(batch); err != nil {
			return err
		}
		clear(batch) // delivered events are not kept alive
		m = arrival{}
		room.Release(size)
	}
}

// resume asks the handler whether to continue with the log that was found.
func (s *subscription) resume(ctx context.Context) error {
	if s.handler.Resume == nil {
		return nil
	}
	err := s.handler.Resume(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil || errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("resuming the subscription: %w", err)
	}
	return &handlerError{err}
}

// begin opens the subscription. Its context must live as long as it, so the
// time-out is ours.
func (s *subscription) begin(ctx context.Context, conn *connection) (*esdb.Subscription, error) {
	options := esdb.SubscribeToAllOptions{
		From:               behind(s.after),
		Filter:             &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{s.prefix}},
		MaxSearchWindow:    32,
		CheckpointInterval: 1,
	}
	timed, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	sub, err := watched(timed, s.client, conn, func(_ context.Context, library *esdb.Client) (*esdb.Subscription, error) {
		return library.SubscribeToAll(leaderOnly(ctx), options)
	})
	if err != nil {
		return nil, fmt.Errorf("subscribing to the log: %w", err)
	}
	return sub, nil
}

// receive passes on what arrives, as far as there is room for it, until the subscription
// drops.
func receive(ctx context.Context, sub *esdb.Subscription, room *semaphore.Weighted, out chan<- arrival, dropped chan<- error) {
	defer close(out)
	defer func() {
		if p := recover(); p != nil {
			dropped <- fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	for {
		e := sub.Recv()
		var m arrival
		switch {
		case e.SubscriptionDropped != nil:
			dropped <- e.SubscriptionDropped.Error
			return
		case e.EventAppeared != nil && e.EventAppeared.Event != nil:
			m.event = recorded(e.EventAppeared.Event)
			m.position = m.event.Position
		case e.CheckPointReached != nil:
			m.position = Position(e.CheckPointReached.Commit)
		default: // CaughtUp says nothing about now
			continue
		}
		if err := room.Acquire(ctx, m.size()); err != nil {
			dropped <- err
			return
		}
		select {
		case out <- m:
		case <-ctx.Done():
			dropped <- ctx.Err()
			return
		}
	}
}

// take adds an event to the batch. A checkpoint is delivered after the events before it.
func (s *subscription) take(batch []Recorded, m arrival) ([]Recorded, error) {
	if m.event.Stream != "" {
		if m.position > s.after { // a resubscription may begin with what was
			s.after = m.position
			batch = append(batch, m.event)
		}
		return batch, nil
	}
	if m.position <= s.after {
		return batch, nil
	}
	if err := s.hand(batch); err != nil {
		return nil, err
	}
	s.after = m.position
	if s.handler.Checkpoint != nil {
		if err := s.handler.Checkpoint(m.position); err != nil {
			return nil, &handlerError{err}
		}
	}
	s.record.reached(s.after)
	clear(batch) // as run does
	return batch[:0], nil
}

func (s *subscription) hand(batch []Recorded) error {
	if len(batch) == 0 {
		return nil
	}
	if err := s.handler.Events(batch); err != nil {
		return &handlerError{err}
	}
	s.record.reached(batch[len(batch)-1].Position)
	return nil
}

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
)

// SubscriberConfig configures a Subscriber.
type SubscriberConfig struct {
	// Prefix selects events by their type.
	Prefix string
	// From returns where the topic resumes: after the last handled event.
	From func() Position
	// Resume, if set, is called each time the subscription of a topic begins,
	// as Handler.Resume is. An error other than ErrUnavailable ends the topic:
	// Failed is called, and its channel is closed.
	Resume func(context.Context) error
	// Failed, if set, is called with the error of Resume that ended a topic,
	// before the topic's channel is closed.
	Failed func(topic string, err error)
	// NackWait is how long a refused message waits before it is delivered again; 0 is 200
	// ms. It doubles up to 5 s.
	NackWait time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Subscriber passes the events of $all to Watermill, in order: each topic is a separate
// catch-up subscription, with one message in flight at a time. During catch-up a message
// carries up to MaxBatch events, live as many as have arrived; a message without events
// reports how far the log was read. The payload is read with DecodeBatch.
type Subscriber struct {
	client *Client
	cfg    SubscriberConfig
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber checks the configuration.
func NewSubscriber(c *Client, cfg SubscriberConfig) (*Subscriber, error) {
	var faults []error
	if c == nil {
		faults = append(faults, errors.New("a client is required"))
	}
	if cfg.Prefix == "" {
		faults = append(faults, errors.New("a prefix of event types is required"))
	}
	if cfg.From == nil {
		faults = append(faults, errors.New("a From function is required"))
	}
	if faults != nil {
		return nil, fmt.Errorf("creating a subscriber: %w", errors.Join(faults...))
	}
	if cfg.NackWait <= 0 {
		cfg.NackWait = 200 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Subscriber{client: c, cfg: cfg, closed: make(chan struct{})}, nil
}

// Subscribe begins a topic. Its channel is closed when the context ends, the
// subscriber or the client is closed, or Resume fails.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	select {
	case <-s.closed:
		return nil, fmt.Errorf("subscribing to %s: %w", topic, ErrClosed)
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *message.Message)
	s.wg.Go(func() {
		defer close(out)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-s.closed:
				cancel()
			case <-stop:
			}
		}()
		s.run(ctx, topic, out)
	})
	return out, nil
}

// Close ends every topic and waits until they have ended.
func (s *Subscriber) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.wg.Wait()
	return nil
}

// run keeps a topic going until its context ends, the client is closed or Resume
// fails.
func (s *Subscriber) run(ctx context.Context, topic string, out chan<- *message.Message) {
	for wait := s.cfg.NackWait; ; wait = min(2*wait, 5*time.Second) {
		t := &topicRun{ctx: ctx, out: out, wait: s.cfg.NackWait}
		err := s.client.Subscribe(ctx, s.cfg.From(), s.cfg.Prefix, Handler{Name: topic, Resume: t.resume(s.cfg.Resume), Events: t.events, Checkpoint: t.checkpoint})
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if t.refused != nil {
			s.cfg.Logger.Error("a topic ended", "topic", topic, "error", t.refused)
			if s.cfg.Failed != nil {
				s.cfg.Failed(topic, t.refused)
			}
			return
		}
		s.cfg.Logger.Warn("a topic was interrupted; restarting it", "topic", topic, "error", err)
		if !about(ctx, wait) {
			return
		}
	}
}

// topicRun delivers one topic's messages.
type topicRun struct {
	ctx  context.Context
	out  chan<- *message.Message
	wait time.Duration

	refused error // by Resume, for good
}

// resume wraps f so that its final error is remembered as this topic's end.
func (t *topicRun) resume(f func(context.Context) error) func(context.Context) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context) error {
		err := f(ctx)
		t.refused = nil
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
			t.refused = err
		}
		return err
	}
}

func (t *topicRun) events(events []Recorded) error {
	return t.deliver(Batch{Position: events[len(events)-1].Position, Events: events})
}

func (t *topicRun) checkpoint(p Position) error { return t.deliver(Batch{Position: p}) }

// deliver returns when the message was accepted: a refused message is delivered again.
func (t *topicRun) deliver(b Batch) error {
	payload := EncodeBatch(nil, b)
	for wait := t.wait; ; wait = min(2*wait, 5*time.Second) {
		m := message.NewMessage(uuid.NewString(), payload)
		ctx, cancel := context.WithCancel(t.ctx)
		m.SetContext(ctx)
		acked, err := t.send(m)
		cancel()
		if err != nil || acked {
			return err
		}
		if !about(t.ctx, wait) {
			return t.ctx.Err()
		}
	}
}

func (t *topicRun) send(m *message.Message) (acked bool, err error) {
	select {
	case t.out <- m:
	case <-t.ctx.Done():
		return false, t.ctx.Err()
	}
	select {
	case <-m.Acked():
		return true, nil
	case <-m.Nacked():
		return false, nil
	case <-t.ctx.Done():
		return false, t.ctx.Err()
	}
}

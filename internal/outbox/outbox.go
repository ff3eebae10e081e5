// Package outbox sends messages to people: each once, by one process, also after a kill.
//
// A message waits in a Store, sealed. A sender claims it for a time, connects, notes that
// it hands it over, and hands it over. Whoever is killed before the note has sent nothing,
// and another one sends it when the claim lapses. Whoever is killed after the note may have
// sent it: SMTP has no way to ask, so it is not sent again. What is refused for now is
// tried again with growing pauses until it expires; what is refused for good is given up.
package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// Message is a message to a person.
type Message struct {
	ID      string    // follows from its cause; messages with one id are one
	Account string    // that it is for; "" for none
	Until   time.Time // given up then
	Tries   int       // so far
	Kind    string    // of the address: "email" or "phone"
	To      string    // the address
	Subject string    // of a mail
	Text    string
	About   string // what it is about, for a sender of notices; "" otherwise
}

// Store keeps messages until they are done.
type Store interface {
	// Claim takes a message that is due, for a holder and a time; false: none is.
	Claim(ctx context.Context, holder string, lasts time.Duration) (Message, bool, error)
	// HandOver notes that the message may have been sent from now on. An error: it must
	// not be sent.
	HandOver(ctx context.Context, id, holder string) error
	// Finish deletes a message that was sent or given up.
	Finish(ctx context.Context, id, holder string) error
	// Retry lets a message wait that was surely not sent.
	Retry(ctx context.Context, id, holder string, at time.Time) error
}

// Sender sends messages of one kind.
type Sender interface {
	// Send sends a message. It calls handOver before it does what cannot be undone, and
	// stops if that fails. Errors: ErrRefused, ErrUnclear, or another one for a message
	// that was surely not sent and may be later.
	Send(ctx context.Context, m Message, handOver func() error) error
}

var (
	// ErrRefused is returned for a message that will never be taken.
	ErrRefused = errors.New("refused for good")
	// ErrUnclear is returned if it is not known whether the message was taken.
	ErrUnclear = errors.New("it is not clear whether it was sent")
)

const (
	atOnce    = 4 // messages that are being sent
	lookEvery = time.Second
	// sendWithin bounds one try; the claim lasts longer.
	sendWithin  = 30 * time.Second
	claimLasts  = 45 * time.Second
	firstRetry  = 5 * time.Second
	longestWait = 30 * time.Minute
)

// Config is what an Outbox is made of.
type Config struct {
	Store   Store
	Senders map[string]Sender // by the kind of address
	Logger  *slog.Logger
	Now     func() time.Time // nil: time.Now
	// LookEvery is how often the store is asked if nobody wakes the outbox; 0: once a second.
	LookEvery time.Duration
	// AtOnce is how many messages are sent at the same time; 0: 4.
	AtOnce int
	// Interrupt ends what is being sent when Run ends, for senders whose message can be
	// sent again. Otherwise it has its try to the end.
	Interrupt bool
}

// Outbox sends what is in a Store.
type Outbox struct {
	cfg    Config
	holder string
	wake   chan struct{}
}

// New makes an outbox.
func New(cfg Config) *Outbox {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LookEvery == 0 {
		cfg.LookEvery = lookEvery
	}
	if cfg.AtOnce == 0 {
		cfg.AtOnce = atOnce
	}
	return &Outbox{cfg: cfg, holder: rand.Text(), wake: make(chan struct{}, 1)}
}

// Wake says that a message has come.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run sends until the context ends.
func (o *Outbox) Run(ctx context.Context) error {
	var sending errgroup.Group
	sending.SetLimit(o.cfg.AtOnce)
	for {
		more := o.claim(ctx, &sending)
		if ctx.Err() != nil {
			return sending.Wait()
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-time.After(o.cfg.LookEvery):
		}
	}
}

// claim begins to send a message that is due, when there is room for it. It reports
// whether there was one.
func (o *Outbox) claim(ctx context.Context, sending *errgroup.Group) (more bool) {
	m, ok, err := o.cfg.Store.Claim(ctx, o.holder, claimLasts)
	if err != nil && ctx.Err() == nil {
		o.cfg.Logger.WarnContext(ctx, "messages cannot be read now", "error", err)
	}
	if err != nil || !ok {
		return false
	}
	sending.Go(func() error {
		keeping, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimLasts)
		defer cancel()
		trying := keeping
		if o.cfg.Interrupt {
			trying = ctx
		}
		if err := o.send(keeping, trying, m); err != nil {
			o.cfg.Logger.WarnContext(ctx, "the state of a message could not be kept", "message", m.ID, "error", err)
		}
		return nil
	})
	return true
}

// send is one try, in a context of its own; its outcome is kept in the other. Neither an
// address nor a text is written to the log.
func (o *Outbox) send(ctx, trying context.Context, m Message) error {
	err := o.try(trying, m)
	log := o.cfg.Logger.With("message", m.ID, "kind", m.Kind, "tries", m.Tries+1)
	switch {
	case err == nil:
		log.Debug("a message was sent")
	case errors.Is(err, ErrRefused):
		log.Warn("a message was refused for good", "error", err)
	case errors.Is(err, ErrUnclear):
		log.Warn("it is not clear whether a message was sent; it is not sent again", "error", err)
	default:
		at := o.cfg.Now().Add(pauseAfter(m.Tries))
		if at.Before(m.Until) {
			log.Info("a message could not be sent yet", "error", err)
			return o.cfg.Store.Retry(ctx, m.ID, o.holder, at)
		}
		log.Warn("a message was given up", "error", err)
	}
	return o.cfg.Store.Finish(ctx, m.ID, o.holder)
}

func (o *Outbox) try(ctx context.Context, m Message) error {
	sender := o.cfg.Senders[m.Kind]
	if sender == nil {
		return fmt.Errorf("%w: nothing sends to an address of the kind %q here", ErrRefused, m.Kind)
	}
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	return sender.Send(ctx, m, func() error { return o.cfg.Store.HandOver(ctx, m.ID, o.holder) })
}

func pauseAfter(tries int) time.Duration {
	return min(firstRetry<<min(tries, 16), longestWait)
}

package alarms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// Permits are issued by the privilege index.
type Permits interface {
	Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict)
}

var (
	// ErrNotAllowed is returned for an account that may not know of an alarm now.
	ErrNotAllowed = errors.New("the account may not know of the alarm")
	// ErrUnknown is returned while it is not known who may.
	ErrUnknown = errors.New("it is not known at the moment what is permitted")
	// errCut ends the context of a send whose permit was revoked.
	errCut = errors.New("the privilege was revoked while an alarm was being sent")
)

// cutWithin is how long AwaitCuts waits for a send to end after its permit was revoked. It
// normally ends at once: its connection is closed.
const cutWithin = 5 * time.Second

// Sends holds a permit during each send of an alarm. It is safe for concurrent use.
type Sends struct {
	permits Permits
	log     *slog.Logger

	mu  sync.Mutex
	cut map[*send]bool
}

type send struct {
	done chan struct{}
	at   time.Time // when it was cut
	over bool
}

// NewSends returns sends under permits.
func NewSends(permits Permits, logger *slog.Logger) *Sends {
	return &Sends{permits: permits, log: logger, cut: map[*send]bool{}}
}

// Begin begins to send an alarm to an account: ErrNotAllowed, ErrUnknown. The context ends
// when the privilege goes; then what is being sent must stop at once, and end be called.
// It must be called in any case, as soon as nothing more is sent.
func (s *Sends) Begin(ctx context.Context, account, device string, channel int, by string) (_ context.Context, end func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	this := &send{done: make(chan struct{})}
	use := access.Use{
		Subject: access.Subject{Account: ids.Account(account)}, Device: ids.Device(device), Channel: channel,
		Privilege: privilege.Alarm, Transport: by,
	}
	permit, verdict := s.permits.Acquire(use, func(access.Reason) {
		s.mu.Lock()
		if !this.over {
			this.at = time.Now()
			s.cut[this] = true
		}
		s.mu.Unlock()
		cancel(errCut)
	})
	finish := sync.OnceFunc(func() {
		cancel(nil)
		close(this.done)
		s.mu.Lock()
		defer s.mu.Unlock()
		this.over = true
		delete(s.cut, this)
	})
	switch verdict {
	case access.Allowed:
	case access.Unavailable:
		finish()
		return nil, nil, ErrUnknown
	default:
		finish()
		return nil, nil, ErrNotAllowed
	}
	return ctx, func() { permit.Release(); finish() }, nil
}

// AwaitCuts returns when nothing more is sent of any alarm whose permit was revoked before
// the call. It returns the context's error if that ends first. One that hangs delays only
// the commands of a few seconds.
func (s *Sends) AwaitCuts(ctx context.Context) error {
	s.mu.Lock()
	list := make([]*send, 0, len(s.cut))
	for c := range s.cut {
		list = append(list, c)
	}
	s.mu.Unlock()
	for _, c := range list {
		if err := s.await(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sends) await(ctx context.Context, c *send) error {
	timeout := time.NewTimer(time.Until(c.at.Add(cutWithin)))
	defer timeout.Stop()
	select {
	case <-c.done:
		return nil
	case <-timeout.C:
		s.log.Error("the sending of an alarm whose privilege was revoked did not end in time")
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the sending of alarms to end: %w", ctx.Err())
	}
}

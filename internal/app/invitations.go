package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"latchkey/domain/device"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// MaxDecisions is the maximum number of invitations that are decided together.
const MaxDecisions = 100

// decisionsAtOnce is how many of them are decided at the same time.
const decisionsAtOnce = 8

// Dismiss stops showing an invitation as new, without deciding it.
func (s *Shares) Dismiss(ctx context.Context, m Meta, id, typed string) (Done, error) {
	device := device.Canonical(typed)
	c, err := s.core.begin(m, "dismiss", id, device)
	if err != nil {
		return Done{}, err
	}
	done, err := s.changeExisting(ctx, change{command: c, share: id, quiet: true, choose: func(t attempt) (share.Command, error) {
		return share.Dismiss{By: c.Account, Holder: t.by.holder, Device: device, At: c.at}, nil
	}})
	return Done{Position: done.answer.Position}, err
}

// Decision accepts an invitation, or rejects it.
type Decision struct {
	Share, Device string
	Accept        bool
}

// Decided is the result of one decision.
type Decided struct {
	Position position.Position
	Err      error // nil: it is in force
}

// DecideAll decides several invitations. Each decision stands alone: the others count if
// one is refused. A repeat with the same idempotency key decides nothing anew.
func (s *Shares) DecideAll(ctx context.Context, m Meta, list []Decision) ([]Decided, error) {
	list = slices.Clone(list)
	for i := range list {
		list[i].Device = device.Canonical(list[i].Device)
	}
	c, err := s.core.begin(m, "decide invitations", list)
	if err != nil {
		return nil, err
	}
	f := faults{}
	f.decisions(list)
	if err := f.err(); err != nil {
		return nil, err
	}
	results := make([]Decided, len(list))
	name := "decisions-" + c.Account
	key := s.core.claimOn(c, name)
	err = s.core.inTurn(ctx, name, c.Account, func() error {
		before, err := key.claim(ctx)
		if err != nil {
			return err
		}
		if before != nil { // a repeat: what was refused is not tried again
			recallRefusals(before.Answers, results)
			s.decide(ctx, m, list, results)
			return nil
		}
		s.decide(ctx, m, list, results)
		if key.request.Answers, err = refusalsOf(results); err != nil {
			return err
		}
		return key.finish(ctx, last(results), 0)
	})
	if err != nil {
		key.release(ctx)
		return nil, err
	}
	return results, nil
}

func (f faults) decisions(list []Decision) {
	if len(list) > MaxDecisions {
		f.add("decisions", "are more than "+strconv.Itoa(MaxDecisions))
		return
	}
	seen := make(map[[2]string]bool, len(list))
	for i, d := range list {
		pair := [2]string{d.Share, d.Device}
		if seen[pair] {
			f.add(Field("decisions").Entry(i).Dot("device"), "is listed twice for this share")
		}
		seen[pair] = true
	}
}

func (s *Shares) decide(ctx context.Context, m Meta, list []Decision, results []Decided) {
	var g errgroup.Group
	g.SetLimit(decisionsAtOnce)
	for i, d := range list {
		if results[i].Err != nil {
			continue
		}
		g.Go(func() error {
			decide := s.Reject
			if d.Accept {
				decide = s.Accept
			}
			done, err := decide(ctx, d.of(m), d.Share, d.Device)
			results[i] = Decided{Position: done.Position, Err: err}
			return nil
		})
	}
	_ = g.Wait() // the results have the errors
}

// refusal is why a decision was refused, as it is remembered for a repeat of its list.
type refusal struct {
	Code, Message string
	Kind          Kind
}

// refusalsOf returns the refusals of a list of decisions, to be remembered. What failed for
// another reason is not among them: a repeat tries that again.
func refusalsOf(results []Decided) (string, error) {
	list := make([]refusal, len(results))
	for i, r := range results {
		if e, ok := errors.AsType[*Error](r.Err); ok && e.Kind != Unavailable && e.Kind != TooSoon {
			list[i] = refusal{e.Code, e.Message, e.Kind}
		}
	}
	text, err := json.Marshal(list)
	return string(text), err
}

// recallRefusals sets the results that were refusals before. An earlier version remembered
// none.
func recallRefusals(text string, results []Decided) {
	var list []refusal
	if json.Unmarshal([]byte(text), &list) != nil || len(list) != len(results) {
		return
	}
	for i, r := range list {
		if r.Code != "" {
			results[i].Err = &Error{Code: r.Code, Message: r.Message, Kind: r.Kind}
		}
	}
}

// of returns the meta of one decision: its key follows from that of all, and differs from
// every key that a caller can choose, which has no spaces.
func (d Decision) of(m Meta) Meta {
	if m.IdempotencyKey != "" {
		sum := sha256.Sum256([]byte(m.IdempotencyKey + "\x00" + d.Share + "\x00" + d.Device))
		m.IdempotencyKey = "decision " + hex.EncodeToString(sum[:16])
	}
	return m
}

func last(results []Decided) (at position.Position) {
	for _, r := range results {
		at = max(at, r.Position)
	}
	return at
}

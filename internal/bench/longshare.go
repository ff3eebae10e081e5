package main

import (
	"context"
	"fmt"
	"time"
)

// longShare compares a command on a share of 10,000 events with one on a share of 10.
func (s *served) longShare(b *bench) error {
	const few, many = 10, 10_000
	owner, err := s.account(b.ctx, "long")
	if err != nil {
		return err
	}
	if err := owner.call(b.ctx, "POST", "/devices", newDevice("long"), nil); err != nil {
		return err
	}
	shares := make(map[int]*editing)
	for _, n := range []int{few, many} {
		e, err := owner.newEditing(b.ctx, fmt.Sprintf("reader%d@bench.example", n), "long")
		if err != nil {
			return err
		}
		for e.edits < b.scaled(n) {
			if _, err := e.edit(b.ctx, ""); err != nil {
				return err
			}
		}
		shares[n] = e
	}
	for _, keyed := range []bool{false, true} {
		took := map[int][]time.Duration{}
		for i := range b.scaled(400) {
			for n, e := range shares { // in turns
				if i%16 == 0 && n == few { // keep it short
					if shares[n], err = owner.newEditing(b.ctx, fmt.Sprintf("reader%d-%t-%d@bench.example", n, keyed, i), "long"); err != nil {
						return err
					}
					e = shares[n]
				}
				key := ""
				if keyed {
					key = fmt.Sprintf("%d-%d", n, i)
				}
				d, err := e.edit(b.ctx, key)
				if err != nil {
					return err
				}
				took[n] = append(took[n], d)
			}
		}
		name := "command: edit in a share of 10,000 events"
		if keyed {
			name += ", with a key"
		}
		short, long := percentile(took[few], 0.5), percentile(took[many], 0.5)
		b.add(name, fmt.Sprintf("p50 %v", long.Round(10*time.Microsecond)), fmt.Sprintf("a share of 10: %v", short.Round(10*time.Microsecond)), long.Seconds()/short.Seconds(), "at most 2")
	}
	return nil
}

// editing is a share in which what is given is edited again and again.
type editing struct {
	owner *account
	path  string
	edits int
}

func (a *account) newEditing(ctx context.Context, guest, device string) (*editing, error) {
	var share struct{ ID string }
	err := a.call(ctx, "POST", "/shares", newShare(guest, device), &share)
	return &editing{owner: a, path: "/shares/" + share.ID + "/devices/" + device}, err
}

// edit edits once, with an idempotency key unless that is "".
func (e *editing) edit(ctx context.Context, key string) (time.Duration, error) {
	e.edits++
	body := map[string]any{"channels": channels([]string{"ptz", "live_view"}[:1+e.edits%2]...)}
	began := time.Now()
	err := e.owner.callWith(ctx, key, "PUT", e.path, body, nil)
	return time.Since(began), err
}

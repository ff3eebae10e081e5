package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/eventstore/node"
	"latchkey/projections/access"
)

// benchRevoke measures a revocation through the real log: from the command's append to
// the first denial, compared with the append alone.
func benchRevoke(b *bench) error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	log, stop, err := openLog(b, "revoke")
	if err != nil {
		return err
	}
	defer stop()
	x, err := access.New(access.Config{Source: tableSource{}, Log: log, MaxStaleness: time.Minute})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	owner, guest := accountID(1), accountID(2)
	if _, err := appendEvent(ctx, log, "device-cam", device.Added{Device: "cam", Serial: "cam", Generation: 1, Owner: string(owner),
		Channels: []device.Channel{{Channel: 1, Capabilities: privilege.All}}}); err != nil {
		return err
	}
	for x.Health().State != "live" {
		time.Sleep(time.Millisecond)
	}
	var alone, whole []time.Duration
	for range b.scaled(1000) {
		pos, err := appendEvent(ctx, log, "share-s", share.Accepted{Share: "s", Owner: string(owner), Account: string(guest), Device: "cam",
			Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}})
		if err != nil {
			return err
		}
		if err := x.WaitFor(ctx, pos); err != nil {
			return err
		}
		began := time.Now()
		if pos, err = appendEvent(ctx, log, "share-s", share.Left{Share: "s", Owner: string(owner), Account: string(guest), Device: "cam"}); err != nil {
			return err
		}
		alone = append(alone, time.Since(began))
		if err := x.WaitFor(ctx, pos); err != nil {
			return err
		}
		if x.Check(guest, "cam", 1, privilege.LiveView, time.Now()) == access.Allowed {
			return errors.New("allowed after the index had applied the revocation")
		}
		whole = append(whole, time.Since(began))
	}
	for _, p := range []float64{0.5, 0.99} {
		more := percentile(whole, p) - percentile(alone, p)
		b.add(fmt.Sprintf("from the command to the denial, p%.0f", p*100), percentile(whole, p).Round(time.Microsecond).String(),
			fmt.Sprintf("the append alone %v", percentile(alone, p).Round(time.Microsecond)), percentile(whole, p).Seconds()/percentile(alone, p).Seconds(),
			fmt.Sprintf("at most 0.5 ms more; it is %v", more.Round(time.Microsecond)))
	}
	cancel()
	return <-done
}

// openLog starts an embedded node and connects to it as the service does.
func openLog(b *bench, name string) (*eventstore.Client, func(), error) {
	n, err := node.Open(node.Config{Dir: filepath.Join(b.dir, name)})
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(b.dir, name+".sock")
	l, err := node.Listen(socket)
	if err != nil {
		return nil, nil, errors.Join(err, n.Close())
	}
	go n.Serve(l) // ends with Close
	client, err := eventstore.Open(eventstore.Config{Target: "unix://" + socket})
	if err != nil {
		return nil, nil, errors.Join(err, n.Close())
	}
	return client, func() { client.Close(); n.Close() }, nil
}

func appendEvent(ctx context.Context, log *eventstore.Client, stream string, e event.Event) (eventstore.Position, error) {
	name, data, err := catalogue.Encode(e)
	if err != nil {
		return 0, err
	}
	done, err := log.Append(ctx, stream, eventstore.Any(), eventstore.Event{ID: uuid.New(), Type: name, Data: data})
	return done.Position, err
}

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// page is how many events one call of a long read requests.
const page = 2048

// Load calls each for every event of a stream, oldest first, as stored by the leader.
// ErrStreamNotFound: it has none.
func (c *Client) Load(ctx context.Context, stream string, each func(Recorded) error) error {
	return c.LoadFrom(ctx, stream, 0, each)
}

// LoadFrom is Load from a revision on. It calls each for no event if the stream ends
// before it.
func (c *Client) LoadFrom(ctx context.Context, stream string, from uint64, each func(Recorded) error) error {
	for {
		events, err := call(ctx, c, "loading "+stream, func(ctx context.Context, conn *esdb.Client) ([]Recorded, error) {
			r, err := conn.ReadStream(leaderOnly(ctx), stream, esdb.ReadStreamOptions{From: esdb.Revision(from), RequiresLeader: true}, page)
			return collect(r, err)
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := each(e); err != nil {
				return err
			}
		}
		if len(events) < page {
			return nil
		}
		from = events[len(events)-1].Revision + 1
	}
}

// LoadBack returns the events of a stream, oldest first, from the last one for which
// until reports true to the end, or all of them, as the leader has them. until is given
// each with how many bytes of data were read, including its own; it may be called for an
// event twice, and by several goroutines. ErrStreamNotFound: the stream has none.
func (c *Client) LoadBack(ctx context.Context, stream string, until func(e Recorded, read int) bool) ([]Recorded, error) {
	// A cancelled caller abandons the read, so the read has its own list.
	return call(ctx, c, "loading "+stream, func(ctx context.Context, conn *esdb.Client) ([]Recorded, error) {
		ctx, cancel := context.WithCancel(leaderOnly(ctx)) // stopping early ends the read at the node
		defer cancel()
		r, err := conn.ReadStream(ctx, stream, esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}, RequiresLeader: true}, math.MaxInt64)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		var list []Recorded
		read := 0
		err = recv(r, func(e Recorded) (bool, error) {
			list = append(list, e)
			read += len(e.Data) + len(e.Metadata)
			return !until(e, read), nil
		})
		slices.Reverse(list)
		return list, err
	})
}

// First returns the first event of a stream. ErrStreamNotFound: it has none.
func (c *Client) First(ctx context.Context, stream string) (Recorded, error) {
	return c.one(ctx, "reading the first event of "+stream, stream, esdb.ReadStreamOptions{From: esdb.Start{}, RequiresLeader: true})
}

// Last returns the last event of a stream. ErrStreamNotFound: it has none.
func (c *Client) Last(ctx context.Context, stream string) (Recorded, error) {
	return c.one(ctx, "reading the last event of "+stream, stream, esdb.ReadStreamOptions{
		Direction: esdb.Backwards, From: esdb.End{}, RequiresLeader: true,
	})
}

// one reads one event of a stream from the leader.
func (c *Client) one(ctx context.Context, what, stream string, options esdb.ReadStreamOptions) (Recorded, error) {
	events, err := call(ctx, c, what, func(ctx context.Context, conn *esdb.Client) ([]Recorded, error) {
		r, err := conn.ReadStream(leaderOnly(ctx), stream, options, 1)
		return collect(r, err)
	})
	if err == nil && len(events) == 0 {
		err = fmt.Errorf("%s: %w", what, ErrStreamNotFound)
	}
	if err != nil {
		return Recorded{}, err
	}
	return events[0], nil
}

// ReadAll calls each for the events after a position whose type has the prefix, oldest
// first, up to the end of the log when it gets there. It keeps one page in memory.
func (c *Client) ReadAll(ctx context.Context, after Position, prefix string, each func(Recorded) error) error {
	for {
		events, err := call(ctx, c, "reading the log", func(ctx context.Context, conn *esdb.Client) ([]Recorded, error) {
			r, err := conn.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Forwards, From: behind(after)}, page)
			return collect(r, err)
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Position <= after { // a read includes its start
				continue
			}
			after = e.Position
			if !strings.HasPrefix(e.Type, prefix) {
				continue
			}
			if err := each(e); err != nil {
				return err
			}
		}
		if len(events) < page {
			return nil
		}
	}
}

func behind(after Position) esdb.AllPosition {
	if after == 0 {
		return esdb.Start{}
	}
	return esdb.Position{Commit: uint64(after), Prepare: uint64(after)}
}

// Tail calls each for at most the last most events of $all, newest first, until it
// returns false. Only the leader is queried.
func (c *Client) Tail(ctx context.Context, most int, each func(Recorded) (more bool)) error {
	events, err := call(ctx, c, "reading the end of the log", func(ctx context.Context, conn *esdb.Client) ([]Recorded, error) {
		r, err := conn.ReadAll(leaderOnly(ctx), esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}, RequiresLeader: true}, uint64(most))
		return collect(r, err)
	})
	if err != nil {
		return err
	}
	for _, e := range events {
		if !each(e) {
			return nil
		}
	}
	return nil
}

// Ping checks whether the log responds.
func (c *Client) Ping(ctx context.Context) error {
	return c.Tail(ctx, 1, func(Recorded) bool { return false })
}

// collect reads a counted read to its end.
func collect(r *esdb.ReadStream, err error) ([]Recorded, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var events []Recorded
	err = recv(r, func(e Recorded) (bool, error) {
		events = append(events, e)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// recv calls each for the results of a read, until it needs no more or the read ends.
func recv(r *esdb.ReadStream, each func(Recorded) (more bool, err error)) error {
	for {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Event == nil { // a link by itself; links are not resolved
			continue
		}
		if more, err := each(recorded(e.Event)); err != nil || !more {
			return err
		}
	}
}

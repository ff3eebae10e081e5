package main

import (
	"context"

	"latchkey/api"
	"latchkey/streaming/rtsp"
	"latchkey/streaming/upstream"
)

// fences is what the answer to a command waits for, one after the other: that the
// privilege index has the change, that the viewers are cut, that the journal has
// what was taken away.
type fences []api.Fence

func (f fences) WaitFor(ctx context.Context, position uint64) error {
	for _, fence := range f {
		if err := fence.WaitFor(ctx, position); err != nil {
			return err
		}
	}
	return nil
}

// cuts waits, once a change is in force in the privilege index, until the viewers
// whom it ends receive nothing more, and nothing more is sent to the cameras that it
// takes away.
type cuts struct {
	door      *rtsp.Door
	upstreams *upstream.Pool
}

func (c cuts) WaitFor(ctx context.Context, _ uint64) error {
	if err := c.door.AwaitCuts(ctx); err != nil {
		return err
	}
	return c.upstreams.AwaitLeft(ctx)
}

package main

import (
	"context"

	"latchkey/api"
	"latchkey/eventstore"
	"latchkey/internal/alarms"
	"latchkey/streaming/ptz"
	"latchkey/streaming/rtsp"
	"latchkey/streaming/upstream"
	"latchkey/streaming/webrtc"
)

// fences are the conditions that a command waits for before it returns, in order: the
// privilege index has the change, the viewers are cut, the journal has the revocation.
type fences []api.Fence

func (f fences) WaitFor(ctx context.Context, position eventstore.Position) error {
	for _, fence := range f {
		if err := fence.WaitFor(ctx, position); err != nil {
			return err
		}
	}
	return nil
}

// cuts waits, after a change is in force in the privilege index, until nothing more is
// sent to the viewers whom it ends and to the cameras that it removes, and the cameras are
// told to stop that were moved by those who may no longer; nor is any alarm sent to those
// who may not know of it any more.
type cuts struct {
	door      *rtsp.Door
	webrtc    *webrtc.Door // nil: there is none
	upstreams *upstream.Pool
	desk      *ptz.Desk
	alarms    *alarms.Sends
}

func (c cuts) WaitFor(ctx context.Context, _ eventstore.Position) error {
	if err := c.door.AwaitCuts(ctx); err != nil {
		return err
	}
	if c.webrtc != nil {
		if err := c.webrtc.AwaitCuts(ctx); err != nil {
			return err
		}
	}
	if err := c.alarms.AwaitCuts(ctx); err != nil {
		return err
	}
	if err := c.upstreams.AwaitLeft(ctx); err != nil {
		return err
	}
	return c.desk.AwaitStops(ctx)
}

package reactors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/reclaim"
	"latchkey/eventstore"
)

// Reactor is one automatic consequence of events.
type Reactor struct {
	// Name is the frozen name of its checkpoint. The read models' database must know it
	// (projections.Open): a new reactor needs a migration there, which sets where it
	// begins.
	Name string
	// Events are the types of the events that it follows.
	Events []string
	// Due returns what to do after some of these events, in log order, with the log read
	// up to a position. It changes nothing: every process calls it.
	Due func(ctx context.Context, events []Event, position eventstore.Position) ([]Action, error)
}

// List has all reactors.
func List(read ReadModels, do Commands) []Reactor {
	return []Reactor{policies(read, do), tidings(do)}
}

// ReadModels are queried for what is due. They wait until they have seen a position in
// the log, or the context ends.
type ReadModels interface {
	// SharesHolding lists the live shares that hold a device.
	SharesHolding(ctx context.Context, device string, atLeast eventstore.Position) ([]string, error)
	// RemovedDevices returns those of the devices that were removed.
	RemovedDevices(ctx context.Context, devices []string, atLeast eventstore.Position) ([]string, error)
}

// Commands do what is due. Each may be repeated for the same cause, the id of an event,
// and then changes nothing.
type Commands interface {
	// EndShares removes a removed device from shares.
	EndShares(ctx context.Context, cause uuid.UUID, device string, shares []string) error
	// FinishClosing does what follows a closed account, whose event is at a position.
	FinishClosing(ctx context.Context, cause uuid.UUID, account string, at eventstore.Position) error
	// EndOffers withdraws what an account offered before its password was changed.
	EndOffers(ctx context.Context, cause uuid.UUID, account string, at eventstore.Position) error
	// EpochBegan returns the position at which the current epoch of the log began: nobody is
	// told of what is before it.
	EpochBegan(ctx context.Context) (eventstore.Position, error)
	// TellOfTransfer tells whoever reads the address that a device is offered to.
	TellOfTransfer(ctx context.Context, cause uuid.UUID, e device.TransferOffered) error
	// TellOfReclaim tells the owner of a device that somebody claims it, and TellOfLoss that
	// it went to them.
	TellOfReclaim(ctx context.Context, cause uuid.UUID, e reclaim.Claimed) error
	TellOfLoss(ctx context.Context, cause uuid.UUID, e device.Removed) error
	// FinishHandover looks again whether the account that got a device may have it.
	FinishHandover(ctx context.Context, cause uuid.UUID, e device.Added) error
	// Notify keeps the notices of events, which people are sent.
	Notify(ctx context.Context, events []Event) error
	// Notified are the types of the events that there are notices of.
	Notified() []string
	// Notifies reports whether anybody may be sent one.
	Notifies(ctx context.Context) (bool, error)
	// FinishRemoval does what follows an address that an account has removed.
	FinishRemoval(ctx context.Context, cause uuid.UUID, account, login string, at eventstore.Position) error
	// FollowClaim ends what other accounts have accepted by an address that an account has
	// claimed.
	FollowClaim(ctx context.Context, login string, at eventstore.Position) error
}

// Event is an event that is followed.
type Event struct {
	event.Event
	ID       uuid.UUID
	Position eventstore.Position
	Created  time.Time // when it was written to the log
}

// Action is something to do after an event.
type Action struct {
	After Event
	Do    func(context.Context) error
}

func (a Action) run(ctx context.Context) error {
	if err := a.Do(ctx); err != nil {
		return fmt.Errorf("following event %s at position %d: %w", a.After.ID, a.After.Position, err)
	}
	return nil
}

// followed picks and decodes the events that the reactor follows.
func (r Reactor) followed(events []eventstore.Recorded) (list []Event, err error) {
	for i := range events {
		e := &events[i]
		if !slices.Contains(r.Events, e.Type) {
			continue
		}
		v, err := catalogue.Decode(e.Type, e.Data)
		if err != nil {
			return nil, fmt.Errorf("following event %s at position %d: %w", e.ID, e.Position, err)
		}
		list = append(list, Event{v, e.ID, e.Position, e.Created})
	}
	return list, nil
}

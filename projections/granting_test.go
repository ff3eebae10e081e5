package projections

import (
	"errors"
	"testing"

	"latchkey/domain/event"
)

// TestUnknownKindsOfEffectsStop: a kind of effect that somebody adds, and that the read
// model of privileges was not taught, is not passed over.
func TestUnknownKindsOfEffectsStop(t *testing.T) {
	e := &grantEffect{Effect: event.Effect{Kind: event.KeyRevoked + 1}, device: &grantDevice{}}
	if err := (&grantBatch{}).apply(e); !errors.Is(err, event.ErrImpossible) {
		t.Errorf("it is applied: %v", err)
	}
}

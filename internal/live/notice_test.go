package live

import (
	"testing"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/name"
	"latchkey/eventstore"
)

// silent are the events that nobody is notified of.
var silent = map[string]bool{
	account.Registered{}.Type():   true, // nobody listens yet
	account.AddressAdded{}.Type(): true, // it counts once it is verified
	account.Closed{}.Type():       true, // its sessions have ended, and what it shared ends by events of its own
	name.Claimed{}.Type():         true, // follows from others
}

// TestEveryEventIsDecided: whoever adds an event decides whether people are notified.
func TestEveryEventIsDecided(t *testing.T) {
	n := 0
	catalogue.Names(func(e event.Event) bool {
		n++
		if _, told := itemOf(&eventstore.Recorded{}, e); told == silent[e.Type()] {
			t.Errorf("%s: decide in kindOf whether people are notified of it, or list it as silent", e.Type())
		}
		return false
	})
	if n == 0 {
		t.Error("the catalogue is empty")
	}
}

package backup

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// inventory is what must be known about a log to repeat revocations in it.
type inventory struct {
	revoked map[uuid.UUID]bool // the events in it that revoke something
	shares  map[string]bool
	keys    map[string]string // stream keys, with their accounts
	offers  map[string]string // the last offer of each device, by serial
	last    eventstore.Position
	epoch   uint64 // 0: the log is not identified
}

func newInventory() *inventory {
	return &inventory{revoked: map[uuid.UUID]bool{}, shares: map[string]bool{}, keys: map[string]string{}, offers: map[string]string{}}
}

// add adds an event of the log, and returns what it revokes.
func (v *inventory) add(id uuid.UUID, position eventstore.Position, kind string, data []byte) (r event.Revocation, revokes bool, err error) {
	if kind == eventstore.IdentityType {
		var of eventstore.Identity
		if err := json.Unmarshal(data, &of); err != nil {
			return r, false, fmt.Errorf("reading the identity at position %d: %w", position, err)
		}
		v.epoch = of.Epoch
	}
	if !strings.HasPrefix(kind, event.Prefix) {
		return r, false, nil
	}
	v.last = position
	if r, revokes, err = catalogue.RevocationOf(id, kind, data); err != nil {
		return r, false, fmt.Errorf("position %d: %w", position, err)
	}
	if revokes {
		v.revoked[id] = true
		return r, true, nil
	}
	event, err := catalogue.Decode(kind, data)
	if err != nil {
		return r, false, fmt.Errorf("position %d: %w", position, err)
	}
	switch e := event.(type) {
	case share.Opened:
		v.shares[e.Share] = true
	case account.StreamKeyAdded:
		v.keys[e.Key] = e.Account
	case account.PublishingKeyAdded:
		v.keys[e.Key] = e.Account
	case device.TransferOffered:
		v.offers[e.Serial] = device.TransferID(e.Device, e.Transfer.Number)
	}
	return r, false, nil
}

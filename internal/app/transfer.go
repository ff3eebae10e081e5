package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/internal/position"
)

// DefaultTransferTTL is how long an offer to hand a device over can be accepted.
const DefaultTransferTTL = 7 * 24 * time.Hour

// NewTransfer is an offer of a device to whoever holds an address; one of Email and Phone
// is set.
type NewTransfer struct {
	Email, Phone string
	Shares       device.Shares
	Password     string // of the owner, again
}

// TransferMade is the result of OfferTransfer.
type TransferMade struct {
	Position position.Position
	Device   device.State // with the offer
}

// OfferTransfer offers a device of the caller's to whoever holds an address, registered or
// not: nothing tells. A stolen session is not enough: the password is asked for again.
func (d *Devices) OfferTransfer(ctx context.Context, m Meta, typed string, n NewTransfer) (TransferMade, error) {
	id, password := device.Canonical(typed), n.Password
	n.Password = ""
	c, err := d.core.begin(m, "offer transfer", id, n)
	if err != nil {
		return TransferMade{}, err
	}
	f := faults{}
	kind, address := f.oneAddress("recipient", n.Email, n.Phone)
	if n.Shares != device.EndShares && n.Shares != device.KeepShares {
		f.add("shares", "must be end or keep")
	}
	if err := f.err(); err != nil {
		return TransferMade{}, err
	}
	if err := d.core.refuseUnproven(ctx, c.Account); err != nil { // it is offered in the owner's name
		return TransferMade{}, err
	}
	if c.IdempotencyKey == "" { // else it may be a repeat of what the caller was allowed before
		if there, err := d.core.loadDevice(ctx, id); err != nil || !there.Live || there.Owner != c.Account {
			return TransferMade{}, cmp.Or(err, refused(device.ErrNotFound))
		}
	}
	right, err := d.passwords.VerifyPassword(ctx, c.Account, password)
	if err != nil {
		return TransferMade{}, unavailable(fmt.Errorf("checking a password: %w", err))
	}
	if !right {
		return TransferMade{}, wrongPassword(nil)
	}
	offer := device.OfferTransfer{Device: id, By: c.Account, Kind: kind, Shares: n.Shares, At: c.at, Until: c.at.Add(d.transferTTL)}
	if offer.Login, err = d.core.loginOf(ctx, kind, n.Email, address); err != nil {
		return TransferMade{}, err
	}
	if offer.To, err = d.core.seal(ctx, loginStream(offer.Login), event.FieldRecipient, address); err != nil {
		return TransferMade{}, err
	}
	spent := false
	done, err := d.change(ctx, c, id, func(there device.State) ([]device.Event, error) {
		if offer.Holder, err = d.core.holder(ctx, offer.Login); err != nil {
			return nil, err
		}
		events, err := device.Decide(there, offer)
		if err == nil && !spent {
			err = d.core.spend(c.Account, QuotaInvitations, "", 1)
			spent = err == nil
		}
		return events, err
	})
	return TransferMade{Position: done.Position, Device: done.Device}, point(err, ownAddressField(err))
}

func ownAddressField(err error) Field {
	if errors.Is(err, device.ErrOwnAddress) {
		return "recipient"
	}
	return ""
}

// WithdrawTransfer ends the offer of a device of the caller's.
func (d *Devices) WithdrawTransfer(ctx context.Context, m Meta, typed string) (Done, error) {
	id := device.Canonical(typed)
	c, err := d.core.begin(m, "withdraw transfer", id)
	if err != nil {
		return Done{}, err
	}
	done, err := d.change(ctx, c, id, func(there device.State) ([]device.Event, error) {
		if !there.Live || there.Device != id {
			return nil, device.ErrNotFound
		}
		return device.Decide(there, device.EndTransfer{Why: device.Withdrawn, Device: id, By: c.Account, At: c.at})
	})
	return Done{Position: done.Position}, err
}

// RejectTransfer declines an offer that was made to an address of the caller's.
func (d *Devices) RejectTransfer(ctx context.Context, m Meta, id string) (Done, error) {
	c, err := d.core.begin(m, "reject transfer", id)
	if err != nil {
		return Done{}, err
	}
	of, number, ok := device.ParseTransfer(id)
	if !ok {
		return Done{}, refused(device.ErrNoTransfer)
	}
	done, err := run(ctx, d.core, c, d.onOffered(ctx, c, of, number), func(there stream[device.State]) ([]device.Event, error) {
		holder, err := d.addressee(ctx, there.state)
		if err != nil {
			return nil, err
		}
		return device.Decide(there.state, device.EndTransfer{Why: device.Declined, Device: of, Number: number, By: c.Account, Holder: holder, At: c.at})
	})
	return Done{Position: done.position}, err
}

// withdraw ends exactly that offer of a device, if it is there and ends says so. It reports
// whether it did.
func (s *core) withdraw(ctx context.Context, c command, of string, number int, ends func(device.State) (bool, error)) (bool, error) {
	serial, _ := device.SerialOf(of)
	done, err := run(ctx, s, c, onAnyDevice(serial), func(there stream[device.State]) ([]device.Event, error) {
		events, err := device.Decide(there.state, device.EndTransfer{Why: device.Withdrawn, Device: of, Number: number, By: there.state.Owner, At: s.now()})
		if errors.Is(err, device.ErrNoTransfer) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if ends, err := ends(there.state); err != nil || !ends {
			return nil, err
		}
		return events, nil
	})
	return len(done.events) > 0, err
}

// addressee returns the account that an offer is made to: the holder of its login, if it
// has proven the address. "" if there is none.
func (d *Devices) addressee(ctx context.Context, there device.State) (string, error) {
	holder, err := d.core.holder(ctx, there.Transfer.Login)
	if err != nil || holder == "" || there.Transfer.Login == "" {
		return "", err
	}
	proven, err := d.core.proven(ctx, holder, there.Transfer.Login)
	if err != nil || !proven {
		return "", err
	}
	return holder, nil
}

// onOffered is the stream of a device for a command about an offer of it: for accounts
// that have nothing to do with the offer, it does not exist.
func (d *Devices) onOffered(ctx context.Context, c command, of string, number int) target[device.State, device.Event] {
	serial, _ := device.SerialOf(of)
	on := onAnyDevice(serial)
	on.admit = func(s device.State) error {
		if s.Live && s.Owner == c.Account {
			return nil // it may be a repeat; the decider refuses it otherwise
		}
		if !s.Live || s.Device != of || s.Transfer.Number != number {
			return refused(device.ErrNoTransfer)
		}
		holder, err := d.addressee(ctx, s)
		if err == nil && holder != c.Account {
			err = refused(device.ErrNoTransfer)
		}
		return err
	}
	return on
}

// AcceptTransfer takes over a device that was offered to an address of the caller's. The
// one append that makes the device the caller's ends every use of it by anybody else; how
// it is reached comes along, and is in the vault before. What follows, the end of its
// shares or their continuation, is done before the answer, or by a policy if this is cut
// off.
func (d *Devices) AcceptTransfer(ctx context.Context, m Meta, id string) (DeviceChanged, error) {
	c, err := d.core.begin(m, "accept transfer", id)
	if err != nil {
		return DeviceChanged{}, err
	}
	of, number, ok := device.ParseTransfer(id)
	if !ok {
		return DeviceChanged{}, refused(device.ErrNoTransfer)
	}
	serial, _ := device.SerialOf(of)
	taking := taking{devices: d, command: c, serial: serial}
	defer func() { taking.settle(err) }()
	done, err := run(ctx, d.core, c, d.onOffered(ctx, c, of, number), func(there stream[device.State]) ([]device.Event, error) {
		holder, err := d.addressee(ctx, there.state)
		if err != nil {
			return nil, err
		}
		accept := device.AcceptTransfer{Device: of, Number: number, By: c.Account, Holder: holder, At: d.core.now()}
		if accept.Outdated, err = d.core.outdated(ctx, there.state); err != nil {
			return nil, err
		}
		if _, err := device.Decide(there.state, accept); err != nil {
			return nil, err
		}
		if accept.Name, accept.Channels, err = d.renamed(ctx, c.Account, there.state); err != nil {
			return nil, err
		}
		events, err := device.Decide(there.state, accept)
		if err != nil {
			return nil, err
		}
		if err := taking.room(ctx, of, there.state.Transfer.Shares, there.position()); err != nil {
			return nil, err
		}
		if err := taking.stageOld(ctx, there.state, events); err != nil {
			return nil, err
		}
		return events, taking.notClosed(ctx)
	})
	if err != nil {
		taking.refused(ctx, err)
		return DeviceChanged{}, err
	}
	return taking.finish(ctx, done)
}

// renamed returns the names of a device and of its channels, sealed for another account:
// they are not forgotten with the owner before.
func (d *Devices) renamed(ctx context.Context, account string, of device.State) (name string, channels []device.ChannelName, err error) {
	again := func(field, sealed string) (string, error) {
		plain, err := d.core.sealer.Unseal(ctx, field, sealed)
		if err != nil {
			return "", unavailable(fmt.Errorf("reading the names of a device: %w", err))
		}
		return d.core.seal(ctx, account, field, plain)
	}
	if name, err = again(event.FieldDevice, of.Name); err != nil {
		return "", nil, err
	}
	for _, ch := range of.Channels {
		if ch.Name == "" {
			continue
		}
		text, err := again(event.FieldChannel, ch.Name)
		if err != nil {
			return "", nil, err
		}
		channels = append(channels, device.ChannelName{Channel: ch.Channel, Name: text})
	}
	return name, channels, nil
}

// TellOfTransfer is the policy that follows an offer: whoever reads what is sent to the
// address is told, registered or not. cause is the id of the event; following it again
// sends nothing more.
func (d *Devices) TellOfTransfer(ctx context.Context, cause uuid.UUID, e device.TransferOffered) error {
	there, err := d.core.loadDevice(ctx, e.Device)
	if err != nil || there.Transfer.Number != e.Transfer.Number || !there.Transfer.Waits(d.core.now()) {
		return err
	}
	if wait, err := d.toldOften(ctx, e.Transfer.Login); err != nil || wait {
		return err
	}
	n := Notice{ID: "transfer-" + cause.String(), Kind: e.Transfer.Kind, What: NoticeTransfer, Until: e.Transfer.Until}
	if n.Account, err = d.core.registeredHolder(ctx, e.Transfer.Login); err != nil {
		return err
	}
	if n.Account != "" {
		of, err := load(ctx, d.core, accountKind, accountStream(n.Account))
		if err != nil {
			return err
		}
		n.Language = of.state.Language
	}
	return d.tell(ctx, n, event.FieldRecipient, e.Transfer.To)
}

// Whoever reads an address is told of an offer so often: owners could make offers and
// withdraw them in order to fill somebody's inbox. The list of offers shows all of them.
const (
	toldAgain  = time.Hour
	toldAtMost = 5
)

// toldOften reports whether an address has been told of offers too often.
func (d *Devices) toldOften(ctx context.Context, login string) (bool, error) {
	if d.allowances == nil {
		return false, nil
	}
	wait, err := d.allowances.Take(ctx, "told of a transfer\x00"+login, toldAgain, toldAtMost)
	if err != nil {
		return false, unavailable(fmt.Errorf("counting what an address was told: %w", err))
	}
	return wait > 0, nil
}

// tell sends a notice to a sealed address.
func (d *Devices) tell(ctx context.Context, n Notice, field, sealed string) error {
	if d.messenger == nil {
		return nil
	}
	plain, err := d.core.sealer.Unseal(ctx, field, sealed)
	if err != nil || plain == "" { // whose address it was is forgotten
		d.core.logger.InfoContext(ctx, "nobody is told of a device: the address cannot be read", "what", n.What)
		return nil
	}
	n.To = strings.TrimSpace(plain)
	if err := d.messenger.Send(ctx, n); err != nil {
		return unavailable(fmt.Errorf("telling somebody of a device: %w", err))
	}
	return nil
}

package device

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reasons why a command about a transfer is refused.
var (
	ErrNoTransfer      = errors.New("the transfer does not exist, or has ended")
	ErrTransferPending = errors.New("the device is offered to somebody already; withdraw that offer first")
	ErrTransferExpired = errors.New("the offer has expired; the owner can make another one")
	ErrOwnAddress      = errors.New("the device is yours already: this is your own address")
	ErrNotOffered      = errors.New("only who the device is offered to rejects it; withdraw your own offer")
	ErrBadTransfer     = errors.New("an offer needs an address, a choice about the shares and an end")
)

// Shares is what becomes of the shares of a device that is handed over.
type Shares string

// The choices. The zero value is none of them.
const (
	EndShares  Shares = "end"
	KeepShares Shares = "keep" // they go on as shares of the new owner
)

// Ending is how an offer to transfer a device ended.
type Ending string

// The endings. An offer also ends when it is accepted, when it expires and with the device.
const (
	Withdrawn Ending = "withdrawn" // by the owner
	Declined  Ending = "rejected"  // by whom it was offered to
)

// Handover is how a device came to another account.
type Handover string

// The ways. The zero value is none: a device was removed, or added.
const (
	ByTransfer Handover = "transfer" // the owner offered it
	ByReclaim  Handover = "reclaim"  // the new owner proved its password, and the one before did not object
)

// Transfer is an offer to hand a device over. The zero value is none.
type Transfer struct {
	Number int       `json:"number"` // the change of the generation by which it was offered
	Login  string    `json:"login"`  // keyed hash of the address that it is offered to
	Kind   string    `json:"kind"`   // "email" or "phone"
	To     string    `json:"to"`     // sealed address
	Shares Shares    `json:"shares"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"` // it can be accepted before that
}

// Waits reports whether the offer can be accepted at a time.
func (t Transfer) Waits(now time.Time) bool { return t.Number != 0 && now.Before(t.Until) }

// TransferID returns the id of an offer.
func TransferID(device string, number int) string { return device + "~" + strconv.Itoa(number) }

// ParseTransfer returns the device and the number in the id of an offer; ok is false if it
// is not one.
func ParseTransfer(id string) (device string, number int, ok bool) {
	device, text, found := strings.Cut(id, "~")
	number, err := strconv.Atoi(text)
	if _, is := SerialOf(device); !found || !is || err != nil || number < 1 || TransferID(device, number) != id {
		return "", 0, false
	}
	return device, number, true
}

// OfferTransfer offers the device to whoever holds an address.
type OfferTransfer struct {
	Device string
	By     string // account
	Holder string // the account that holds the login, "" for none
	Login  string
	Kind   string
	To     string // sealed
	Shares Shares
	Until  time.Time
	At     time.Time
}

// EndTransfer ends an offer: the owner withdraws it, whoever holds its login declines it.
type EndTransfer struct {
	Why    Ending
	Device string
	Number int    // 0: the one that waits
	By     string // account
	Holder string // the account that holds the offer's login, "" for none
	At     time.Time
}

// AcceptTransfer takes the device over. What it is called comes along, sealed for the new
// owner.
type AcceptTransfer struct {
	Device   string
	Number   int
	By       string // account
	Holder   string // the account that holds the offer's login, "" for none
	Outdated bool   // the owner's password was changed after the offer
	Name     string
	Channels []ChannelName
	At       time.Time
}

// Reclaim takes the device from its owner for who has proven, and waited. It is added anew,
// as whoever has it describes it; its shares end.
type Reclaim struct {
	Device string // as its owner has it
	From   string // the owner
	Add    Add
}

func (Reclaim) deviceCommand()        {}
func (OfferTransfer) deviceCommand()  {}
func (EndTransfer) deviceCommand()    {}
func (AcceptTransfer) deviceCommand() {}

func offerTransfer(s State, c OfferTransfer) ([]Event, error) {
	switch {
	case !s.isOf(c.Device, c.By):
		return nil, ErrNotFound
	case c.Login == "" || c.Shares != EndShares && c.Shares != KeepShares || !c.Until.After(c.At):
		return nil, ErrBadTransfer
	case c.Holder == c.By:
		return nil, ErrOwnAddress
	case s.Transfer.Waits(c.At):
		return nil, ErrTransferPending
	}
	offer := Transfer{Number: s.Changes + 1, Login: c.Login, Kind: c.Kind, To: c.To, Shares: c.Shares, At: c.At, Until: c.Until}
	e := TransferOffered(s.changed(c.At))
	e.Transfer = offer
	return []Event{e}, nil
}

func endTransfer(s State, c EndTransfer) ([]Event, error) {
	offered := s.Live && s.Device == c.Device && s.Transfer.Number != 0 && (c.Number == 0 || c.Number == s.Transfer.Number)
	switch {
	case !offered || c.By == "":
		return nil, ErrNoTransfer
	case c.Why == Withdrawn && c.By == s.Owner:
	case c.Why == Declined && c.By == s.Owner:
		return nil, ErrNotOffered
	case c.Why == Declined && c.By == c.Holder && c.Number != 0:
	default:
		return nil, ErrNoTransfer
	}
	of := s.changed(c.At)
	return []Event{TransferEnded{
		Device: of.Device, Serial: of.Serial, Generation: of.Generation, Change: of.Change, Owner: of.Owner, Name: of.Name, Channels: of.Channels,
		Model: of.Model, Firmware: of.Firmware, ProvenAt: of.ProvenAt, AddedAt: of.AddedAt, At: of.At, Login: s.Transfer.Login, Number: s.Transfer.Number, Why: c.Why,
	}}, nil
}

// acceptTransfer ends the old owner's generation of the device and begins the new owner's,
// in one append: there is no moment with two owners. The old id grants nothing to anybody
// any more.
func acceptTransfer(s State, c AcceptTransfer) ([]Event, error) {
	t := s.Transfer
	switch {
	case !s.Live || s.Device != c.Device || t.Number == 0 || t.Number != c.Number:
		return nil, ErrNoTransfer
	case c.By == "" || c.By != c.Holder || c.By == s.Owner:
		return nil, ErrNoTransfer
	case c.Outdated: // whoever knew the password before may have offered it
		return nil, ErrNoTransfer
	case !t.Waits(c.At):
		return nil, ErrTransferExpired
	}
	return s.handOver(handover{To: c.By, How: ByTransfer, Shares: t.Shares, Name: c.Name, Names: c.Channels, Facts: s.Facts, At: c.At}), nil
}

func reclaim(s State, c Reclaim) ([]Event, error) {
	if !s.isOf(c.Device, c.From) || c.Add.Owner == "" || c.Add.Owner == s.Owner {
		return nil, ErrNotFound
	}
	if serial, _ := SerialOf(s.Device); c.Add.Serial != serial || !c.Add.Facts.Proven() {
		return nil, ErrNotFound
	}
	channels, err := checkChannels(c.Add.Channels)
	if err != nil {
		return nil, err
	}
	s.Channels = channels
	names := make([]ChannelName, len(channels))
	for i, ch := range channels {
		names[i] = ChannelName{ch.Channel, ch.Name}
	}
	return s.handOver(handover{To: c.Add.Owner, How: ByReclaim, Shares: EndShares, Name: c.Add.Name, Names: names, Facts: c.Add.Facts, At: c.Add.At}), nil
}

// handover is what handing a device over needs to know.
type handover struct {
	To     string // account
	How    Handover
	Shares Shares
	Name   string // sealed for the new owner
	Names  []ChannelName
	Facts  Facts
	At     time.Time
}

func (s State) handOver(h handover) []Event {
	serial, _ := SerialOf(s.Device)
	next := ID(serial, s.Generation+1)
	channels := slices.Clone(s.Channels)
	for i := range channels {
		channels[i].Name = ""
		for _, n := range h.Names {
			if n.Channel == channels[i].Channel {
				channels[i].Name = n.Name
			}
		}
	}
	return []Event{
		Removed{Device: s.Device, Owner: s.Owner, At: h.At, How: h.How, To: h.To, Next: next, Shares: h.Shares, Transfer: s.Transfer.Number},
		Added{
			Device: next, Serial: s.Serial, Generation: s.Generation + 1, Owner: h.To, Name: h.Name, Channels: channels, At: h.At,
			Model: h.Facts.Model, Firmware: h.Facts.Firmware, ProvenAt: h.Facts.ProvenAt, How: h.How, From: s.Device,
		},
	}
}

// changed returns the device as an event that changes it says it.
func (s State) changed(at time.Time) Renamed {
	return Renamed{
		Device: s.Device, Serial: s.Serial, Generation: s.Generation, Change: s.Changes + 1, Owner: s.Owner, Name: s.Name, Channels: slices.Clone(s.Channels),
		Model: s.Facts.Model, Firmware: s.Facts.Firmware, ProvenAt: s.Facts.ProvenAt, AddedAt: s.AddedAt, At: at, Transfer: s.Transfer,
	}
}

package device

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

const bobsLogin = "00112233445566778899aabbccddeeff"

var (
	week  = later.Add(7 * 24 * time.Hour)
	offer = Transfer{Number: 1, Login: bobsLogin, Kind: "email", To: "sealed bob", Shares: KeepShares, At: later, Until: week}
)

func offered(t Transfer) TransferOffered {
	e := TransferOffered(renamed(t.Number, "sealed name", "sealed"))
	e.Transfer = t
	return e
}

func endedBy(why Ending) TransferEnded {
	return TransferEnded{Device: "ds-1", Serial: "ds-1", Generation: 1, Change: 2, Owner: "alice", Name: "sealed name", AddedAt: noon, At: later,
		Channels: one, Login: bobsLogin, Number: 1, Why: why}
}

// TestTransfers is about offers, by Given, When and Then.
func TestTransfers(t *testing.T) {
	live := []Event{added("ds-1", 1, "alice", noon)}
	waits := append(append([]Event(nil), live...), offered(offer))
	withdrawn := append(append([]Event(nil), waits...), endedBy(Withdrawn))
	renamedAfter := append(append([]Event(nil), waits...), func() Event { e := renamed(2, "new", "sealed"); e.Transfer = offer; return e }())
	taken := append(append([]Event(nil), waits...),
		Removed{Device: "ds-1", Owner: "alice", At: later, How: ByTransfer, To: "bob", Next: "ds-1.2", Shares: KeepShares, Transfer: 1},
		Added{Device: "ds-1.2", Serial: "ds-1", Generation: 2, Owner: "bob", Name: "bob's", Channels: one, At: later, How: ByTransfer, From: "ds-1"})
	offers := func(change func(*OfferTransfer)) OfferTransfer {
		c := OfferTransfer{Device: "ds-1", By: "alice", Holder: "bob", Login: bobsLogin, Kind: "email", To: "sealed bob", Shares: KeepShares, At: later, Until: week}
		change(&c)
		return c
	}
	accepts := func(change func(*AcceptTransfer)) AcceptTransfer {
		c := AcceptTransfer{Device: "ds-1", Number: 1, By: "bob", Holder: "bob", Name: "bob's", Channels: []ChannelName{{1, "gate"}}, At: later}
		change(&c)
		return c
	}
	gate := []Channel{{Channel: 1, Name: "gate", Capabilities: privilege.All}}
	handedOver := []Event{
		Removed{Device: "ds-1", Owner: "alice", At: later, How: ByTransfer, To: "bob", Next: "ds-1.2", Shares: KeepShares, Transfer: 1},
		Added{Device: "ds-1.2", Serial: "ds-1", Generation: 2, Owner: "bob", Name: "bob's", Channels: gate, At: later, How: ByTransfer, From: "ds-1"},
	}
	end := func(why Ending, number int, by, holder string) EndTransfer {
		return EndTransfer{Why: why, Device: "ds-1", Number: number, By: by, Holder: holder, At: later}
	}
	for _, sc := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"offers", live, offers(func(*OfferTransfer) {}), []Event{offered(offer)}, nil},
		{"offers to an address that nobody holds", live, offers(func(c *OfferTransfer) { c.Holder = "" }), []Event{offered(offer)}, nil},
		{"refuses to offer another's", live, offers(func(c *OfferTransfer) { c.By = "bob" }), nil, ErrNotFound},
		{"refuses to offer what was removed", taken, offers(func(*OfferTransfer) {}), nil, ErrNotFound},
		{"refuses one's own address", live, offers(func(c *OfferTransfer) { c.Holder = "alice" }), nil, ErrOwnAddress},
		{"refuses no address", live, offers(func(c *OfferTransfer) { c.Login = "" }), nil, ErrBadTransfer},
		{"refuses without a choice", live, offers(func(c *OfferTransfer) { c.Shares = "" }), nil, ErrBadTransfer},
		{"refuses an offer that is over", live, offers(func(c *OfferTransfer) { c.Until = later }), nil, ErrBadTransfer},
		{"refuses a second offer", waits, offers(func(*OfferTransfer) {}), nil, ErrTransferPending},
		{"offers again once it has lapsed", waits, offers(func(c *OfferTransfer) { c.At, c.Until = week, week.Add(time.Hour) }),
			[]Event{func() Event {
				e := offered(Transfer{Number: 2, Login: bobsLogin, Kind: "email", To: "sealed bob", Shares: KeepShares, At: week, Until: week.Add(time.Hour)})
				e.At = week
				return e
			}()}, nil},

		{"hands over", waits, accepts(func(*AcceptTransfer) {}), handedOver, nil},
		{"hands over what was renamed meanwhile", renamedAfter, accepts(func(*AcceptTransfer) {}), handedOver, nil},
		{"refuses whom it was not offered to", waits, accepts(func(c *AcceptTransfer) { c.By = "carol" }), nil, ErrNoTransfer},
		{"refuses nobody", waits, accepts(func(c *AcceptTransfer) { c.By, c.Holder = "", "" }), nil, ErrNoTransfer},
		{"refuses the owner, who has the address meanwhile", waits, accepts(func(c *AcceptTransfer) { c.By, c.Holder = "alice", "alice" }), nil, ErrNoTransfer},
		{"refuses an offer of before a change of password", waits, accepts(func(c *AcceptTransfer) { c.Outdated = true }), nil, ErrNoTransfer},
		{"refuses another number", waits, accepts(func(c *AcceptTransfer) { c.Number = 2 }), nil, ErrNoTransfer},
		{"refuses no number", live, accepts(func(c *AcceptTransfer) { c.Number = 0 }), nil, ErrNoTransfer},
		{"refuses at the end", waits, accepts(func(c *AcceptTransfer) { c.At = week }), nil, ErrTransferExpired},
		{"hands over just before the end", waits[:2], accepts(func(c *AcceptTransfer) { c.At = week.Add(-1) }), func() []Event {
			at := week.Add(-1)
			gone, got := handedOver[0].(Removed), handedOver[1].(Added)
			gone.At, got.At = at, at
			return []Event{gone, got}
		}(), nil},
		{"refuses what was withdrawn", withdrawn, accepts(func(*AcceptTransfer) {}), nil, ErrNoTransfer},
		{"refuses what was removed", append(append([]Event(nil), waits...), Removed{Device: "ds-1", Owner: "alice", At: later, Transfer: 1}), accepts(func(*AcceptTransfer) {}), nil, ErrNoTransfer},
		{"refuses a second acceptance", taken, accepts(func(*AcceptTransfer) {}), nil, ErrNoTransfer},

		{"the owner withdraws", waits, end(Withdrawn, 0, "alice", ""), []Event{endedBy(Withdrawn)}, nil},
		{"the owner withdraws exactly that one", waits, end(Withdrawn, 1, "alice", ""), []Event{endedBy(Withdrawn)}, nil},
		{"the owner does not withdraw another one", waits, end(Withdrawn, 2, "alice", ""), nil, ErrNoTransfer},
		{"the owner does not decline", waits, end(Declined, 1, "alice", "bob"), nil, ErrNotOffered},
		{"the owner does not decline what was withdrawn", withdrawn, end(Declined, 1, "alice", "bob"), nil, ErrNoTransfer},
		{"the owner, who has the address meanwhile, does not decline", waits, end(Declined, 1, "alice", "alice"), nil, ErrNotOffered},
		{"the addressee does not withdraw", waits, end(Withdrawn, 1, "bob", "bob"), nil, ErrNoTransfer},
		{"it does not end without a reason", waits, end("", 1, "alice", ""), nil, ErrNoTransfer},
		{"the addressee declines", waits, end(Declined, 1, "bob", "bob"), []Event{endedBy(Declined)}, nil},
		{"nobody else ends it", waits, end(Declined, 1, "carol", "bob"), nil, ErrNoTransfer},
		{"the addressee does not end another one", waits, end(Declined, 2, "bob", "bob"), nil, ErrNoTransfer},
		{"there is nothing to withdraw", live, end(Withdrawn, 0, "alice", ""), nil, ErrNoTransfer},
		{"it ends once", withdrawn, end(Withdrawn, 0, "alice", ""), nil, ErrNoTransfer},
		{"goes to who has reclaimed it", waits, Reclaim{Device: "ds-1", From: "alice", Add: Add{Serial: "ds-1", Owner: "bob", Name: "bob's", Channels: gate, Facts: said, At: later}}, []Event{
			Removed{Device: "ds-1", Owner: "alice", At: later, How: ByReclaim, To: "bob", Next: "ds-1.2", Shares: EndShares, Transfer: 1},
			Added{Device: "ds-1.2", Serial: "ds-1", Generation: 2, Owner: "bob", Name: "bob's", Channels: gate, At: later, How: ByReclaim, From: "ds-1", Model: "M", Firmware: "V1", ProvenAt: noon},
		}, nil},
		{"is not reclaimed without a proof", live, Reclaim{Device: "ds-1", From: "alice", Add: Add{Serial: "ds-1", Owner: "bob", Channels: gate, At: later}}, nil, ErrNotFound},
		{"is not reclaimed as another", live, Reclaim{Device: "ds-1", From: "alice", Add: Add{Serial: "ds-2", Owner: "bob", Channels: gate, Facts: said, At: later}}, nil, ErrNotFound},
		{"is not reclaimed from another owner", taken, Reclaim{Device: "ds-1", From: "alice", Add: Add{Serial: "ds-1", Owner: "carol", Channels: gate, Facts: said, At: later}}, nil, ErrNotFound},
		{"is not reclaimed from oneself", live, Reclaim{Device: "ds-1", From: "alice", Add: Add{Serial: "ds-1", Owner: "alice", Channels: gate, Facts: said, At: later}}, nil, ErrNotFound},
		{"removing the device ends it", waits, Remove{Device: "ds-1", By: "alice", At: later}, []Event{Removed{Device: "ds-1", Owner: "alice", At: later, Transfer: 1}}, nil},
	} {
		t.Run(sc.name, func(t *testing.T) {
			got, err := Decide(replay(sc.given), sc.when)
			if !errors.Is(err, sc.err) || !reflect.DeepEqual(got, sc.then) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, sc.then, sc.err)
			}
		})
	}
}

// TestAnOfferSurvivesAChange: the last event alone says what is offered.
func TestAnOfferSurvivesAChange(t *testing.T) {
	history := []Event{added("ds-1", 1, "alice", noon), offered(offer)}
	for _, c := range []Command{
		Rename{Device: "ds-1", By: "alice", Name: "new name", At: later}, NoteFacts{Device: "ds-1", By: "alice", Facts: said, At: later},
		EndTransfer{Why: Withdrawn, Device: "ds-1", By: "alice", At: later},
	} {
		events, err := Decide(replay(history), c)
		if err != nil || len(events) != 1 {
			t.Fatal(events, err)
		}
		history = append(history, events...)
		whole, last := replay(history), Last(history[len(history)-1])
		if !reflect.DeepEqual(last, whole) {
			t.Errorf("after %T: %+v, want %+v", events[0], last, whole)
		}
		if _, ends := c.(EndTransfer); ends != (last.Transfer.Number == 0) {
			t.Errorf("after %T the offer is %+v", events[0], last.Transfer)
		}
	}
}

func TestTransferIDs(t *testing.T) {
	for _, want := range []struct {
		device string
		number int
	}{{"ds-1", 1}, {"ds-1.2", 12}, {"cam-aaaaaaaaaa.10", 999}} {
		if device, number, ok := ParseTransfer(TransferID(want.device, want.number)); !ok || device != want.device || number != want.number {
			t.Errorf("%v: %s, %d, %v", want, device, number, ok)
		}
	}
	for _, id := range []string{"", "ds-1", "ds-1~", "ds-1~0", "ds-1~-1", "ds-1~01", "ds-1~1~1", "~1", "DS-1~1", "ds-1~99999999999999999999", "ds-1~+1"} {
		if _, _, ok := ParseTransfer(id); ok {
			t.Errorf("%q is the id of an offer", id)
		}
	}
}

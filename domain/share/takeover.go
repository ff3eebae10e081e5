package share

import (
	"time"

	"latchkey/domain/privilege"
)

// TakeOver puts a device that was handed over to another account into a share of its new
// owner, as it was in the share of the one before: with the same grants, paused if it was,
// accepted if it was. It is issued by a policy, not by a person. The remark of the owner
// before is theirs and stays behind.
type TakeOver struct {
	Share     string
	From      string // the share of the owner before
	By        string // the new owner
	Holder    string // the account that holds the recipient's login, "" for none
	Login     string
	Kind      string
	Recipient string // sealed
	Device    string // its new id
	Grants    []Grant
	Terms     privilege.Terms // of the device
	Paused    bool
	Account   string // that had accepted it, "" if none had
	Facts     Facts
	At        time.Time
}

func (TakeOver) shareCommand() {}

// takeOver changes nothing if the device was in the share before, whatever became of it:
// the policy may be repeated, and must not offer again what was taken away since.
func takeOver(s State, c TakeOver) ([]Event, error) {
	if c.By == "" || c.Share != ID(c.By, c.Login) || s.ID != "" && s.ID != c.Share {
		return nil, ErrNotOwner
	}
	if _, known := s.Find(c.Device); known || c.Holder == c.By || c.Account == c.By {
		return nil, nil
	}
	grants, err := checkGrants(c.By, Device{}, Offer{Device: c.Device, Grants: c.Grants, Facts: c.Facts})
	if err != nil {
		return nil, err
	}
	var events []Event
	after := s
	add := func(e Event) {
		events = append(events, e)
		after = Evolve(after, e)
	}
	if !s.Live {
		add(Opened{Share: c.Share, Owner: c.By, Login: c.Login, Kind: c.Kind, Recipient: c.Recipient, At: c.At})
	}
	add(Invited{Share: c.Share, Owner: c.By, Login: c.Login, Device: c.Device, Grants: grants, Terms: c.Terms, At: c.At, From: c.From})
	if c.Paused { // before it is accepted: it is in force at no time
		add(Paused{Share: c.Share, Owner: c.By, Login: c.Login, Device: c.Device, Given: after.given(func(d Device) bool { return d.Device == c.Device }), At: c.At})
	}
	if c.Account != "" && c.Account == c.Holder {
		d, _ := after.Find(c.Device)
		add(Accepted{
			Share: c.Share, Owner: c.By, Login: c.Login, Account: c.Account, Device: c.Device, Grants: grants, Paused: after.Held(d), At: c.At,
			ShareTerms: after.Terms, Terms: c.Terms, From: c.From,
		})
	}
	return bounded(s, events)
}

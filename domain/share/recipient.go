package share

import (
	"regexp"
	"slices"
	"strings"
)

// byRecipient refuses all accounts but the holder of the login.
func byRecipient(by, holder string) error {
	if by == "" || by != holder {
		return ErrNotRecipient
	}
	return nil
}

func accept(s State, c Accept) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status == StatusAccepted && d.Account == c.By:
		return nil, nil
	case d.Status != StatusInvited:
		return nil, ErrNotInvited
	}
	grants, err := checkGrants(s.Owner, Device{}, Offer{Device: c.Device, Grants: d.Grants, Facts: c.Facts})
	if err != nil {
		return nil, err
	}
	return []Event{Accepted{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: c.By,
		Device: c.Device, Grants: grants, Paused: s.Held(d), At: c.At,
		ShareTerms: s.Terms, Terms: d.Terms,
	}}, nil
}

func reject(s State, c Reject) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status == StatusRejected:
		return nil, nil
	case !d.waitsOrIs(c.By):
		return nil, ErrNotInvited
	}
	return []Event{Rejected{Share: s.ID, Owner: s.Owner, Login: s.Login, Account: c.By, Device: c.Device, At: c.At, Unaccepted: d.Status == StatusInvited}}, nil
}

// waitsOrIs reports whether a device waits for the recipient's decision, or is accepted by
// this account. What another account has accepted, before it lost the address, is none of
// this one's.
func (d Device) waitsOrIs(account string) bool {
	return d.Status == StatusInvited || d.Status == StatusAccepted && d.Account == account
}

func giveUp(s State, c GiveUp) (events []Event) {
	if !s.Live || c.Account == "" {
		return nil
	}
	for _, d := range s.Devices {
		if d.Status == StatusAccepted && d.Account == c.Account && (c.Device == "" || c.Device == d.Device) {
			events = append(events, Left{Share: s.ID, Owner: s.Owner, Login: s.Login, Account: c.Account, Device: d.Device, At: c.At})
		}
	}
	return events
}

func restate(s State, c Restate) []Event {
	d, ok := s.Find(c.Device)
	if !ok || !s.Live || d.Status != StatusAccepted || d.Account != c.Account {
		return nil
	}
	events := []Event{PrivilegesEdited{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.Account, Device: d.Device, Grants: d.Grants, Paused: s.Held(d), At: c.At,
		ShareTerms: s.Terms, Terms: d.Terms, AcceptedAt: s.acceptedAt(d),
	}}
	if d.Domain != "" {
		events = append(events, DomainSet{Share: s.ID, Owner: s.Owner, Account: d.Account, Device: d.Device, Domain: d.Domain, At: c.At})
	}
	return events
}

// ConcernsRecipient reports whether the share is any of an account's that has the address
// now. A life of the share that only an earlier holder of the address has answered is not.
func (s State) ConcernsRecipient(account string) bool {
	others := false
	for _, d := range s.Devices {
		if d.waitsOrIs(account) || d.AnsweredBy == account {
			return true
		}
		others = others || d.AnsweredBy != ""
	}
	return !others
}

// ForRecipient returns the share without devices that only an earlier holder of the address
// has answered.
func (s State) ForRecipient(account string) State {
	s.Devices = slices.DeleteFunc(slices.Clone(s.Devices), func(d Device) bool {
		return !d.waitsOrIs(account) && d.AnsweredBy != "" && d.AnsweredBy != account
	})
	return s
}

func leave(s State, c Leave) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	var events []Event
	for _, d := range s.Devices {
		if d.waitsOrIs(c.By) && (c.Device == "" || c.Device == d.Device) {
			events = append(events, Left{Share: s.ID, Owner: s.Owner, Login: s.Login, Account: c.By, Device: d.Device, At: c.At, Unaccepted: d.Status == StatusInvited})
		}
	}
	if c.Device != "" && len(events) == 0 {
		return nil, ErrNotInShare
	}
	return events, nil
}

var domainPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// generatedPrefix is the start of the ids of devices without a serial; no domain may look
// like one.
const generatedPrefix = "cam-"

// ValidDomain reports whether a device domain is well-formed: 1 to 32 lower-case letters,
// digits and hyphens, not starting with a hyphen, and not looking like a device id.
func ValidDomain(domain string) bool {
	return domainPattern.MatchString(domain) && !strings.HasPrefix(domain, generatedPrefix)
}

func setDomain(s State, c SetDomain) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status != StatusAccepted || d.Account != c.By:
		return nil, ErrNotAccepted
	case d.Domain == c.Domain:
		return nil, nil
	case c.Domain != "" && (!ValidDomain(c.Domain) || strings.HasSuffix(c.Domain, "-")): // a DNS label (RFC 1123, 2.1); earlier versions took such names
		return nil, ErrBadDomain
	case c.Domain != "" && (c.Taken || s.hasOther(c.Device, c.Domain)):
		return nil, ErrDomainTaken
	}
	return []Event{DomainSet{Share: s.ID, Owner: s.Owner, Account: c.By, Device: c.Device, Domain: c.Domain, At: c.At}}, nil
}

// hasOther reports whether the domain belongs to another of the accepted devices.
func (s State) hasOther(device, domain string) bool {
	return slices.ContainsFunc(s.Devices, func(d Device) bool {
		return d.Status == StatusAccepted && d.Device != device && (d.Domain == domain || d.Device == domain)
	})
}

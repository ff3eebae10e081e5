package share

import (
	"slices"
	"time"
)

func replace(s State, c Replace) ([]Event, error) {
	if err := byOwner(s, c.By); err != nil {
		return nil, err
	}
	if err := distinct(c.Offers); err != nil {
		return nil, err
	}
	var events []Event
	if c.Remark != s.Remark {
		events = append(events, RemarkChanged{Share: s.ID, Owner: s.Owner, Remark: c.Remark, At: c.At})
	}
	changed, err := changeTerms(s, c.Terms, c.At)
	if err != nil {
		return nil, err
	}
	events = append(events, changed...)
	before := s
	if len(changed) > 0 {
		s = Evolve(s, changed[0])
	}
	for _, d := range s.Devices {
		kept := slices.ContainsFunc(c.Offers, func(o Offer) bool { return o.Device == d.Device })
		if d.Listed() && !kept {
			events = append(events, removed(s, d, ByOwner, c.At))
		}
	}
	for _, o := range c.Offers {
		event, err := offer(s, o, c.At)
		if err != nil {
			return nil, err
		}
		events = append(events, event...)
	}
	return bounded(before, events)
}

func putDevice(s State, c PutDevice) ([]Event, error) {
	if err := byOwner(s, c.By); err != nil {
		return nil, err
	}
	events, err := offer(s, c.Offer, c.At)
	if err != nil {
		return nil, err
	}
	return bounded(s, events)
}

func removeDevice(s State, c RemoveDevice) ([]Event, error) {
	if err := byOwner(s, c.By); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	if !ok || !d.Listed() {
		return nil, ErrNotInShare
	}
	return []Event{removed(s, d, ByOwner, c.At)}, nil
}

func deleteShare(s State, c Delete) ([]Event, error) {
	if err := byOwner(s, c.By); err != nil {
		return nil, err
	}
	return end(s, c.At), nil
}

// end ends the life of a share.
func end(s State, at time.Time) (events []Event) {
	for _, d := range s.Devices {
		if d.Active() {
			events = append(events, removed(s, d, ShareDeleted, at))
		}
	}
	return append(events, Deleted{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Kind: s.Kind,
		Recipient: s.Recipient, Remark: s.Remark, At: at,
	})
}

package share

import "time"

// Reapply repeats what a restored log has lost: a device was taken back, or with
// Device "" every device, or with Delete the whole share. Nobody acts. It takes
// away and never gives, and it does nothing if nothing is left to take away.
type Reapply struct {
	Device string
	Delete bool
	At     time.Time
}

func (Reapply) shareCommand() {}

func reapply(s State, c Reapply) []Event {
	if !s.Live {
		return nil
	}
	var events []Event
	for _, d := range s.Devices {
		if d.Active() && (c.Delete || c.Device == "" || c.Device == d.Device) {
			events = append(events, removed(s, d, Restored, c.At))
		}
	}
	if c.Delete {
		events = append(events, Deleted{
			Share: s.ID, Owner: s.Owner, Login: s.Login, Kind: s.Kind,
			Recipient: s.Recipient, Remark: s.Remark, At: c.At,
		})
	}
	return events
}

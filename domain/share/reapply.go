package share

import "time"

// Reapply repeats a revocation that a restored log has lost: of a device, of every device
// with Device "", or of the whole share with Delete. With Pause it pauses the device or
// the share instead. It only revokes, and does nothing if nothing is left to revoke.
type Reapply struct {
	Device string
	Delete bool
	Pause  bool
	At     time.Time
}

func (Reapply) shareCommand() {}

func reapply(s State, c Reapply) []Event {
	if !s.Live {
		return nil
	}
	if c.Pause {
		events, _ := pause(s, Pause{By: s.Owner, Device: c.Device, At: c.At}) // a device that is gone has nothing left
		return events
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

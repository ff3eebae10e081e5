package access

import (
	"cmp"
	"slices"
	"time"

	"latchkey/domain/ids"
)

// Held is a use for which a permit is held.
type Held struct {
	Use
	No    uint64 // grows with each permit, also over restarts
	Since time.Time
}

// listed returns the use of a permit if it carries something to a viewer and was not
// revoked, or else nil.
func (p *Permit) listed() *Held {
	if h := p.issued.Load(); h != nil && h.Transport != "" && p.reason.Load() == nil {
		return h
	}
	return nil
}

// InUse lists the uses of a device for which permits are held that were not revoked, the
// oldest first: those that carry something to a viewer.
func (s *Permits) InUse(device ids.Device) []Held {
	var list []Held
	s.byDevice.of(device, func(p *Permit) {
		if h := p.listed(); h != nil {
			list = append(list, *h)
		}
	})
	slices.SortFunc(list, func(a, b Held) int { return cmp.Compare(a.No, b.No) })
	return list
}

// End revokes the permit of one use of a device that InUse lists, and reports whether it
// was there. Like any revocation it does not wait for what ends.
func (s *Permits) End(device ids.Device, no uint64) bool {
	var found *Permit
	s.byDevice.of(device, func(p *Permit) {
		if h := p.listed(); h != nil && h.No == no {
			found = p
		}
	})
	if found == nil {
		return false
	}
	found.Revoke(Ended)
	return true
}

// InUse lists the uses of a device for which permits are held: see Permits.InUse.
func (x *Index) InUse(device ids.Device) []Held { return x.permits.InUse(device) }

// End ends one use of a device: see Permits.End.
func (x *Index) End(device ids.Device, no uint64) bool { return x.permits.End(device, no) }

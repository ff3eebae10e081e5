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
	No    uint64 // grows with each permit
	Since time.Time
}

// InUse lists the uses of a device for which permits are held that were not revoked, the
// oldest first: those that carry something to a viewer.
func (s *Permits) InUse(device ids.Device) []Held {
	var list []Held
	s.byDevice.of(device, func(p *Permit) {
		if h := p.issued.Load(); h != nil && h.Transport != "" && p.reason.Load() == nil {
			list = append(list, *h)
		}
	})
	slices.SortFunc(list, func(a, b Held) int { return cmp.Compare(a.No, b.No) })
	return list
}

// InUse lists the uses of a device for which permits are held: see Permits.InUse.
func (x *Index) InUse(device ids.Device) []Held { return x.permits.InUse(device) }

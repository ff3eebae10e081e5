package privilege

import "time"

// EndOf returns the first end after a time of what a device of a share gives, or of one
// privilege of it; zero: there is none.
func EndOf(ofShare, ofDevice Terms, grants []Grant, after time.Time) (end time.Time) {
	consider := func(at time.Time) {
		if at.After(after) && (end.IsZero() || at.Before(end)) {
			end = at
		}
	}
	consider(ofShare.Until)
	consider(ofDevice.Until)
	for _, g := range grants {
		for _, l := range g.Limits {
			consider(l.Validity.Until)
		}
	}
	return end
}

// Package notices tells people what happens to their shares: by mail or text message, and
// by webhook.
//
// What follows from an event is kept as notices in the vault, each with an id that follows
// from the event and from whom it is for. They consist of ids: what a notice says, and
// whether there still is something to say, is looked up when it is sent. So a share that
// was withdrawn meanwhile is not told of, and what was muted meanwhile is silent.
package notices

import (
	"time"

	"github.com/google/uuid"

	"latchkey/domain/event"
	"latchkey/domain/request"
	"latchkey/domain/share"
	"latchkey/internal/app"
)

// Events are the types of the events that somebody is sent a notice of.
func Events() []string {
	return []string{
		share.Invited{}.Type(), share.Accepted{}.Type(), share.Rejected{}.Type(), share.Left{}.Type(), share.PrivilegesEdited{}.Type(),
		share.TermsChanged{}.Type(), share.Paused{}.Type(), share.Resumed{}.Type(), share.DeviceRemoved{}.Type(), request.Requested{}.Type(),
	}
}

// concerns returns the notices of an event; one for somebody who is only known by the
// address has no account.
func concerns(e event.Event, cause uuid.UUID, created time.Time) []app.About {
	s := e.Subjects()
	about := app.About{Cause: cause, Share: s.Share, Device: s.Device, At: created}
	toOwner := func(what app.Tiding, own bool) app.About {
		about.Side, about.Tiding, about.Account, about.Own = app.OwnerSide, what, s.Owner, own
		return about
	}
	both := func(what app.Tiding) []app.About {
		if s.Recipient == "" { // it is not accepted: nobody has it
			return nil
		}
		to := about
		to.Side, to.Tiding, to.Account = app.RecipientSide, what, s.Recipient
		return []app.About{to, toOwner(what, true)}
	}
	switch v := e.(type) {
	case share.Invited:
		about.Side, about.Tiding, about.At = app.RecipientSide, app.TidingInvited, v.At
		return []app.About{about}
	case share.Accepted:
		return []app.About{toOwner(app.TidingAccepted, false)}
	case share.Rejected:
		return []app.About{toOwner(app.TidingRejected, false)}
	case share.Left:
		return []app.About{toOwner(app.TidingLeft, false)}
	case share.PrivilegesEdited:
		return both(app.TidingChanged)
	case share.TermsChanged:
		return both(app.TidingTerms)
	case share.Paused:
		return both(app.TidingPaused)
	case share.Resumed:
		return both(app.TidingResumed)
	case share.DeviceRemoved:
		if v.Reason == share.Restored { // it was told before the log was restored
			return nil
		}
		return both(app.TidingEnded)
	case request.Requested:
		if v.Owner == "" {
			return nil
		}
		about = toOwner(app.TidingRequested, false)
		about.Other, about.At = v.Account, v.At
		return []app.About{about}
	}
	return nil
}

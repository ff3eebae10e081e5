package share

import (
	"fmt"
	"slices"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
)

// TermsChanged replaces the terms of the whole share, with immediate effect on the devices
// that are accepted.
type TermsChanged struct {
	Share string          `json:"share"`
	Owner string          `json:"owner"`
	Login string          `json:"login"`
	Terms privilege.Terms `json:"terms,omitzero"` // of the share
	Given []event.Given   `json:"given"`          // the accepted devices
	At    time.Time       `json:"at"`
}

// Type returns the frozen name.
func (TermsChanged) Type() string { return "latchkey.share.terms_changed.v1" }

// Subjects returns whom and what it concerns.
func (e TermsChanged) Subjects() event.Subjects {
	return event.Subjects{Owner: e.Owner, Recipient: recipientOf(e.Given), Login: e.Login, Share: e.Share}
}

// Effect returns what it does to privileges.
func (e TermsChanged) Effect() event.Effect {
	return event.Effect{Kind: event.GrantedEach, Owner: ids.Account(e.Owner), Share: ids.Share(e.Share), Each: e.Given, ShareTerms: e.Terms}
}

// Revokes returns what it takes away: if it is lost, the share is paused until its owner
// has looked at it.
func (e TermsChanged) Revokes() event.Revocation {
	return event.Revocation{Kind: event.SharePaused, Share: e.Share}
}

// Texts returns the event: it has no personal text.
func (e TermsChanged) Texts(event.ChangeText) event.Event { return e }

// Sentence describes what happened.
func (e TermsChanged) Sentence() string {
	words := event.TermsWords(e.Terms)
	if words == "" {
		words = ", without conditions"
	}
	return fmt.Sprintf("owner %s changed the terms of share %s%s%s", e.Owner, e.Share, words, givenWords(e.Given))
}

func (e TermsChanged) apply(s *State) { s.Terms = e.Terms }

// changeTerms returns the events that give the share other terms.
func changeTerms(s State, to *privilege.Terms, at time.Time) ([]Event, error) {
	if to == nil || to.Equal(s.Terms) {
		return nil, nil
	}
	terms := to.UTC()
	if f := terms.Check(s.Terms, at); f != nil {
		return nil, &Fault{Field: "terms." + f.Field, Err: f.Err}
	}
	e := TermsChanged{Share: s.ID, Owner: s.Owner, Login: s.Login, Terms: terms, At: at}
	after := Evolve(s, e)
	e.Given = after.given(func(Device) bool { return true })
	for i := range e.Given {
		d, _ := s.Find(e.Given[i].Device)
		e.Given[i].Paused = s.Held(d)
	}
	return []Event{e}, nil
}

// kept returns an offer with the terms and the limits that it leaves as they are. Of kept
// limits, those remain that concern what is still granted.
func (d Device) kept(o Offer) Offer {
	terms := d.Terms
	if !d.Active() {
		terms = privilege.Terms{}
	}
	if o.Terms != nil {
		terms = o.Terms.UTC()
	}
	o.Terms = &terms
	o.Grants = slices.Clone(o.Grants)
	for i, g := range o.Grants {
		if g.Limits == nil {
			g.Limits = d.limits(g.Channel)
		}
		o.Grants[i].Limits = nil
		for _, l := range g.Limits {
			l.Validity = l.Validity.UTC()
			if given := g.Privileges & l.Privileges; !d.hasLimit(g.Channel, l) {
				o.Grants[i].Limits = append(o.Grants[i].Limits, l)
			} else if given != privilege.None {
				l.Privileges = given
				o.Grants[i].Limits = append(o.Grants[i].Limits, l)
			}
		}
	}
	return o
}

// limits are those of a channel.
func (d Device) limits(channel int) []privilege.Limit {
	for _, g := range d.Grants {
		if g.Channel == channel {
			return g.Limits
		}
	}
	return nil
}

// hasLimit reports whether a channel has exactly this limit.
func (d Device) hasLimit(channel int, l privilege.Limit) bool {
	return slices.ContainsFunc(d.limits(channel), l.Equal)
}

// checkTerms refuses terms and limits that cannot be set now. What is there already is
// fine, even if it has ended.
func checkTerms(was Device, o Offer, at time.Time) error {
	if !o.Terms.Equal(was.Terms) {
		if f := o.Terms.Check(was.Terms, at); f != nil {
			return &Fault{Device: o.Device, Field: "terms." + f.Field, Err: f.Err}
		}
	}
	for _, g := range o.Grants {
		if was.grants(g) {
			continue
		}
		if f := g.CheckLimits(was.limits(g.Channel), at); f != nil {
			return &Fault{Device: o.Device, Channel: g.Channel, Field: f.Field, Err: f.Err}
		}
	}
	return nil
}

// grants reports whether the device has exactly this grant.
func (d Device) grants(g Grant) bool {
	for _, is := range d.Grants {
		if is.Channel == g.Channel {
			return is.Equal(g)
		}
	}
	return false
}

// acceptedAt is when the device was accepted, if its terms or the share's depend on it.
func (s State) acceptedAt(d Device) time.Time {
	if d.Status == StatusAccepted && (s.Terms.Playback.SinceAcceptance || d.Terms.Playback.SinceAcceptance) {
		return d.AnsweredAt
	}
	return time.Time{}
}

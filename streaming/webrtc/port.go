package webrtc

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/upstream"
)

// Access issues the permits that viewers hold; access.Index implements it.
type Access interface {
	// Acquire returns a permit, or the verdict that refuses it. revoked is called when the
	// permit is revoked.
	Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict)
}

// Sessions knows which sessions have not ended.
type Sessions interface {
	Live(ctx context.Context, token string) (bool, error)
}

// Uses records when cameras are used.
type Uses interface {
	// Used is called before the first packet of a viewer, every half minute while it
	// watches, and at its end. It must not block.
	Used(use access.Use, at time.Time)
}

// Use is who wants to watch what.
type Use struct {
	Account ids.Account
	Session string     // token of the login session; the viewer ends with it
	Address netip.Addr // from where the offer came; may be the zero value
	Device  ids.Device
	Channel int
	Quality upstream.Quality

	talk bool // not watch
}

// The names of what viewers do, in lists of uses.
const (
	transport     = "webrtc"
	talkTransport = "webrtc-talk"
)

func (u Use) access() access.Use {
	use := access.Use{
		Subject: access.Subject{Account: u.Account}, Device: u.Device, Channel: u.Channel, Privilege: privilege.LiveView,
		Transport: transport, Address: u.Address,
	}
	if u.talk {
		use.Privilege, use.Transport = privilege.TwoWayAudio, talkTransport
	}
	return use
}

// Answer is what a viewer gets for its offer.
type Answer struct {
	ID  string // of the viewer, for End
	SDP []byte
}

// Denied is the verdict that refuses a viewer.
type Denied struct{ Verdict access.Verdict }

// Error names the verdict.
func (d *Denied) Error() string { return "watching by WebRTC is refused: " + d.Verdict.String() }

// OfferError is why an offer is refused, in words for the author of the player.
type OfferError struct{ Reason string }

// Error returns the reason.
func (e *OfferError) Error() string { return "reading an offer: " + e.Reason }

// UnplayableError is why WebRTC cannot carry a stream to this viewer.
type UnplayableError struct {
	Codec   string // of the video: H264, H265, ...; "": there is none
	BFrames bool   // it has them
}

// Error names the reason.
func (e *UnplayableError) Error() string {
	switch {
	case e.BFrames:
		return "the stream has B-frames"
	case e.Codec == "":
		return "the stream has no video"
	}
	return "the viewer does not take " + e.Codec
}

// The other errors of Door. Start also fails as upstream.Pool.Acquire does.
var (
	// ErrTooMany: the account or the address has as many viewers as it may.
	ErrTooMany = errors.New("too many viewers")
	// ErrFull: the door has as many viewers as it may, or is closing.
	ErrFull = errors.New("no viewer is admitted now")
	// ErrNoViewer: there is no such viewer of the account.
	ErrNoViewer = errors.New("there is no such viewer")
)

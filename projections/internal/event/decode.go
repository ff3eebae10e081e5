// Package event reads stored events for the read models and the privilege
// index: it decodes them quickly, and says what an event does to privileges, so
// that the table and the index cannot differ about it. It stores nothing.
package event

import (
	"errors"
	"strings"
	"sync"
	"time"

	"latchkey/domain"
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// The names of the events that are read here; they are frozen in the log.
const (
	LoginClaimed     = "latchkey.login.claimed.v1"
	Registered       = "latchkey.account.registered.v1"
	StreamKeyAdded   = "latchkey.stream_key.added.v1"
	StreamKeyRevoked = "latchkey.stream_key.revoked.v1"
	DeviceAdded      = "latchkey.device.added.v1"
	DeviceRemoved    = "latchkey.device.removed.v1"
	ShareOpened      = "latchkey.share.opened.v1"
	RemarkChanged    = "latchkey.share.remark_changed.v1"
	Invited          = "latchkey.share.invited.v1"
	Accepted         = "latchkey.share.accepted.v1"
	Rejected         = "latchkey.share.rejected.v1"
	PrivilegesEdited = "latchkey.share.privileges_edited.v1"
	TakenOut         = "latchkey.share.device_removed.v1"
	Left             = "latchkey.share.left.v1"
	DomainSet        = "latchkey.share.domain_set.v1"
	ShareDeleted     = "latchkey.share.deleted.v1"
)

// Decode is domain.DecodeEvent, faster for events as domain.EncodeEvent writes
// them: their fields in order, no white space, no escapes. Anything else takes
// the long way, so the answers are the same.
func Decode(name string, data []byte) (any, error) {
	s := scanner{rest: string(data)}
	if v := s.event(name); v != nil && !s.bad && s.rest == "" {
		return v, nil
	}
	return domain.DecodeEvent(name, data)
}

var known sync.Map // name -> bool

// Known reports whether this build has an event of that name, so that a reader
// whom it does not concern may pass over it.
func Known(name string) bool {
	if v, ok := known.Load(name); ok {
		return v.(bool)
	}
	_, err := domain.DecodeEvent(name, nil)
	is := !errors.Is(err, domain.ErrUnknownEvent)
	if is { // the unknown are not remembered: there is no end to them
		known.Store(name, true)
	}
	return is
}

// scanner reads the canonical form from rest. After the first thing that is
// otherwise it is bad, and what it gives means nothing.
type scanner struct {
	rest string
	bad  bool
}

// event reads the fields in the order of the Go types; a composite literal
// calls its functions from left to right.
func (s *scanner) event(name string) any {
	switch name {
	case LoginClaimed:
		return account.LoginClaimed{Login: s.text(`{"login":`), Account: s.text(`,"account":`), At: s.at()}
	case Registered:
		return account.Registered{Account: s.text(`{"account":`), Login: s.text(`,"login":`), Kind: s.text(`,"kind":`),
			Address: s.text(`,"address":`), Name: s.text(`,"name":`), At: s.at()}
	case StreamKeyAdded:
		return account.StreamKeyAdded{Account: s.text(`{"account":`), Key: s.text(`,"key":`), Label: s.optional(`,"label":`),
			Device: s.optional(`,"device":`), Expires: s.optionalTime(`,"expires":`), At: s.at()}
	case StreamKeyRevoked:
		return account.StreamKeyRevoked{Account: s.text(`{"account":`), Key: s.text(`,"key":`), At: s.at()}
	case DeviceAdded:
		return device.Added{Device: s.text(`{"device":`), Serial: s.text(`,"serial":`), Generation: s.numberAt(`,"generation":`),
			Owner: s.text(`,"owner":`), Name: s.text(`,"name":`), Channels: s.channels(), At: s.at()}
	case DeviceRemoved:
		return device.Removed{Device: s.text(`{"device":`), Owner: s.text(`,"owner":`), At: s.at()}
	case ShareOpened:
		return share.Opened{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`), Kind: s.text(`,"kind":`),
			Recipient: s.text(`,"recipient":`), Remark: s.text(`,"remark":`), At: s.at()}
	case RemarkChanged:
		return share.RemarkChanged{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Remark: s.text(`,"remark":`), At: s.at()}
	case Invited:
		return share.Invited{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`),
			Device: s.text(`,"device":`), Grants: s.grants(), At: s.at()}
	case Accepted:
		return share.Accepted{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`),
			Account: s.text(`,"account":`), Device: s.text(`,"device":`), Grants: s.grants(), At: s.at()}
	case Rejected:
		return share.Rejected{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`),
			Account: s.text(`,"account":`), Device: s.text(`,"device":`), At: s.at()}
	case PrivilegesEdited:
		return share.PrivilegesEdited{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`),
			Account: s.optional(`,"account":`), Device: s.text(`,"device":`), Grants: s.grants(), At: s.at()}
	case TakenOut:
		return share.DeviceRemoved{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`),
			Account: s.optional(`,"account":`), Device: s.text(`,"device":`), Reason: share.Reason(s.text(`,"reason":`)), At: s.at()}
	case Left:
		return share.Left{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`),
			Account: s.text(`,"account":`), Device: s.text(`,"device":`), At: s.at()}
	case DomainSet:
		return share.DomainSet{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Account: s.text(`,"account":`),
			Device: s.text(`,"device":`), Domain: s.text(`,"domain":`), At: s.at()}
	case ShareDeleted:
		return share.Deleted{Share: s.text(`{"share":`), Owner: s.text(`,"owner":`), Login: s.text(`,"login":`), Kind: s.text(`,"kind":`),
			Recipient: s.text(`,"recipient":`), Remark: s.text(`,"remark":`), At: s.at()}
	}
	return nil // not ours: the long way
}

// take reports whether the prefix came, and passes it.
func (s *scanner) take(prefix string) bool {
	rest, ok := strings.CutPrefix(s.rest, prefix)
	s.rest = rest
	return ok
}

func (s *scanner) need(prefix string) {
	if !s.take(prefix) {
		s.bad = true
	}
}

// text reads the string behind the prefix.
func (s *scanner) text(prefix string) string {
	s.need(prefix)
	return s.quoted()
}

func (s *scanner) optional(prefix string) string {
	if !s.take(prefix) {
		return ""
	}
	return s.quoted()
}

// quoted reads a string of printable ASCII without escapes.
func (s *scanner) quoted() string {
	s.need(`"`)
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			v := s.rest[:i]
			s.rest = s.rest[i+1:]
			return v
		case c == '\\' || c < ' ' || c > '~':
			s.bad = true
			return ""
		}
	}
	s.bad = true
	return ""
}

// at reads the last field.
func (s *scanner) at() time.Time {
	s.need(`,"at":`)
	t := s.time()
	s.need(`}`)
	return t
}

func (s *scanner) optionalTime(prefix string) time.Time {
	if !s.take(prefix) {
		return time.Time{}
	}
	return s.time()
}

func (s *scanner) time() time.Time {
	var t time.Time
	if v := s.quoted(); s.bad || t.UnmarshalText([]byte(v)) != nil {
		s.bad = true
		return time.Time{}
	}
	return t
}

func (s *scanner) grants() []share.Grant {
	s.need(`,"grants":[`)
	list := make([]share.Grant, 0, 1)
	for more := !s.take(`]`); more && !s.bad; more = s.more() {
		g := share.Grant{Channel: s.numberAt(`{"channel":`)}
		s.need(`,"privileges":[`)
		g.Privileges = s.set()
		s.need(`}`)
		list = append(list, g)
	}
	return list
}

func (s *scanner) channels() []device.Channel {
	s.need(`,"channels":[`)
	list := make([]device.Channel, 0, 1)
	for more := !s.take(`]`); more && !s.bad; more = s.more() {
		c := device.Channel{Channel: s.numberAt(`{"channel":`), Name: s.optional(`,"name":`)}
		s.need(`,"capabilities":[`)
		c.Capabilities = s.set()
		s.need(`}`)
		list = append(list, c)
	}
	return list
}

// more reports whether another element of the list follows.
func (s *scanner) more() bool {
	if s.take(`,`) {
		return true
	}
	s.need(`]`)
	return false
}

func (s *scanner) numberAt(prefix string) int {
	s.need(prefix)
	return s.number()
}

// number reads 0 to 9999 without leading zeros.
func (s *scanner) number() int {
	n, i := 0, 0
	for ; i < len(s.rest) && i < 5 && s.rest[i] >= '0' && s.rest[i] <= '9'; i++ {
		n = 10*n + int(s.rest[i]-'0')
	}
	if i == 0 || i == 5 || i > 1 && s.rest[0] == '0' {
		s.bad = true
		return 0
	}
	s.rest = s.rest[i:]
	return n
}

func (s *scanner) set() privilege.Set {
	var set privilege.Set
	for more := !s.take(`]`); more && !s.bad; more = s.more() {
		p := single(s.quoted())
		if p == privilege.None || set.Has(p) {
			s.bad = true
		}
		set |= p
	}
	return set
}

func single(name string) privilege.Set {
	switch name {
	case "live_view":
		return privilege.LiveView
	case "playback":
		return privilege.Playback
	case "alarm":
		return privilege.Alarm
	case "two_way_audio":
		return privilege.TwoWayAudio
	case "ptz":
		return privilege.PTZ
	}
	return privilege.None
}

package share

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"latchkey/domain/privilege"
)

const (
	// MaxChannel is the highest channel number; the lowest is 1.
	MaxChannel = privilege.MaxChannel
	// MaxDevices is how many devices of a share may be invited or accepted.
	MaxDevices = 256
	// MaxListed is how many devices a share may list, with those that were
	// rejected or left.
	MaxListed = 2 * MaxDevices
)

// Why a command is refused.
var (
	ErrNotFound         = errors.New("there is no such share")
	ErrNotOwner         = errors.New("only the owner of the share may do this")
	ErrNotRecipient     = errors.New("only the recipient of the share may do this")
	ErrOwnLogin         = errors.New("nobody shares with an address of their own")
	ErrDeviceNotFound   = errors.New("the owner has no such device")
	ErrDeviceTwice      = errors.New("a device is given twice")
	ErrTooManyDevices   = errors.New("the share has too many devices")
	ErrAlreadyShared    = errors.New("the device is already shared with this recipient")
	ErrNotInShare       = errors.New("the device is not in the share")
	ErrNotInvited       = errors.New("the device is not offered any more")
	ErrNotAccepted      = errors.New("the device has not been accepted")
	ErrNoChannels       = errors.New("no channel is given")
	ErrChannelTwice     = errors.New("a channel is given twice")
	ErrUnknownChannel   = errors.New("the device has no such channel")
	ErrBeyondCapability = errors.New("a privilege is beyond what the channel can do")
	ErrBadDomain        = errors.New("not a valid device domain")
	ErrDomainTaken      = errors.New("another device has this domain")
	ErrUnknownCommand   = errors.New("unknown command")
)

// Fault is what is wrong with a device or a channel that a command gives. Err is
// one of the errors above.
type Fault struct {
	Device  string
	Channel int // 0: the device as a whole
	Err     error
}

// Error says where the fault is, and what it is.
func (f *Fault) Error() string {
	if f.Channel == 0 {
		return fmt.Sprintf("device %s: %v", f.Device, f.Err)
	}
	return fmt.Sprintf("device %s, channel %d: %v", f.Device, f.Channel, f.Err)
}

// Unwrap is what the fault is.
func (f *Fault) Unwrap() error { return f.Err }

// Decide gives the events of a command, none where it changes nothing. It
// reads nothing but its arguments.
func Decide(s State, command Command) ([]Event, error) {
	switch c := command.(type) {
	case Save:
		return save(s, c)
	case EndDevice:
		return endDevice(s, c), nil
	case Reapply:
		return reapply(s, c), nil
	}
	if !s.Live {
		return nil, ErrNotFound
	}
	switch c := command.(type) {
	case Replace:
		return replace(s, c)
	case PutDevice:
		return putDevice(s, c)
	case RemoveDevice:
		return removeDevice(s, c)
	case Delete:
		return deleteShare(s, c)
	case Accept:
		return accept(s, c)
	case Reject:
		return reject(s, c)
	case Leave:
		return leave(s, c)
	case SetDomain:
		return setDomain(s, c)
	}
	return nil, fmt.Errorf("%w %T", ErrUnknownCommand, command)
}

func save(s State, c Save) ([]Event, error) {
	if c.By == "" || c.Share != ID(c.By, c.Login) || (s.ID != "" && s.ID != c.Share) {
		return nil, ErrNotOwner
	}
	if c.Holder == c.By {
		return nil, ErrOwnLogin
	}
	if err := distinct(c.Offers); err != nil {
		return nil, err
	}
	var events []Event
	switch {
	case !s.Live:
		open := Opened{
			Share: c.Share, Owner: c.By, Login: c.Login, Kind: c.Kind,
			Recipient: c.Recipient, Remark: c.Remark, At: c.At,
		}
		s, events = Evolve(s, open), append(events, open)
	case c.Remark != "" && c.Remark != s.Remark:
		events = append(events, RemarkChanged{Share: s.ID, Owner: s.Owner, Remark: c.Remark, At: c.At})
	}
	for _, o := range c.Offers {
		if d, ok := s.Find(o.Device); ok && d.Active() {
			return nil, &Fault{Device: o.Device, Err: ErrAlreadyShared}
		}
		event, err := invite(s, o, c.At)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return bounded(s, events)
}

// bounded refuses events after which the share would hold too many devices.
func bounded(s State, events []Event) ([]Event, error) {
	invites := false
	for _, e := range events {
		_, invitation := e.(Invited)
		invites = invites || invitation
		s = Evolve(s, e)
	}
	if invites && (s.count(Device.Active) > MaxDevices || s.count(Device.Listed) > MaxListed) {
		return nil, ErrTooManyDevices
	}
	return events, nil
}

func replace(s State, c Replace) ([]Event, error) {
	if c.By != s.Owner {
		return nil, ErrNotOwner
	}
	if err := distinct(c.Offers); err != nil {
		return nil, err
	}
	var events []Event
	if c.Remark != s.Remark {
		events = append(events, RemarkChanged{Share: s.ID, Owner: s.Owner, Remark: c.Remark, At: c.At})
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
	return bounded(s, events)
}

func putDevice(s State, c PutDevice) ([]Event, error) {
	if c.By != s.Owner {
		return nil, ErrNotOwner
	}
	events, err := offer(s, c.Offer, c.At)
	if err != nil {
		return nil, err
	}
	return bounded(s, events)
}

// offer invites the device, or edits the grants where it is invited or
// accepted; nothing where it is as it was, whatever became of the device since.
func offer(s State, o Offer, at time.Time) ([]Event, error) {
	d, ok := s.Find(o.Device)
	if ok && d.is(o.Grants) {
		return nil, nil
	}
	if !ok || !d.Active() {
		event, err := invite(s, o, at)
		if err != nil {
			return nil, err
		}
		return []Event{event}, nil
	}
	grants, err := checkGrants(s.Owner, o)
	if err != nil {
		return nil, err
	}
	return []Event{PrivilegesEdited{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.Account,
		Device: o.Device, Grants: grants, At: at,
	}}, nil
}

func invite(s State, o Offer, at time.Time) (Event, error) {
	grants, err := checkGrants(s.Owner, o)
	if err != nil {
		return nil, err
	}
	return Invited{Share: s.ID, Owner: s.Owner, Login: s.Login, Device: o.Device, Grants: grants, At: at}, nil
}

// checkGrants holds grants against the device as it is now, and gives them in
// the order of the channels.
func checkGrants(owner string, o Offer) ([]Grant, error) {
	if owner == "" || o.Facts.Owner != owner {
		return nil, &Fault{Device: o.Device, Err: ErrDeviceNotFound}
	}
	if len(o.Grants) == 0 {
		return nil, &Fault{Device: o.Device, Err: ErrNoChannels}
	}
	sorted := byChannel(o.Grants)
	for i, g := range sorted {
		var err error
		can, known := o.Facts.Capabilities[g.Channel]
		switch {
		case !known || g.Channel < 1 || g.Channel > MaxChannel:
			err = ErrUnknownChannel
		case i > 0 && sorted[i-1].Channel == g.Channel:
			err = ErrChannelTwice
		case g.Privileges.Without(can) != privilege.None || !g.Privileges.Valid():
			err = ErrBeyondCapability
		}
		if err != nil {
			return nil, &Fault{Device: o.Device, Channel: g.Channel, Err: err}
		}
	}
	return sorted, nil
}

// byChannel returns the grants in the order of the channels.
func byChannel(grants []Grant) []Grant {
	sorted := slices.Clone(grants)
	slices.SortStableFunc(sorted, func(a, b Grant) int { return a.Channel - b.Channel })
	return sorted
}

func distinct(offers []Offer) error {
	seen := make(map[string]bool, len(offers))
	for _, o := range offers {
		if seen[o.Device] {
			return &Fault{Device: o.Device, Err: ErrDeviceTwice}
		}
		seen[o.Device] = true
	}
	return nil
}

func removeDevice(s State, c RemoveDevice) ([]Event, error) {
	if c.By != s.Owner {
		return nil, ErrNotOwner
	}
	d, ok := s.Find(c.Device)
	if !ok || !d.Listed() {
		return nil, ErrNotInShare
	}
	return []Event{removed(s, d, ByOwner, c.At)}, nil
}

func deleteShare(s State, c Delete) ([]Event, error) {
	if c.By != s.Owner {
		return nil, ErrNotOwner
	}
	var events []Event
	for _, d := range s.Devices {
		if d.Active() {
			events = append(events, removed(s, d, ShareDeleted, c.At))
		}
	}
	return append(events, Deleted{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Kind: s.Kind,
		Recipient: s.Recipient, Remark: s.Remark, At: c.At,
	}), nil
}

func endDevice(s State, c EndDevice) []Event {
	d, ok := s.Find(c.Device)
	if !ok || !s.Live || !d.Listed() {
		return nil
	}
	return []Event{removed(s, d, DeviceDeleted, c.At)}
}

func removed(s State, d Device, why Reason, at time.Time) Event {
	return DeviceRemoved{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.Account,
		Device: d.Device, Reason: why, At: at,
	}
}

// byRecipient refuses everybody but the account that holds the login.
func byRecipient(by, holder string) error {
	if by == "" || by != holder {
		return ErrNotRecipient
	}
	return nil
}

func accept(s State, c Accept) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status == StatusAccepted && d.Account == c.By:
		return nil, nil
	case d.Status != StatusInvited:
		return nil, ErrNotInvited
	}
	grants, err := checkGrants(s.Owner, Offer{Device: c.Device, Grants: d.Grants, Facts: c.Facts})
	if err != nil {
		return nil, err
	}
	return []Event{Accepted{
		Share: s.ID, Owner: s.Owner, Login: s.Login, Account: c.By,
		Device: c.Device, Grants: grants, At: c.At,
	}}, nil
}

func reject(s State, c Reject) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status == StatusRejected:
		return nil, nil
	case !d.Active():
		return nil, ErrNotInvited
	}
	return []Event{Rejected{Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.loser(c.By), Device: c.Device, At: c.At}}, nil
}

// loser is the account that loses the device when the recipient gives it up:
// the one that accepted it. That is another than the recipient's where the login
// has passed on since.
func (d Device) loser(recipient string) string {
	if d.Account != "" {
		return d.Account
	}
	return recipient
}

func leave(s State, c Leave) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	var events []Event
	for _, d := range s.Devices {
		if d.Active() && (c.Device == "" || c.Device == d.Device) {
			events = append(events, Left{Share: s.ID, Owner: s.Owner, Login: s.Login, Account: d.loser(c.By), Device: d.Device, At: c.At})
		}
	}
	if c.Device != "" && len(events) == 0 {
		return nil, ErrNotInShare
	}
	return events, nil
}

var domainPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// generatedPrefix begins the ids of devices without a serial; no domain may
// look like one.
const generatedPrefix = "cam-"

// ValidDomain reports whether a device domain is written as one: 1 to 32 lower-case
// letters, digits and hyphens, the first of them no hyphen, and unlike the id of
// a device.
func ValidDomain(domain string) bool {
	return domainPattern.MatchString(domain) && !strings.HasPrefix(domain, generatedPrefix)
}

func setDomain(s State, c SetDomain) ([]Event, error) {
	if err := byRecipient(c.By, c.Holder); err != nil {
		return nil, err
	}
	d, ok := s.Find(c.Device)
	switch {
	case !ok:
		return nil, ErrNotInShare
	case d.Status != StatusAccepted || d.Account != c.By:
		return nil, ErrNotAccepted
	case d.Domain == c.Domain:
		return nil, nil
	case c.Domain != "" && !ValidDomain(c.Domain):
		return nil, ErrBadDomain
	case c.Domain != "" && (c.Taken || s.hasOther(c.Device, c.Domain)):
		return nil, ErrDomainTaken
	}
	return []Event{DomainSet{Share: s.ID, Owner: s.Owner, Account: c.By, Device: c.Device, Domain: c.Domain, At: c.At}}, nil
}

// hasOther reports whether the domain means another of the accepted devices.
func (s State) hasOther(device, domain string) bool {
	return slices.ContainsFunc(s.Devices, func(d Device) bool {
		return d.Status == StatusAccepted && d.Device != device && (d.Domain == domain || d.Device == domain)
	})
}

package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/app"
	"latchkey/internal/position"
	"latchkey/projections"
	"latchkey/projections/access"
)

// memoryLog is a log in memory that keeps the promises of app.Log.
type memoryLog struct {
	mu      sync.Mutex
	streams map[string][]app.Stored
	all     []app.Stored
	broken  error // answered by every call, when set
}

func newMemoryLog() *memoryLog { return &memoryLog{streams: make(map[string][]app.Stored)} }

func (l *memoryLog) Load(_ context.Context, stream string, from int64) ([]app.Stored, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.streams[stream]
	return slices.Clone(events[min(int(from), len(events)):]), l.broken
}

func (l *memoryLog) Life() uint64 { return 0 }

func (l *memoryLog) LoadBack(ctx context.Context, stream string, until func(app.Stored, int) bool) ([]app.Stored, error) {
	events, err := l.Load(ctx, stream, 0)
	read := 0
	for i, e := range slices.Backward(events) {
		read += len(e.Data) + len(e.Metadata)
		if until(e, read) {
			return events[i:], err
		}
	}
	return events, err
}

func (l *memoryLog) First(ctx context.Context, stream string) (app.Stored, bool, error) {
	events, err := l.Load(ctx, stream, 0)
	if err != nil || len(events) == 0 {
		return app.Stored{}, false, err
	}
	return events[0], true, nil
}

func (l *memoryLog) Last(ctx context.Context, stream string) (app.Stored, bool, error) {
	events, err := l.Load(ctx, stream, 0)
	if err != nil || len(events) == 0 {
		return app.Stored{}, false, err
	}
	return events[len(events)-1], true, nil
}

func (l *memoryLog) Append(_ context.Context, stream string, expected int64, events []app.Pending) (position.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return 0, l.broken
	}
	at := int64(len(l.streams[stream])) - 1
	if at != expected {
		return 0, fmt.Errorf("appending to %s at %d, which is at %d: %w", stream, expected, at, app.ErrConflict)
	}
	for _, e := range events {
		at++
		s := app.Stored{ID: e.ID, Revision: at, Position: position.Position(len(l.all) + 1), Type: e.Type, Data: e.Data, Metadata: e.Metadata}
		l.streams[stream] = append(l.streams[stream], s)
		l.all = append(l.all, s)
	}
	return position.Position(len(l.all)), nil
}

func (l *memoryLog) breakWith(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

// readModel answers every query from the whole log.
type readModel struct{ log *memoryLog }

// snapshot is what the log says.
type snapshot struct {
	logins   map[string]string   // login hash -> account
	devices  []device.State      // those that somebody has
	names    map[string]string   // of every device there was
	shares   []projections.Share // live ones
	holders  map[string]string   // share -> login hash
	accounts map[string]account.State
}

func (r readModel) read() snapshot {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	s := snapshot{logins: map[string]string{}, names: map[string]string{}, holders: map[string]string{}, accounts: map[string]account.State{}}
	for _, events := range r.log.streams {
		var a account.State
		var d device.State
		var state share.State
		for _, stored := range events {
			decoded, err := catalogue.Decode(stored.Type, stored.Data)
			if err != nil {
				panic(err)
			}
			switch e := decoded.(type) {
			case account.Event:
				a = account.Evolve(a, e)
			case device.Event:
				d = device.Evolve(d, e)
				s.names[d.Device] = d.Name
			case share.Event:
				state = share.Evolve(state, e)
			}
		}
		s.note(a, d, state, events[len(events)-1].Revision)
	}
	s.order()
	return s
}

func (s *snapshot) note(a account.State, d device.State, state share.State, revision int64) {
	if a.Registered {
		s.logins[a.Login] = a.Account
		s.accounts[a.Account] = a
	}
	if d.Live {
		s.devices = append(s.devices, d)
	}
	if state.Live {
		s.shares = append(s.shares, shareOf(app.ShareChanged{Share: state, Revision: revision}))
		s.holders[state.ID] = state.Login
	}
}

func (s *snapshot) order() {
	slices.SortFunc(s.devices, func(a, b device.State) int { return cmp.Compare(a.Device, b.Device) })
	slices.SortFunc(s.shares, func(a, b projections.Share) int { return cmp.Compare(a.ID, b.ID) })
	for i := range s.shares {
		for j, d := range s.shares[i].Devices {
			s.shares[i].Devices[j].Name = s.names[d.Device]
		}
	}
}

func (s *snapshot) sharesOf(mine func(projections.Share) bool) []projections.Share {
	return slices.DeleteFunc(slices.Clone(s.shares), func(v projections.Share) bool { return !mine(v) })
}

// paged cuts a page out of rows; its cursor is the number of the next row.
func paged[T any](rows []T, p projections.Page) ([]T, string, error) {
	from := 0
	if p.Cursor != "" {
		n, err := strconv.Atoi(p.Cursor)
		if err != nil || n < 0 || n > len(rows) {
			return nil, "", fmt.Errorf("paging: %w", projections.ErrCursor)
		}
		from = n
	}
	to := min(from+p.Limit, len(rows))
	if to == len(rows) {
		return rows[from:], "", nil
	}
	return rows[from:to], strconv.Itoa(to), nil
}

func (r readModel) SentShares(_ context.Context, account string, p projections.Page) ([]projections.Share, string, error) {
	s := r.read()
	return paged(s.sharesOf(func(v projections.Share) bool { return v.Owner == account }), p)
}

func (s snapshot) person(account string) projections.Person {
	a := s.accounts[account]
	return projections.Person{Kind: a.Kind, Address: a.Address, Name: a.Name}
}

func (r readModel) Person(_ context.Context, account string, _ position.Position) (projections.Person, error) {
	return r.read().person(account), nil
}

func (r readModel) ReceivedShares(_ context.Context, account string, p projections.Page) ([]projections.Share, string, error) {
	s := r.read()
	for i := range s.shares {
		s.shares[i].From = s.person(s.shares[i].Owner)
	}
	return paged(s.sharesOf(func(v projections.Share) bool { return s.logins[s.holders[v.ID]] == account }), p)
}

func (r readModel) Share(_ context.Context, account, id string, _ position.Position) (projections.Share, bool, error) {
	s := r.read()
	found := s.sharesOf(func(v projections.Share) bool {
		return v.ID == id && (v.Owner == account || s.logins[s.holders[id]] == account)
	})
	if len(found) == 0 {
		return projections.Share{}, false, nil
	}
	for i, d := range found[0].Devices {
		for _, of := range s.devices {
			if of.Device == d.Device {
				found[0].Devices[i].Model, found[0].Devices[i].Cameras = of.Facts.Model, of.Channels
			}
		}
	}
	if found[0].Owner != account {
		found[0].From = s.person(found[0].Owner)
	}
	return found[0], true, nil
}

func (r readModel) Devices(_ context.Context, account string, p projections.Page) ([]projections.Device, string, error) {
	var rows []projections.Device
	for _, d := range r.read().devices {
		if d.Owner == account {
			rows = append(rows, deviceOf(d))
		}
	}
	return paged(rows, p)
}

func (r readModel) Device(_ context.Context, account, id string, _ position.Position) (projections.Device, bool, error) {
	for _, d := range r.read().devices {
		if d.Device == id && d.Owner == account {
			return deviceOf(d), true, nil
		}
	}
	return projections.Device{}, false, nil
}

func (r readModel) StreamKeys(_ context.Context, account string, p projections.Page) ([]projections.StreamKey, string, error) {
	var rows []projections.StreamKey
	for _, k := range r.read().accounts[account].Keys {
		rows = append(rows, keyOf(k))
	}
	return paged(rows, p)
}

func (r readModel) Privileges(_ context.Context, account string, role projections.Role, p projections.Page) ([]projections.DevicePrivileges, string, error) {
	s := r.read()
	var rows []projections.DevicePrivileges
	for _, d := range s.devices {
		if d.Owner == account && role != projections.AsRecipient {
			v := projections.DevicePrivileges{Device: d.Device, Name: d.Name, Cameras: d.Channels}
			for _, c := range d.Channels {
				v.Grants = append(v.Grants, share.Grant{Channel: c.Channel, Privileges: c.Capabilities})
			}
			rows = append(rows, v)
		}
	}
	for _, v := range s.sharesOf(func(v projections.Share) bool { return s.logins[s.holders[v.ID]] == account }) {
		for _, d := range v.Devices {
			if d.Status == share.StatusAccepted && role != projections.AsOwner {
				rows = append(rows, projections.DevicePrivileges{Device: d.Device, Name: d.Name, Share: v.ID, Domain: d.Domain, Grants: d.Grants, Paused: v.Paused || d.Paused, Cameras: s.channelsOf(d.Device), From: s.person(v.Owner),
					Conditions: privilege.Conditions(privilege.Terms(v.Terms), privilege.Terms(d.Terms), d.AnsweredAt.Time(), d.Grants)})
			}
		}
	}
	return paged(rows, p)
}

func (s snapshot) channelsOf(id string) projections.Channels {
	for _, d := range s.devices {
		if d.Device == id {
			return d.Channels
		}
	}
	return nil
}

// DomainTaken is the domain's own question to the read model.
func (r readModel) DomainTaken(_ context.Context, account ids.Account, name string, device ids.Device) (bool, error) {
	s := r.read()
	for _, v := range s.sharesOf(func(v projections.Share) bool { return s.logins[s.holders[v.ID]] == string(account) }) {
		for _, d := range v.Devices {
			if d.Domain == name && d.Device != string(device) && d.Status == share.StatusAccepted {
				return true, nil
			}
		}
	}
	return false, nil
}

func (r readModel) PrivilegesOn(ctx context.Context, account, device string, _ position.Position) (projections.DevicePrivileges, bool, error) {
	rows, _, err := r.Privileges(ctx, account, projections.AnyRole, projections.Page{Limit: 1000})
	i := slices.IndexFunc(rows, func(d projections.DevicePrivileges) bool { return d.Device == device })
	if i < 0 {
		return projections.DevicePrivileges{}, false, err
	}
	return rows[i], true, err
}

func (r readModel) Ways(ctx context.Context, q projections.WayQuery, p projections.Page) ([]projections.Way, string, bool, error) {
	owner, device := q.Owner, q.Device
	if _, found, err := r.Device(ctx, owner, device, 0); !found {
		return nil, "", false, err
	}
	s := r.read()
	var rows []projections.Way
	for _, v := range s.sharesOf(func(v projections.Share) bool { return v.Owner == owner }) {
		for _, d := range v.Devices {
			if d.Device == device && d.Status != share.StatusRemoved {
				rows = append(rows, projections.Way{Share: &projections.SharedWay{
					Share: v.ID, Kind: v.Kind, Recipient: v.Recipient, Status: d.Status, Paused: v.Paused || d.Paused, Grants: d.Grants,
					InvitedAt: d.InvitedAt, AnsweredAt: d.AnsweredAt, Terms: d.Terms, ShareTerms: v.Terms,
				}})
			}
		}
	}
	for _, k := range s.accounts[owner].Keys {
		key := keyOf(k)
		rows = append(rows, projections.Way{Key: &key})
	}
	if q.Newest {
		slices.Reverse(rows)
	}
	if q.Match != nil {
		rows = slices.DeleteFunc(rows, func(w projections.Way) bool { ok, err := q.Match(w); return !ok || err != nil })
	}
	page, next, err := paged(rows, p)
	return page, next, true, err
}

func (r readModel) Holders(ctx context.Context, owner, device string, _ []string, _ position.Position) ([]projections.Holder, bool, error) {
	_, found, err := r.Device(ctx, owner, device, 0)
	return nil, found, err
}

func (r readModel) AcceptedDevices(_ context.Context, owner string, shares []string, _ position.Position) (list []projections.AcceptedDevice, err error) {
	s := r.read()
	for _, v := range s.sharesOf(func(v projections.Share) bool { return v.Owner == owner && slices.Contains(shares, v.ID) }) {
		for _, d := range v.Devices {
			if d.Status == share.StatusAccepted {
				list = append(list, projections.AcceptedDevice{Share: v.ID, Device: d.Device, Account: s.logins[s.holders[v.ID]], At: d.AnsweredAt})
			}
		}
	}
	return list, nil
}

// index decides by the read model, as nothing is behind here.
type index struct{ readModel }

func (x index) Resolve(account ids.Account, name string) (ids.Device, bool) {
	_, found, _ := x.PrivilegesOn(context.Background(), string(account), name, 0)
	return ids.Device(name), found
}

func (x index) Check(account ids.Account, device ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict {
	d, found, _ := x.PrivilegesOn(context.Background(), string(account), string(device), 0)
	i := slices.IndexFunc(d.Grants, func(g share.Grant) bool { return g.Channel == channel })
	switch {
	case !found:
		return access.NotFound
	case i >= 0 && d.Grants[i].Privileges.Has(p) && !d.Paused && !slices.ContainsFunc(d.Conditions, func(c privilege.Condition) bool {
		return (c.Channel == 0 || c.Channel == channel) && c.Privileges.Has(p) && !c.HoldsAt(now)
	}):
		return access.Allowed
	case i < 0 && d.Share == "":
		return access.NotFound
	}
	return access.Forbidden
}

func (index) InUse(ids.Device) []access.Held { return nil }

func (index) End(ids.Device, uint64) bool { return false }

func (x index) Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict) {
	return access.NewPermits(rules{x}, nil, nil).Acquire(use, revoked)
}

// rules are the index's for permits.
type rules struct{ index }

func (rules) Live(time.Time) bool            { return true }
func (rules) Pulse() *access.Pulse           { return nil }
func (rules) Key(ids.Key) (access.Key, bool) { return access.Key{}, false }

func (r rules) Pair(account ids.Account, device ids.Device) access.Pair {
	return pairOfRules{r.index, account, device}
}

type pairOfRules struct {
	index
	account ids.Account
	device  ids.Device
}

func (p pairOfRules) Check(channel int, want privilege.Set, now time.Time) access.Standing {
	return access.Standing{Verdict: p.index.Check(p.account, p.device, channel, want, now)}
}

func (index) Used(access.Use, time.Time) {}

func (x index) PlaybackWindow(account ids.Account, device ids.Device, channel int, now time.Time, delay time.Duration) (from, to time.Time, ok bool) {
	if x.Check(account, device, channel, privilege.LiveView, now) == access.Allowed {
		delay = 0
	}
	return time.Time{}, now.Add(-delay), x.Check(account, device, channel, privilege.Playback, now) == access.Allowed
}

// Playable is what the rule says without conditions.
func (x index) Playable(account ids.Account, device ids.Device, channel int, within privilege.Interval, now time.Time, delay time.Duration) (privilege.Interval, bool) {
	if x.Check(account, device, channel, privilege.LiveView, now) == access.Allowed {
		delay = 0
	}
	if x.Check(account, device, channel, privilege.Playback, now) != access.Allowed {
		return privilege.Interval{}, false
	}
	return (*privilege.Clocked)(nil).Playable(channel, within, now, delay)
}

func (index) WaitFor(context.Context, position.Position) error { return nil }

func (index) LastUses(context.Context, string) ([]LastUse, error) { return nil, nil }

func (index) LastUsesBy(context.Context, []string, []string) ([]LastUse, error) { return nil, nil }

// Transfers lists none: what it shows is tested with the real read model.
func (readModel) Transfers(context.Context, string, time.Time, projections.Page) ([]projections.Transfer, string, error) {
	return nil, "", nil
}

// Reclaims lists none: what it shows is tested with the real read model.
func (readModel) Reclaims(context.Context, string, projections.Page) ([]projections.Reclaim, string, error) {
	return nil, "", nil
}

// AccessRequests lists none: what it shows is tested with the real read model.
func (readModel) AccessRequests(context.Context, string, projections.Page) ([]projections.AccessRequest, string, error) {
	return nil, "", nil
}

package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// house keeps in memory what the use cases and the read models answer, by the
// same rules and codes.
type house struct {
	mu       sync.Mutex
	vault    *memoryVault
	now      func() time.Time
	position uint64
	names    int
	logins   map[string]string // login hash -> account
	devices  []*DeviceView
	owners   map[string]string // device -> account
	shares   map[string]*houseShare
	past     []HistoryView
	keys     []KeyView
	keyOwner map[string]string
	secrets  map[string]string
	done     map[string]repeat
}

type houseShare struct {
	ShareView
	login string
}

type repeat struct {
	request string
	result  Result
}

func newHouse(v *memoryVault, now func() time.Time) *house {
	return &house{
		vault: v, now: now, logins: map[string]string{}, owners: map[string]string{}, shares: map[string]*houseShare{},
		keyOwner: map[string]string{}, secrets: map[string]string{}, done: map[string]repeat{},
	}
}

func refuse(kind Kind, code string) error { return &Error{Kind: kind, Code: code, Message: "No."} }

// command runs f once for each key, and gives its result a position.
func (h *house) command(m Meta, what string, args any, f func() (Result, error)) (Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text, _ := json.Marshal(args)
	key, request := m.Account+" "+m.IdempotencyKey, what+" "+string(text)
	if old, ok := h.done[key]; ok && m.IdempotencyKey != "" {
		if old.request != request {
			return Result{}, refuse(Invalid, "idempotency_key_reused")
		}
		return old.result, nil
	}
	result, err := f()
	if err != nil {
		return Result{}, err
	}
	h.position++
	result.Position = h.position
	h.done[key] = repeat{request, result}
	return result, nil
}

func (h *house) name(prefix string) string {
	h.names++
	return fmt.Sprintf("%s%04d", prefix, h.names)
}

func (h *house) seal(subject, plain string) string {
	sealed, _ := h.vault.Seal(context.Background(), subject, plain)
	return sealed
}

func kindOf(email, phone string) (kind, address string) {
	if email != "" {
		return "email", strings.ToLower(strings.TrimSpace(email))
	}
	return "phone", strings.TrimSpace(phone)
}

func (h *house) Register(ctx context.Context, m Meta, r Registration) (Result, error) {
	return h.command(m, "register", r, func() (Result, error) {
		hash := h.vault.LoginHash(kindOf(r.Email, r.Phone))
		if h.logins[hash] != "" {
			return Result{}, refuse(Conflict, "login_taken")
		}
		id := h.name("account-")
		h.logins[hash] = id
		return Result{Account: id, Created: true}, h.vault.SetPassword(ctx, id, r.Password)
	})
}

func (h *house) AccountByLogin(_ context.Context, kind, address string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.logins[h.vault.LoginHash(kind, strings.ToLower(strings.TrimSpace(address)))], nil
}

func (h *house) AddDevice(_ context.Context, m Meta, d NewDevice) (Result, error) {
	return h.command(m, "add device", d, func() (Result, error) {
		v := DeviceView{ID: cmp.Or(d.Serial, h.name("cam-")), Name: h.seal(m.Account, d.Name), AddedAt: h.now()}
		v.Serial = v.ID
		for _, c := range d.Channels {
			v.Channels = append(v.Channels, device.Channel{Channel: c.Channel, Capabilities: c.Capabilities})
		}
		if len(d.Channels) == 0 {
			v.Channels = []device.Channel{{Channel: 1, Capabilities: privilege.All}}
		}
		if h.owners[v.ID] != "" {
			return Result{}, refuse(Conflict, "device_taken")
		}
		h.devices = append(h.devices, &v)
		h.owners[v.ID] = m.Account
		return Result{Device: v, Created: true}, nil
	})
}

func (h *house) RemoveDevice(_ context.Context, m Meta, id string) (Result, error) {
	return h.command(m, "remove device", id, func() (Result, error) {
		if h.owners[id] != m.Account {
			return Result{}, refuse(NotFound, "device_not_found")
		}
		delete(h.owners, id)
		h.devices = slices.DeleteFunc(h.devices, func(d *DeviceView) bool { return d.ID == id })
		for _, s := range h.shares {
			s.drop(id)
		}
		return Result{}, nil
	})
}

func (s *houseShare) drop(id string) {
	s.Devices = slices.DeleteFunc(s.Devices, func(d ShareDeviceView) bool { return d.Device == id })
	s.Revision++
}

// put offers or edits a device; the lists are cloned, so that older results
// stay as they were.
func (h *house) put(s *houseShare, d DeviceGrants) error {
	if h.owners[d.Device] != s.Owner {
		return refuse(NotFound, "device_not_found")
	}
	for _, g := range d.Grants {
		if g.Channel != 1 {
			return refuse(Invalid, "unknown_channel")
		}
	}
	s.Revision++
	s.Devices = slices.Clone(s.Devices)
	for i := range s.Devices {
		if s.Devices[i].Device == d.Device {
			s.Devices[i].Grants = d.Grants
			return nil
		}
	}
	v := ShareDeviceView{Device: d.Device, Status: "invited", Grants: d.Grants, InvitedAt: h.now()}
	for _, known := range h.devices {
		if known.ID == d.Device {
			v.Name = known.Name
		}
	}
	s.Devices = append(s.Devices, v)
	return nil
}

func (h *house) SaveShare(_ context.Context, m Meta, n NewShare) (Result, error) {
	return h.command(m, "save share", n, func() (Result, error) {
		kind, address := kindOf(n.Email, n.Phone)
		login := h.vault.LoginHash(kind, address)
		if h.logins[login] == m.Account {
			return Result{}, refuse(Invalid, "own_login")
		}
		for _, d := range n.Devices {
			if h.owners[d.Device] != m.Account {
				return Result{}, refuse(NotFound, "device_not_found")
			}
		}
		id := m.Account + "." + login
		s, there := h.shares[id]
		if !there {
			s = &houseShare{login: login, ShareView: ShareView{
				ID: id, Owner: m.Account, Kind: kind, Recipient: h.seal("login-"+login, address), Remark: h.seal("login-"+login, n.Remark),
			}}
		}
		for _, d := range n.Devices {
			if slices.ContainsFunc(s.Devices, func(v ShareDeviceView) bool { return v.Device == d.Device }) {
				return Result{}, refuse(Conflict, "already_shared")
			}
			if err := h.put(s, d); err != nil {
				return Result{}, err
			}
		}
		h.shares[id] = s
		return Result{Share: s.ShareView, Created: !there}, nil
	})
}

// change finds the share for who acts, then runs f on it.
func (h *house) change(m Meta, what string, args any, id string, f func(s *houseShare, owner bool) error) (Result, error) {
	return h.command(m, what+" "+id, args, func() (Result, error) {
		s, ok := h.shares[id]
		if !ok || s.Owner != m.Account && h.logins[s.login] != m.Account {
			return Result{}, refuse(NotFound, "share_not_found")
		}
		if m.IfMatch != nil && *m.IfMatch != s.Revision {
			return Result{}, refuse(Precondition, "revision_changed")
		}
		if err := f(s, s.Owner == m.Account); err != nil {
			return Result{}, err
		}
		return Result{Share: s.ShareView}, nil
	})
}

func (h *house) ReplaceShare(_ context.Context, m Meta, id, remark string, devices []DeviceGrants) (Result, error) {
	return h.change(m, "replace", []any{remark, devices}, id, func(s *houseShare, owner bool) error {
		if !owner {
			return refuse(Forbidden, "not_the_owner")
		}
		s.Remark = h.seal("login-"+s.login, remark)
		s.Devices = nil
		s.Revision++
		for _, d := range devices {
			if err := h.put(s, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *house) DeleteShare(_ context.Context, m Meta, id string) (Result, error) {
	return h.change(m, "delete", nil, id, func(s *houseShare, owner bool) error {
		if owner {
			delete(h.shares, id)
			h.past = append(h.past, HistoryView{Share: id, Kind: s.Kind, Recipient: s.Recipient, Remark: s.Remark, DeletedAt: h.now()})
		}
		s.Devices = nil
		s.Revision++
		return nil
	})
}

func (h *house) PutShareDevice(_ context.Context, m Meta, id string, d DeviceGrants) (Result, error) {
	return h.change(m, "put", d, id, func(s *houseShare, owner bool) error {
		if !owner {
			return refuse(Forbidden, "not_the_owner")
		}
		return h.put(s, d)
	})
}

func (h *house) RemoveShareDevice(_ context.Context, m Meta, id, device string) (Result, error) {
	return h.change(m, "remove", device, id, func(s *houseShare, _ bool) error {
		if !slices.ContainsFunc(s.Devices, func(d ShareDeviceView) bool { return d.Device == device }) {
			return refuse(NotFound, "device_not_in_share")
		}
		s.drop(device)
		return nil
	})
}

func (h *house) answer(m Meta, what, id, device string, f func(*ShareDeviceView)) (Result, error) {
	return h.change(m, what, device, id, func(s *houseShare, owner bool) error {
		if owner {
			return refuse(Forbidden, "not_the_recipient")
		}
		s.Devices = slices.Clone(s.Devices)
		for i := range s.Devices {
			if s.Devices[i].Device == device {
				s.Revision++
				f(&s.Devices[i])
				return nil
			}
		}
		return refuse(NotFound, "device_not_in_share")
	})
}

func (h *house) Accept(_ context.Context, m Meta, id, device string) (Result, error) {
	return h.answer(m, "accept", id, device, func(d *ShareDeviceView) { d.Status, d.AnsweredAt = "accepted", h.now() })
}

func (h *house) Reject(_ context.Context, m Meta, id, device string) (Result, error) {
	return h.answer(m, "reject", id, device, func(d *ShareDeviceView) { d.Status, d.AnsweredAt = "rejected", h.now() })
}

func (h *house) SetDomain(_ context.Context, m Meta, id, device, domain string) (Result, error) {
	return h.answer(m, "domain "+domain, id, device, func(d *ShareDeviceView) { d.Domain = domain })
}

func (h *house) AddStreamKey(_ context.Context, m Meta, k NewStreamKey) (Result, error) {
	return h.command(m, "add key", k, func() (Result, error) {
		if k.Device != "" && !slices.ContainsFunc(h.privileges(m.Account), func(p PrivilegeView) bool { return p.Device == k.Device }) {
			return Result{}, refuse(NotFound, "device_not_found")
		}
		v := KeyView{Name: h.name("k"), Label: h.seal(m.Account, k.Label), Device: k.Device, AddedAt: h.now(), Expires: k.Expires}
		h.keys = append(h.keys, v)
		h.keyOwner[v.Name], h.secrets[v.Name] = m.Account, "secret of "+v.Name
		return Result{Key: v, Secret: h.secrets[v.Name], Created: true}, nil
	})
}

func (h *house) RevokeStreamKey(_ context.Context, m Meta, name string) (Result, error) {
	return h.command(m, "revoke", name, func() (Result, error) {
		if h.keyOwner[name] != m.Account {
			return Result{}, refuse(NotFound, "stream_key_not_found")
		}
		delete(h.keyOwner, name)
		h.keys = slices.DeleteFunc(h.keys, func(k KeyView) bool { return k.Name == name })
		return Result{}, nil
	})
}

// paged cuts a page out of rows; its cursor is the number of the next row.
func paged[T any](rows []T, p Page) ([]T, string, error) {
	from := 0
	if p.Cursor != "" {
		n, err := strconv.Atoi(p.Cursor)
		if err != nil || n < 0 || n > len(rows) {
			return nil, "", fmt.Errorf("paging: %w", ErrCursor)
		}
		from = n
	}
	to := min(from+p.Limit, len(rows))
	if to == len(rows) {
		return rows[from:], "", nil
	}
	return rows[from:to], strconv.Itoa(to), nil
}

func (h *house) sharesOf(mine func(*houseShare) bool) []ShareView {
	var rows []ShareView
	for _, s := range h.shares {
		if mine(s) {
			rows = append(rows, s.ShareView)
		}
	}
	slices.SortFunc(rows, func(a, b ShareView) int { return cmp.Compare(a.ID, b.ID) })
	return rows
}

func (h *house) SentShares(_ context.Context, account string, p Page) ([]ShareView, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return paged(h.sharesOf(func(s *houseShare) bool { return s.Owner == account }), p)
}

func (h *house) ReceivedShares(_ context.Context, account string, p Page) ([]ShareView, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return paged(h.sharesOf(func(s *houseShare) bool { return h.logins[s.login] == account }), p)
}

func (h *house) History(_ context.Context, account string, p Page) ([]HistoryView, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rows []HistoryView
	for _, v := range h.past {
		if strings.HasPrefix(v.Share, account+".") {
			rows = append(rows, v)
		}
	}
	return paged(rows, p)
}

func (h *house) Share(_ context.Context, account, id string) (ShareView, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.shares[id]
	if !ok || s.Owner != account && h.logins[s.login] != account {
		return ShareView{}, false, nil
	}
	return s.ShareView, true, nil
}

func (h *house) Devices(_ context.Context, account string, p Page) ([]DeviceView, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rows []DeviceView
	for _, d := range h.devices {
		if h.owners[d.ID] == account {
			rows = append(rows, *d)
		}
	}
	return paged(rows, p)
}

func (h *house) Device(_ context.Context, account, id string) (DeviceView, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		if d.ID == id && h.owners[id] == account {
			return *d, true, nil
		}
	}
	return DeviceView{}, false, nil
}

func (h *house) StreamKeys(_ context.Context, account string, p Page) ([]KeyView, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rows []KeyView
	for _, k := range h.keys {
		if h.keyOwner[k.Name] == account {
			rows = append(rows, k)
		}
	}
	return paged(rows, p)
}

func (h *house) privileges(account string) []PrivilegeView {
	var rows []PrivilegeView
	for _, d := range h.devices {
		if h.owners[d.ID] == account {
			rows = append(rows, PrivilegeView{Device: d.ID, Name: d.Name, Grants: []share.Grant{{Channel: 1, Privileges: privilege.All}}})
		}
	}
	for _, s := range h.shares {
		for _, d := range s.Devices {
			if d.Status == "accepted" && h.logins[s.login] == account {
				rows = append(rows, PrivilegeView{Device: d.Device, Name: d.Name, Share: s.ID, Domain: d.Domain, Grants: d.Grants})
			}
		}
	}
	return rows
}

func (h *house) Privileges(_ context.Context, account string, p Page) ([]PrivilegeView, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return paged(h.privileges(account), p)
}

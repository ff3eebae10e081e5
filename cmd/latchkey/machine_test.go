package main

import (
	"errors"
	flags "flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/api/client"
	"latchkey/internal/testdb"
)

// TestTheWholeAPIAgainstAModel drives shares of three accounts over HTTP; after each step
// every list and every privilege is the model's. LATCHKEY_MODEL_STEPS is how many steps,
// for each database.
func TestTheWholeAPIAgainstAModel(t *testing.T) {
	steps := 200
	if text := os.Getenv("LATCHKEY_MODEL_STEPS"); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	// A check has new accounts. Steps that find nothing to do are not counted.
	for name, value := range map[string]string{"rapid.checks": "1", "rapid.steps": "80"} {
		f := flags.Lookup(name)
		before := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(before) })
	}
	for name, database := range map[string]func(testing.TB) string{"sqlite": func(testing.TB) string { return "sqlite" }, "postgres": func(t testing.TB) string { return testdb.Postgres(t) }} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, binary, t.TempDir(), "--database", database(t))
			run, compared := 0, 0
			defer func() { t.Logf("the model was compared %d times", compared) }()
			check := func(r *rapid.T) {
				run++
				m := newMachine(t, s, run)
				for _, owner := range []string{m.model.people[0], m.model.people[0], m.model.people[1]} {
					m.add(r, owner)
				}
				defer func() { compared += m.compared }()
				r.Repeat(map[string]func(*rapid.T){
					"add a device": m.addDevice, "remove a device": m.removeDevice, "hand a device over": m.handOver, "share": m.share, "offer or edit": m.put, "save": m.save,
					"delete": m.delete, "leave": m.leave, "take back": m.takeBack, "accept": m.accept, "reject": m.reject, "name": m.name,
					"pause": m.pause, "pause a device": m.pauseDevice, "a stranger tries": m.stranger, "beyond": m.beyond, "time": m.time,
					"": m.compare,
				})
			}
			for compared < steps && !t.Failed() {
				rapid.Check(t, check)
			}
		})
	}
}

// machine is three people of one service and what the model says about them.
type machine struct {
	t     *testing.T
	users map[string]*user
	model *model

	asked, compared int
}

func newMachine(t *testing.T, s *service, run int) *machine {
	m := &machine{t: t, users: map[string]*user{}, model: &model{devices: map[string]*modelDevice{}, shares: map[[2]string]*modelShare{}, history: map[[2]string]bool{}}}
	for _, name := range []string{"ann", "bob", "cleo"} {
		name = fmt.Sprintf("%s-%d", name, run)
		m.users[name] = s.register(t, name)
		m.model.people = append(m.model.people, name)
	}
	return m
}

// do sends a command that must succeed, or be refused with the code.
func (m *machine) do(r *rapid.T, who, method, path string, body, out any, code string) {
	err := m.users[who].call(method, path, body, out)
	refused, _ := errors.AsType[*client.Error](err)
	switch {
	case code == "" && err != nil:
		r.Fatalf("%s: %s %s %v: %v", who, method, path, body, err)
	case code != "" && (refused == nil || refused.Code != code):
		r.Fatalf("%s: %s %s %v: %v, want %s", who, method, path, body, err, code)
	}
}

func (m *machine) person(r *rapid.T) string {
	return rapid.SampledFrom(m.model.people).Draw(r, "person")
}

// pick draws one of the keys, or skips the step.
func pick[K comparable, V any](r *rapid.T, from map[K]V, less func(a, b K) int, match func(K, V) bool) K {
	var list []K
	for k, v := range from {
		if match(k, v) {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		r.Skip("nothing to do it with")
	}
	slices.SortFunc(list, less)
	return rapid.SampledFrom(list).Draw(r, "which")
}

func byText[K any](a, b K) int {
	x, y := fmt.Sprint(a), fmt.Sprint(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (m *machine) anyShare(r *rapid.T) ([2]string, *modelShare) {
	pair := pick(r, m.model.shares, byText, func([2]string, *modelShare) bool { return true })
	return pair, m.model.shares[pair]
}

// anyOffer draws a device in a share.
func (m *machine) anyOffer(r *rapid.T, match func(*modelOffer) bool) (pair [2]string, s *modelShare, device string, o *modelOffer) {
	pair = pick(r, m.model.shares, byText, func(_ [2]string, s *modelShare) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(s.devices)), match)
	})
	s = m.model.shares[pair]
	device = pick(r, s.devices, byText, func(_ string, o *modelOffer) bool { return match(o) })
	return pair, s, device, s.devices[device]
}

func anyOf(*modelOffer) bool         { return true }
func accepted(o *modelOffer) bool    { return o.status == "accepted" }
func activeOffer(o *modelOffer) bool { return o.active() }

func (m *machine) ownDevice(r *rapid.T, owner string) string {
	return pick(r, m.model.devices, byText, func(_ string, d *modelDevice) bool { return d.owner == owner })
}

func drawGiven(r *rapid.T) map[int][]string {
	given := map[int][]string{}
	for _, channel := range []int{1, 2} {
		if channel == 1 || rapid.Bool().Draw(r, "second channel") {
			given[channel] = rapid.SliceOfNDistinct(rapid.SampledFrom(capabilities[channel]), 0, len(capabilities[channel]), rapid.ID[string]).Draw(r, "privileges")
		}
	}
	return given
}

func channelsOf(given map[int][]string) (list []any) {
	for _, channel := range slices.Sorted(maps.Keys(given)) {
		list = append(list, map[string]any{"channel": channel, "privileges": append([]string{}, given[channel]...)})
	}
	return list
}

func (m *machine) addDevice(r *rapid.T) {
	if len(m.model.devices) >= 6 {
		r.Skip("enough devices")
	}
	m.add(r, m.person(r))
}

func (m *machine) add(r *rapid.T, owner string) {
	var made struct{ ID string }
	m.do(r, owner, "POST", "/devices", map[string]any{"name": "Camera", "channels": []any{
		map[string]any{"channel": 1, "rtsp_url": "rtsp://127.0.0.1:1/1", "capabilities": capabilities[1]},
		map[string]any{"channel": 2, "rtsp_url": "rtsp://127.0.0.1:1/2", "capabilities": capabilities[2]},
	}}, &made, "")
	m.model.devices[made.ID] = &modelDevice{owner}
}

func (m *machine) removeDevice(r *rapid.T) {
	if rapid.IntRange(0, 2).Draw(r, "rarely") != 0 {
		r.Skip("rarely")
	}
	device := pick(r, m.model.devices, byText, func(string, *modelDevice) bool { return true })
	m.do(r, m.model.devices[device].owner, "DELETE", "/devices/"+device, nil, nil, "")
	m.model.remove(device)
}

// handOver offers a device to somebody, who takes it, or another offer is made instead.
func (m *machine) handOver(r *rapid.T) {
	if rapid.IntRange(0, 2).Draw(r, "rarely") != 0 {
		r.Skip("rarely")
	}
	device := pick(r, m.model.devices, byText, func(string, *modelDevice) bool { return true })
	owner, to := m.model.devices[device].owner, m.person(r)
	shares, code := rapid.SampledFrom([]string{"end", "keep"}).Draw(r, "shares"), ""
	if to == owner {
		code = "own_login"
	}
	path := "/devices/" + device + "/transfer"
	offer := map[string]any{"recipient": map[string]any{"email": to + "@example.com"}, "shares": shares, "password": userPassword}
	var made, got struct{ ID string }
	m.do(r, owner, "POST", path, offer, &made, code)
	if code != "" {
		return
	}
	m.do(r, owner, "POST", path, offer, nil, "transfer_pending")
	if rapid.IntRange(0, 3).Draw(r, "declines") == 0 {
		m.do(r, to, "POST", "/transfers/"+made.ID+"/reject", nil, nil, "")
		return
	}
	for _, who := range m.model.people {
		if who != to {
			m.do(r, who, "POST", "/transfers/"+made.ID+"/accept", nil, nil, "transfer_not_found")
		}
	}
	m.do(r, to, "POST", "/transfers/"+made.ID+"/accept", nil, &got, "")
	for _, pair := range m.model.handOver(device, got.ID, to, shares == "keep", time.Now()) {
		for _, s := range all[shareAnswer](r, m, to, "/shares/sent") {
			if nameIn(s.Recipient.Email) == pair[1] {
				m.model.shares[pair].id = s.ID
			}
		}
	}
}

func (m *machine) share(r *rapid.T) {
	owner, recipient, remark := m.person(r), m.person(r), rapid.SampledFrom([]string{"", "a neighbour", "family"}).Draw(r, "remark")
	if rapid.Bool().Draw(r, "with an owner") {
		owner = m.model.devices[pick(r, m.model.devices, byText, func(string, *modelDevice) bool { return true })].owner
	}
	device, given := m.ownDevice(r, owner), drawGiven(r)
	body := map[string]any{
		"recipient": map[string]any{"email": recipient + "@example.com"}, "remark": remark, "devices": []any{map[string]any{"device": device, "channels": channelsOf(given)}},
	}
	pair := [2]string{owner, recipient}
	s := m.model.shares[pair]
	code := ""
	switch {
	case owner == recipient:
		code = "own_login"
	case s != nil && s.devices[device] != nil && s.devices[device].active():
		code = "already_shared"
	}
	var made struct{ ID string }
	m.do(r, owner, "POST", "/shares", body, &made, code)
	if code != "" {
		return
	}
	if s == nil {
		s = &modelShare{id: made.ID, devices: map[string]*modelOffer{}}
		m.model.shares[pair] = s
		delete(m.model.history, pair)
	}
	if remark != "" {
		s.remark = remark
	}
	s.devices[device] = &modelOffer{status: "invited", given: given}
}

func (m *machine) put(r *rapid.T) {
	pair, s := m.anyShare(r)
	device, given := m.ownDevice(r, pair[0]), drawGiven(r)
	later := rapid.Bool().Draw(r, "from tomorrow")
	terms, from := map[string]any{}, time.Time{}
	if later {
		from = time.Now().Add(24 * time.Hour).Truncate(time.Second)
		terms["from"] = from.UTC().Format(time.RFC3339)
	}
	m.do(r, pair[0], "PUT", "/shares/"+s.id+"/devices/"+device, map[string]any{"channels": channelsOf(given), "terms": terms}, nil, "")
	s.offer(device, given, from)
}

// offer edits what is invited or accepted, and offers everything else.
func (s *modelShare) offer(device string, given map[int][]string, from time.Time) {
	if o := s.devices[device]; o != nil && o.active() {
		o.given, o.from, o.until = given, from, time.Time{}
		return
	}
	s.devices[device] = &modelOffer{status: "invited", given: given, from: from}
}

func (m *machine) save(r *rapid.T) {
	pair, s := m.anyShare(r)
	remark := rapid.SampledFrom([]string{"", "saved"}).Draw(r, "remark")
	list := []any{}
	next := &modelShare{id: s.id, remark: remark, paused: s.paused, devices: map[string]*modelOffer{}}
	for _, device := range slices.Sorted(maps.Keys(m.model.devices)) {
		if m.model.devices[device].owner != pair[0] || !rapid.Bool().Draw(r, "ticked") {
			continue
		}
		given := drawGiven(r)
		list = append(list, map[string]any{"device": device, "channels": channelsOf(given), "terms": map[string]any{}})
		if o := s.devices[device]; o != nil {
			next.devices[device] = o
		}
		next.offer(device, given, time.Time{})
	}
	m.do(r, pair[0], "PUT", "/shares/"+s.id, map[string]any{"remark": remark, "devices": list}, nil, "")
	m.model.shares[pair] = next
}

func (m *machine) delete(r *rapid.T) {
	pair, s := m.anyShare(r)
	m.do(r, pair[0], "DELETE", "/shares/"+s.id, nil, nil, "")
	delete(m.model.shares, pair)
	m.model.history[pair] = true
}

func (m *machine) leave(r *rapid.T) {
	pair, s := m.anyShare(r)
	m.do(r, pair[1], "DELETE", "/shares/"+s.id, nil, nil, "")
	for _, o := range s.devices {
		if o.active() {
			giveUp(o)
		}
	}
}

func (m *machine) takeBack(r *rapid.T) {
	pair, s, device, _ := m.anyOffer(r, activeOffer)
	if rapid.Bool().Draw(r, "by the recipient") {
		m.do(r, pair[1], "DELETE", "/shares/"+s.id+"/devices/"+device, nil, nil, "")
		giveUp(s.devices[device])
		return
	}
	m.do(r, pair[0], "DELETE", "/shares/"+s.id+"/devices/"+device, nil, nil, "")
	delete(s.devices, device)
}

func (m *machine) accept(r *rapid.T) {
	pair, s, device, o := m.anyOffer(r, anyOf)
	code := ""
	if !o.active() {
		code = "not_invited"
	}
	m.do(r, pair[1], "POST", "/shares/"+s.id+"/devices/"+device+"/accept", nil, nil, code)
	if code == "" {
		o.status = "accepted"
	}
}

func (m *machine) reject(r *rapid.T) {
	pair, s, device, o := m.anyOffer(r, activeOffer)
	m.do(r, pair[1], "POST", "/shares/"+s.id+"/devices/"+device+"/reject", nil, nil, "")
	giveUp(o)
}

func (m *machine) name(r *rapid.T) {
	pair, s, device, o := m.anyOffer(r, anyOf)
	domain, code := rapid.SampledFrom([]string{"", "garden", "porch"}).Draw(r, "domain"), ""
	switch {
	case o.status != "accepted":
		code = "not_accepted"
	case domain != "" && m.model.domainTaken(pair[1], device, domain):
		code = "domain_taken"
	}
	m.do(r, pair[1], "PUT", "/shares/"+s.id+"/devices/"+device+"/domain", map[string]any{"domain": domain}, nil, code)
	if code == "" {
		o.domain = domain
	}
}

func (m *machine) pause(r *rapid.T) {
	pair, s := m.anyShare(r)
	m.do(r, pair[0], "POST", "/shares/"+s.id+map[bool]string{false: "/pause", true: "/resume"}[s.paused], nil, nil, "")
	s.paused = !s.paused
}

func (m *machine) pauseDevice(r *rapid.T) {
	pair, s, device, o := m.anyOffer(r, activeOffer)
	m.do(r, pair[0], "POST", "/shares/"+s.id+"/devices/"+device+map[bool]string{false: "/pause", true: "/resume"}[o.paused], nil, nil, "")
	o.paused = !o.paused
}

// stranger tries what is not theirs: it does not exist for them.
func (m *machine) stranger(r *rapid.T) {
	pair, s, device, _ := m.anyOffer(r, anyOf)
	for _, who := range m.model.people {
		if who == pair[0] || who == pair[1] {
			continue
		}
		for _, c := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/pause"}, {"POST", "/devices/" + device + "/accept"}, {"DELETE", "/devices/" + device}} {
			m.do(r, who, c[0], "/shares/"+s.id+c[1], nil, nil, "share_not_found")
		}
		m.do(r, who, "DELETE", "/devices/"+device, nil, nil, "device_not_found")
	}
	m.do(r, pair[1], "POST", "/shares/"+s.id+"/pause", nil, nil, "not_the_owner")
	m.do(r, pair[0], "POST", "/shares/"+s.id+"/devices/"+device+"/accept", nil, nil, "not_the_recipient")
}

// beyond asks for more than the device can do.
func (m *machine) beyond(r *rapid.T) {
	pair, s := m.anyShare(r)
	device := m.ownDevice(r, pair[0])
	m.do(r, pair[0], "PUT", "/shares/"+s.id+"/devices/"+device, map[string]any{"channels": channelsOf(map[int][]string{2: {"ptz"}})}, nil, "beyond_capability")
	m.do(r, pair[0], "PUT", "/shares/"+s.id+"/devices/"+device, map[string]any{"channels": channelsOf(map[int][]string{3: {"live_view"}})}, nil, "unknown_channel")
}

// time lets a grant run out.
func (m *machine) time(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "rarely") != 0 {
		r.Skip("rarely")
	}
	pair, s, device, o := m.anyOffer(r, accepted)
	until := time.Now().Add(2 * time.Second).Truncate(time.Second)
	m.do(r, pair[0], "PUT", "/shares/"+s.id+"/devices/"+device, map[string]any{
		"channels": channelsOf(o.given), "terms": map[string]any{"until": until.UTC().Format(time.RFC3339)},
	}, nil, "")
	o.from, o.until = time.Time{}, until
	time.Sleep(time.Until(until) + time.Millisecond) // the end is what the step is about
}

// compare holds every list of everybody, and some privileges, against the model.
func (m *machine) compare(r *rapid.T) {
	m.compared++
	for _, who := range m.model.people {
		m.same(r, who, "sent", m.sent(r, who), m.model.sent(who))
		m.same(r, who, "received", m.received(r, who), m.model.received(who))
		m.same(r, who, "history", m.past(r, who), m.model.past(who))
		m.same(r, who, "privileges", m.rights(r, who), m.model.rights(who))
		m.sameMadeAgain(r, who, "sent")
		m.sameMadeAgain(r, who, "received")
	}
	devices := slices.Sorted(maps.Keys(m.model.devices))
	for i, who := range m.model.people {
		if len(devices) > 0 {
			m.check(r, who, devices[(m.compared+i)%len(devices)])
		}
	}
}

// sameMadeAgain compares a page that may be kept with the same one by another name, which
// nobody has asked for lately.
func (m *machine) sameMadeAgain(r *rapid.T, who, list string) {
	page := func(limit int) string {
		return string(ask(m.users[who].api.host, "GET", fmt.Sprintf("/shares/%s?limit=%d", list, limit), m.users[who].token, nil).body)
	}
	if kept, made := page(50), page(51+m.compared%149); kept != made {
		r.Fatalf("%s of %s:\n kept %s\n made %s", list, who, kept, made)
	}
}

func (m *machine) same(r *rapid.T, who, list string, got, want []string) {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Fatalf("%s of %s:\n got %q\nwant %q", list, who, got, want)
	}
}

// check asks for one privilege, another one each time.
func (m *machine) check(r *rapid.T, who, device string) {
	m.asked++
	channel, privilege := 1+m.asked%2, capabilities[1][m.asked/2%5]
	allowed, sees := m.model.may(who, device, channel, privilege, time.Now())
	var answer struct {
		Allowed bool
		Reason  string
	}
	code := ""
	if !sees {
		code = "device_not_found"
	}
	m.do(r, who, "GET", fmt.Sprintf("/privileges/check?device=%s&channel=%d&privilege=%s", device, channel, privilege), nil, &answer, code)
	if sees && answer.Allowed != allowed {
		r.Fatalf("%s may %s on channel %d of %s: %+v, want %v", who, privilege, channel, device, answer, allowed)
	}
}

type shareAnswer struct {
	ID, Status, Remark string
	Recipient, From    struct{ Email string }
	Devices            []struct {
		Device, Status, Domain string
		Paused                 bool
		Channels               []channelAnswer
	}
}

type channelAnswer struct {
	Channel    int
	Privileges []string
}

func givenBy(channels []channelAnswer) string {
	given := map[int][]string{}
	for _, c := range channels {
		given[c.Channel] = c.Privileges
	}
	return givenText(given)
}

// all reads every page of a list.
func all[T any](r *rapid.T, m *machine, who, path string) (items []T) {
	limit := "200"
	if m.compared%8 == 0 { // many pages
		limit = "2"
	}
	for cursor := ""; ; {
		var page struct {
			Items []T
			Next  string
		}
		m.do(r, who, "GET", path+"?limit="+limit+cursor, nil, &page, "")
		items = append(items, page.Items...)
		if page.Next == "" {
			return items
		}
		cursor = "&cursor=" + page.Next
	}
}

func nameIn(email string) string { return email[:max(0, len(email)-len("@example.com"))] }

func (m *machine) sent(r *rapid.T, who string) (lines []string) {
	for _, s := range all[shareAnswer](r, m, who, "/shares/sent") {
		lines = append(lines, fmt.Sprintf("%s to %s remark %q paused %v", s.ID, nameIn(s.Recipient.Email), s.Remark, s.Status == "paused"))
		for _, d := range s.Devices {
			if d.Status == "rejected" || d.Status == "left" {
				d.Status = "gone"
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s paused %v", s.ID, d.Device, d.Status, givenBy(d.Channels), d.Paused))
		}
	}
	return lines
}

func (m *machine) received(r *rapid.T, who string) (lines []string) {
	for _, s := range all[shareAnswer](r, m, who, "/shares/received") {
		if s.Remark != "" {
			r.Fatalf("%s reads the remark %q", who, s.Remark)
		}
		lines = append(lines, fmt.Sprintf("%s from %s paused %v", s.ID, nameIn(s.From.Email), s.Status == "paused"))
		for _, d := range s.Devices {
			lines = append(lines, fmt.Sprintf("%s %s %s %s paused %v domain %q", s.ID, d.Device, d.Status, givenBy(d.Channels), d.Paused, d.Domain))
		}
	}
	return lines
}

func (m *machine) past(r *rapid.T, who string) (lines []string) {
	for _, h := range all[shareAnswer](r, m, who, "/shares/history") {
		lines = append(lines, nameIn(h.Recipient.Email))
	}
	return lines
}

func (m *machine) rights(r *rapid.T, who string) (lines []string) {
	type right struct {
		Device, Role, Share, Domain string
		Paused                      bool
		Channels                    []channelAnswer
		Via                         struct{ Share, Event string }
	}
	for _, p := range all[right](r, m, who, "/privileges") {
		if p.Role == "owner" {
			lines = append(lines, fmt.Sprintf("%s owner %s", p.Device, givenBy(p.Channels)))
			continue
		}
		if p.Via.Share != p.Share || p.Via.Event == "" {
			r.Fatalf("why %s may use %s: %+v", who, p.Device, p)
		}
		lines = append(lines, fmt.Sprintf("%s by %s %s paused %v domain %q", p.Device, p.Share, givenBy(p.Channels), p.Paused, p.Domain))
	}
	return lines
}

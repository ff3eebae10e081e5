package share

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

// machine gives a share any commands from anybody, and holds what comes of them
// against a model that knows no events: who was given what, and who agreed.
type machine struct {
	state   State
	events  []Event
	inForce inForce
	clock   time.Time

	live    bool
	paused  bool
	devices map[string]*modelDevice // what exists, with what it can do
	shared  map[string]*modelShare  // what is in the share
	ended   map[string]bool         // what the recipient gave up and the owner still sees
}

type modelDevice struct {
	owner        string
	capabilities map[int]privilege.Set
}

type modelShare struct {
	offered  map[int]privilege.Set
	accepted bool
	paused   bool
}

var (
	people   = []string{alice, bob, eve, ""}
	machines = []string{"cam", "dvr", "nvr", "eves"}
)

func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{clock: noon, inForce: inForce{}, devices: map[string]*modelDevice{}, shared: map[string]*modelShare{}, ended: map[string]bool{}}
		for _, name := range machines {
			m.addDevice(t, name)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":            m.check,
			"save":        m.save,
			"replace":     m.replace,
			"put":         m.put,
			"remove":      m.remove,
			"delete":      m.delete,
			"pause":       func(t *rapid.T) { m.pause(t, true) },
			"resume":      func(t *rapid.T) { m.pause(t, false) },
			"accept":      m.accept,
			"reject":      m.reject,
			"leave":       m.leave,
			"set domain":  m.setDomain,
			"lose device": m.loseDevice,
			"end device":  m.endDevice,
			"get device":  func(t *rapid.T) { m.addDevice(t, rapid.SampledFrom(machines).Draw(t, "device")) },
		})
	})
}

func (m *machine) addDevice(t *rapid.T, name string) {
	d := &modelDevice{owner: alice, capabilities: map[int]privilege.Set{}}
	if name == "eves" {
		d.owner = eve
	}
	for channel := 1; channel <= 3; channel++ {
		if rapid.Bool().Draw(t, "has channel") {
			d.capabilities[channel] = drawSet(t)
		}
	}
	if old := m.devices[name]; old == nil || old.owner == "" {
		m.devices[name] = d
	}
}

func drawSet(t *rapid.T) privilege.Set {
	return privilege.Set(rapid.Uint8Max(uint8(privilege.All)).Draw(t, "privileges"))
}

func (m *machine) facts(device string) Facts {
	d := m.devices[device]
	if d == nil {
		return Facts{}
	}
	return Facts{Owner: d.owner, Capabilities: maps.Clone(d.capabilities)}
}

func (m *machine) drawOffer(t *rapid.T) Offer {
	device := rapid.SampledFrom(machines).Draw(t, "device")
	o := Offer{Device: device, Facts: m.facts(device)}
	if d, ok := m.state.Find(device); ok && rapid.IntRange(0, 3).Draw(t, "as it is") == 0 {
		o.Grants = slices.Clone(d.Grants)
		slices.Reverse(o.Grants)
		return o
	}
	n := rapid.IntRange(0, 3).Draw(t, "channels")
	for range n {
		channel := rapid.IntRange(0, 4).Draw(t, "channel")
		privileges := drawSet(t)
		if rapid.IntRange(0, 3).Draw(t, "within") > 0 {
			privileges &= o.Facts.Capabilities[channel]
		}
		o.Grants = append(o.Grants, Grant{Channel: channel, Privileges: privileges})
	}
	return o
}

// permitted is the model's own judgement of an offer.
func (m *machine) permitted(o Offer) bool {
	d := m.devices[o.Device]
	if d == nil || d.owner != alice || len(o.Grants) == 0 {
		return false
	}
	seen := map[int]bool{}
	for _, g := range o.Grants {
		can, ok := d.capabilities[g.Channel]
		if !ok || seen[g.Channel] || g.Privileges|can != can {
			return false
		}
		seen[g.Channel] = true
	}
	return true
}

// kept reports whether an offer is of what is in the share as it is.
func (m *machine) kept(o Offer) bool {
	in := m.shared[o.Device]
	if in == nil {
		return m.ended[o.Device] && len(o.Grants) == 0
	}
	offered := map[int]privilege.Set{}
	for _, g := range o.Grants {
		offered[g.Channel] = g.Privileges
	}
	return len(offered) == len(o.Grants) && maps.Equal(offered, in.offered)
}

func (m *machine) give(o Offer) {
	if m.ended[o.Device] && len(o.Grants) == 0 {
		return
	}
	delete(m.ended, o.Device)
	in := m.shared[o.Device]
	if in == nil {
		in = &modelShare{}
		m.shared[o.Device] = in
	}
	in.offered = map[int]privilege.Set{}
	for _, g := range o.Grants {
		in.offered[g.Channel] = g.Privileges
	}
}

// do decides, compares the verdict with the model's and evolves: each event
// twice, as a log may deliver it.
func (m *machine) do(t *rapid.T, c Command, expected bool) {
	before := m.state
	frozen := deepCopy(before)
	events, err := Decide(m.state, c)
	if (err == nil) != expected {
		t.Fatalf("%T%+v over %+v: %v; the model says %v", c, c, m.state, err, expected)
	}
	for _, e := range events {
		m.withinCapabilities(t, e)
		m.inForce.apply(t, e)
		once := Evolve(m.state, e)
		if twice := Evolve(once, e); !reflect.DeepEqual(twice, once) {
			t.Fatalf("%T delivered twice: %+v; want %+v", e, twice, once)
		}
		m.state = once
	}
	if !reflect.DeepEqual(before, frozen) {
		t.Fatalf("%T changed the state that it was given", c)
	}
	m.events = append(m.events, events...)
}

// withinCapabilities: no event gives what the device cannot do now, or what is
// not Alice's to give.
func (m *machine) withinCapabilities(t *rapid.T, event Event) {
	var device string
	var grants []Grant
	switch e := event.(type) {
	case Invited:
		device, grants = e.Device, e.Grants
	case Accepted:
		device, grants = e.Device, e.Grants
	case PrivilegesEdited:
		device, grants = e.Device, e.Grants
	default:
		return
	}
	d := m.devices[device]
	for _, g := range grants {
		if can, ok := d.capabilities[g.Channel]; d.owner != alice || !ok || g.Privileges|can != can {
			t.Fatalf("%T%+v gives what %+v has not", event, event, d)
		}
	}
}

func deepCopy(s State) State {
	s.Devices = slices.Clone(s.Devices)
	for i := range s.Devices {
		s.Devices[i].Grants = slices.Clone(s.Devices[i].Grants)
	}
	return s
}

func (m *machine) tick() time.Time {
	m.clock = m.clock.Add(time.Second)
	return m.clock
}

func drawPerson(t *rapid.T) string { return rapid.SampledFrom(people).Draw(t, "by") }

func (m *machine) save(t *rapid.T) {
	c := saving(rapid.SliceOfN(rapid.Custom(m.drawOffer), 0, 3).Draw(t, "offers")...)
	c.By, c.Holder, c.At = drawPerson(t), rapid.SampledFrom([]string{bob, "", alice}).Draw(t, "holder"), m.tick()
	fine := c.By == alice && c.Holder != alice
	seen := map[string]bool{}
	for _, o := range c.Offers {
		fine = fine && !seen[o.Device] && m.permitted(o) && (!m.live || m.shared[o.Device] == nil)
		seen[o.Device] = true
	}
	m.do(t, c, fine)
	if !fine {
		return
	}
	m.paused = m.paused && m.live
	m.live = true
	for _, o := range c.Offers {
		m.give(o)
	}
}

func (m *machine) replace(t *rapid.T) {
	c := Replace{By: drawPerson(t), Offers: rapid.SliceOfN(rapid.Custom(m.drawOffer), 0, 3).Draw(t, "offers"), At: m.tick()}
	fine := m.live && c.By == alice
	seen := map[string]bool{}
	for _, o := range c.Offers {
		fine = fine && !seen[o.Device] && (m.permitted(o) || m.kept(o))
		seen[o.Device] = true
	}
	m.do(t, c, fine)
	if !fine {
		return
	}
	maps.DeleteFunc(m.shared, func(device string, _ *modelShare) bool { return !seen[device] })
	maps.DeleteFunc(m.ended, func(device string, _ bool) bool { return !seen[device] })
	for _, o := range c.Offers {
		m.give(o)
	}
}

func (m *machine) put(t *rapid.T) {
	c := PutDevice{By: drawPerson(t), Offer: m.drawOffer(t), At: m.tick()}
	fine := m.live && c.By == alice && (m.permitted(c.Offer) || m.kept(c.Offer))
	m.do(t, c, fine)
	if fine {
		m.give(c.Offer)
	}
}

func (m *machine) remove(t *rapid.T) {
	c := RemoveDevice{By: drawPerson(t), Device: drawDevice(t), At: m.tick()}
	fine := m.live && c.By == alice && (m.shared[c.Device] != nil || m.ended[c.Device])
	m.do(t, c, fine)
	if fine {
		delete(m.shared, c.Device)
		delete(m.ended, c.Device)
	}
}

// pause pauses or resumes the share or a device in it.
func (m *machine) pause(t *rapid.T, paused bool) {
	by, device, at := drawPerson(t), rapid.SampledFrom(append([]string{""}, machines...)).Draw(t, "device"), m.tick()
	var c Command = Resume{By: by, Device: device, At: at}
	if paused {
		c = Pause{By: by, Device: device, At: at}
	}
	fine := m.live && by == alice && (device == "" || m.shared[device] != nil)
	m.do(t, c, fine)
	switch {
	case fine && device == "":
		m.paused = paused
	case fine:
		m.shared[device].paused = paused
	}
}

// inForce is what the effects of the events give: what an index that reads nothing else
// knows.
type inForce map[[2]string][]Grant

func (f inForce) apply(t *rapid.T, e Event) {
	effects, err := event.AppendEffects(nil, e)
	if err != nil {
		t.Fatalf("%T%+v: %v", e, e, err)
	}
	for _, e := range effects {
		switch e.Kind {
		case event.Granted:
			f[[2]string{string(e.Account), string(e.Device)}] = e.Grants
		case event.Cleared:
			delete(f, [2]string{string(e.Account), string(e.Device)})
		}
	}
}

func (f inForce) allows(account, device string, channel int, p privilege.Set) bool {
	for _, g := range f[[2]string{account, device}] {
		if g.Channel == channel {
			return g.Privileges.Has(p)
		}
	}
	return false
}

func drawDevice(t *rapid.T) string { return rapid.SampledFrom(machines).Draw(t, "device") }

func (m *machine) delete(t *rapid.T) {
	c := Delete{By: drawPerson(t), At: m.tick()}
	fine := m.live && c.By == alice
	m.do(t, c, fine)
	if fine {
		m.live = false
		clear(m.shared)
		clear(m.ended)
	}
}

func (m *machine) accept(t *rapid.T) {
	device := drawDevice(t)
	c := Accept{By: drawPerson(t), Holder: bob, Device: device, Facts: m.facts(device), At: m.tick()}
	in := m.shared[device]
	fine := m.live && c.By == bob && in != nil
	if fine && !in.accepted {
		var grants []Grant
		for channel, p := range in.offered {
			grants = append(grants, Grant{Channel: channel, Privileges: p})
		}
		fine = m.permitted(Offer{Device: device, Grants: grants})
	}
	m.do(t, c, fine)
	if fine {
		in.accepted = true
	}
}

func (m *machine) reject(t *rapid.T) {
	c := Reject{By: drawPerson(t), Holder: bob, Device: drawDevice(t), At: m.tick()}
	already := false
	if d, ok := m.state.Find(c.Device); ok {
		already = d.Status == StatusRejected
	}
	m.do(t, c, m.live && c.By == bob && (m.shared[c.Device] != nil || already))
	if m.live && c.By == bob {
		m.giveUp(c.Device)
	}
}

func (m *machine) leave(t *rapid.T) {
	c := Leave{By: drawPerson(t), Holder: bob, Device: rapid.SampledFrom(append([]string{""}, machines...)).Draw(t, "device"), At: m.tick()}
	fine := m.live && c.By == bob && (c.Device == "" || m.shared[c.Device] != nil)
	m.do(t, c, fine)
	switch {
	case fine && c.Device == "":
		for device := range m.shared {
			m.giveUp(device)
		}
	case fine:
		m.giveUp(c.Device)
	}
}

func (m *machine) giveUp(device string) {
	if m.shared[device] != nil {
		delete(m.shared, device)
		m.ended[device] = true
	}
}

func (m *machine) setDomain(t *rapid.T) {
	c := SetDomain{By: drawPerson(t), Holder: bob, Device: drawDevice(t), Domain: rapid.SampledFrom([]string{"", "door", "yard"}).Draw(t, "domain"), At: m.tick()}
	in := m.shared[c.Device]
	free := true
	for _, d := range m.state.Devices {
		free = free && (c.Domain == "" || d.Device == c.Device || d.Domain != c.Domain)
	}
	m.do(t, c, m.live && c.By == bob && in != nil && in.accepted && free)
}

func (m *machine) loseDevice(t *rapid.T) {
	m.devices[drawDevice(t)] = &modelDevice{}
}

// endDevice follows the loss of a device, late or never.
func (m *machine) endDevice(t *rapid.T) {
	device := drawDevice(t)
	if m.devices[device].owner != "" {
		return
	}
	m.do(t, EndDevice{Device: device, At: m.tick()}, true)
	delete(m.shared, device)
	delete(m.ended, device)
}

// check holds the state against the model after every command.
func (m *machine) check(t *rapid.T) {
	if again := replay(m.events); !reflect.DeepEqual(again, m.state) {
		t.Fatalf("replayed: %+v; want %+v", again, m.state)
	}
	if m.state.Live != m.live {
		t.Fatalf("live is %v; want %v", m.state.Live, m.live)
	}
	for _, device := range machines {
		for channel := 0; channel <= 4; channel++ {
			for _, who := range people {
				m.checkGrants(t, who, device, channel)
			}
		}
	}
	for _, d := range m.state.Devices {
		if d.Active() != (m.shared[d.Device] != nil) {
			t.Fatalf("%s is %s; the model has %v", d.Device, d.Status, m.shared[d.Device])
		}
		if m.live && d.Listed() != (d.Active() || m.ended[d.Device]) {
			t.Fatalf("%s is %s; the model says given up: %v", d.Device, d.Status, m.ended[d.Device])
		}
	}
}

// checkGrants: exactly what was offered and accepted, for Bob alone.
func (m *machine) checkGrants(t *rapid.T, who, device string, channel int) {
	var may privilege.Set
	if in := m.shared[device]; m.live && !m.paused && who == bob && in != nil && in.accepted && !in.paused {
		may = in.offered[channel]
	}
	for p := privilege.LiveView; p <= privilege.PTZ; p <<= 1 {
		if got, want := m.state.Allows(who, device, channel, p, m.clock), may.Has(p); got != want {
			t.Fatalf("may %q do %v on %s/%d: %v; the model says %v", who, p, device, channel, got, want)
		}
		if got, want := m.inForce.allows(who, device, channel, p), may.Has(p); got != want {
			t.Fatalf("the effects let %q do %v on %s/%d: %v; the model says %v", who, p, device, channel, got, want)
		}
	}
}

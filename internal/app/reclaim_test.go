package app

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/domain/share"
)

// found is a device as a claimant describes it.
func found(host string) NewDevice {
	return NewDevice{Name: "Found", RTSPURL: "rtsp://" + host + "/live", ISAPIURL: "http://" + host, Username: "admin", Password: "known"}
}

// places is a Prover: what is at each host, and with which password it lets in.
type places struct {
	mu    sync.Mutex
	at    map[string]DeviceFacts
	key   map[string]string
	hook  func()
	asked []string // host and password
}

func (p *places) Prove(_ context.Context, _ string, c Camera) (DeviceFacts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := strings.TrimPrefix(c.ISAPIURL, "http://")
	p.asked = append(p.asked, host+" "+c.Password)
	if p.hook != nil {
		p.hook()
	}
	facts, there := p.at[host]
	switch {
	case !there:
		return DeviceFacts{}, &NotProven{Reason: "not_reachable", Service: "isapi"}
	case p.key[host] != c.Password:
		return DeviceFacts{}, &NotProven{Reason: "wrong_password", Service: "isapi"}
	}
	return facts, nil
}

const here, there = "192.0.2.1", "192.0.2.99"

// claiming is a world in which Alice's camera is reached at one place, and Eve says that it
// is at another one.
func claiming(t *testing.T) (*world, *places, string) {
	t.Helper()
	w := newWorld(t)
	p := &places{at: map[string]DeviceFacts{here: {Serial: "CAM-1"}, there: {Serial: "cam-1", Model: "M"}}, key: map[string]string{here: "owners", there: "known"}}
	w.devices.prover = p
	w.vault.cameras[w.cam] = Camera{Username: "admin", Password: "owners", ISAPIURL: "http://" + here, Channels: []CameraChannel{{Channel: 1, MainURL: "rtsp://" + here + "/live"}}}
	return w, p, request.ID("cam-1", w.eve)
}

func (w *world) claim() {
	w.t.Helper()
	if _, err := w.devices.StartReclaim(ctx, Meta{Account: w.eve}, found(there)); err != nil {
		w.t.Fatal(err)
	}
	w.clock = w.clock.Add(DefaultReclaimWait)
}

// TestReclaimIsProven: what the device itself does not say proves nothing.
func TestReclaimIsProven(t *testing.T) {
	w, p, _ := claiming(t)
	for name, sc := range map[string]struct {
		facts  DeviceFacts
		change func(*NewDevice)
		kind   Kind
		code   string
	}{
		"it does not say its serial":        {DeviceFacts{Model: "M"}, func(*NewDevice) {}, Invalid, "serial_not_proven"},
		"it says none, and one is typed":    {DeviceFacts{}, func(n *NewDevice) { n.Serial = "CAM-1" }, Invalid, "serial_not_proven"},
		"a typed serial is another":         {DeviceFacts{Serial: "CAM-1"}, func(n *NewDevice) { n.Serial = "DS-7216" }, Invalid, "serial_mismatch"},
		"by RTSP only":                      {DeviceFacts{Serial: "CAM-1"}, func(n *NewDevice) { n.ISAPIURL = "" }, Invalid, "invalid_body"},
		"a wrong password":                  {DeviceFacts{Serial: "CAM-1"}, func(n *NewDevice) { n.Password = "no" }, Invalid, "device_wrong_password"},
		"a device that nobody has":          {DeviceFacts{Serial: "NEW-1"}, func(*NewDevice) {}, Conflict, "device_not_taken"},
		"nobody says that it is generated":  {DeviceFacts{Serial: "cam-aaaaaaaaaa"}, func(*NewDevice) {}, Conflict, "device_not_taken"},
		"the claimant's own, all the while": {DeviceFacts{Serial: "OWN-1"}, func(*NewDevice) {}, Conflict, "device_already_added"},
	} {
		if name == "the claimant's own, all the while" {
			w.devices.unproven = true
			w.addDevice(w.eve, NewDevice{Name: "Mine", Serial: "OWN-1"})
		}
		p.at[there] = sc.facts
		n := found(there)
		sc.change(&n)
		_, err := w.devices.StartReclaim(ctx, Meta{Account: w.eve}, n)
		t.Run(name, func(t *testing.T) { wantCode(t, err, sc.kind, sc.code) })
	}
	if types := w.log.types(reclaimStream(request.ID("cam-1", w.eve))); types != "" {
		t.Errorf("written: %s", types)
	}
}

// TestReclaimKeepsNothingOfTheOwner: the claimant gets the device as they reach it, and no
// share of it goes on.
func TestReclaimKeepsNothingOfTheOwner(t *testing.T) {
	w, p, id := claiming(t)
	w.accepted(gives(w.cam, 1, privilege.LiveView))
	w.claim()
	_, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(there))
	wantCode(t, err, Conflict, "device_still_reached")
	if last := p.asked[len(p.asked)-1]; last != here+" owners" {
		t.Errorf("the owner's address was asked with %q", last)
	}
	p.key[here] = "reset"
	r, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(there))
	if err != nil {
		t.Fatal(err)
	}
	camera := w.vault.cameras[r.Device.Device]
	if r.Device.Device != "cam-1.2" || camera.Password != "known" || camera.Channels[0].MainURL != "rtsp://"+there+"/live" || r.Device.Facts.Model != "M" {
		t.Errorf("%+v, %+v", r.Device, camera)
	}
	if _, has := w.vault.cameras[w.cam]; has || len(w.vault.staged) != 0 {
		t.Errorf("cameras %+v, staged %+v", w.vault.cameras, w.vault.staged)
	}
	if d, _ := w.inShareOf(w.alice, w.cam); d.Status != share.StatusRemoved {
		t.Errorf("the share still has %+v", d)
	}
	if _, in := w.inShareOf(w.eve, "cam-1.2"); in {
		t.Error("the share goes on")
	}
	if again, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(there)); err != nil || again.Device.Device != "cam-1.2" {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// TestReclaimAtTheOwnersAddress: who is let in where the owner's camera is has it.
func TestReclaimAtTheOwnersAddress(t *testing.T) {
	w, p, id := claiming(t)
	w.claim()
	p.key[here] = "known"
	if _, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(here+":80")); err == nil {
		t.Error("there is nothing at this spelling")
	}
	if _, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(here)); err != nil {
		t.Fatal(err)
	}
	for a, b := range map[string]string{"http://a": "http://A:80", "https://a/x": "https://a:443", "http://[::1]:8": "http://[::1]:8/y"} {
		if !sameHost(a, b) {
			t.Errorf("%s and %s", a, b)
		}
	}
	for a, b := range map[string]string{"http://a": "http://a:81", "https://a": "http://a", "": "", "x": "x"} {
		if sameHost(a, b) {
			t.Errorf("%s and %s", a, b)
		}
	}
}

// TestReclaimEndsWithTheDevice: whatever happens to the device, the claim to it as it was
// gives nothing.
func TestReclaimEndsWithTheDevice(t *testing.T) {
	for name, sc := range map[string]struct {
		happens func(w *world)
		code    string
	}{
		"removed": {func(w *world) {
			if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
				w.t.Fatal(err)
			}
		}, "reclaim_not_found"},
		"handed over": {func(w *world) {
			if _, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.bob}, w.offer(w.cam, "bob@example.com", device.EndShares)); err != nil {
				w.t.Fatal(err)
			}
		}, "reclaim_not_found"},
		"objected": {func(w *world) {
			if _, err := w.devices.EndReclaim(ctx, Meta{Account: w.alice}, request.ID("cam-1", w.eve), true); err != nil {
				w.t.Fatal(err)
			}
		}, "reclaim_objected"},
		"withdrawn": {func(w *world) {
			if _, err := w.devices.EndReclaim(ctx, Meta{Account: w.eve}, request.ID("cam-1", w.eve), false); err != nil {
				w.t.Fatal(err)
			}
		}, "reclaim_not_found"},
		"lapsed":   {func(w *world) { w.clock = w.clock.Add(reclaim.Lasts) }, "reclaim_expired"},
		"too soon": {func(w *world) { w.clock = w.clock.Add(-time.Microsecond) }, "reclaim_waiting"},
	} {
		for _, during := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w, p, id := claiming(t)
				p.key[here] = "reset"
				w.claim()
				if during { // the proof takes a while
					p.hook = sync.OnceFunc(func() { sc.happens(w) })
				} else {
					sc.happens(w)
				}
				asked := len(p.asked)
				_, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(there))
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Code != sc.code {
					t.Errorf("during the proof %v: %v", during, err)
				}
				if !during && len(p.asked) != asked {
					t.Error("a device was connected to in vain")
				}
				if owned, _ := w.devices.asksFor(ctx, "cam-1"); owned.Owner == w.eve {
					t.Error("the device is the claimant's")
				}
			})
		}
	}
}

// TestObjectionRaces: of an objection and a completion at once, one happens.
func TestObjectionRaces(t *testing.T) {
	for range 5 {
		w, p, id := claiming(t)
		p.key[here] = "reset"
		w.claim()
		var both sync.WaitGroup
		var completed, objected error
		both.Go(func() { _, completed = w.devices.CompleteReclaim(ctx, Meta{Account: w.eve}, id, found(there)) })
		both.Go(func() { _, objected = w.node().devices.EndReclaim(ctx, Meta{Account: w.alice}, id, true) })
		both.Wait()
		owned, err := w.devices.asksFor(ctx, "cam-1")
		if err != nil || (completed == nil) == (objected == nil) || (owned.Owner == w.eve) != (completed == nil) {
			t.Fatalf("completed: %v, objected: %v, the owner is %s, %v", completed, objected, owned.Owner, err)
		}
	}
}

// TestReclaimCutOff: wherever the power goes, the same request goes on.
func TestReclaimCutOff(t *testing.T) {
	for _, when := range []crash{crashBefore, crashAfter} {
		for at := range 3 {
			w, p, id := claiming(t)
			p.key[here] = "reset"
			w.accepted(gives(w.cam, 1, privilege.LiveView))
			w.claim()
			n := 0
			w.log.crash = func(string) crash {
				if n++; n-1 >= at {
					if n-1 == at {
						return when
					}
					return crashBefore
				}
				return noCrash
			}
			_, _ = w.devices.CompleteReclaim(ctx, Meta{Account: w.eve, IdempotencyKey: "k"}, id, found(there))
			w.log.crash = nil
			w.server = w.node()
			w.devices.prover = p
			w.policy(w.cam)
			if _, err := w.devices.CompleteReclaim(ctx, Meta{Account: w.eve, IdempotencyKey: "k"}, id, found(there)); err != nil {
				t.Errorf("cut off %v append %d: the repeat: %v", when, at, err)
			}
			w.policy(w.cam)
			owned, _ := w.devices.asksFor(ctx, "cam-1")
			d, _ := w.inShareOf(w.alice, w.cam)
			if owned.Owner != w.eve || owned.Device != "cam-1.2" || d.Status != share.StatusRemoved || w.vault.cameras["cam-1.2"].Password != "known" {
				t.Errorf("cut off %v append %d: %+v, %+v, %+v", when, at, owned, d, w.vault.cameras)
			}
		}
	}
}

// crowd is a ClaimsTo.
type crowd int

func (c crowd) ReclaimsOf(context.Context, string, time.Time) (int, error) { return int(c), nil }

func TestClaimsAreLimited(t *testing.T) {
	w, _, _ := claiming(t)
	w.devices.claims = crowd(mostClaims)
	_, err := w.devices.StartReclaim(ctx, Meta{Account: w.eve}, found(there))
	wantCode(t, err, Conflict, "too_many_claims")
	w.devices.claims = crowd(mostClaims - 1)
	w.claim()
}

// TestTellOwner: every address that is proven, once each, and nobody after the account was
// closed.
func TestTellOwner(t *testing.T) {
	w := newWorld(t)
	told := &sent{}
	w.devices.messenger = told
	w.accounts.codes = &memoryPost{codes: map[string]string{}}
	if _, err := w.accounts.AddAddress(ctx, Meta{Account: w.alice}, "", "+4915112345678"); err != nil {
		t.Fatal(err)
	}
	cause := uuid.New()
	e := reclaim.Claimed{Serial: "cam-1", Account: w.eve, Device: w.cam, Owner: w.alice, Ready: w.clock.Add(time.Hour), At: w.clock}
	for range 2 {
		if err := w.devices.TellOfReclaim(ctx, cause, e); err != nil {
			t.Fatal(err)
		}
	}
	if len(told.list) != 4 || told.list[0].ID != told.list[2].ID || told.list[0].ID == told.list[1].ID || told.list[1].To != "+4915112345678" || !told.list[0].Ready.Equal(e.Ready) {
		t.Errorf("%+v", told.list)
	}
	told.list = nil
	w.core.verify = true // only the number is proven
	if err := w.devices.TellOfReclaim(ctx, cause, e); err != nil || len(told.list) != 1 || told.list[0].Kind != "phone" {
		t.Errorf("%v, %+v", err, told.list)
	}
	w.core.verify = false
	told.list = nil
	if err := w.devices.TellOfLoss(ctx, cause, device.Removed{Device: w.cam, Owner: w.alice, At: w.clock}); err != nil || len(told.list) != 2 || told.list[0].What != NoticeReclaimed {
		t.Errorf("%v, %+v", err, told.list)
	}
	w.closing()
	if _, err := w.accounts.Close(ctx, Meta{Account: w.alice}, password); err != nil {
		t.Fatal(err)
	}
	told.list = nil
	if err := w.devices.TellOfReclaim(ctx, cause, e); err != nil || len(told.list) != 0 {
		t.Errorf("after the account was closed: %v, %+v", err, told.list)
	}
}

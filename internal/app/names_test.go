package app

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"latchkey/domain/name"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// meanings counts what a name means to Bob: devices of his own with this id,
// devices shared with him with this id, and devices that he calls so.
func (w *world) meanings(name string, shares ...string) int {
	w.t.Helper()
	n := 0
	if d, err := w.loadDevice(ctx, name); err != nil {
		w.t.Fatal(err)
	} else if d.Live && d.Owner == w.bob {
		n++
	}
	for _, id := range shares {
		s, err := w.loadShare(ctx, id)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range s.state.Devices {
			if s.state.Live && d.Status == share.StatusAccepted && d.Account == w.bob && (d.Device == name || d.Domain == name) {
				n++
			}
		}
	}
	return n
}

// TestOneMeaning: whatever two commands give a name at once, on two servers, it
// means one thing.
func TestOneMeaning(t *testing.T) {
	bob := func(w *world) Meta { return Meta{Account: w.bob} }
	setCam := func(s *server, w *world, id, _ string) error {
		_, err := s.shares.SetDomain(ctx, bob(w), id, w.cam, "door")
		return err
	}
	for what, other := range map[string]func(s *server, w *world, id, eves string) error{
		"two domains of one share": func(s *server, w *world, id, _ string) error {
			_, err := s.shares.SetDomain(ctx, bob(w), id, w.dvr, "door")
			return err
		},
		"two domains of two shares": func(s *server, w *world, _, eves string) error {
			_, err := s.shares.SetDomain(ctx, bob(w), eves, "yard", "door")
			return err
		},
		"a device of one's own": func(s *server, w *world, _, _ string) error {
			_, err := s.devices.Add(ctx, bob(w), NewDevice{Name: "Mine", Serial: "DOOR", RTSPURL: "rtsp://192.0.2.1/"})
			return err
		},
		"an acceptance": func(s *server, w *world, _, eves string) error {
			_, err := s.shares.Accept(ctx, bob(w), eves, "door")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			won := map[string]int{}
			for i := range 40 {
				w, id, eves := namingWorld(t, what == "an acceptance")
				servers := [2]*server{w.server, w.node()}
				var errs [2]error
				var wg sync.WaitGroup
				wg.Go(func() { errs[0] = setCam(servers[i%2], w, id, eves) })
				wg.Go(func() { errs[1] = other(servers[1-i%2], w, id, eves) })
				wg.Wait()
				if n := w.meanings("door", id, eves); n > 1 {
					t.Fatalf("the name means %d things; answered %v and %v", n, errs[0], errs[1])
				}
				for _, err := range errs {
					if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Kind != Conflict) {
						t.Fatal(err)
					}
				}
				won[fmt.Sprint(errs[0] == nil, errs[1] == nil)]++
			}
			if won["true true"] > 0 {
				t.Errorf("both succeeded: %v", won)
			}
		})
	}
}

// namingWorld has two devices of Alice's and one of Eve's, yard, that Bob
// accepted; and where wanted another of Eve's, door, that he is invited to.
func namingWorld(t *testing.T, door bool) (w *world, id, eves string) {
	t.Helper()
	w = newWorld(t)
	id = w.accepted(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView))
	w.addDevice(w.eve, NewDevice{Name: "Yard", Serial: "yard", RTSPURL: "rtsp://192.0.2.1/"})
	devices := []DeviceGrants{gives("yard", 1, privilege.LiveView)}
	if door {
		w.addDevice(w.eve, NewDevice{Name: "Door", Serial: "door", RTSPURL: "rtsp://192.0.2.1/"})
		devices = append(devices, gives("door", 1, privilege.LiveView))
	}
	r, err := w.shares.Save(ctx, Meta{Account: w.eve}, NewShare{Email: "bob@example.com", Devices: devices})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, r.Share.ID, "yard"); err != nil {
		t.Fatal(err)
	}
	return w, id, r.Share.ID
}

// TestNameIsUsed: what would give a name a second meaning is refused, until the
// first is gone, in whatever way.
func TestNameIsUsed(t *testing.T) {
	for how, free := range map[string]func(w *world, id string) error{
		"another name": func(w *world, id string) error {
			_, err := w.shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, "porch")
			return err
		},
		"no name": func(w *world, id string) error {
			_, err := w.shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, "")
			return err
		},
		"left": func(w *world, id string) error {
			_, err := w.shares.RemoveDevice(ctx, Meta{Account: w.bob}, id, w.cam)
			return err
		},
		"taken back": func(w *world, id string) error {
			_, err := w.shares.RemoveDevice(ctx, Meta{Account: w.alice}, id, w.cam)
			return err
		},
		"deleted": func(w *world, id string) error {
			_, err := w.shares.Delete(ctx, Meta{Account: w.alice}, id)
			return err
		},
		"removed": func(w *world, _ string) error {
			_, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
			return err
		},
	} {
		t.Run(how, func(t *testing.T) {
			w, id, eves := namingWorld(t, true)
			bob := Meta{Account: w.bob}
			if _, err := w.shares.SetDomain(ctx, bob, id, w.cam, "door"); err != nil {
				t.Fatal(err)
			}
			_, err := w.shares.SetDomain(ctx, bob, eves, "yard", "door")
			wantCode(t, err, Conflict, "domain_taken")
			_, err = w.shares.Accept(ctx, bob, eves, "door")
			wantCode(t, err, Conflict, "name_used")
			if _, err := w.devices.Remove(ctx, Meta{Account: w.eve}, "door"); err != nil {
				t.Fatal(err)
			}
			// Another account's names are another account's.
			w.addDevice(w.alice, NewDevice{Name: "Hall", Serial: "hall", RTSPURL: "rtsp://192.0.2.1/"})
			if err := free(w, id); err != nil {
				t.Fatal(err)
			}
			if _, err := w.shares.SetDomain(ctx, bob, eves, "yard", "door"); err != nil {
				t.Error(err)
			}
			if n := w.meanings("door", id, eves); n != 1 {
				t.Errorf("the name means %d things", n)
			}
		})
	}
}

func TestSerialIsUsed(t *testing.T) {
	w, id, _ := namingWorld(t, false)
	bob := Meta{Account: w.bob}
	if _, err := w.shares.SetDomain(ctx, bob, id, w.cam, "door"); err != nil {
		t.Fatal(err)
	}
	door := NewDevice{Name: "Mine", Serial: "Door", RTSPURL: "rtsp://192.0.2.1/"}
	_, err := w.devices.Add(ctx, bob, door)
	wantField(t, wantCode(t, err, Conflict, "name_used"), "serial")
	if len(w.vault.staged) != 0 || w.log.types(deviceStream("door")) != "" {
		t.Errorf("%d staged, %s", len(w.vault.staged), w.log.types(deviceStream("door")))
	}
	if _, err := w.shares.SetDomain(ctx, bob, id, w.cam, "porch"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.devices.Add(ctx, bob, door); err != nil {
		t.Fatal(err)
	}
	_, err = w.shares.SetDomain(ctx, bob, id, w.cam, "door")
	wantCode(t, err, Conflict, "domain_taken")
}

// TestClaimWithoutName: a claim whose command died is free after its lease, and at
// once for its own device.
func TestClaimWithoutName(t *testing.T) {
	w, id, eves := namingWorld(t, false)
	bob := Meta{Account: w.bob}
	w.log.crash = func(stream string) crash {
		if stream == shareStream(id) {
			return crashBefore
		}
		return noCrash
	}
	_, err := w.shares.SetDomain(ctx, bob, id, w.cam, "door")
	wantCode(t, err, Unavailable, "unavailable")
	w.log.crash = nil
	_, err = w.shares.SetDomain(ctx, bob, eves, "yard", "door")
	wantCode(t, err, Conflict, "domain_taken")
	if _, err := w.node().shares.SetDomain(ctx, bob, id, w.cam, "door"); err != nil {
		t.Error(err)
	}
	if _, err := w.shares.SetDomain(ctx, bob, id, w.cam, ""); err != nil {
		t.Error(err)
	}
	if _, err := w.shares.SetDomain(ctx, bob, eves, "yard", "door"); err != nil {
		t.Error(err)
	}

	// A setter that is slower than the lease loses the name again.
	w, id, eves = namingWorld(t, false)
	bob = Meta{Account: w.bob}
	node := w.node()
	w.log.before = func(stream string) {
		if stream != shareStream(id) {
			return
		}
		w.log.before = nil
		w.clock = w.clock.Add(name.ClaimLease)
		if _, err := node.shares.SetDomain(ctx, bob, eves, "yard", "door"); err != nil {
			t.Error(err)
		}
	}
	_, err = w.shares.SetDomain(ctx, bob, id, w.cam, "door")
	wantCode(t, err, Conflict, "domain_taken")
	if n := w.meanings("door", id, eves); n != 1 {
		t.Errorf("the name means %d things", n)
	}
}

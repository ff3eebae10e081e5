package app

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/privilege"
)

// TestReadsOfALogin: an address costs the same reads, whether somebody has it or
// not, and whatever has happened to the account.
func TestReadsOfALogin(t *testing.T) {
	w := newWorld(t)
	for range 250 {
		r, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.keys.Revoke(ctx, Meta{Account: w.bob}, r.Key.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		address, want string
		events        int
	}{{"alice@example.com", w.alice, 2}, {"bob@example.com", w.bob, 2}, {"nobody@example.com", "", 0}} {
		w.log.calls, w.log.reads = 0, 0
		id, err := w.accounts.ByLogin(ctx, emailKind, c.address)
		if err != nil || id != c.want {
			t.Errorf("%s is %q's, %v", c.address, id, err)
		}
		if w.log.calls != 2 || w.log.reads != c.events {
			t.Errorf("%s took %d reads of %d events; want 2 of %d", c.address, w.log.calls, w.log.reads, c.events)
		}
	}
}

// TestLostAccount: an address whose account the vault has lost can be registered
// again, by a new account that gets nothing of the old one.
func TestLostAccount(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	again := Registration{Email: "bob@example.com", Password: "another password", Name: "Bob"}
	_, err := w.accounts.Register(ctx, Meta{}, again)
	wantCode(t, err, Conflict, "login_taken")

	delete(w.vault.passwords, w.bob)
	r, err := w.accounts.Register(ctx, Meta{IdempotencyKey: "key"}, again)
	if err != nil || r.Account == w.bob {
		t.Fatalf("%+v, %v; want a new account", r, err)
	}
	repeat, err := w.accounts.Register(ctx, Meta{IdempotencyKey: "key"}, again)
	if err != nil || repeat.Account != r.Account || repeat.Position != r.Position {
		t.Errorf("the repeat: %+v, %v", repeat, err)
	}
	if holder, err := w.accounts.ByLogin(ctx, emailKind, again.Email); err != nil || holder != r.Account {
		t.Errorf("the address is %s's, %v", holder, err)
	}
	s, err := w.loadShare(ctx, id)
	if err != nil || s.state.Allows(r.Account, w.cam, 1, privilege.LiveView, time.Now()) || !s.state.Allows(w.bob, w.cam, 1, privilege.LiveView, time.Now()) {
		t.Errorf("the new account has what the old one had: %+v, %v", s.state, err)
	}
	// It is not the new holder's to give back: it ends as the login was claimed.
	_, err = w.shares.RemoveDevice(ctx, Meta{Account: r.Account}, id, w.cam)
	wantCode(t, err, NotFound, "share_not_found")
	w.closing()
	if err := w.accounts.FollowClaim(ctx, w.loginOf(again.Email), 0); err != nil {
		t.Fatal(err)
	}
	if s, _ = w.loadShare(ctx, id); s.state.Allows(w.bob, w.cam, 1, privilege.LiveView, time.Now()) {
		t.Error("the old account still has it")
	}
}

// TestErasedAccountFreesItsAddress: the number of somebody who was erased may be
// somebody else's by now, who gets nothing of what the first one had.
func TestErasedAccountFreesItsAddress(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	w.vault.erased[w.bob] = true
	next := Registration{Email: "bob@example.com", Password: "another password", Name: "Bea"}
	_, err := w.accounts.Register(ctx, Meta{}, next)
	wantCode(t, err, Conflict, "login_taken") // as long as the first one can log in

	delete(w.vault.passwords, w.bob)
	r, err := w.accounts.Register(ctx, Meta{}, next)
	if err != nil || r.Account == w.bob {
		t.Fatalf("%+v, %v; want a new account", r, err)
	}
	if holder, err := w.accounts.ByLogin(ctx, emailKind, next.Email); err != nil || holder != r.Account {
		t.Errorf("the address is %s's, %v", holder, err)
	}
	if s, err := w.loadShare(ctx, id); err != nil || s.state.Allows(r.Account, w.cam, 1, privilege.LiveView, time.Now()) {
		t.Errorf("the next holder has what the first one had: %+v, %v", s.state, err)
	}
	if _, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: next.Email, Devices: []DeviceGrants{gives(w.dvr, 1, privilege.LiveView)}}); err != nil {
		t.Errorf("inviting the next holder: %v", err)
	}
}

// TestRegistrationCutOff: wherever a registration is cut off, and whatever of the
// vault is lost with it, the address is not lost: who comes with the password
// logs in or registers, at once.
func TestRegistrationCutOff(t *testing.T) {
	for _, stream := range []string{"login-", "account-"} {
		for _, when := range []crash{crashBefore, crashAfter} {
			for _, vaultLost := range []bool{false, true} {
				t.Run(fmt.Sprint(stream, when, vaultLost), func(t *testing.T) {
					w := emptyWorld(t)
					w.log.crash = func(name string) crash {
						if len(name) > len(stream) && name[:len(stream)] == stream {
							return when
						}
						return noCrash
					}
					_, err := w.accounts.Register(ctx, Meta{}, aReg())
					wantCode(t, err, Unavailable, "unavailable")
					w.log.crash = nil
					if vaultLost {
						clear(w.vault.passwords)
					}
					id, err := w.accounts.ByLogin(ctx, emailKind, aReg().Email)
					if err != nil {
						t.Fatal(err)
					}
					if right, _ := w.vault.VerifyPassword(ctx, id, aReg().Password); id != "" && right {
						return
					}
					r, err := w.accounts.Register(ctx, Meta{}, aReg())
					if err != nil {
						t.Fatalf("neither log-in nor registration: %v", err)
					}
					id, err = w.accounts.ByLogin(ctx, emailKind, aReg().Email)
					if right, _ := w.vault.VerifyPassword(ctx, id, aReg().Password); err != nil || id != r.Account || !right {
						t.Errorf("account %q, %v; want %q", id, err, r.Account)
					}
				})
			}
		}
	}
}

// TestLostClaim: a claim whose password is lost waits for no lease.
func TestLostClaim(t *testing.T) {
	s := account.State{Account: "old", Login: "l", ClaimedAt: time.Unix(0, 0)}
	for _, c := range []struct {
		claim account.Claim
		err   error
	}{
		{account.Claim{Login: "l", Account: "new", Abandoned: true, At: time.Unix(1, 0)}, account.ErrLoginTaken},
		{account.Claim{Login: "l", Account: "new", At: time.Unix(1<<30, 0)}, account.ErrLoginTaken},
		{account.Claim{Login: "l", Account: "new", Lost: true, At: time.Unix(1, 0)}, nil},
	} {
		if _, err := account.Decide(s, c.claim); !errors.Is(err, c.err) {
			t.Errorf("%+v: %v; want %v", c.claim, err, c.err)
		}
	}
}

// TestCameraFirst: a device that the log has, has its camera, wherever the
// command is cut off.
func TestCameraFirst(t *testing.T) {
	door := NewDevice{Name: "Door", Serial: "Door-1", RTSPURL: "rtsp://192.0.2.9/live"}
	const id = "door-1"
	t.Run("the vault is away", func(t *testing.T) {
		w := newWorld(t)
		w.vault.fail = errors.New("the vault is away")
		_, err := w.devices.Add(ctx, Meta{Account: w.alice}, door)
		wantCode(t, err, Unavailable, "unavailable")
		if got := w.log.types(deviceStream(id)); got != "" {
			t.Errorf("the log says %s", got)
		}
	})
	t.Run("it cannot be confirmed", func(t *testing.T) {
		w := newWorld(t)
		w.vault.failConfirm = errors.New("the vault is away")
		r, err := w.devices.Add(ctx, Meta{Account: w.alice}, door)
		if err != nil || r.Device.Device != id || len(w.vault.staged) != 1 {
			t.Fatalf("%+v, %v, %d staged", r, err, len(w.vault.staged))
		}
		w.vault.failConfirm = nil
		w.settle(t)
		w.wantCamera(t, id, door.RTSPURL)
	})
	for name, when := range map[string]crash{"before": crashBefore, "after": crashAfter} {
		t.Run("cut off "+name+" the append", func(t *testing.T) {
			w := newWorld(t)
			w.log.crash = func(string) crash { return when }
			_, err := w.devices.Add(ctx, Meta{Account: w.alice}, door)
			wantCode(t, err, Unavailable, "unavailable")
			w.log.crash = nil
			w.settle(t)
			if when == crashAfter {
				w.wantCamera(t, id, door.RTSPURL)
				return
			}
			if len(w.vault.cameras) != 2 || len(w.vault.staged) != 1 {
				t.Errorf("%d cameras, %d staged", len(w.vault.cameras), len(w.vault.staged))
			}
			w.clock = w.clock.Add(stagedFor)
			w.settle(t)
			if len(w.vault.staged) != 0 || len(w.vault.cameras) != 2 {
				t.Errorf("%d cameras, %d staged, long after", len(w.vault.cameras), len(w.vault.staged))
			}
		})
	}
	t.Run("the loser's is forgotten", func(t *testing.T) {
		w := newWorld(t)
		w.log.before = once(func(string) {
			if _, err := w.node().devices.Add(ctx, Meta{Account: w.eve}, door); err != nil {
				t.Error(err)
			}
		})
		lost := door
		lost.RTSPURL = "rtsp://203.0.113.1/"
		_, err := w.devices.Add(ctx, Meta{Account: w.alice}, lost)
		wantCode(t, err, Conflict, "device_taken")
		w.wantCamera(t, id, door.RTSPURL)
	})
	t.Run("an old one does not replace a new one", func(t *testing.T) {
		w := newWorld(t)
		w.addDevice(w.alice, door)
		added := w.log.streams[deviceStream(id)][0].ID.String()
		if err := w.vault.StageCamera(ctx, id, added, Camera{}); err != nil {
			t.Fatal(err)
		}
		w.settle(t)
		w.wantCamera(t, id, door.RTSPURL)
	})
}

// settle is the sweep.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for staged := range w.vault.staged {
		if err := w.devices.SettleStaged(ctx, staged[0], staged[1], time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) wantCamera(t *testing.T, id, url string) {
	t.Helper()
	if c := w.vault.cameras[id]; len(c.Channels) != 1 || c.Channels[0].MainURL != url || len(w.vault.staged) != 0 {
		t.Errorf("camera %+v, %d staged", c, len(w.vault.staged))
	}
}

// TestLostCamera: an owner gives the camera of a device again that the vault has
// lost, and nobody else does.
func TestLostCamera(t *testing.T) {
	w := newWorld(t)
	d := NewDevice{Name: "Front door", Serial: "CAM-1", RTSPURL: "rtsp://192.0.2.1/again"}
	_, err := w.devices.Add(ctx, Meta{Account: w.alice}, d)
	wantCode(t, err, Conflict, "device_already_added")
	delete(w.vault.cameras, w.cam)
	_, err = w.devices.Add(ctx, Meta{Account: w.eve}, d)
	wantCode(t, err, Conflict, "device_taken")
	r, err := w.devices.Add(ctx, Meta{Account: w.alice, IdempotencyKey: "key"}, d)
	if err != nil || r.Device.Device != w.cam {
		t.Fatalf("%+v, %v", r, err)
	}
	w.wantCamera(t, w.cam, d.RTSPURL)
	if got := w.log.types(deviceStream("cam-1")); got != "device.added" {
		t.Errorf("stream: %s", got)
	}
	_, err = w.devices.Add(ctx, Meta{Account: w.alice}, d)
	wantCode(t, err, Conflict, "device_already_added")
}

// TestSlowStaging: however long it takes, a command that was answered leaves no
// staged camera behind, and the device has its own.
func TestSlowStaging(t *testing.T) {
	for _, c := range []struct {
		name string
		lost bool
		want string
	}{{"a new device", false, ""}, {"a camera that was lost", true, ""}, {"a device that is there", false, "device_already_added"}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := NewDevice{Name: "Door", Serial: "slow-1", RTSPURL: "rtsp://192.0.2.1/door"}
				if c.lost || c.want != "" {
					w.addDevice(w.alice, d)
				}
				if c.lost {
					delete(w.vault.cameras, "slow-1")
				}
				w.vault.slow = 300 * time.Millisecond
				_, err := w.devices.Add(ctx, Meta{Account: w.alice}, d)
				if c.want == "" && err != nil {
					t.Fatal(err)
				}
				if c.want != "" {
					wantCode(t, err, Conflict, c.want)
				}
				synctest.Wait()
				time.Sleep(time.Second)
				if len(w.vault.staged) != 0 {
					t.Errorf("staged: %v", w.vault.staged)
				}
				w.wantCamera(t, "slow-1", d.RTSPURL)
			})
		})
	}
}

// TestSerialAsTyped: a device is shown with the serial as it was typed and found
// by it.
func TestSerialAsTyped(t *testing.T) {
	w := newWorld(t)
	r, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Recorder", Serial: " iDS-7216Q", RTSPURL: "rtsp://192.0.2.1/"})
	if err != nil || r.Device.Device != "ids-7216q" || r.Device.Serial != "iDS-7216Q" {
		t.Fatalf("%+v, %v", r.Device, err)
	}
	const typed = "IDS-7216q"
	id := w.share(gives(typed, 1, privilege.LiveView))
	if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, typed); err != nil {
		t.Error(err)
	}
	if _, err := w.shares.SetDomain(ctx, Meta{Account: w.bob}, id, typed, "recorder"); err != nil {
		t.Error(err)
	}
	if _, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(typed, 1, privilege.PTZ)); err != nil {
		t.Error(err)
	}
	if _, err := w.shares.Replace(ctx, Meta{Account: w.alice}, id, "", nil, []DeviceGrants{gives(typed, 1, privilege.LiveView)}); err != nil {
		t.Error(err)
	}
	if k, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{Device: typed}); err != nil || k.Key.Device != "ids-7216q" {
		t.Error(err)
	}
	if _, err := w.shares.RemoveDevice(ctx, Meta{Account: w.alice}, id, typed); err != nil {
		t.Error(err)
	}
	_, err = w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Mine", Serial: typed, RTSPURL: "rtsp://192.0.2.1/"})
	wantCode(t, err, Conflict, "device_taken")
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, typed); err != nil {
		t.Error(err)
	}
}

// TestTwoAddsAtOnce: the second of two that add one serial at the same moment finds
// the device in the log and its camera staged: it is refused, and the camera is the
// first one's.
func TestTwoAddsAtOnce(t *testing.T) {
	w := newWorld(t)
	add := func(name string) (DeviceAdded, error) {
		return w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: name, Serial: "twice", RTSPURL: "rtsp://192.0.2.1/" + name})
	}
	if _, err := add("first"); err != nil {
		t.Fatal(err)
	}
	adder := w.log.streams[deviceStream("twice")][0].ID.String()
	w.vault.mu.Lock()
	w.vault.staged[[2]string{"twice", adder}] = w.vault.cameras["twice"] // as it was before it was confirmed
	delete(w.vault.cameras, "twice")
	w.vault.mu.Unlock()
	_, err := add("second")
	wantCode(t, err, Conflict, "device_already_added")
	if c := w.vault.cameras["twice"]; len(c.Channels) != 1 || c.Channels[0].MainURL != "rtsp://192.0.2.1/first" {
		t.Errorf("the device has the camera %+v", c)
	}
}

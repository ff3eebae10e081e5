package app

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// cut loses every event from the given number on, as a restore does, and returns
// what the lost ones took away.
func (w *world) cut(t *testing.T, from position.Position) []event.Revocation {
	t.Helper()
	var lost []Stored
	for name, events := range w.log.streams {
		keep := 0
		for keep < len(events) && events[keep].Position <= from {
			keep++
		}
		lost = append(lost, events[keep:]...)
		w.log.streams[name] = events[:keep:keep]
	}
	slices.SortFunc(lost, func(a, b Stored) int { return int(a.Position) - int(b.Position) })
	var list []event.Revocation
	for _, e := range lost {
		r, ok, err := catalogue.RevocationOf(e.ID, e.Type, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			list = append(list, r)
		}
	}
	return list
}

// TestReapply: whatever was taken away in the lost part of the log is not given
// by the restored one, what was not touched stays, and doing it again changes
// nothing.
func TestReapply(t *testing.T) {
	bob := func(w *world) Meta { return Meta{Account: w.bob} }
	alice := func(w *world) Meta { return Meta{Account: w.alice} }
	for _, c := range []struct {
		name  string
		after func(w *world, id, key string) error
		want  map[string]share.Status // of cam and dvr in the share
		live  bool                    // the share
		added string                  // types of the events in the share's stream that Reapply wrote
	}{
		{"taken back", func(w *world, id, _ string) error {
			_, err := w.shares.RemoveDevice(ctx, alice(w), id, w.cam)
			return err
		}, map[string]share.Status{"cam-1": share.StatusRemoved, "ds-7216": share.StatusAccepted}, true, " share.device_removed"},
		{"left", func(w *world, id, _ string) error {
			_, err := w.shares.RemoveDevice(ctx, bob(w), id, w.dvr)
			return err
		}, map[string]share.Status{"cam-1": share.StatusAccepted, "ds-7216": share.StatusRemoved}, true, " share.device_removed"},
		{"rejected", func(w *world, id, _ string) error { _, err := w.shares.Reject(ctx, bob(w), id, w.cam); return err },
			map[string]share.Status{"cam-1": share.StatusRemoved, "ds-7216": share.StatusAccepted}, true, " share.device_removed"},
		{"edited", func(w *world, id, _ string) error {
			_, err := w.shares.PutDevice(ctx, alice(w), id, gives(w.cam, 1, privilege.None))
			return err
		}, map[string]share.Status{"cam-1": share.StatusRemoved, "ds-7216": share.StatusAccepted}, true, " share.device_removed"},
		{"deleted", func(w *world, id, _ string) error { _, err := w.shares.Delete(ctx, alice(w), id); return err },
			map[string]share.Status{"cam-1": share.StatusRemoved, "ds-7216": share.StatusRemoved}, false, " share.device_removed share.device_removed share.deleted"},
		{"paused", func(w *world, id, _ string) error {
			_, err := w.shares.Pause(ctx, alice(w), id, WholeShare)
			return err
		}, map[string]share.Status{"cam-1": share.StatusAccepted, "ds-7216": share.StatusAccepted}, true, " share.paused"},
		{"a device paused, and resumed", func(w *world, id, _ string) error {
			_, err := w.shares.Pause(ctx, alice(w), id, w.cam)
			if err == nil {
				_, err = w.shares.Resume(ctx, alice(w), id, w.cam)
			}
			return err
		}, map[string]share.Status{"cam-1": share.StatusAccepted, "ds-7216": share.StatusAccepted}, true, " share.paused"},
		{"nothing", func(*world, string, string) error { return nil },
			map[string]share.Status{"cam-1": share.StatusAccepted, "ds-7216": share.StatusAccepted}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.accepted(gives(w.cam, 1, privilege.All), gives(w.dvr, 2, privilege.Playback))
			before, stream := w.log.position, w.log.types(shareStream(id))
			if err := c.after(w, id, ""); err != nil {
				t.Fatal(err)
			}
			lost := w.cut(t, before)
			for range 2 {
				for _, r := range lost {
					if _, err := w.revocations.Reapply(ctx, r); err != nil {
						t.Fatal(err)
					}
				}
			}
			there, err := w.loadShare(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if there.state.Live != c.live {
				t.Errorf("live %v; want %v", there.state.Live, c.live)
			}
			for device, want := range c.want {
				if d, _ := there.state.Find(device); c.live && d.Status != want {
					t.Errorf("%s is %s; want %s", device, d.Status, want)
				}
			}
			if got := w.log.types(shareStream(id)); got != stream+c.added {
				t.Errorf("stream: %s; want %s%s", got, stream, c.added)
			}
		})
	}
}

func TestReapplyToDevicesAndKeys(t *testing.T) {
	w := newWorld(t)
	key, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
	if err != nil {
		t.Fatal(err)
	}
	before, camera, secret := w.log.position, w.vault.cameras[w.cam], key.Secret
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keys.Revoke(ctx, Meta{Account: w.bob}, key.Key.Name); err != nil {
		t.Fatal(err)
	}
	lost := w.cut(t, before)
	w.vault.cameras[w.cam], w.vault.secrets[key.Key.Name] = camera, secret // an older vault
	for i, want := range []bool{true, false} {
		for _, r := range lost {
			if changed, err := w.revocations.Reapply(ctx, r); err != nil || changed != want {
				t.Fatalf("round %d, %+v: %v, %v; want %v", i, r, changed, err, want)
			}
		}
	}
	if d, err := w.loadDevice(ctx, w.cam); err != nil || d.Live {
		t.Errorf("the device is live again: %v", err)
	}
	if there, err := w.loadAccount(ctx, w.bob); err != nil || len(there.state.Keys) != 0 {
		t.Errorf("keys %v, %v", there.state.Keys, err)
	}
	if _, ok := w.vault.cameras[w.cam]; ok || w.vault.secrets[key.Key.Name] != "" {
		t.Error("the vault still has the camera or the secret")
	}
}

func TestReapplyToEveryDevice(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.All))
	if _, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.dvr, 2, privilege.Playback)); err != nil {
		t.Fatal(err)
	}
	if changed, err := w.revocations.Reapply(ctx, event.Revocation{Kind: event.ShareEmptied, Event: uuid.New(), Share: id}); err != nil || !changed {
		t.Fatal(changed, err)
	}
	there, err := w.loadShare(ctx, id)
	if err != nil || !there.state.Live || slices.ContainsFunc(there.state.Devices, share.Device.Active) {
		t.Fatalf("%+v, %v; want a share without devices", there.state, err)
	}
	_, err = w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.dvr)
	wantCode(t, err, Conflict, "not_invited")
}

func TestReapplyRefusesNonsense(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.All))
	for _, r := range []event.Revocation{
		{}, {Kind: "account", Account: w.bob}, {Kind: event.ShareDeviceTaken, Share: id}, {Kind: event.ShareEnded, Share: id, Device: w.cam},
		{Kind: event.ShareEnded, Share: "nonsense"}, {Kind: event.DeviceTaken, Device: "no such id!"},
	} {
		if changed, err := w.revocations.Reapply(ctx, r); err == nil || changed {
			t.Errorf("%+v: %v, %v", r, changed, err)
		}
	}
}

// TestReapplyToOffers: exactly the offer that was withdrawn or rejected ends.
func TestReapplyToOffers(t *testing.T) {
	for name, end := range map[string]func(w *world, transfer string) error{
		"withdrawn": func(w *world, _ string) error {
			_, err := w.devices.WithdrawTransfer(ctx, Meta{Account: w.alice}, w.cam)
			return err
		},
		"rejected": func(w *world, transfer string) error {
			_, err := w.devices.RejectTransfer(ctx, Meta{Account: w.eve}, transfer)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			stays := w.offer(w.dvr, "eve@example.com", device.EndShares)
			transfer := w.offer(w.cam, "eve@example.com", device.EndShares)
			before := w.log.position
			if err := end(w, transfer); err != nil {
				t.Fatal(err)
			}
			lost := w.cut(t, before)
			w.server = w.node()
			for _, want := range []bool{true, false} {
				for _, r := range lost {
					if changed, err := w.revocations.Reapply(ctx, r); err != nil || changed != want {
						t.Fatalf("%+v: %v, %v; want %v", r, changed, err, want)
					}
				}
			}
			_, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, transfer)
			wantCode(t, err, NotFound, "transfer_not_found")
			other := lost[0]
			other.Device, other.Key = w.dvr, device.TransferID(w.dvr, 99)
			if changed, err := w.revocations.Reapply(ctx, other); err != nil || changed {
				t.Errorf("an offer that is not there: %v, %v", changed, err)
			}
			other.Key = transfer
			if _, err := w.revocations.Reapply(ctx, other); err == nil {
				t.Error("an offer of another device")
			}
			if _, err := w.devices.AcceptTransfer(ctx, Meta{Account: w.eve}, stays); err != nil {
				t.Errorf("the offer of another device: %v", err)
			}
		})
	}
}

// TestReapplyToAddresses: an address that was removed is not the account's again, unless it
// has no other one.
func TestReapplyToAddresses(t *testing.T) {
	for _, alone := range []bool{false, true} {
		w := newWorld(t)
		post := w.prove()
		verify := func(email string) string {
			t.Helper()
			added, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, email, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.accounts.VerifyAddress(ctx, Meta{Account: w.bob}, added.Address.Login, post.notices[len(post.notices)-1].Code); err != nil {
				t.Fatal(err)
			}
			return added.Address.Login
		}
		gone := verify("gone@example.com")
		var before position.Position
		if alone {
			before = w.log.position
		}
		verify("kept@example.com")
		if !alone {
			before = w.log.position
		}
		if _, err := w.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, gone, false); err != nil {
			t.Fatal(err)
		}
		lost := w.cut(t, before)
		for i, want := range []bool{!alone, false} {
			for _, r := range lost {
				if changed, err := w.revocations.Reapply(ctx, r); err != nil || changed != want {
					t.Fatalf("alone %v, round %d, %+v: %v, %v; want %v", alone, i, r, changed, err, want)
				}
			}
		}
		proven, err := w.core.proven(ctx, w.bob, gone)
		holder, failed := w.core.holder(ctx, gone)
		if proven != alone || (holder == w.bob) != alone || err != nil || failed != nil {
			t.Errorf("alone %v: proven %v, held by %q, %v, %v", alone, proven, holder, err, failed)
		}
	}
}

package app

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// TestFull: while the disk of the log is nearly full, and the vault's too, what
// takes away goes on and nothing else.
func TestFull(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView|privilege.PTZ), gives(w.dvr, 1, privilege.LiveView))
	key, err := w.keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{})
	if err != nil {
		t.Fatal(err)
	}
	w.log.full = true
	owner, recipient := Meta{Account: w.alice}, Meta{Account: w.bob}
	edit := func(p privilege.Set) error {
		_, err := w.shares.PutDevice(ctx, owner, id, gives(w.cam, 1, p))
		return err
	}
	_, errShare := w.shares.Save(ctx, owner, NewShare{Email: "carol@example.com"})
	_, errRemark := w.shares.Replace(ctx, owner, id, "a remark", nil, nil)
	_, errKey := w.keys.Add(ctx, recipient, NewStreamKey{})
	_, errRegister := w.accounts.Register(ctx, Meta{}, Registration{Email: "dave@example.com", Password: password})
	for what, err := range map[string]error{
		"share": errShare, "remark": errRemark, "key": errKey, "register": errRegister,
		"a privilege more": edit(privilege.LiveView | privilege.PTZ | privilege.Alarm), "another privilege": edit(privilege.Alarm),
	} {
		t.Run(what, func(t *testing.T) { wantCode(t, err, Unavailable, "disk_full") })
	}

	w.vault.fail = errors.New("the vault's disk is full")
	if err := edit(privilege.LiveView); err != nil {
		t.Errorf("a privilege less: %v", err)
	}
	if _, err := w.shares.Reject(ctx, recipient, id, w.cam); err != nil {
		t.Errorf("reject: %v", err)
	}
	if _, err := w.keys.Revoke(ctx, recipient, key.Key.Name); err != nil {
		t.Errorf("revoke: %v", err)
	}
	if _, err := w.shares.RemoveDevice(ctx, recipient, id, w.dvr); err != nil {
		t.Errorf("leave: %v", err)
	}
	if _, err := w.devices.Remove(ctx, owner, w.cam); err != nil {
		t.Errorf("remove device: %v", err)
	}
	if _, err := w.shares.Delete(ctx, owner, id); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// TestTidyingHangs: a vault that hangs after the event is written does not keep
// the command from being answered.
func TestTidyingHangs(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	defer close(release)
	w.devices.cameras = stuckCameras{w.vault, release}
	done := make(chan error, 1)
	go func() {
		_, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the command waits for the vault")
	}
}

type stuckCameras struct {
	Cameras
	release chan struct{}
}

func (c stuckCameras) ForgetCamera(context.Context, string) error {
	<-c.release
	return nil
}

func TestTakesAway(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.LiveView))
	s, err := w.loadShare(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(channel int, p privilege.Set) []share.Grant {
		return []share.Grant{{Channel: channel, Privileges: p}}
	}
	for _, c := range []struct {
		name  string
		event share.Event
		want  bool
	}{
		{"removed", share.DeviceRemoved{Device: w.cam}, true},
		{"left", share.Left{Device: w.cam}, true},
		{"rejected", share.Rejected{Device: w.cam}, true},
		{"deleted", share.Deleted{}, true},
		{"paused", share.Paused{}, true},
		{"resumed", share.Resumed{}, false},
		{"the same", share.PrivilegesEdited{Device: w.cam, Grants: grant(1, privilege.LiveView)}, true},
		{"less", share.PrivilegesEdited{Device: w.cam, Grants: grant(1, privilege.None)}, true},
		{"no channel", share.PrivilegesEdited{Device: w.cam}, true},
		{"more", share.PrivilegesEdited{Device: w.cam, Grants: grant(1, privilege.LiveView|privilege.PTZ)}, false},
		{"another channel", share.PrivilegesEdited{Device: w.cam, Grants: grant(2, privilege.LiveView)}, false},
		{"a channel more", share.PrivilegesEdited{Device: w.cam, Grants: append(grant(1, privilege.LiveView), grant(2, privilege.None)...)}, false},
		{"a device that is not there", share.PrivilegesEdited{Device: w.dvr}, false},
		{"invited", share.Invited{Device: w.cam}, false},
		{"accepted", share.Accepted{Device: w.cam}, false},
		{"opened", share.Opened{}, false},
		{"remark", share.RemarkChanged{}, false},
		{"domain", share.DomainSet{Device: w.cam}, false},
	} {
		if got := takesAway(s.state, c.event); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestIndexFull: what the privileges have no room for is refused, and was not
// written: the same command is carried out when there is room.
func TestIndexFull(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.log.noRoom = true
	owner, recipient := Meta{Account: w.alice}, Meta{Account: w.bob, IdempotencyKey: "accept"}
	_, err := w.devices.Add(ctx, owner, recorder())
	wantCode(t, err, Unavailable, "index_full")
	_, err = w.shares.Accept(ctx, recipient, id, w.cam)
	wantCode(t, err, Unavailable, "index_full")
	if _, err := w.devices.Remove(ctx, owner, w.dvr); err != nil {
		t.Errorf("remove device: %v", err)
	}
	w.log.noRoom = false
	if _, err := w.shares.Accept(ctx, recipient, id, w.cam); err != nil {
		t.Errorf("accept with room again: %v", err)
	}
}

package domain

import (
	"testing"

	"latchkey/domain/privilege"
)

// atOnce runs a command of another server just before the next append to a
// stream: both have loaded the same and carry the same key.
func (w *world) atOnce(other func(*Service)) {
	node := w.node()
	w.log.before = func(string) {
		w.log.before = nil
		other(node)
	}
}

func TestKeyAtOnce(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.alice, IdempotencyKey: "one"}
	var first Result
	w.atOnce(func(s *Service) { first, _ = s.AddStreamKey(ctx, m, NewStreamKey{Label: "TV"}) })
	r, err := w.AddStreamKey(ctx, m, NewStreamKey{Label: "TV"})
	if err != nil || first.Key == nil || r.Key.Name != first.Key.Name || r.Secret != first.Secret {
		t.Errorf("two at once got keys %+v and %+v, %v", first.Key, r.Key, err)
	}

	m.IdempotencyKey = "two"
	w.atOnce(func(s *Service) {
		first, _ = s.AddDevice(ctx, m, NewDevice{Name: "Won", RTSPURL: "rtsp://192.0.2.1/won"})
	})
	_, err = w.AddDevice(ctx, m, NewDevice{Name: "Lost", RTSPURL: "rtsp://192.0.2.1/lost"})
	wantCode(t, err, Invalid, "idempotency_key_reused")
	if got := w.vault.cameras[first.Device.Device].Channels[0].MainURL; got != "rtsp://192.0.2.1/won" {
		t.Errorf("the device is reached at %s", got)
	}

	m.IdempotencyKey = "three"
	id := w.share(gives(w.cam, 1, privilege.LiveView))
	w.atOnce(func(s *Service) { _, err = s.PutShareDevice(ctx, m, id, gives(w.cam, 1, privilege.PTZ)) })
	if _, lost := w.PutShareDevice(ctx, m, id, gives(w.cam, 1, privilege.Alarm)); err == nil {
		err = lost
	}
	wantCode(t, err, Invalid, "idempotency_key_reused")
}

func TestRegisterAtOnceWithOneKey(t *testing.T) {
	w := emptyWorld(t)
	m := Meta{IdempotencyKey: "one"}
	carol := Registration{Email: "carol@example.com", Password: password, Name: "Carol"}
	var first Result
	w.atOnce(func(s *Service) { first, _ = s.Register(ctx, m, carol) })
	r, err := w.Register(ctx, m, carol)
	if err != nil || r.Account != first.Account {
		t.Errorf("two at once got accounts %q and %q, %v", first.Account, r.Account, err)
	}
	holder, err := w.AccountByLogin(ctx, emailKind, carol.Email)
	if err != nil || holder != r.Account {
		t.Errorf("the login is of %q, %v; want %q", holder, err, r.Account)
	}
	streams := 0
	for name := range w.log.streams {
		if name != loginStream(w.vault.LoginHash(emailKind, carol.Email)) {
			streams++
		}
	}
	if streams != 1 {
		t.Errorf("%d accounts were made", streams)
	}
}

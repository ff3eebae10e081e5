package app

import (
	"errors"
	"testing"

	"latchkey/domain/account"
)

const nextPassword = "four words nobody knows"

func (w *world) change(m Meta, current, next string) (PasswordChanged, error) {
	return w.accounts.ChangePassword(ctx, m, NewPassword{Current: current, New: next, Session: NewSession{TTL: 1}})
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.bob}
	for range 2 {
		if _, err := w.keys.Add(ctx, m, NewStreamKey{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.change(m, "not it at all", nextPassword)
	wantCode(t, err, Forbidden, "wrong_password")
	_, err = w.change(m, password, "short")
	wantFields(t, err, "new")
	_, err = w.change(m, password, "bob@example.com")
	wantFields(t, err, "new")
	if got := w.log.types(accountStream(w.bob)); got != "account.registered stream_key.added stream_key.added" || w.vault.ended != 0 {
		t.Fatalf("a change that was refused: %s, sessions ended %d times", got, w.vault.ended)
	}
	done, err := w.change(m, password, nextPassword)
	if err != nil || done.Token == "" || done.Position == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	want := "account.registered stream_key.added stream_key.added account.password_changed stream_key.revoked stream_key.revoked"
	if got := w.log.types(accountStream(w.bob)); got != want || w.vault.ended != 1 || w.vault.passwords[w.bob] != nextPassword {
		t.Fatalf("%s; want %s; sessions ended %d times, the password is %q", got, want, w.vault.ended, w.vault.passwords[w.bob])
	}
	w.wantAbsent(password, nextPassword)
}

// TestCutOffChangeOfPassword: a change that was cut off after the log leaves the password
// of before, and can be made again.
func TestCutOffChangeOfPassword(t *testing.T) {
	for name, m := range map[string]Meta{"with a key": {IdempotencyKey: "key"}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m.Account = w.bob
			away := errors.New("the power went")
			w.vault.beforeCommit = once(func(string) { w.vault.fail = away })
			_, err := w.change(m, password, nextPassword)
			wantCode(t, err, Unavailable, "unavailable")
			w.vault.fail = nil
			if got := w.vault.passwords[w.bob]; got != password {
				t.Fatalf("the password is %q", got)
			}
			if done, err := w.change(m, password, nextPassword); err != nil || done.Token == "" || w.vault.passwords[w.bob] != nextPassword {
				t.Fatalf("%+v, %v", done, err)
			}
		})
	}
}

// TestKeyMadeWhileThePasswordChanges: a request of a session that ends makes a key between
// the log and the vault; the key ends too.
func TestKeyMadeWhileThePasswordChanges(t *testing.T) {
	w := newWorld(t)
	w.vault.beforeCommit = once(func(string) {
		if _, err := w.node().keys.Add(ctx, Meta{Account: w.bob}, NewStreamKey{}); err != nil {
			t.Error(err)
		}
	})
	done, err := w.change(Meta{Account: w.bob}, password, nextPassword)
	if err != nil {
		t.Fatal(err)
	}
	there, err := w.loadAccount(ctx, w.bob)
	if err != nil || len(there.state.Keys) != 0 || done.Position != there.position() {
		t.Fatalf("keys %+v, %v; the answer is of position %d of %d", there.state.Keys, err, done.Position, there.position())
	}
}

// TestTwoChangesOfOnePassword: of two who know the password at the same time, the second
// is refused, and the first one's password stays.
func TestTwoChangesOfOnePassword(t *testing.T) {
	w := newWorld(t)
	w.vault.beforeCommit = once(func(string) {
		if _, err := w.node().accounts.ChangePassword(ctx, Meta{Account: w.bob}, NewPassword{Current: password, New: "the first of the two"}); err != nil {
			t.Error(err)
		}
	})
	_, err := w.change(Meta{Account: w.bob}, password, nextPassword)
	wantCode(t, err, Forbidden, "wrong_password")
	if got := w.vault.passwords[w.bob]; got != "the first of the two" {
		t.Fatalf("the password is %q", got)
	}
}

// TestPasswordOnAFullDisk: a password is changed although the log takes only what takes
// away.
func TestPasswordOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.log.full = true
	if _, err := w.change(Meta{Account: w.bob}, password, nextPassword); err != nil {
		t.Fatal(err)
	}
	_, err := w.change(Meta{Account: "0198c0de-0000-7000-8000-0000000000ff"}, password, nextPassword)
	wantCode(t, err, Forbidden, "wrong_password")
	if !takesAway(account.State{}, account.PasswordChanged{}) {
		t.Error("a changed password does not count as taking away")
	}
}

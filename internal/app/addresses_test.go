package app

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

// memoryPost is Codes and Messenger.
type memoryPost struct {
	codes   map[string]string
	notices []Notice
	next    int
}

func (p *memoryPost) NewCode(_ context.Context, purpose string, _ int, _ time.Duration, _ int) (string, error) {
	p.next++
	p.codes[purpose] = time.Unix(int64(p.next), 0).UTC().Format("20060102")[:4] + time.Unix(int64(p.next), 0).UTC().Format("0405")
	return p.codes[purpose], nil
}

func (p *memoryPost) UseCode(_ context.Context, purpose, code string) (bool, error) {
	right := p.codes[purpose] == code && code != ""
	if right {
		delete(p.codes, purpose)
	}
	return right, nil
}

func (p *memoryPost) DropCode(_ context.Context, purpose string) error {
	delete(p.codes, purpose)
	return nil
}

func (p *memoryPost) Send(_ context.Context, n Notice) error {
	p.notices = append(p.notices, n)
	return nil
}

// prove makes a world ask for proofs.
func (w *world) prove() *memoryPost {
	post := &memoryPost{codes: map[string]string{}}
	w.core.verify, w.accounts.codes, w.accounts.messenger = true, post, post
	return post
}

func (w *world) loginOf(email string) string { return w.vault.LoginHash("email", email) }

// TestUnprovenKeepsWhatItAccepted: an account of before proofs were asked for can give up
// what it has accepted, and take nothing more.
func TestUnprovenKeepsWhatItAccepted(t *testing.T) {
	w := newWorld(t)
	id := w.share(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView))
	if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam); err != nil {
		t.Fatal(err)
	}
	w.prove()
	_, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.dvr)
	wantCode(t, err, NotFound, "share_not_found")
	_, err = w.shares.SetDomain(ctx, Meta{Account: w.bob}, id, w.cam, "door")
	wantCode(t, err, NotFound, "share_not_found")
	if _, err := w.shares.RemoveDevice(ctx, Meta{Account: w.bob}, id, w.cam); err != nil {
		t.Fatal(err)
	}
	_, err = w.shares.Delete(ctx, Meta{Account: w.bob}, id)
	wantCode(t, err, NotFound, "share_not_found")
}

// TestAddWithoutProofs: where no proof is asked for, a free address is the account's at
// once, and a taken one is refused.
func TestAddWithoutProofs(t *testing.T) {
	w := newWorld(t)
	added, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, "bob@work.example", "")
	if err != nil || !added.Address.Verified || added.Address.Plain != "bob@work.example" {
		t.Fatalf("%+v, %v", added, err)
	}
	if id, err := w.accounts.ByLogin(ctx, "email", "bob@work.example"); err != nil || id != w.bob {
		t.Errorf("%q, %v", id, err)
	}
	_, err = w.accounts.AddAddress(ctx, Meta{Account: w.eve}, "bob@work.example", "")
	wantCode(t, err, Conflict, "login_taken")
	if list, err := w.accounts.Addresses(ctx, w.eve); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestCutOffRemoval: an address whose removal was cut off is not the account's any more.
func TestCutOffRemoval(t *testing.T) {
	w := newWorld(t)
	added, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, "bob@work.example", "")
	if err != nil {
		t.Fatal(err)
	}
	w.log.crash = func(stream string) crash {
		if stream == loginStream(added.Address.Login) {
			return crashBefore
		}
		return noCrash
	}
	_, err = w.accounts.RemoveAddress(ctx, Meta{Account: w.bob}, added.Address.Login, false)
	if err == nil || errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.log.crash = nil
	if proven, err := w.core.proven(ctx, w.bob, added.Address.Login); proven || err != nil {
		t.Errorf("proven: %v, %v", proven, err)
	}
}

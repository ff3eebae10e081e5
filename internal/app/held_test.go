package app

import (
	"testing"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/event"
)

// asks adds an address to accounts that all get a code for it.
func (w *world) asks(post *memoryPost, address string, accounts ...string) (login string, codes []string) {
	w.t.Helper()
	for _, id := range accounts {
		added, err := w.accounts.AddAddress(ctx, Meta{Account: id}, address, "")
		if err != nil {
			w.t.Fatal(err)
		}
		login = added.Address.Login
		codes = append(codes, post.notices[len(post.notices)-1].Code)
	}
	return login, codes
}

func (w *world) wantVerified(id, login string, want bool) {
	w.t.Helper()
	list, err := w.accounts.Addresses(ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range list {
		if a.Login == login && a.Verified != want {
			w.t.Errorf("%s verified %s: %v", id, login, a.Verified)
		}
	}
	profile, err := w.accounts.Profile(ctx, id)
	if err != nil || profile.Verified != want {
		w.t.Errorf("the profile of %s: %v, %v", id, profile.Verified, err)
	}
}

// TestTwoVerifyOneAddress: whichever account claims the login first has it, whatever comes
// between its claim and its note.
func TestTwoVerifyOneAddress(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	login, codes := w.asks(post, "both@example.com", w.bob, w.eve)
	var second error
	w.log.before = func(stream string) {
		if stream == accountStream(w.bob) { // after bob's claim, before his note
			w.log.before = nil
			_, second = w.accounts.VerifyAddress(ctx, Meta{Account: w.eve}, login, codes[1])
		}
	}
	if _, err := w.accounts.VerifyAddress(ctx, Meta{Account: w.bob}, login, codes[0]); err != nil {
		t.Fatal(err)
	}
	wantCode(t, second, Conflict, "login_taken")
	w.wantVerified(w.bob, login, true)
	w.wantVerified(w.eve, login, false)
}

// TestAProofWithoutANoteLapses: an account that was cut off between its claim and its note
// keeps the address from somebody else who proves it for a while only, and then does not
// note it any more.
func TestAProofWithoutANoteLapses(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	login, codes := w.asks(post, "both@example.com", w.bob, w.eve)
	w.log.before = func(stream string) {
		if stream != accountStream(w.bob) {
			return
		}
		w.log.before = nil
		w.clock = w.clock.Add(account.ClaimLease)
		if _, err := w.accounts.VerifyAddress(ctx, Meta{Account: w.eve}, login, codes[1]); err != nil {
			t.Error(err)
		}
	}
	// Bob's note was decided before, and is written after.
	if _, err := w.accounts.VerifyAddress(ctx, Meta{Account: w.bob}, login, codes[0]); err != nil {
		t.Fatal(err)
	}
	w.wantVerified(w.eve, login, true)
	w.wantVerified(w.bob, login, false)
}

// TestAnAddressOfTwoHeals: in a log of an earlier version two accounts have verified the
// same address. Whoever has its login has it.
func TestAnAddressOfTwoHeals(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	login, codes := w.asks(post, "both@example.com", w.bob, w.eve)
	if _, err := w.accounts.VerifyAddress(ctx, Meta{Account: w.bob}, login, codes[0]); err != nil {
		t.Fatal(err)
	}
	w.append(accountStream(w.eve), account.AddressVerified{Account: w.eve, Login: login, At: w.clock})
	w.wantVerified(w.bob, login, true)
	w.wantVerified(w.eve, login, false)
	if err := w.accounts.SendCode(ctx, Meta{Account: w.eve}, login); err != nil {
		t.Fatal(err)
	}
	if n := post.notices[len(post.notices)-1]; n.What != NoticeTaken {
		t.Errorf("a code is sent for it: %+v", n)
	}
	_, err := w.shares.OwnCode(ctx, Meta{Account: w.eve})
	wantCode(t, err, Forbidden, "no_verified_address")
	if _, err := w.accounts.RemoveAddress(ctx, Meta{Account: w.eve}, login, false); err != nil {
		t.Fatal(err)
	}
	w.wantVerified(w.bob, login, true)
	if id, err := w.accounts.ByLogin(ctx, "email", "both@example.com"); err != nil || id != w.bob {
		t.Errorf("the address is of %q, %v", id, err)
	}
}

// append writes events as an earlier version did.
func (w *world) append(stream string, events ...event.Event) {
	w.t.Helper()
	var list []Pending
	for _, e := range events {
		name, data, err := catalogue.Encode(e)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, Pending{ID: uuid.New(), Type: name, Data: data, Metadata: []byte("{}")})
	}
	there, err := w.log.Load(ctx, stream, 0)
	if err == nil {
		_, err = w.log.Append(ctx, stream, int64(len(there))-1, list)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

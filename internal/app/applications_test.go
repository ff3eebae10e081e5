package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

// memoryAllowances is Allowances.
type memoryAllowances struct {
	calls int
	used  map[string]int
}

func (a *memoryAllowances) Take(_ context.Context, name string, every time.Duration, burst int) (time.Duration, error) {
	a.calls++
	if a.used == nil {
		a.used = map[string]int{}
	}
	if a.used[name] == burst {
		return every, nil
	}
	a.used[name]++
	return 0, nil
}

func (w *world) mustRegister(r Registration) Registered {
	w.t.Helper()
	done, err := w.accounts.Register(ctx, Meta{}, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// proves lets an account take the code of the latest notice.
func (w *world) proves(id, email string, post *memoryPost) {
	w.t.Helper()
	n := post.notices[len(post.notices)-1]
	if n.What != NoticeVerify {
		w.t.Fatalf("the latest notice is %+v", n)
	}
	if _, err := w.accounts.VerifyAddress(ctx, Meta{Account: id}, w.loginOf(email), n.Code); err != nil {
		w.t.Fatal(err)
	}
}

// logsIn returns the account that a log-in with a password gets.
func (w *world) logsIn(login, password string) string {
	w.t.Helper()
	who, err := w.accounts.Candidates(ctx, login)
	if err != nil {
		w.t.Fatal(err)
	}
	if !who.Blind {
		w.t.Error("the time of a log-in may tell who has applied")
	}
	if who.Account != "" && w.vault.passwords[who.Account] == password {
		return who.Account
	}
	for id, of := range w.vault.applied {
		if of == who.Applied && w.vault.passwords[id] == password {
			return id
		}
	}
	return ""
}

// knownAddresses has an address of each kind, by what is known of it.
func (w *world) knownAddresses(post *memoryPost) map[string]string {
	w.t.Helper()
	w.accounts.core.verify = false
	w.person("earlier") // has an address that it never proved
	w.accounts.core.verify = true
	proven := w.mustRegister(Registration{Email: "proven@example.com", Password: "the holders password", Name: "Holder"})
	w.proves(proven.Account, "proven@example.com", post)
	w.mustRegister(Registration{Email: "applied@example.com", Password: "another long password", Name: "Other"})
	return map[string]string{"unknown": "nobody@example.com", "proven": "proven@example.com", "applied": "applied@example.com", "unproven": "earlier@example.com"}
}

// TestRegisteringTellsNothing: whoever registers an address gets the same answer, from the
// same work, whatever is known of the address; and so does what they do next.
func TestRegisteringTellsNothing(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	counted := &memoryAllowances{}
	w.accounts.allowances = counted
	first := ""
	for name, address := range w.knownAddresses(post) {
		var did []string
		step := func(what string, f func() error) {
			notices, codes, taken := len(post.notices), post.next, counted.calls
			w.log.calls = 0
			before := len(w.log.all())
			err := f()
			code := "none"
			if e, ok := errors.AsType[*Error](err); ok {
				code = e.Code
			} else if err != nil {
				t.Fatalf("%s: %s: %v", name, what, err)
			}
			did = append(did, fmt.Sprintf("%s: error %s, %d calls, %d events, %d notices, %d codes, %d counted",
				what, code, w.log.calls, len(w.log.all())-before, len(post.notices)-notices, post.next-codes, counted.calls-taken))
		}
		var made Registered
		const pass = "squatters password"
		step("registering", func() (err error) {
			made, err = w.accounts.Register(ctx, Meta{}, Registration{Email: address, Password: pass, Name: "Mallory"})
			return err
		})
		as := Meta{Account: made.Account}
		step("logging in", func() error {
			if id := w.logsIn(address, pass); id != made.Account {
				t.Errorf("%s: the log-in is to %q", name, id)
			}
			return nil
		})
		step("reading", func() error {
			list, err := w.accounts.Addresses(ctx, made.Account)
			if err != nil || len(list) != 1 || list[0].Plain != address || list[0].Verified || !list[0].Primary {
				t.Errorf("%s: the addresses are %+v, %v", name, list, err)
			}
			return nil
		})
		step("asking for a code", func() error { return w.accounts.SendCode(ctx, as, w.loginOf(address)) })
		step("a wrong code", func() error {
			_, err := w.accounts.VerifyAddress(ctx, as, w.loginOf(address), "00000000")
			return err
		})
		step("sharing with it", func() error {
			_, err := w.shares.Save(ctx, as, NewShare{Email: address, Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
			return err
		})
		step("removing it", func() error {
			_, err := w.accounts.RemoveAddress(ctx, as, w.loginOf(address), false)
			return err
		})
		step("adding it elsewhere", func() error {
			_, err := w.accounts.AddAddress(ctx, Meta{Account: w.eve}, address, "")
			return err
		})
		step("forgetting it", func() error { return w.accounts.RequestReset(ctx, "nobody else") })
		step("registering again", func() (err error) {
			_, err = w.accounts.Register(ctx, Meta{}, Registration{Email: address, Password: "yet another password", Name: "Mallory"})
			return err
		})
		all := strings.Join(did, "\n")
		if first == "" {
			first = all
		}
		if all != first {
			t.Errorf("%s:\n%s\nbut for another address\n%s", name, all, first)
		}
	}
}

// TestTheHolderIsTold: whoever reads a proven address is told that somebody wants it, a few
// times a day, and gets no code; and keeps the address.
func TestTheHolderIsTold(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	w.accounts.allowances = &memoryAllowances{}
	w.knownAddresses(post)
	const address = "proven@example.com"
	holder, err := w.accounts.ByLogin(ctx, "email", address)
	if err != nil {
		t.Fatal(err)
	}
	w.accounts.allowances = &memoryAllowances{}
	post.notices = nil
	for i := range 5 {
		made := w.mustRegister(Registration{Email: address, Password: fmt.Sprintf("squatters password %d", i), Name: "Mallory"})
		for purpose, code := range post.codes {
			if strings.Contains(purpose, made.Account) { // not even with the code that was made
				_, err := w.accounts.VerifyAddress(ctx, Meta{Account: made.Account}, w.loginOf(address), code)
				wantCode(t, err, Conflict, "login_taken")
			}
		}
	}
	var what []string
	for _, n := range post.notices {
		if n.Code != "" || n.To != address {
			t.Errorf("%+v", n)
		}
		what = append(what, n.What)
	}
	if got := strings.Join(what, ","); got != "known,known,known,," {
		t.Errorf("the holder is told %q", got)
	}
	if id := w.logsIn(address, "the holders password"); id != holder {
		t.Errorf("the holder logs in to %q", id)
	}
	if id, err := w.accounts.ByLogin(ctx, "email", address); err != nil || id != holder {
		t.Errorf("the address is of %q, %v", id, err)
	}
}

// TestSquattedAddress: whoever registers somebody else's address does not keep it from
// them; who proves it has it, and the others can no longer use it.
func TestSquattedAddress(t *testing.T) {
	const address = "victim@example.com"
	w := newWorld(t)
	post := w.prove()
	squatter := w.mustRegister(Registration{Email: address, Password: "squatters password", Name: "Mallory"})
	victim := w.mustRegister(Registration{Email: address, Password: "victims own password", Name: "Victim"})
	if id := w.logsIn(address, "victims own password"); id != victim.Account {
		t.Errorf("the victim logs in to %q", id)
	}
	if id, err := w.accounts.ByLogin(ctx, "email", address); err != nil || id != "" {
		t.Errorf("before a proof the address is of %q, %v", id, err)
	}
	w.proves(victim.Account, address, post)
	if id, err := w.accounts.ByLogin(ctx, "email", address); err != nil || id != victim.Account {
		t.Errorf("the address is of %q, %v", id, err)
	}
	if id := w.logsIn(address, "squatters password"); id != "" {
		t.Errorf("the squatter still logs in to %q", id)
	}
	_, err := w.accounts.VerifyAddress(ctx, Meta{Account: squatter.Account}, w.loginOf(address), post.notices[0].Code)
	wantCode(t, err, Conflict, "login_taken")

	// Bob proves an address that somebody has applied for as another one of his.
	const other = "other@example.com"
	w.mustRegister(Registration{Email: other, Password: "squatters password", Name: "Mallory"})
	if _, err := w.accounts.AddAddress(ctx, Meta{Account: w.bob}, other, ""); err != nil {
		t.Fatal(err)
	}
	w.proves(w.bob, other, post)
	if id, err := w.accounts.ByLogin(ctx, "email", other); err != nil || id != w.bob {
		t.Errorf("the address is of %q, %v", id, err)
	}
}

// TestOperatorVouches: an account of the operator's has its address at once, or is told
// that somebody has proven it.
func TestOperatorVouches(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	known := w.knownAddresses(post)
	for name, address := range known {
		made, err := w.accounts.Register(ctx, Meta{}, Registration{Email: address, Password: "operators password", Name: "Sam", Vouched: true})
		if name == "proven" {
			wantCode(t, err, Conflict, "login_taken")
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if id, err := w.accounts.ByLogin(ctx, "email", address); err != nil || id != made.Account {
			t.Errorf("%s: the address is of %q, %v", name, id, err)
		}
	}
}

// TestRepeatedApplication: a registration with an idempotency key is one account, also
// after a crash at any append, and its key is nobody else's.
func TestRepeatedApplication(t *testing.T) {
	for _, when := range []crash{noCrash, crashBefore, crashAfter} {
		t.Run(fmt.Sprint(when), func(t *testing.T) {
			w := newWorld(t)
			post := w.prove()
			m := Meta{IdempotencyKey: "a key"}
			r := Registration{Email: "new@example.com", Password: "a password of mine", Name: "New"}
			w.log.crash = func(string) crash { return when }
			first, err := w.accounts.Register(ctx, m, r)
			if (err != nil) != (when != noCrash) {
				t.Fatal(err)
			}
			w.log.crash = nil
			second, err := w.accounts.Register(ctx, m, r)
			if err != nil || when == noCrash && second != first {
				t.Fatalf("%+v, then %+v, %v", first, second, err)
			}
			if n := len(w.log.streams[accountStream(second.Account)]); n != 1 || len(w.vault.applied) != 1 {
				t.Errorf("%d events, %d applications", n, len(w.vault.applied))
			}
			other := r
			other.Password = "somebody elses password"
			_, err = w.accounts.Register(ctx, m, other)
			wantCode(t, err, Invalid, CodeKeyReused)
			other = r
			other.Name = "Another"
			_, err = w.accounts.Register(ctx, m, other)
			wantCode(t, err, Invalid, CodeKeyReused)
			if w.vault.passwords[second.Account] != r.Password {
				t.Error("the password was changed")
			}
			w.proves(second.Account, r.Email, post)
			if third, err := w.accounts.Register(ctx, m, r); err != nil || third.Account != second.Account {
				t.Errorf("once it is proven: %+v, %v", third, err)
			}
		})
	}
}

// TestWithoutProofsAnApplicationIsNothing: where the operator switches proofs off, an
// address that an account only applied for is not its own.
func TestWithoutProofsAnApplicationIsNothing(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	w.knownAddresses(post)
	shadow := w.mustRegister(Registration{Email: "proven@example.com", Password: "squatters password", Name: "Mallory"})
	w.core.verify = false
	if _, err := w.core.addressOf(ctx, shadow.Account); err == nil {
		t.Error("it receives shares by a code")
	}
	if err := w.core.refuseUnproven(ctx, shadow.Account); err == nil {
		t.Error("it asks for access with the address")
	}
	r, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "proven@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.shares.Accept(ctx, Meta{Account: shadow.Account}, r.Share.ID, w.cam)
	wantCode(t, err, NotFound, "share_not_found")
}

// TestOwnAddressesAreOwn: nobody shares with an address in their own list, proven or not,
// whoever has it.
func TestOwnAddressesAreOwn(t *testing.T) {
	w := newWorld(t)
	post := w.prove()
	for name, address := range w.knownAddresses(post) {
		owner := w.mustRegister(Registration{Email: name + "-owner@example.com", Password: "the owners password", Name: "Owner"})
		w.proves(owner.Account, name+"-owner@example.com", post)
		as := Meta{Account: owner.Account}
		if _, err := w.accounts.AddAddress(ctx, as, address, ""); err != nil {
			t.Fatal(err)
		}
		_, err := w.shares.Save(ctx, as, NewShare{Email: address})
		wantCode(t, err, Invalid, "own_login")
	}
}

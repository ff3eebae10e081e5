package app

import (
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/account"
)

func aReg() Registration {
	return Registration{Email: " Alice@Example.COM ", Password: password, Name: "Alice"}
}

func TestRegister(t *testing.T) {
	w := emptyWorld(t)
	r, err := w.accounts.Register(ctx, Meta{}, aReg())
	if err != nil || r.Account == "" || r.Position == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if w.vault.passwords[r.Account] != password {
		t.Fatal("the password was not set")
	}
	for _, spelling := range []string{"alice@example.com", "ALICE@example.com "} {
		if id, err := w.accounts.ByLogin(ctx, "email", spelling); err != nil || id != r.Account {
			t.Errorf("%q is %q, %v", spelling, id, err)
		}
	}
	for kind, address := range map[string]string{"email": "bob@example.com", "phone": "alice@example.com", "": "x"} {
		if id, err := w.accounts.ByLogin(ctx, kind, address); err != nil || id != "" {
			t.Errorf("%s %s is %q, %v", kind, address, id, err)
		}
	}
	_, err = w.accounts.Register(ctx, Meta{}, Registration{Email: "alice@example.com", Password: "another one", Name: "Mallory"})
	wantCode(t, err, Conflict, "login_taken")
	if w.vault.passwords[r.Account] != password {
		t.Fatal("whoever was refused changed the password")
	}
	w.wantAbsent("alice@", "Alice", password)
}

func TestRegisterByPhone(t *testing.T) {
	w := emptyWorld(t)
	r, err := w.accounts.Register(ctx, Meta{}, Registration{Phone: "+86 189 6919 0000", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := w.accounts.ByLogin(ctx, "phone", "+8618969190000"); id != r.Account {
		t.Fatalf("found %q; want %q", id, r.Account)
	}
	w.wantAbsent("18969190000", "6919")
}

func TestRegisterRefuses(t *testing.T) {
	w := emptyWorld(t)
	for name, in := range map[string]struct {
		r      Registration
		fields []Field
	}{
		"no address":       {Registration{Password: password}, []Field{"email", "phone"}},
		"two addresses":    {Registration{Email: "a@b.c", Phone: "+8618969190000", Password: password}, []Field{"email", "phone"}},
		"no e-mail":        {Registration{Email: "alice", Password: password}, []Field{"email"}},
		"a name within":    {Registration{Email: "Alice <a@b.c>", Password: password}, []Field{"email"}},
		"two within":       {Registration{Email: "a@b.c,d@e.f", Password: password}, []Field{"email"}},
		"a line within":    {Registration{Email: "a@b.c\nd", Password: password}, []Field{"email"}},
		"a quoted address": {Registration{Email: `"a b"@b.c`, Password: password}, []Field{"email"}},
		"a long e-mail":    {Registration{Email: strings.Repeat("a", 251) + "@b.c", Password: password}, []Field{"email"}},
		"no country code":  {Registration{Phone: "18969190000", Password: password}, []Field{"phone"}},
		"no such number":   {Registration{Phone: "+86123", Password: password}, []Field{"phone"}},
		"an extension":     {Registration{Phone: "+8618969190000;ext=1", Password: password}, []Field{"phone"}},
		"a short password": {Registration{Email: "a@b.c", Password: "1234567"}, []Field{"password"}},
		"a long password":  {Registration{Email: "a@b.c", Password: strings.Repeat("x", 257)}, []Field{"password"}},
		"a long name":      {Registration{Email: "a@b.c", Password: password, Name: strings.Repeat("ä", 129)}, []Field{"name"}},
		"a bad name":       {Registration{Email: "a@b.c", Password: password, Name: "a\x00"}, []Field{"name"}},
		"no UTF-8":         {Registration{Email: "a@b.c", Password: password, Name: "\xff"}, []Field{"name"}},
		"all of it":        {Registration{Email: "a", Password: "", Name: "\n"}, []Field{"email", "name", "password"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.accounts.Register(ctx, Meta{}, in.r)
			wantFields(t, err, in.fields...)
		})
	}
	if n := len(w.log.all()) + len(w.vault.passwords); n != 0 {
		t.Fatalf("refusals left %d things behind", n)
	}
}

// TestRegisterAgain: at whatever append the server dies, the repeat ends with
// one account that has the password.
func TestRegisterAgain(t *testing.T) {
	for _, at := range []string{"login-", "account-"} {
		for name, when := range map[string]crash{"before": crashBefore, "after": crashAfter} {
			for _, key := range []string{"", "key"} {
				t.Run(at+" "+name+" "+key, func(t *testing.T) {
					w := emptyWorld(t)
					w.log.crash = func(stream string) crash {
						if strings.HasPrefix(stream, at) {
							return when
						}
						return noCrash
					}
					_, err := w.accounts.Register(ctx, Meta{IdempotencyKey: key}, aReg())
					wantCode(t, err, Unavailable, "unavailable")
					w.log.crash = nil
					r, err := w.accounts.Register(ctx, Meta{IdempotencyKey: key}, aReg())
					if at == "account-" && when == crashAfter && key == "" {
						wantCode(t, err, Conflict, "login_taken") // it is there, and nothing says whose repeat this is
					} else if err != nil {
						t.Fatal(err)
					}
					id, err := w.accounts.ByLogin(ctx, "email", "alice@example.com")
					if err != nil || id == "" || r.Account != "" && r.Account != id || w.vault.passwords[id] != password {
						t.Fatalf("account %q, %v; want %q", id, err, r.Account)
					}
					if got := w.log.types(accountStream(id)); got != "account.registered" {
						t.Fatalf("account stream: %s", got)
					}
				})
			}
		}
	}
}

func TestRegisterRepeat(t *testing.T) {
	w := emptyWorld(t)
	m := Meta{IdempotencyKey: "key"}
	first, err := w.accounts.Register(ctx, m, aReg())
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.accounts.Register(ctx, m, aReg())
	if err != nil || !reflect.DeepEqual(again, first) {
		t.Fatalf("%+v, %v; want %+v", again, err, first)
	}
	other := aReg()
	other.Name = "Mallory"
	_, err = w.accounts.Register(ctx, m, other)
	wantCode(t, err, Invalid, "idempotency_key_reused")
	// A key is no password: whoever guesses it learns nothing.
	guess := aReg()
	guess.Password = "guess guess"
	_, err = w.accounts.Register(ctx, m, guess)
	wantCode(t, err, Conflict, "login_taken")
	if w.vault.passwords[first.Account] != password {
		t.Fatal("a guess changed the password")
	}
}

// orphan leaves a claim without account.
func orphan(w *world) {
	w.t.Helper()
	w.log.crash = func(stream string) crash {
		if strings.HasPrefix(stream, "account-") {
			return crashBefore
		}
		return noCrash
	}
	_, err := w.accounts.Register(ctx, Meta{}, aReg())
	wantCode(w.t, err, Unavailable, "unavailable")
	w.log.crash = nil
	if id, _ := w.accounts.ByLogin(ctx, "email", "alice@example.com"); id != "" {
		w.t.Fatal("a claim alone is an account")
	}
}

func TestOrphanClaim(t *testing.T) {
	w := emptyWorld(t)
	orphan(w)
	other := aReg()
	other.Password = "another one"
	w.clock = w.clock.Add(account.ClaimLease - time.Second)
	_, err := w.accounts.Register(ctx, Meta{}, other)
	wantCode(t, err, Conflict, "login_taken")
	w.clock = w.clock.Add(time.Second)
	r, err := w.accounts.Register(ctx, Meta{}, other)
	if err != nil || w.vault.passwords[r.Account] != "another one" {
		t.Fatalf("%+v, %v: whoever comes after the lease gets the login, with the own password", r, err)
	}
	_, err = w.accounts.Register(ctx, Meta{}, aReg())
	wantCode(t, err, Conflict, "login_taken")
}

// TestOneTakesOver: of two who find the same orphan, one alone sets the
// password of the account that it becomes.
func TestOneTakesOver(t *testing.T) {
	w := emptyWorld(t)
	orphan(w)
	w.clock = w.clock.Add(account.ClaimLease)
	one, two := aReg(), aReg()
	one.Password, two.Password = "password one", "password two"
	raced := false
	w.log.before = func(stream string) {
		if raced || !strings.HasPrefix(stream, "login-") {
			return
		}
		raced = true
		if _, err := w.node().accounts.Register(ctx, Meta{}, two); err != nil {
			t.Error(err)
		}
	}
	_, err := w.accounts.Register(ctx, Meta{}, one)
	wantCode(t, err, Conflict, "login_taken")
	id, _ := w.accounts.ByLogin(ctx, "email", "alice@example.com")
	if !raced || id == "" || w.vault.passwords[id] != "password two" {
		t.Fatalf("the winner's account %q has the password %q", id, w.vault.passwords[id])
	}
}

// TestNobodySetsAnothersPassword: the one who made an abandoned claim comes back
// at whatever moment of somebody else's taking the login over. Whoever has the
// account in the end has the password that it was registered with, and nobody
// else was told that it is theirs.
func TestNobodySetsAnothersPassword(t *testing.T) {
	for _, moment := range []string{"password", "login-", "account-"} {
		t.Run(moment, func(t *testing.T) {
			w := emptyWorld(t)
			orphan(w)
			w.clock = w.clock.Add(account.ClaimLease)
			first, late := aReg(), aReg()
			late.Password = "another one"
			results := map[string]Registered{}
			comeBack := once(func(string) {
				results[first.Password], _ = w.node().accounts.Register(ctx, Meta{}, first)
			})
			w.vault.beforePassword = func(string) {
				if moment == "password" {
					comeBack("")
				}
			}
			w.log.before = func(stream string) {
				if strings.HasPrefix(stream, moment) {
					comeBack("")
				}
			}
			results[late.Password], _ = w.accounts.Register(ctx, Meta{}, late)
			owner, err := w.accounts.ByLogin(ctx, "email", "alice@example.com")
			if err != nil || owner == "" || len(results) != 2 {
				t.Fatalf("account %q, %v, after %v", owner, err, results)
			}
			for told, r := range results {
				if r.Account != "" && r.Account != owner {
					t.Errorf("%q was told of %s; the login is %s's", told, r.Account, owner)
				}
				if has := w.vault.passwords[owner] == told; has != (r.Account == owner) {
					t.Errorf("password %q opens the account: %v; was told that it has it: %v", told, has, r.Account == owner)
				}
			}
		})
	}
}

// TestRegisterInTime: a registration that hangs gives up long before anybody may
// take its login over.
func TestRegisterInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		w.vault.beforePassword = func(string) { time.Sleep(registerWithin + time.Second) }
		began := time.Now()
		_, err := w.accounts.Register(ctx, Meta{}, aReg())
		wantCode(t, err, Unavailable, "unavailable")
		if took := time.Since(began); took > account.ClaimLease/2 {
			t.Errorf("it gave up after %v", took)
		}
		if n := len(w.log.all()); n != 0 {
			t.Errorf("it wrote %d events", n)
		}
	})
}

func TestRegisterAtOnce(t *testing.T) {
	w := emptyWorld(t)
	const n = 8
	var wg sync.WaitGroup
	results := make([]Registered, n)
	for i := range n {
		wg.Go(func() {
			r := aReg()
			r.Password = "applicant " + string(rune('a'+i))
			results[i], _ = w.accounts.Register(ctx, Meta{}, r)
		})
	}
	wg.Wait()
	won := 0
	for i, r := range results {
		if r.Account != "" {
			won++
			if w.vault.passwords[r.Account] != "applicant "+string(rune('a'+i)) {
				t.Error("the winner has another's password")
			}
		}
	}
	if won != 1 {
		t.Fatalf("%d accounts have the address", won)
	}
}

package account

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)
)

var registered = Registered{Account: "a", Login: "hash", Kind: "email", Address: "sealed", Name: "sealed name", At: noon}

func added(key string, expires time.Time) Event {
	return StreamKeyAdded{Account: "a", Key: key, Expires: expires, At: noon}
}

func TestDecide(t *testing.T) {
	var none []Event
	claimed := []Event{LoginClaimed{Login: "hash", Account: "a", At: noon}}
	known := []Event{registered}
	keyed := []Event{registered, added("k1", time.Time{})}
	revoked := append(append([]Event(nil), keyed...), StreamKeyRevoked{Account: "a", Key: "k1", At: noon})
	full, expired := []Event{registered}, []Event{registered}
	for i := range MaxKeys {
		full = append(full, added(fmt.Sprint("k", i), time.Time{}))
		expired = append(expired, added(fmt.Sprint("k", i), later))
	}
	register := Register{Account: "a", Login: "hash", Kind: "email", Address: "sealed", Name: "sealed name", At: noon}
	add := AddKey{Key: "new", Label: "sealed label", Device: "cam", Expires: new(later.Add(1)), At: later}
	addedEvent := StreamKeyAdded{Account: "a", Key: "new", Label: "sealed label", Device: "cam", Expires: later.Add(1), At: later}
	for _, sc := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"claims", none, Claim{Login: "hash", Account: "a", At: noon}, claimed, nil},
		{"renews a claim", claimed, Claim{Login: "hash", Account: "a", At: later}, []Event{LoginClaimed{Login: "hash", Account: "a", At: later}}, nil},
		{"refuses another's login", claimed, Claim{Login: "hash", Account: "b", At: later}, nil, ErrLoginTaken},
		{"refuses an abandoned login within its lease", claimed, Claim{Login: "hash", Account: "b", Abandoned: true, At: noon.Add(ClaimLease - 1)}, nil, ErrLoginTaken},
		{"takes an abandoned login over after its lease", claimed, Claim{Login: "hash", Account: "b", Abandoned: true, At: noon.Add(ClaimLease)},
			[]Event{LoginClaimed{Login: "hash", Account: "b", At: noon.Add(ClaimLease)}}, nil},
		{"refuses a claim for nobody", none, Claim{Login: "hash", At: later}, nil, ErrIncomplete},
		{"refuses a claim of nothing", none, Claim{Account: "a", At: later}, nil, ErrIncomplete},

		{"registers", none, register, known, nil},
		{"refuses to register twice", known, register, nil, ErrRegistered},
		{"refuses to register nobody", none, Register{Login: "hash", Kind: "email", Address: "sealed"}, nil, ErrIncomplete},
		{"refuses to register without login", none, Register{Account: "a", Kind: "email", Address: "sealed"}, nil, ErrIncomplete},
		{"refuses to register without address", none, Register{Account: "a", Login: "hash", Kind: "email"}, nil, ErrIncomplete},

		{"adds a key", known, add, []Event{addedEvent}, nil},
		{"adds a key beside expired ones", expired, add, []Event{addedEvent}, nil},
		{"refuses one key more", full, add, nil, ErrTooManyKeys},
		{"refuses a key of nobody", none, add, nil, ErrNotRegistered},
		{"refuses a key over a login", claimed, add, nil, ErrNotRegistered},
		{"refuses a key without name", known, AddKey{At: later}, nil, ErrIncomplete},
		{"refuses a key twice", keyed, AddKey{Key: "k1", At: later}, nil, ErrKeyExists},
		{"refuses a key that has expired", known, AddKey{Key: "new", Expires: &later, At: later}, nil, ErrKeyExpired},
		{"refuses the zero time, which is not never", known, AddKey{Key: "new", Expires: &time.Time{}, At: later}, nil, ErrKeyExpired},
		{"refuses the zero time at the zero time", known, AddKey{Key: "new", Expires: &time.Time{}}, nil, ErrKeyExpired},

		{"revokes", keyed, RevokeKey{Key: "k1", At: later}, []Event{StreamKeyRevoked{Account: "a", Key: "k1", At: later}}, nil},
		{"refuses to revoke twice", revoked, RevokeKey{Key: "k1", At: later}, nil, ErrKeyNotFound},
		{"refuses to revoke what is not there", known, RevokeKey{Key: "k1", At: later}, nil, ErrKeyNotFound},
		{"changes the password, and ends every key", append(keyed[:2:2], added("k2", later)), ChangePassword{At: later}, []Event{
			PasswordChanged{Account: "a", At: later}, StreamKeyRevoked{Account: "a", Key: "k1", At: later}, StreamKeyRevoked{Account: "a", Key: "k2", At: later},
		}, nil},
		{"changes a forgotten password", known, ChangePassword{By: ByCode, At: later}, []Event{PasswordChanged{Account: "a", By: ByCode, At: later}}, nil},
		{"refuses to change the password of nobody", none, ChangePassword{At: later}, nil, ErrNotRegistered},
		{"ends every key", keyed, RevokeKeys{At: later}, []Event{StreamKeyRevoked{Account: "a", Key: "k1", At: later}}, nil},
		{"ends no key of an account without", revoked, RevokeKeys{At: later}, nil, nil},
		{"refuses an unknown command", known, nil, nil, ErrUnknownCommand},
	} {
		t.Run(sc.name, func(t *testing.T) {
			got, err := Decide(replay(sc.given), sc.when)
			if !errors.Is(err, sc.err) || !reflect.DeepEqual(got, sc.then) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, sc.then, sc.err)
			}
		})
	}
}

func replay(events []Event) State {
	var s State
	for _, e := range events {
		s = Evolve(s, e)
	}
	return s
}

func TestDeliveredAgain(t *testing.T) {
	history := []Event{registered, added("k1", later), added("k2", time.Time{}), StreamKeyRevoked{Account: "a", Key: "k1", At: later}}
	var s State
	for _, e := range history {
		s = Evolve(s, e)
		if again := Evolve(s, e); !reflect.DeepEqual(again, s) {
			t.Fatalf("%T again: %+v; want %+v", e, again, s)
		}
	}
	if len(s.Keys) != 1 || s.Keys[0].Name != "k2" || !s.Registered {
		t.Fatalf("%+v", s)
	}
}

// TestTheLastClaimCounts: whoever lost an abandoned login has nothing of it.
func TestTheLastClaimCounts(t *testing.T) {
	history := []Event{LoginClaimed{Login: "hash", Account: "a", At: noon}, LoginClaimed{Login: "hash", Account: "b", At: later}}
	s := replay(history)
	if s.Account != "b" || !s.ClaimedAt.Equal(later) || s.Registered {
		t.Fatalf("%+v; want the last claim", s)
	}
	_, err := Decide(s, Claim{Login: "hash", Account: "a", Abandoned: true, At: later.Add(ClaimLease - 1)})
	if !errors.Is(err, ErrLoginTaken) {
		t.Fatalf("whoever lost the login claims it again: %v", err)
	}
}

package account

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func TestDecideAddresses(t *testing.T) {
	phone := AddressAdded{Account: "a", Login: "number", Kind: "phone", Address: "sealed number", At: noon}
	verified := func(login string) Event { return AddressVerified{Account: "a", Login: login, At: noon} }
	known := []Event{registered}
	two := []Event{registered, phone}
	both := []Event{registered, phone, verified("hash"), verified("number")}
	full := []Event{registered}
	for i := range MaxAddresses - 1 {
		full = append(full, AddressAdded{Account: "a", Login: fmt.Sprint(i), Kind: "email", Address: "sealed", At: noon})
	}
	named := []Event{registered, ProfileChanged{Account: "a", Name: "sealed name", UserName: "sealed user", UserLogin: "user", Language: "de", At: noon}}
	add := AddAddress{Login: "number", Kind: "phone", Text: "sealed number", At: noon}
	claimed := []Event{LoginClaimed{Login: "hash", Account: "a", At: noon}}
	for _, sc := range []struct {
		name  string
		given []Event
		when  Command
		then  []Event
		err   error
	}{
		{"adds", known, add, []Event{phone}, nil},
		{"adds once", two, add, nil, nil},
		{"adds nothing incomplete", known, AddAddress{Login: "number"}, nil, ErrIncomplete},
		{"adds no more than the most", full, add, nil, ErrTooManyAddresses},
		{"adds to nobody", nil, add, nil, ErrNotRegistered},
		{"verifies", two, VerifyAddress{Login: "number", At: noon}, []Event{verified("number")}, nil},
		{"verifies once", both, VerifyAddress{Login: "number", At: later}, nil, nil},
		{"verifies nothing foreign", known, VerifyAddress{Login: "number"}, nil, ErrAddressNotFound},
		{"removes one that is not verified", two, RemoveAddress{Login: "number", At: later}, []Event{AddressRemoved{Account: "a", Login: "number", At: later}}, nil},
		{"removes the shown one", both, RemoveAddress{Login: "hash", At: later},
			[]Event{AddressRemoved{Account: "a", Login: "hash", NextLogin: "number", NextKind: "phone", NextAddress: "sealed number", At: later}}, nil},
		{"keeps the last verified one", append(two[:2:2], verified("number")), RemoveAddress{Login: "number"}, nil, ErrLastAddress},
		{"keeps the registered one while none is verified", two, RemoveAddress{Login: "hash"}, nil, ErrLastAddress},
		{"removes any but the last where none is verified", two, RemoveAddress{Login: "hash", Any: true, At: later},
			[]Event{AddressRemoved{Account: "a", Login: "hash", NextLogin: "number", NextKind: "phone", NextAddress: "sealed number", At: later}}, nil},
		{"keeps the only one", known, RemoveAddress{Login: "hash", Any: true}, nil, ErrLastAddress},
		{"removes nothing foreign", known, RemoveAddress{Login: "number"}, nil, ErrAddressNotFound},
		{"shows a verified one", both, MakePrimary{Login: "number", At: later},
			[]Event{PrimaryAddressChanged{Account: "a", Login: "number", Kind: "phone", Address: "sealed number", At: later}}, nil},
		{"shows it already", both, MakePrimary{Login: "hash"}, nil, nil},
		{"shows no unverified one", two, MakePrimary{Login: "number"}, nil, ErrUnverified},
		{"shows any where no proof is asked for", two, MakePrimary{Login: "number", Any: true, At: later},
			[]Event{PrimaryAddressChanged{Account: "a", Login: "number", Kind: "phone", Address: "sealed number", At: later}}, nil},
		{"shows nothing foreign", known, MakePrimary{Login: "number"}, nil, ErrAddressNotFound},
		{"sets the name alone", named, SetProfile{Name: new("sealed other"), At: later},
			[]Event{ProfileChanged{Account: "a", Name: "sealed other", UserName: "sealed user", UserLogin: "user", Language: "de", At: later}}, nil},
		{"gives the user name up", named, SetProfile{UserName: new(""), At: later}, []Event{ProfileChanged{Account: "a", Name: "sealed name", Language: "de", At: later}}, nil},
		{"sets nothing that is so", named, SetProfile{Language: new("de"), UserName: new("sealed user"), UserLogin: "user"}, nil, nil},
		{"releases", claimed, Release{Account: "a", At: later}, []Event{LoginReleased{Login: "hash", Account: "a", At: later}}, nil},
		{"releases nothing of another account", claimed, Release{Account: "b"}, nil, nil},
		{"claims what was released", append(claimed[:1:1], LoginReleased{Login: "hash", Account: "a", At: noon}), Claim{Login: "hash", Account: "b", At: later},
			[]Event{LoginClaimed{Login: "hash", Account: "b", At: later}}, nil},
	} {
		t.Run(sc.name, func(t *testing.T) {
			got, err := Decide(replay(sc.given), sc.when)
			if !errors.Is(err, sc.err) || len(got)+len(sc.then) > 0 && !reflect.DeepEqual(got, sc.then) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, sc.then, sc.err)
			}
		})
	}
	s := replay(append(both, AddressRemoved{Account: "a", Login: "hash", NextLogin: "number", NextKind: "phone", NextAddress: "sealed number"}))
	if len(s.Addresses) != 1 || s.Login != "number" || s.Kind != "phone" || s.Address != "sealed number" || !s.Addresses[0].Verified {
		t.Errorf("%+v", s)
	}
}

package catalogue

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// stored are one of each kind, with every field set, and some with few.
var stored = []event.Event{
	account.LoginClaimed{Login: "00ff", Account: "a", At: at},
	account.Registered{Account: "a", Login: "00ff", Kind: "email", Address: "a:x-_", Name: "", At: at},
	account.StreamKeyAdded{Account: "a", Key: "k", Label: "a:l", Device: "d", Expires: at.Add(time.Hour), At: at},
	account.StreamKeyAdded{Account: "a", Key: "k", At: at},
	account.StreamKeyRevoked{Account: "a", Key: "k", At: at},
	device.Added{Device: "d.2", Serial: "d", Generation: 2, Owner: "a", Name: "a:n", Channels: []device.Channel{{Channel: 511, Name: "a:c", Capabilities: privilege.All}}, At: at},
	device.Removed{Device: "d.2", Owner: "a", At: at},
	share.Opened{Share: "a.00ff", Owner: "a", Login: "00ff", Kind: "phone", Recipient: "l:r", Remark: "l:m", At: at},
	share.RemarkChanged{Share: "a.00ff", Owner: "a", Remark: "l:m", At: at},
	share.Invited{Share: "a.00ff", Owner: "a", Login: "00ff", Device: "d", Grants: []share.Grant{{Channel: 1, Privileges: privilege.All}, {Channel: 511}}, At: at},
	share.Invited{Share: "a.00ff", Owner: "a", Login: "00ff", Device: "d", Grants: []share.Grant{}, At: at},
	share.Invited{Share: "a.00ff", Owner: "a", Login: "00ff", Device: "d", At: at},
	share.Accepted{Share: "a.00ff", Owner: "a", Login: "00ff", Account: "b", Device: "d", Grants: []share.Grant{{Channel: 7, Privileges: privilege.Playback | privilege.PTZ}}, At: at},
	share.Rejected{Share: "a.00ff", Owner: "a", Login: "00ff", Account: "b", Device: "d", At: at},
	share.PrivilegesEdited{Share: "a.00ff", Owner: "a", Login: "00ff", Account: "b", Device: "d", Grants: []share.Grant{{Channel: 1, Privileges: privilege.Alarm}}, At: at},
	share.PrivilegesEdited{Share: "a.00ff", Owner: "a", Login: "00ff", Device: "d", Grants: []share.Grant{{Channel: 1, Privileges: privilege.TwoWayAudio}}, At: at},
	share.DeviceRemoved{Share: "a.00ff", Owner: "a", Login: "00ff", Account: "b", Device: "d", Reason: share.ByOwner, At: at},
	share.DeviceRemoved{Share: "a.00ff", Owner: "a", Login: "00ff", Device: "d", Reason: share.DeviceDeleted, At: at},
	share.Left{Share: "a.00ff", Owner: "a", Login: "00ff", Account: "b", Device: "d", At: at},
	share.DomainSet{Share: "a.00ff", Owner: "a", Account: "b", Device: "d", Domain: "porch", At: at},
	share.Deleted{Share: "a.00ff", Owner: "a", Login: "00ff", Kind: "email", Recipient: "l:r", Remark: "l:m", At: at},
	share.Deleted{Share: `"<ü>\`, Owner: "\u2028", At: at.Local()},
}

// TestQuickly: what Encode writes is read quickly, with the same result.
func TestQuickly(t *testing.T) {
	for _, e := range stored {
		name, data, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, name, data)
		into := reflect.New(reflect.TypeOf(e)).Elem()
		quick := layoutOf(into.Type()).scan(string(data), into)
		if slow := shareOf(e) == `"<ü>\` || noGrants(e); quick == slow {
			t.Errorf("%s is decoded quickly: %v", data, quick)
		}
		if quick && !reflect.DeepEqual(into.Interface(), any(e)) {
			t.Errorf("%s is read as %+v", data, into)
		}
	}
	for _, e := range events {
		if layoutOf(reflect.TypeOf(e.example)) == nil {
			t.Errorf("%s cannot be read quickly", e.name)
		}
	}
}

// TestLargeTextsAreNotKept: a name out of the event of a large recorder does not keep the
// whole event in memory.
func TestLargeTextsAreNotKept(t *testing.T) {
	for channels, kept := range map[int]bool{1: true, 511: false} {
		e := device.Added{Device: "d", Serial: "d", Generation: 1, Owner: "a", Name: "a:n", At: at}
		for i := range channels {
			e.Channels = append(e.Channels, device.Channel{Channel: i + 1, Name: "a:c", Capabilities: privilege.All})
		}
		name, data, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(name, data)
		if err != nil || !reflect.DeepEqual(got, event.Event(e)) {
			t.Fatalf("read as %+v, %v", got, err)
		}
		a := got.(device.Added)
		apart := int(uintptr(unsafe.Pointer(unsafe.StringData(a.Owner))) - uintptr(unsafe.Pointer(unsafe.StringData(a.Device))))
		inText := bytes.Index(data, []byte(`"owner":"`)) - bytes.Index(data, []byte(`"device":"`)) - len("device") + len("owner")
		if together := apart == inText; together != kept {
			t.Errorf("strings of an event of %d bytes share its text: %v, want %v", len(data), together, kept)
		}
	}
}

func shareOf(e event.Event) string {
	if d, ok := e.(share.Deleted); ok {
		return d.Share
	}
	return ""
}

func noGrants(e event.Event) bool {
	i, ok := e.(share.Invited)
	return ok && i.Grants == nil
}

// agree compares the quick way with the long one.
func agree(t *testing.T, name string, data []byte) {
	t.Helper()
	got, err := Decode(name, data)
	if !Known(name) {
		if !errors.Is(err, event.ErrUnknown) {
			t.Errorf("%q is read as %+v, %v", name, got, err)
		}
		return
	}
	if want, wantErr := slowly(name, data); (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s %s:\n got %#v, %v\nwant %#v, %v", name, data, got, err, want, wantErr)
	}
}

// slowly decodes without the quick way.
func slowly(name string, data []byte) (event.Event, error) {
	into := reflect.New(reflect.TypeOf(byName[name].example))
	err := decodeStrictly(data, into.Interface())
	if rest, ignored := withoutIgnorable(data, into.Elem().Type()); err != nil && ignored {
		into.Elem().SetZero()
		err = decodeStrictly(rest, into.Interface())
	}
	e, _ := into.Elem().Interface().(event.Event)
	return e, err
}

func FuzzQuick(f *testing.F) {
	for _, e := range stored {
		name, data, err := Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Add(share.Left{}.Type(), []byte(`{"share":"s","owner":"o","login":"l","account":"a","device":"d","at":"2026-03-01T12:00:00Z"} `))
	f.Add(share.Left{}.Type(), []byte(`{"share":"s","owner":"o","login":"l","account":"a","device":"d","at":"2026-03-01T12:00:00Z","at":null}`))
	f.Add(share.Left{}.Type(), []byte(`{"share":"s","owner":"o","login":"l","account":"a","device":"d","at":"2026-3-01T12:00:00Z"}`))
	f.Add(share.Invited{}.Type(), []byte(`{"share":"s","owner":"o","login":"l","device":"d","grants":[{"channel":01,"privileges":["ptz","ptz"]}],"at":"2026-03-01T12:00:00Z"}`))
	f.Fuzz(agree)
}

func BenchmarkDecode(b *testing.B) {
	name, data, err := Encode(stored[12])
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    func(string, []byte) (event.Event, error)
	}{{"quick", Decode}, {"slow", slowly}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.f(name, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

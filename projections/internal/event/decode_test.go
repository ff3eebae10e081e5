package event_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"latchkey/domain"
	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/projections/internal/event"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// events are one of each kind, with every field set, and some with few.
var events = []any{
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

// TestDecode: what is decoded quickly is what the domain decodes.
func TestDecode(t *testing.T) {
	for _, e := range events {
		name, data, err := domain.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, name, data)
		if !event.Known(name) {
			t.Errorf("%s is said to be unknown", name)
		}
		quick := event.Quick(name, data)
		if !quick && !slices.Contains([]string{`"<ü>\`}, shareOf(e)) && !noGrants(e) {
			t.Errorf("%s is decoded quickly: %v", data, quick)
		}
	}
	for _, name := range []string{"", "latchkey.share.suspended.v1", "latchkey.share.invited.v2"} {
		if event.Known(name) {
			t.Errorf("%q is said to be known", name)
		}
	}
}

func shareOf(e any) string {
	if d, ok := e.(share.Deleted); ok {
		return d.Share
	}
	return ""
}

func noGrants(e any) bool {
	i, ok := e.(share.Invited)
	return ok && i.Grants == nil
}

// agree compares the two ways to decode.
func agree(t *testing.T, name string, data []byte) {
	t.Helper()
	got, err := event.Decode(name, data)
	want, wantErr := domain.DecodeEvent(name, data)
	if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
		t.Errorf("%s %s:\n got %#v, %v\nwant %#v, %v", name, data, got, err, want, wantErr)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range events {
		name, data, err := domain.EncodeEvent(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Add(event.Left, []byte(`{"share":"s","owner":"o","login":"l","account":"a","device":"d","at":"2026-03-01T12:00:00Z"} `))
	f.Add(event.Left, []byte(`{"share":"s","owner":"o","login":"l","account":"a","device":"d","at":"2026-03-01T12:00:00Z","at":null}`))
	f.Add(event.Left, []byte(`{"share":"s","owner":"o","login":"l","account":"a","device":"d","at":"2026-3-01T12:00:00Z"}`))
	f.Add(event.Invited, []byte(`{"share":"s","owner":"o","login":"l","device":"d","grants":[{"channel":01,"privileges":["ptz","ptz"]}],"at":"2026-03-01T12:00:00Z"}`))
	f.Fuzz(agree)
}

func BenchmarkDecode(b *testing.B) {
	name, data, err := domain.EncodeEvent(events[12])
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    func(string, []byte) (any, error)
	}{{"quick", event.Decode}, {"domain", domain.DecodeEvent}} {
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

package catalogue

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/name"
	"latchkey/domain/privilege"
	"latchkey/domain/reclaim"
	"latchkey/domain/request"
	"latchkey/domain/share"
)

var update = flag.Bool("update", false, "write the golden file anew; what it held must still be readable")

const golden = "testdata/events.golden.jsonl"

// goldenLine is one stored event.
type goldenLine struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// examples are one or more of every event. Their JSON is in logs that exist: a
// change of it here is a new version of the event, with a new name.
func examples() []event.Event {
	const (
		alice = "0198c0de-0000-7000-8000-00000000000a"
		bob   = "0198c0de-0000-7000-8000-00000000000b"
		login = "00112233445566778899aabbccddeeff"
		id    = alice + "." + login
		cam   = "ds-7216-691b23.2"
		text  = "sealed:dGV4dA"
	)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	grants := []share.Grant{{Channel: 1, Privileges: privilege.All}, {Channel: 511, Privileges: privilege.None}}
	hours := privilege.Hours{Zone: "Europe/Berlin", Spans: []privilege.Span{{Days: 0x41, Start: 22 * 60, End: privilege.MaxClock}}}
	terms := privilege.Terms{Validity: privilege.Validity{From: at, Until: at.Add(time.Hour), Hours: hours}, Playback: privilege.PlaybackLimit{LastDays: 7, SinceAcceptance: true}}
	limited := []share.Grant{{Channel: 1, Privileges: privilege.All, Limits: []privilege.Limit{{Privileges: privilege.PTZ, Validity: privilege.Validity{Until: at}}}}}
	timed := []event.Given{{Device: cam, Account: bob, Grants: limited, Paused: true, Terms: terms, AcceptedAt: at}}
	offer := device.Transfer{Number: 3, Login: login, Kind: "email", To: text, Shares: device.KeepShares, At: at, Until: at.Add(time.Hour)}
	given := []event.Given{{Device: cam, Account: bob, Grants: grants}, {Device: "cam-2", Account: alice, Grants: grants[:1]}}
	return []event.Event{
		account.LoginClaimed{Login: login, Account: bob, At: at},
		account.LoginClaimed{Login: login, Account: bob, Proven: true, At: at},
		account.Registered{Account: bob, Login: login, Kind: "email", Address: text, Name: text, At: at},
		account.Registered{Account: bob, Login: login, Kind: "email", Address: text, Name: text, Applied: true, At: at},
		account.StreamKeyAdded{Account: bob, Key: "kabcdefghij23", Label: text, Device: cam, Expires: at.Add(time.Hour), At: at},
		account.StreamKeyAdded{Account: bob, Key: "kabcdefghij23", At: at},
		account.PublishingKeyAdded{Account: bob, Key: "p7kabcdefghij23", Label: text, Device: cam, Channel: 7, Expires: at.Add(time.Hour), At: at},
		account.StreamKeyRevoked{Account: bob, Key: "kabcdefghij23", At: at},
		account.PasswordChanged{Account: bob, At: at},
		account.PasswordChanged{Account: bob, By: account.ByCode, At: at},
		account.LoginReleased{Login: login, Account: bob, At: at},
		account.AddressAdded{Account: bob, Login: login, Kind: "phone", Address: text, At: at},
		account.AddressVerified{Account: bob, Login: login, At: at},
		account.AddressRemoved{Account: bob, Login: login, At: at},
		account.PrimaryAddressChanged{Account: bob, Login: login, Kind: "email", Address: text, At: at},
		account.AddressRemoved{Account: bob, Login: login, NextLogin: login, NextKind: "email", NextAddress: text, At: at},
		account.ProfileChanged{Account: bob, Name: text, UserName: text, UserLogin: login, Language: "de", At: at},
		account.Closed{Account: bob, At: at},
		account.NoticesSet{Account: bob, At: at},
		account.NoticesSet{Account: bob, At: at, Notices: account.Notices{
			Mail: account.NoticeChannel{Mute: []account.NoticeKind{account.NoticeReminders}}, Webhook: account.NoticeChannel{Off: true},
			OwnOff: true, Shares: []string{"s"}, Devices: []string{cam},
		}},
		account.WebhookSet{Account: bob, Webhook: "whabcdefghij23", At: at},
		account.WebhookRemoved{Account: bob, Webhook: "whabcdefghij23", At: at},
		device.Added{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Owner: alice, Name: text, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All}, {Channel: 2, Capabilities: privilege.None},
		}},
		device.Added{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Owner: alice, Name: text, At: at, Channels: []device.Channel{
			{Channel: 1, Capabilities: privilege.LiveView},
		}, Model: "DS-7216", Firmware: "V5.5.71 build 180723", ProvenAt: at},
		device.Removed{Device: cam, Owner: alice, At: at},
		device.Renamed{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Change: 1, Owner: alice, Name: text, AddedAt: at, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All},
		}},
		device.FactsChanged{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Change: 2, Owner: alice, Name: text, AddedAt: at, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All},
		}, Model: "DS-7216", Firmware: "V5.5.71 build 180723", ProvenAt: at},
		name.Claimed{Account: bob, Domain: "door", Share: id, Device: cam, Revision: 7, At: at},
		share.Opened{Share: id, Owner: alice, Login: login, Kind: "phone", Recipient: text, Remark: text, At: at},
		share.RemarkChanged{Share: id, Owner: alice, Remark: "", At: at},
		share.Invited{Share: id, Owner: alice, Login: login, Device: cam, Grants: grants, At: at},
		share.Accepted{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: grants, At: at},
		share.Rejected{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at},
		share.Rejected{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at, Unaccepted: true},
		share.PrivilegesEdited{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: grants, At: at},
		share.PrivilegesEdited{Share: id, Owner: alice, Login: login, Device: cam, Grants: grants[:1], At: at},
		share.DeviceRemoved{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Reason: share.ByOwner, At: at},
		share.DeviceRemoved{Share: id, Owner: alice, Login: login, Device: cam, Reason: share.ShareDeleted, At: at},
		share.DeviceRemoved{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Reason: share.DeviceDeleted, At: at},
		share.Left{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at},
		share.Left{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at, Unaccepted: true},
		share.DomainSet{Share: id, Owner: alice, Account: bob, Device: cam, Domain: "door", At: at},
		share.Deleted{Share: id, Owner: alice, Login: login, Kind: "phone", Recipient: text, Remark: text, At: at},
		share.Accepted{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: grants, Paused: true, At: at},
		share.PrivilegesEdited{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: grants, Paused: true, At: at},
		share.Paused{Share: id, Owner: alice, Login: login, Given: given, At: at},
		share.Paused{Share: id, Owner: alice, Login: login, Device: cam, Given: []event.Given{}, At: at},
		share.Resumed{Share: id, Owner: alice, Login: login, Given: given, At: at},
		share.Resumed{Share: id, Owner: alice, Login: login, Device: cam, Given: given[:1], At: at},
		share.RecipientForgotten{Share: id, Owner: alice, Login: login, At: at},
		share.Dismissed{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at},
		share.Opened{Share: id, Owner: alice, Login: login, Kind: "email", Recipient: text, At: at, Terms: terms},
		share.Invited{Share: id, Owner: alice, Login: login, Device: cam, Grants: limited, At: at, Terms: terms},
		share.Accepted{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: limited, At: at, ShareTerms: terms, Terms: terms},
		share.PrivilegesEdited{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: limited, At: at, ShareTerms: terms, AcceptedAt: at},
		share.Resumed{Share: id, Owner: alice, Login: login, Given: timed, At: at, Terms: terms},
		share.TermsChanged{Share: id, Owner: alice, Login: login, Terms: terms, Given: timed, At: at},
		share.TermsChanged{Share: id, Owner: alice, Login: login, Given: []event.Given{}, At: at},
		request.Requested{Serial: "ds-7216-691b23", Account: bob, Device: cam, Owner: alice, Message: text, At: at},
		request.Requested{Serial: "ds-7216-691b23", Account: bob, At: at},
		request.Dismissed{Serial: "ds-7216-691b23", Account: bob, Device: cam, Owner: alice, AskedAt: at, At: at},
		device.TransferOffered{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Change: 3, Owner: alice, Name: text, AddedAt: at, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All},
		}, Model: "DS-7216", Firmware: "V5.5.71 build 180723", ProvenAt: at, Transfer: offer},
		device.TransferEnded{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Change: 5, Owner: alice, Name: text, AddedAt: at, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All},
		}, Login: login, Number: 3, Why: device.Withdrawn},
		device.Renamed{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Change: 4, Owner: alice, Name: text, AddedAt: at, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All},
		}, Transfer: offer},
		device.Removed{Device: cam, Owner: alice, At: at, How: device.ByTransfer, To: bob, Next: "ds-7216-691b23.3", Shares: device.KeepShares, Transfer: 3},
		device.Added{Device: "ds-7216-691b23.3", Serial: "ds-7216-691b23", Generation: 3, Owner: bob, Name: text, At: at, Channels: []device.Channel{
			{Channel: 1, Capabilities: privilege.LiveView},
		}, Model: "DS-7216", Firmware: "V5.5.71 build 180723", ProvenAt: at, How: device.ByTransfer, From: cam},
		share.Invited{Share: id, Owner: alice, Login: login, Device: cam, Grants: limited, At: at, Terms: terms, From: id},
		share.Accepted{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: limited, Paused: true, At: at, Terms: terms, From: id},
		reclaim.Claimed{Serial: "ds-7216-691b23", Account: bob, Device: cam, Owner: alice, Ready: at.Add(time.Hour), At: at},
		reclaim.Ended{Serial: "ds-7216-691b23", Account: bob, Device: cam, Owner: alice, Claimed: at, Ready: at.Add(time.Hour), Why: reclaim.Completed, At: at},
	}
}

func TestGolden(t *testing.T) {
	list := examples()
	if *update {
		writeGolden(t, list)
	}
	raw, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for _, want := range list {
		if !lines.Scan() {
			t.Fatalf("%s has no line for %T", golden, want)
		}
		checkLine(t, lines.Bytes(), want)
	}
	if lines.Scan() {
		t.Fatalf("%s has a line more than there are examples", golden)
	}
}

func checkLine(t *testing.T, raw []byte, want event.Event) {
	t.Helper()
	var line goldenLine
	if err := json.Unmarshal(raw, &line); err != nil {
		t.Fatal(err)
	}
	got, err := Decode(line.Type, line.Data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is read as %+v, %v; want %+v", raw, got, err, want)
	}
	name, data, err := Encode(want)
	if err != nil || name != line.Type || !bytes.Equal(data, line.Data) {
		t.Errorf("%T is written as %s %s, %v; want %s %s", want, name, data, err, line.Type, line.Data)
	}
}

func writeGolden(t *testing.T, list []event.Event) {
	t.Helper()
	var out bytes.Buffer
	for _, e := range list {
		name, data, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(goldenLine{name, data})
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestExamplesCoverTheCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range examples() {
		name, _, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if !seen[name] {
			t.Errorf("%s has no example", name)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const removed = "latchkey.device.removed.v1"
	for name, in := range map[string]struct{ name, data string }{
		"an unknown type":      {"latchkey.nothing.of_ours.v1", `{}`},
		"a later version":      {"latchkey.device.removed.v2", `{}`},
		"an unknown field":     {removed, `{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","until":1}`},
		"a second value":       {removed, `{"device":"cam"} {}`},
		"half a value":         {removed, `{"device":"cam"`},
		"nothing":              {removed, ``},
		"null":                 {removed, ` null`},
		"a list":               {removed, `[]`},
		"an unknown privilege": {"latchkey.share.invited.v1", `{"grants":[{"channel":1,"privileges":["admin"]}]}`},
	} {
		if got, err := Decode(in.name, []byte(in.data)); err == nil || got != nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	if _, err := Decode("other", nil); !errors.Is(err, event.ErrUnknown) {
		t.Errorf("an unknown type is %v", err)
	}
	if _, _, err := Encode(stranger{}); !errors.Is(err, event.ErrUnknown) {
		t.Errorf("an unknown event is %v", err)
	}
}

// FuzzDecode: whatever is read can be written and read again, the same.
func FuzzDecode(f *testing.F) {
	for _, e := range examples() {
		name, data, err := Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		e, err := Decode(name, data)
		if err != nil {
			return
		}
		again, written, err := Encode(e)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", e, err)
		}
		if again != name {
			t.Fatalf("%s became %s", name, again)
		}
		back, err := Decode(again, written)
		if err != nil {
			t.Fatalf("%s was written and cannot be read: %v", written, err)
		}
		_, twice, err := Encode(back)
		if err != nil || !bytes.Equal(written, twice) {
			t.Fatalf("%s became %s, %v", written, twice, err)
		}
	})
}

// stranger is an event that is not in the catalogue.
type stranger struct{ account.LoginClaimed }

func (stranger) Type() string { return "latchkey.nothing.of_ours.v1" }

// TestEveryEventAnswers: what an event says of itself by its type alone does not depend
// on its fields, and nothing that it must say is empty.
func TestEveryEventAnswers(t *testing.T) {
	for _, e := range examples() {
		name := e.Type()
		zero := byName[name].example
		if zero.Type() != name || zero.Effect().Kind != e.Effect().Kind || zero.Revokes().Kind != e.Revokes().Kind {
			t.Errorf("%T with fields and without differ: %v and %v, %v and %v", e, e.Effect().Kind, zero.Effect().Kind, e.Revokes(), zero.Revokes())
		}
		if HasEffect(name) != (e.Effect().Kind != event.Nothing) {
			t.Errorf("%s: has an effect is %v", name, HasEffect(name))
		}
		if e.Subjects() == (event.Subjects{}) {
			t.Errorf("%s concerns nobody", name)
		}
		if said := e.Sentence(); said == "" || strings.ContainsAny(said, "{}") {
			t.Errorf("%s: %q", name, said)
		}
		if _, err := event.AppendEffects(nil, e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "latchkey.nothing.of_ours.v1", "latchkey.share.invited.v2"} {
		if Known(name) || !HasEffect(name) {
			t.Errorf("%q: known %v, has an effect %v; an event that cannot be read may have any", name, Known(name), HasEffect(name))
		}
	}
}

// TestSealedTexts: every personal text of an event is given to who changes texts, once,
// and the event itself stays as it is.
func TestSealedTexts(t *testing.T) {
	for _, e := range examples() {
		_, before, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		given := 0
		changed := e.Texts(func(field, sealed string) string {
			if field == "" {
				t.Errorf("%T: a text of no field", e)
			}
			if sealed != "" {
				given++
			}
			return "changed"
		})
		_, after, err := Encode(changed)
		if err != nil {
			t.Fatal(err)
		}
		if sealed := bytes.Count(before, []byte("sealed:")); given != sealed || bytes.Contains(after, []byte("sealed:")) {
			t.Errorf("%T: %d of %d texts were given; it became %s", e, given, sealed, after)
		}
		if _, again, err := Encode(e); err != nil || !bytes.Equal(again, before) {
			t.Errorf("%T was changed to %s, %v", e, again, err)
		}
	}
}

func TestRevocationOf(t *testing.T) {
	revoking := []string{
		"latchkey.account.address_removed.v1", "latchkey.account.password_changed.v1", "latchkey.device.removed.v1", "latchkey.device.transfer_ended.v1", "latchkey.share.deleted.v1", "latchkey.share.device_removed.v1", "latchkey.share.left.v1", "latchkey.share.paused.v1",
		"latchkey.share.privileges_edited.v1", "latchkey.share.rejected.v1", "latchkey.share.terms_changed.v1", "latchkey.stream_key.revoked.v1",
	}
	for i, e := range examples() {
		name, data, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		id := uuid.New()
		r, ok, err := RevocationOf(id, name, data)
		if err != nil || ok != slices.Contains(revoking, name) || ok && (r.Event != id || r.Kind == "" || r.Share+r.Device+r.Key+r.Account == "") {
			t.Errorf("example %d, %s: %+v, %v, %v", i, name, r, ok, err)
		}
	}
	if _, _, err := RevocationOf(uuid.New(), "latchkey.nothing.of_ours.v1", []byte("{}")); !errors.Is(err, event.ErrUnknown) {
		t.Errorf("an unknown event: %v", err)
	}
}

// TestIgnorableFields: a field that a later build added is refused, as it may restrict,
// unless its name says that it may be ignored.
func TestIgnorableFields(t *testing.T) {
	const name = "latchkey.device.removed.v1"
	want := device.Removed{Device: "cam", Owner: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for data, readable := range map[string]bool{
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z"}`:                          true,
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","_why":{"a":[1,"}"]}}`:     true,
		`{"_why":1,"device":"cam","_why":2,"owner":"a","at":"2026-01-02T03:04:05Z"}`:        true,
		`{"device":"x","_why":null,"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z"}`: true,
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","until":1}`:                false,
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","_why":1,"until":1}`:       false,
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","_why":1} {}`:              false,
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","_why":}`:                  false,
		`{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","_why":1`:                  false,
		`{"_why":1,"device":"cam","owner":["a"],"at":"2026-01-02T03:04:05Z"}`:               false,
	} {
		got, err := Decode(name, []byte(data))
		if readable && (err != nil || got != want) || !readable && err == nil {
			t.Errorf("%s: %+v, %v", data, got, err)
		}
	}
}

// TestOlderVersions: an event in an older form is read in the present one.
func TestOlderVersions(t *testing.T) {
	type removedV0 struct {
		Serial string `json:"serial"`
	}
	e := older("latchkey.device.removed.v0", func(old removedV0) device.Removed { return device.Removed{Device: old.Serial} })
	got, err := e.decode([]byte(`{"serial":"cam"}`))
	if err != nil || got != (device.Removed{Device: "cam"}) {
		t.Errorf("read as %+v, %v", got, err)
	}
	if _, err := e.decode([]byte(`{"device":"cam"}`)); err == nil {
		t.Error("the present form is read as the older one")
	}
	if e.example.Effect().Kind != event.Removed {
		t.Error("the older form has no effect")
	}
}

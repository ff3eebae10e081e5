package domain

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
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/name"
	"latchkey/domain/privilege"
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
func examples() []any {
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
	return []any{
		account.LoginClaimed{Login: login, Account: bob, At: at},
		account.Registered{Account: bob, Login: login, Kind: "email", Address: text, Name: text, At: at},
		account.StreamKeyAdded{Account: bob, Key: "kabcdefghij23", Label: text, Device: cam, Expires: at.Add(time.Hour), At: at},
		account.StreamKeyAdded{Account: bob, Key: "kabcdefghij23", At: at},
		account.StreamKeyRevoked{Account: bob, Key: "kabcdefghij23", At: at},
		device.Added{Device: cam, Serial: "ds-7216-691b23", Generation: 2, Owner: alice, Name: text, At: at, Channels: []device.Channel{
			{Channel: 1, Name: text, Capabilities: privilege.All}, {Channel: 2, Capabilities: privilege.None},
		}},
		device.Removed{Device: cam, Owner: alice, At: at},
		name.Claimed{Account: bob, Domain: "door", Share: id, Device: cam, Revision: 7, At: at},
		share.Opened{Share: id, Owner: alice, Login: login, Kind: "phone", Recipient: text, Remark: text, At: at},
		share.RemarkChanged{Share: id, Owner: alice, Remark: "", At: at},
		share.Invited{Share: id, Owner: alice, Login: login, Device: cam, Grants: grants, At: at},
		share.Accepted{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: grants, At: at},
		share.Rejected{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at},
		share.PrivilegesEdited{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Grants: grants, At: at},
		share.PrivilegesEdited{Share: id, Owner: alice, Login: login, Device: cam, Grants: grants[:1], At: at},
		share.DeviceRemoved{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Reason: share.ByOwner, At: at},
		share.DeviceRemoved{Share: id, Owner: alice, Login: login, Device: cam, Reason: share.ShareDeleted, At: at},
		share.DeviceRemoved{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, Reason: share.DeviceDeleted, At: at},
		share.Left{Share: id, Owner: alice, Login: login, Account: bob, Device: cam, At: at},
		share.DomainSet{Share: id, Owner: alice, Account: bob, Device: cam, Domain: "door", At: at},
		share.Deleted{Share: id, Owner: alice, Login: login, Kind: "phone", Recipient: text, Remark: text, At: at},
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

func checkLine(t *testing.T, raw []byte, want any) {
	t.Helper()
	var line goldenLine
	if err := json.Unmarshal(raw, &line); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeEvent(line.Type, line.Data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is read as %+v, %v; want %+v", raw, got, err, want)
	}
	name, data, err := EncodeEvent(want)
	if err != nil || name != line.Type || !bytes.Equal(data, line.Data) {
		t.Errorf("%T is written as %s %s, %v; want %s %s", want, name, data, err, line.Type, line.Data)
	}
}

func writeGolden(t *testing.T, list []any) {
	t.Helper()
	var out bytes.Buffer
	for _, event := range list {
		name, data, err := EncodeEvent(event)
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
	for _, event := range examples() {
		name, _, err := EncodeEvent(event)
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(catalogue)) {
		if !seen[name] {
			t.Errorf("%s has no example", name)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const removed = "latchkey.device.removed.v1"
	for name, in := range map[string]struct{ name, data string }{
		"an unknown type":      {"latchkey.share.paused.v1", `{}`},
		"a later version":      {"latchkey.device.removed.v2", `{}`},
		"an unknown field":     {removed, `{"device":"cam","owner":"a","at":"2026-01-02T03:04:05Z","until":1}`},
		"a second value":       {removed, `{"device":"cam"} {}`},
		"half a value":         {removed, `{"device":"cam"`},
		"nothing":              {removed, ``},
		"null":                 {removed, ` null`},
		"a list":               {removed, `[]`},
		"an unknown privilege": {"latchkey.share.invited.v1", `{"grants":[{"channel":1,"privileges":["admin"]}]}`},
	} {
		if got, err := DecodeEvent(in.name, []byte(in.data)); err == nil || got != nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	if _, err := DecodeEvent("other", nil); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("an unknown type is %v", err)
	}
	if _, _, err := EncodeEvent(struct{}{}); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("an unknown event is %v", err)
	}
}

// FuzzDecodeEvent: whatever is read can be written and read again, the same.
func FuzzDecodeEvent(f *testing.F) {
	for _, event := range examples() {
		name, data, err := EncodeEvent(event)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		event, err := DecodeEvent(name, data)
		if err != nil {
			return
		}
		again, written, err := EncodeEvent(event)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", event, err)
		}
		if again != name {
			t.Fatalf("%s became %s", name, again)
		}
		back, err := DecodeEvent(again, written)
		if err != nil {
			t.Fatalf("%s was written and cannot be read: %v", written, err)
		}
		_, twice, err := EncodeEvent(back)
		if err != nil || !bytes.Equal(written, twice) {
			t.Fatalf("%s became %s, %v", written, twice, err)
		}
	})
}

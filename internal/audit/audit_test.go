package audit_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/name"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/audit"
)

// log is a history in memory, an event a minute.
type log []eventstore.Recorded

var start = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func history(t *testing.T, events ...event.Event) log {
	t.Helper()
	var l log
	for i, e := range events {
		name, data, err := catalogue.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		l = append(l, eventstore.Recorded{ID: uuid.New(), Position: eventstore.Position(i + 1), Created: start.Add(time.Duration(i) * time.Minute), Type: name, Data: data})
	}
	return l
}

func (l log) ReadAll(_ context.Context, _ eventstore.Position, _ string, each func(eventstore.Recorded) error) error {
	for _, r := range l {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// opens reads "sealed X" as X, lacks the key of "lost X" and has forgotten
// everything else, but fails with "away".
type opens struct{}

func (opens) Unseal(_ context.Context, _, sealed string) (string, error) {
	if plain, ok := strings.CutPrefix(sealed, "sealed "); ok {
		return plain, nil
	}
	switch {
	case strings.HasPrefix(sealed, "lost "):
		return "", audit.ErrUnreadable
	case sealed == "away":
		return "", errAway
	}
	return "", audit.ErrForgotten
}

var errAway = errors.New("the vault is away")

var everything = []event.Event{
	account.LoginClaimed{Login: "h1", Account: "olga"},
	account.Registered{Account: "olga", Login: "h1", Kind: "email", Address: "sealed olga@example.com", Name: "gone"},
	device.Added{Device: "cam", Serial: "cam", Generation: 1, Owner: "olga", Name: "sealed Door", Channels: []device.Channel{{Channel: 1, Capabilities: privilege.All}}},
	share.Opened{Share: "s1", Owner: "olga", Login: "h2", Kind: "email", Recipient: "sealed rita@example.com", Remark: "sealed neighbour"},
	share.Invited{Share: "s1", Owner: "olga", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView | privilege.PTZ}}},
	share.Accepted{Share: "s1", Owner: "olga", Account: "rita", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}},
	share.RemarkChanged{Share: "s1", Owner: "olga", Remark: "sealed friend"},
	share.PrivilegesEdited{Share: "s1", Owner: "olga", Account: "rita", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.Playback}}},
	share.Paused{Share: "s1", Owner: "olga", Given: []event.Given{{Account: "rita", Device: "cam", Grants: []share.Grant{{Channel: 1, Privileges: privilege.Playback}}}}},
	share.Resumed{Share: "s1", Owner: "olga", Device: "cam"},
	share.DomainSet{Share: "s1", Owner: "olga", Account: "rita", Device: "cam", Domain: "door"},
	account.StreamKeyAdded{Account: "rita", Key: "k1", Label: "sealed tv", Device: "cam", Expires: start},
	account.StreamKeyRevoked{Account: "rita", Key: "k1"},
	share.Rejected{Share: "s1", Owner: "olga", Account: "rita", Device: "cam"},
	share.Left{Share: "s1", Owner: "olga", Account: "rita", Device: "cam"},
	share.DeviceRemoved{Share: "s1", Owner: "olga", Account: "rita", Device: "cam", Reason: share.ByOwner},
	share.Deleted{Share: "s1", Owner: "olga", Kind: "email", Recipient: "sealed rita@example.com"},
	device.Removed{Device: "cam", Owner: "olga"},
	name.Claimed{Account: "rita", Domain: "door", Share: "s1", Device: "cam", Revision: 4},
}

func replay(t *testing.T, l log, f audit.Filter) []audit.Entry {
	t.Helper()
	var list []audit.Entry
	read := 0
	err := audit.Replay(t.Context(), l, opens{}, f, func(eventstore.Position) { read++ }, func(e audit.Entry) error { list = append(list, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if read != len(l) {
		t.Errorf("%d of %d events were looked at", read, len(l))
	}
	return list
}

func TestFilters(t *testing.T) {
	l := history(t, everything...)
	for name, c := range map[string]struct {
		filter audit.Filter
		want   int
	}{
		"all":              {audit.Filter{}, 19},
		"a share":          {audit.Filter{Share: "s1"}, 13},
		"another share":    {audit.Filter{Share: "s2"}, 0},
		"a device":         {audit.Filter{Device: "cam"}, 12},
		"the recipient":    {audit.Filter{Account: "rita"}, 10},
		"the owner":        {audit.Filter{Account: "olga"}, 16},
		"device and share": {audit.Filter{Device: "cam", Share: "s1"}, 9},
		"from":             {audit.Filter{From: start.Add(14 * time.Minute)}, 5},
		"to":               {audit.Filter{To: start.Add(2 * time.Minute)}, 2},
		"from and to":      {audit.Filter{From: start.Add(time.Minute), To: start.Add(2 * time.Minute)}, 1},
	} {
		if got := len(replay(t, l, c.filter)); got != c.want {
			t.Errorf("%s: %d entries, want %d", name, got, c.want)
		}
	}
}

// Every event has a sentence of its own, with what it is about in it, and its
// personal text opened or said to be forgotten.
func TestTimeline(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	var lines []string
	for _, e := range replay(t, history(t, everything...), audit.Filter{}) {
		var b bytes.Buffer
		if err := audit.WriteTimeline(&b, e, zone); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, b.String())
	}
	all := strings.Join(lines, "")
	for _, want := range []string{
		"2026-01-02 05:00:00.000 +0200  account olga claimed login h1\n",
		"registered: (forgotten), email olga@example.com",
		"added device cam (Door): channel 1 can live_view,playback,alarm,two_way_audio,ptz",
		"opened share s1 with email rita@example.com, remark: neighbour",
		"invited to device cam: channel 1 live_view,ptz (share s1)",
		"account rita accepted device cam: channel 1 live_view",
		`changed the remark of share s1 to "friend"`,
		"edited the privileges on device cam of account rita: channel 1 playback",
		"owner olga paused share s1; account rita on device cam: channel 1 playback", "owner olga resumed device cam of share s1",
		`account rita calls device cam "door"`,
		"made stream key k1 for device cam until 2026-01-02T03:00:00Z",
		"revoked stream key k1", "rejected device cam", "left device cam",
		"taken out of share s1, from account rita: by its owner",
		"deleted share s1 with email rita@example.com", "removed device cam",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the timeline lacks %q", want)
		}
	}
	if strings.Contains(all, "sealed") || strings.Contains(all, "{") {
		t.Errorf("something is raw in the timeline:\n%s", all)
	}
}

func TestAnEventThatCannotBeReadEndsTheReplay(t *testing.T) {
	l := append(history(t, everything[0]), eventstore.Recorded{Type: "latchkey.share.frozen.v1", Data: []byte(`{}`)})
	err := audit.Replay(t.Context(), l, opens{}, audit.Filter{}, func(eventstore.Position) {}, func(audit.Entry) error { return nil })
	if !errors.Is(err, event.ErrUnknown) {
		t.Errorf("a history with a hole: %v", err)
	}
}

// An auditor must not be told of an erasure that was none.
func TestTextWithoutItsKeyIsUnreadableNotForgotten(t *testing.T) {
	l := history(t, account.Registered{Account: "late", Login: "h9", Kind: "email", Address: "lost late@example.com", Name: "gone"})
	for _, e := range replay(t, l, audit.Filter{}) {
		var b bytes.Buffer
		if err := audit.WriteTimeline(&b, e, time.UTC); err != nil {
			t.Fatal(err)
		}
		if want := "registered: (forgotten), email (unreadable)"; !strings.Contains(b.String(), want) {
			t.Errorf("%q lacks %q", b.String(), want)
		}
	}
	l = history(t, account.Registered{Account: "late", Login: "h9", Kind: "email", Address: "away", Name: "gone"})
	err := audit.Replay(t.Context(), l, opens{}, audit.Filter{}, func(eventstore.Position) {}, func(audit.Entry) error { return nil })
	if !errors.Is(err, errAway) {
		t.Errorf("a history without the vault: %v", err)
	}
}

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2026-01-02T15:04:05Z":      "2026-01-02T15:04:05Z",
		"2026-01-02T15:04:05+05:00": "2026-01-02T10:04:05Z",
		"2026-01-02T15:04":          "2026-01-02T14:04:00Z",
		"2026-01-02 15:04":          "2026-01-02T14:04:00Z",
		"2026-07-02":                "2026-07-01T22:00:00Z",
	} {
		got, err := audit.ParseTime(text, berlin)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("ParseTime(%q) = %v, %v; want %s", text, got.UTC(), err, want)
		}
	}
	for _, bad := range []string{"", "yesterday", "2026-13-01", "15:04"} {
		if _, err := audit.ParseTime(bad, berlin); !errors.Is(err, audit.ErrTime) {
			t.Errorf("ParseTime(%q): %v", bad, err)
		}
	}
}

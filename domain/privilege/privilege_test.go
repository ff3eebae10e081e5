package privilege

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestHas(t *testing.T) {
	for s := range All + 1 {
		for q := range All + 1 {
			if got, want := s.Has(q), q != None && s|q == s; got != want {
				t.Errorf("%v has %v: %v", s, q, got)
			}
			if got := s.Without(q); got&q != None || got|s&q != s {
				t.Errorf("%v without %v is %v", s, q, got)
			}
		}
	}
	if (All).Has(1<<5) || Set(1<<5).Valid() || !All.Valid() || !None.Valid() {
		t.Error("an unknown bit is a privilege")
	}
}

// TestStored: the bits and the names are in logs that exist.
func TestStored(t *testing.T) {
	for bit, name := range []string{"live_view", "playback", "alarm", "two_way_audio", "ptz"} {
		s, err := Parse([]string{name})
		if err != nil || s != 1<<bit || s.String() != name {
			t.Errorf("%s is %d, %v", name, s, err)
		}
	}
	if s := (LiveView | PTZ).String(); s != "live_view,ptz" || None.String() != "none" {
		t.Error(s, None)
	}
}

func TestJSON(t *testing.T) {
	for s := range All + 1 {
		data, err := json.Marshal(s)
		var back Set
		if err != nil || json.Unmarshal(data, &back) != nil || back != s {
			t.Errorf("%v became %s, %v, %v", s, data, err, back)
		}
	}
	if data, _ := json.Marshal(None); string(data) != "[]" {
		t.Errorf("no privilege is %s", data)
	}
	if data, err := json.Marshal(Set(1 << 5)); err == nil {
		t.Errorf("an unknown bit is written as %s", data)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, list := range [][]string{{"admin"}, {""}, {"PTZ"}, {"ptz", "ptz"}, {"ptz", "live_view "}} {
		if s, err := Parse(list); err == nil || s != None {
			t.Errorf("%q is %v", list, s)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`[]`, `["live_view","ptz"]`, `["ptz","ptz"]`, `["admin"]`, `null`, `{}`, `31`, `[null]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := LiveView
		if json.Unmarshal(data, &s) != nil {
			if s != LiveView {
				t.Fatalf("%q is refused, but made %v", data, s)
			}
			return
		}
		var list []string
		if err := json.Unmarshal(data, &list); err != nil || !s.Valid() || len(list) != len(s.Names()) {
			t.Fatalf("%q is read as %v", data, s)
		}
		for _, name := range s.Names() {
			if !slices.Contains(list, name) {
				t.Fatalf("%q has no %s", data, name)
			}
		}
	})
}

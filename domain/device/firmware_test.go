package device

import (
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for _, sc := range []struct {
		a, b   string
		before bool
	}{
		{"V5.5.71 build 180723", "V5.5.71 build 180723", false},
		{"V5.5.71 build 180723", "V5.5.71 build 180724", true},
		{"V5.5.71 build 180724", "V5.5.71 build 180723", false},
		{"V5.5.71 build 180723", "V5.5.71", false},
		{"V5.5.71", "V5.5.71 build 180723", true}, // unknown is older
		{"V5.5.9", "V5.5.71", true},               // numbers, not text
		{"V5.10.0", "V5.9.9", false},
		{"V5.5", "V5.5.0", false},
		{"V5.5.0", "V5.5", false},
		{"V5.5", "V5.5.1", true},
		{"v5.5.71", "V5.5.71", false},
		{"5.5.71", "V5.5.72", true},
		{"V4.30.085 build 200916", "V4.31.000", true},
		{"V5.5.71_180723", "V5.5.71 build 180724", true},
		{"V5.5.71 Build180725", "V5.5.71 build 180724", false},
		{"Firmware 2.800.0000000.31.R, Build Date: 2020-01-02", "2.800", false},
		{"10", "9", false},
	} {
		a, okA := ParseVersion(sc.a)
		b, okB := ParseVersion(sc.b)
		if !okA || !okB || a.Before(b) != sc.before {
			t.Errorf("%q before %q: %v; %v, %v", sc.a, sc.b, !sc.before, a, b)
		}
	}
	for _, text := range []string{"", "V", "build", "unknown", "V1234567890123"} {
		if v, ok := ParseVersion(text); ok && text != "V1234567890123" {
			t.Errorf("%q is %v", text, v)
		}
	}
}

func TestFirmwarePolicy(t *testing.T) {
	policy, err := NewFirmwarePolicy(map[string]string{
		"*": "V1.0", "DS-2CD*": "V5.5.71 build 180723", "ds-2cd2042*": " V5.6.0 ", "DS-76??-K1": "V4.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range []struct{ model, firmware, needed string }{
		{"DS-2CD1", "V5.5.71 build 180723", ""},
		{"ds-2cd1", "V5.5.71 build 180722", "V5.5.71 build 180723"},
		{"DS-2CD1", "", "V5.5.71 build 180723"},
		{"DS-2CD1", "new", "V5.5.71 build 180723"},
		{"DS-2CD2042WD", "V5.5.71 build 180723", "V5.6.0"}, // the longer pattern
		{"DS-7604/K1", "V3.9", "V4.0"},
		{"other", "V0.9", "V1.0"},
		{"other", "V1.0", ""},
		{"", "", "V1.0"},
	} {
		if got := policy.Needed(Facts{Model: sc.model, Firmware: sc.firmware}); got != sc.needed {
			t.Errorf("%s with %s needs %q, want %q", sc.model, sc.firmware, got, sc.needed)
		}
	}
	if got := (FirmwarePolicy{}).Needed(Facts{}); got != "" {
		t.Errorf("without a policy %q is needed", got)
	}
	_, err = NewFirmwarePolicy(map[string]string{"DS-[": "V1", "": "V1", "x": "new"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("faults: %v", err)
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"V5.5.71 build 180723", "", "1.2.3.4.5.6.7.8.9", "V999999999.999999999 build 99999999"} {
		f.Add(s, "V5.5")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		v, okV := ParseVersion(a)
		w, okW := ParseVersion(b)
		if okV && okW && v.Before(w) && w.Before(v) {
			t.Errorf("%q and %q are before each other", a, b)
		}
		if okV && v.Before(v) {
			t.Errorf("%q is before itself", a)
		}
	})
}

package device

import (
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	for id, want := range map[string]string{
		"cam-1": "cam-1", "cam-1.2": "cam-1", "cam-1.10": "cam-1", "ds-7216-691b23.999999999": "ds-7216-691b23",
		"": "", "..": "", "CAM-1": "", "ca": "", "cam-1.": "", "cam-1.1": "", "cam-1.02": "", "cam-1.2.3": "", "../cam-1": "", "cam-1\n": "",
		strings.Repeat("a", 64): strings.Repeat("a", 64), strings.Repeat("a", 65): "",
	} {
		if serial, ok := SerialOf(id); serial != want || ok != (want != "") {
			t.Errorf("%q is of serial %q, %v; want %q", id, serial, ok, want)
		}
	}
	for _, generation := range []int{1, 2, 10} {
		if serial, ok := SerialOf(ID("cam-1", generation)); !ok || serial != "cam-1" {
			t.Errorf("generation %d is of serial %q, %v", generation, serial, ok)
		}
	}
	for typed, want := range map[string]string{" DS-7216 ": "ds-7216", "a": "", "a_b_c": "", "": ""} {
		if serial, ok := Serial(typed); ok != (want != "") || ok && serial != want {
			t.Errorf("%q is serial %q, %v; want %q", typed, serial, ok, want)
		}
	}
}

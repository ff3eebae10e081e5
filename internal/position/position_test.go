package position_test

import (
	"encoding/json"
	"math"
	"testing"

	"latchkey/internal/position"
)

// TestStoredForms: what is stored and sent is a number, whatever the type is called.
func TestStoredForms(t *testing.T) {
	for _, p := range []position.Position{0, 1, 1 << 40, math.MaxInt64, math.MaxUint64} {
		if back, err := position.Parse(p.String()); err != nil || back != p {
			t.Errorf("%d is parsed as %d, %v", p, back, err)
		}
		column, err := p.Value()
		if n, ok := column.(int64); err != nil || !ok || uint64(n) != uint64(p) {
			t.Errorf("the column of %d is %v, %v", p, column, err)
		}
		var back position.Position
		if err := back.Scan(column); err != nil || back != p {
			t.Errorf("%d is read from its column as %d, %v", p, back, err)
		}
		text, err := json.Marshal(struct {
			At position.Position `json:"at"`
		}{p})
		if want := `{"at":` + p.String() + `}`; err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
	}
}

func TestNoPosition(t *testing.T) {
	for _, text := range []string{"", "-1", "+1", "1.5", "0x10", " 1", "18446744073709551616"} {
		if p, err := position.Parse(text); err == nil {
			t.Errorf("%q is parsed as %d", text, p)
		}
	}
	for _, column := range []any{nil, "1", 1.0, []byte("1")} {
		if p := new(position.Position); p.Scan(column) == nil {
			t.Errorf("%v (%T) is read as %d", column, column, *p)
		}
	}
}

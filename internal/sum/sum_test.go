package sum_test

import (
	"testing"

	"pgregory.net/rapid"

	"latchkey/internal/sum"
)

// TestMask: no bit of an entry or of what is kept for it flips unnoticed.
func TestMask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entry, mask := rapid.Int64Min(0).Draw(t, "entry"), rapid.Uint8().Draw(t, "mask")
		kept := sum.Mask(entry, mask)
		if got, ok := sum.MaskOf(entry, kept); !ok || got != mask {
			t.Fatalf("MaskOf(%d, %d) = %d, %v", entry, kept, got, ok)
		}
		if kept < 0 || kept > 1<<32-1 {
			t.Fatalf("%d does not fit in four bytes", kept)
		}
		for bit := range 64 {
			if _, ok := sum.MaskOf(entry^1<<bit, kept); ok {
				t.Fatalf("bit %d of entry %d flips unnoticed", bit, entry)
			}
			if _, ok := sum.MaskOf(entry, kept^1<<bit); ok {
				t.Fatalf("bit %d of the mask %d flips unnoticed", bit, kept)
			}
		}
	})
}

// TestOf: no bit of a cell flips unnoticed, and no character moves from one cell to
// another.
func TestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, n := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b"), rapid.Int64().Draw(t, "n")
		want := sum.Of(a, n, b)
		if row := sum.Row(a, n, b); len(row) != 4 || row[3] != want {
			t.Fatalf("Row: %v, want the sum %d", row, want)
		}
		for bit := range 64 {
			if sum.Of(a, n^1<<bit, b) == want {
				t.Fatalf("bit %d of the number flips unnoticed", bit)
			}
		}
		for bit := range 8 * len(a) {
			flipped := []byte(a)
			flipped[bit/8] ^= 1 << (bit % 8)
			if sum.Of(string(flipped), n, b) == want {
				t.Fatalf("bit %d of the text flips unnoticed", bit)
			}
		}
		if a != "" && sum.Of(a[:len(a)-1], n, a[len(a)-1:]+b) == want {
			t.Fatalf("a character moves unnoticed")
		}
	})
}

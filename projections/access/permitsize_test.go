package access

import (
	"testing"
	"unsafe"
)

// TestPermitFitsCacheLines: memory of its size class is at multiples of a cache line, so
// that a check reads one line of it.
func TestPermitFitsCacheLines(t *testing.T) {
	if n := unsafe.Sizeof(Permit{}); n <= 176 || n > 192 {
		t.Errorf("a permit has %d bytes, and its memory is not of 192", n)
	}
}

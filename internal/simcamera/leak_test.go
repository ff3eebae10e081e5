package simcamera

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain finds what a closed camera leaves behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

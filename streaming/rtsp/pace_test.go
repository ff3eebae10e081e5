package rtsp

import (
	"testing"
	"time"
)

// TestAViewerWhoseWindowIsNotToldIsAsked: a peer that has read everything need not say so
// before it acknowledges something, so it is asked for as long as it may be stalled.
func TestAViewerWhoseWindowIsNotToldIsAsked(t *testing.T) {
	const wide, narrow = 400 << 10, 300 << 10
	p := pace{}
	p.grant(0, wide, 0, 0)
	p.sent = 64 << 10
	now, probes := int64(0), 0
	for ; now < 3*int64(time.Second); now += int64(time.Millisecond) {
		if n := p.grant(p.sent, narrow-uint64(probes)*probeSize, 0, now); n > 0 { // it reads nothing
			probes++
			p.sent += uint64(n)
			if n != probeSize || !p.probing() {
				t.Fatalf("%d bytes are granted, probing: %v", n, p.probing())
			}
		}
	}
	if probes < maxProbes+8 || probes > maxProbes+12 {
		t.Errorf("%d probes in three seconds", probes)
	}
	if n := p.grant(p.sent, wide-1<<10, 0, now); n < probeSize || p.probing() {
		t.Errorf("after its window has opened, %d bytes are granted, probing: %v", n, p.probing())
	}
}

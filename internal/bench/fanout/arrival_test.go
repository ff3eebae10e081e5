package fanout

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestArrivalIsTheKernels: datagrams have the time at which they came, not that at which they
// are read.
func TestArrivalIsTheKernels(t *testing.T) {
	t.Parallel()
	h := &Hall{}
	to, err := h.open()
	if err != nil {
		t.Fatal(err)
	}
	defer to.shut()
	from, err := h.open()
	if err != nil {
		t.Fatal(err)
	}
	defer from.shut()
	batch := newBatch(make([]byte, maxMessages*maxPacket))
	// The kernel begins to note times some moments after the first socket wanted them.
	for until := time.Now().Add(10 * time.Second); ; {
		before := time.Now()
		if err := unix.Sendto(from.fd, []byte("datagram"), 0, &unix.SockaddrInet4{Port: to.port, Addr: loopback}); err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		time.Sleep(5 * time.Millisecond)
		var at time.Time
		batch.each(to.fd, func(_ []byte, came time.Time) { at = came })
		if !at.Before(before.Round(0)) && !at.After(sent.Round(0)) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("a datagram sent between %v and %v has come at %v", before, sent, at)
		}
	}
}

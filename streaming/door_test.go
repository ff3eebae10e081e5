package streaming

import "testing"

func TestWatch(t *testing.T) {
	h := open(t, (&fakeCamera{}).start(t))
	for _, transport := range []string{"tcp", "udp"} {
		p := h.watching(t, "/dev-1/1", annKey, transport)
		if err := p.receive(30); err != nil {
			t.Errorf("over %s: %v", transport, err)
		}
	}
}

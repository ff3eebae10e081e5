package rtspclient

import "time"

const (
	// maxHeld is how many packets wait for an earlier one, and maxDisorder how long.
	maxHeld     = 128
	maxDisorder = 50 * time.Millisecond
)

// order brings the packets of a track that came by UDP into their order again.
type order struct {
	hand func(data []byte)
	lost func(packets int)

	any  bool
	ssrc uint32
	next uint16 // expected
	held map[uint16][]byte
}

func (o *order) waits() bool { return len(o.held) > 0 }

// put takes the next packet that arrived.
func (o *order) put(data []byte) {
	seq, ssrc := be16(data[2:]), be32(data[8:])
	if !o.any || o.ssrc != ssrc {
		o.flush()
		o.any, o.ssrc, o.next, o.held = true, ssrc, seq, map[uint16][]byte{}
	}
	switch ahead := int16(seq - o.next); {
	case ahead == 0:
		o.pass(data)
		o.release()
	case ahead < 0 && ahead > -maxHeld: // it is late, or came twice
	case ahead < 0 || ahead >= 1000: // the camera restarts its count
		o.flush()
		o.next = seq
		o.pass(data)
	default:
		o.held[seq] = data
		if len(o.held) >= maxHeld {
			o.giveUp()
		}
	}
}

func (o *order) pass(data []byte) {
	o.next++
	o.hand(data)
}

// release passes on what was waiting for the packet before it.
func (o *order) release() {
	for len(o.held) > 0 {
		data, ok := o.held[o.next]
		if !ok {
			return
		}
		delete(o.held, o.next)
		o.pass(data)
	}
}

// giveUp stops waiting for the packets that are missing now.
func (o *order) giveUp() {
	if len(o.held) == 0 {
		return
	}
	missing := 0
	for o.held[o.next] == nil {
		o.next++
		missing++
	}
	o.lost(missing)
	o.release()
}

// flush passes on everything that waits.
func (o *order) flush() {
	for len(o.held) > 0 {
		o.giveUp()
	}
}

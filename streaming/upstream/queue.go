package upstream

import "context"

// Queue is a Reader for consumers with their own pace: it is bounded and drops packets
// that arrive while it is full. Use NewQueue.
type Queue struct {
	packets chan Packet
	dropped func()

	ended  chan struct{}
	reason error // set before ended is closed
}

// NewQueue returns a queue for a number of packets. It calls dropped for each packet that
// does not fit; dropped must not block.
func NewQueue(most int, dropped func()) *Queue {
	return &Queue{packets: make(chan Packet, most), dropped: dropped, ended: make(chan struct{})}
}

// Take queues a packet, or drops it.
func (q *Queue) Take(p Packet) {
	select {
	case q.packets <- p:
	default:
		q.dropped()
	}
}

// End ends the queue after its content.
func (q *Queue) End(reason error) {
	if reason == nil {
		reason = ErrEnded
	}
	q.reason = reason
	close(q.ended)
}

// Next waits for the next packet. When the flow has ended and no packet is left it
// returns the reason, or ErrEnded if it was ended from here; when the context ends, it
// returns the context's error even if packets are queued.
func (q *Queue) Next(ctx context.Context) (Packet, error) {
	if ctx.Err() != nil {
		return Packet{}, ctx.Err()
	}
	select {
	case p := <-q.packets:
		return p, nil
	case <-ctx.Done():
		return Packet{}, ctx.Err()
	case <-q.ended:
	}
	select {
	case p := <-q.packets: // queued before the end
		return p, nil
	default:
		return Packet{}, q.reason
	}
}

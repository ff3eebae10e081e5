package rtsp

import "runtime"

// tcpWay sends interleaved packets over the connection of the player. Its units are bytes.
// The mutex of its outbox guards it (with TLS that of the layer), and the connection is not
// closed before the outbox.
type tcpWay struct {
	wire *wire
	fd   int
	pace pace
}

func (w *tcpWay) size(b *burst, _ *sub) int { return len(b.data) }

func (w *tcpWay) send(b *burst, s *sub, from int) (int, error) {
	n, err := w.sendNow(b.on(s.channel)[from:])
	return from + n, err
}

// sendNow writes as much as the player may get now and its connection takes.
func (w *tcpWay) sendNow(b []byte) (int, error) {
	n := w.pace.room(w.fd, len(b))
	if n == 0 {
		return 0, nil
	}
	n, err := w.writeNow(b[:n])
	w.pace.used(n)
	return n, err
}

func (w *tcpWay) rest(b *burst, s *sub, done int) []byte {
	end := b.boundary(done)
	if done == 0 || done == end {
		return nil
	}
	return b.on(s.channel)[done:end]
}

func (w *tcpWay) probing() bool { return w.pace.probing() }

func (w *tcpWay) giveUp() { w.wire.cut() }

// held is an outbox whose mutex is held until a batch was written.
type held struct {
	box *outbox
	sub *sub
}

// batches are the batches of the door, one for each processor: no more write at once.
type batches chan *tcpBatch

// leastBatch is how many viewers of a stream make a batch cheaper than single writes.
const leastBatch = 4

func newBatches() batches {
	b := make(batches, runtime.GOMAXPROCS(0))
	for range cap(b) {
		if t := newTCPBatch(); t != nil {
			b <- t
		}
	}
	return b
}

// get returns a batch; nil if none is free, or the system has none.
func (b batches) get(viewers int) *tcpBatch {
	if viewers < leastBatch {
		return nil
	}
	select {
	case t := <-b:
		return t
	default:
		return nil
	}
}

// put gives a batch back. After a panic outboxes may still be held.
func (b batches) put(t *tcpBatch) {
	t.release()
	b <- t
}

// close ends the batches, which are not in use any more.
func (b batches) close() {
	for len(b) > 0 {
		(<-b).close()
	}
}

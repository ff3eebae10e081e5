package rtsp

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

func (w *tcpWay) giveUp() { w.wire.cut() }

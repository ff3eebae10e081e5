package rtsp

import "net"

// tcpWay sends interleaved packets over the connection of the player. Its units are bytes.
type tcpWay struct{ *wire }

func (w tcpWay) size(b *burst, _ *sub) int { return len(b.data) }

func (w tcpWay) send(b *burst, s *sub, from int) (int, error) {
	n, err := w.sendNow(b.on(s.channel)[from:])
	return from + n, err
}

func (w tcpWay) rest(b *burst, s *sub, done int) []byte {
	end := b.boundary(done)
	if done == 0 || done == end {
		return nil
	}
	return b.on(s.channel)[done:end]
}

func (w tcpWay) giveUp() { w.cut() }

// sendNow writes as much as the player may get now and its connection takes.
func (w *wire) sendNow(b []byte) (int, error) {
	w.sending.Lock()
	defer w.sending.Unlock()
	if w.gone {
		return 0, net.ErrClosed
	}
	n := w.pace.room(w.fd, len(b))
	if n == 0 {
		return 0, nil
	}
	n, err := writeNow(w, b[:n])
	w.pace.used(n)
	return n, err
}

//go:build !linux

package rtsp

// tcpBatch is not available here.
type tcpBatch struct{}

func newTCPBatch() *tcpBatch { return nil }

func (t *tcpBatch) close() {}

func (t *tcpBatch) add(*outbox, *sub, int, []byte) {}

func (t *tcpBatch) release() {}

func (t *tcpBatch) full() bool { return false }

func (t *tcpBatch) flush(func(h held, n int, err error)) {}

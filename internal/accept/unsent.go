package accept

import (
	"context"
	"net"
	"time"
)

// sendBuffer is what the kernel is asked to keep of what a client has not taken, in bytes.
// It may keep twice as much.
const sendBuffer = 64 << 10

// Of returns the connection of a request's context; nil if it is not one of a Listener. A
// nil connection has nothing to send.
func Of(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// KeepLittle lets the kernel keep little from now on that the client has not taken.
func (c *Conn) KeepLittle() {
	if tcp := c.tcp(); tcp != nil {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
}

// AwaitSent waits until what was written so far is on its way. If that takes longer than a
// time, the connection is reset. It returns at once when the connection is closed.
func (c *Conn) AwaitSent(within time.Duration) (ok bool) {
	if c == nil {
		return true
	}
	until := time.Now().Add(within)
	written, _ := c.progress()
	for pause := time.Millisecond; ; pause = min(2*pause, 10*time.Millisecond) {
		given, sent := c.progress()
		if given == sent || sent >= written { // others may write, too
			return true
		}
		if time.Now().After(until) {
			c.Reset()
			return false
		}
		time.Sleep(pause)
	}
}

// Unsent returns how much of what was written is not on its way, in bytes.
func (c *Conn) Unsent() int {
	given, sent := c.progress()
	return int(given - sent)
}

// Reset closes the connection without sending what the kernel has kept.
func (c *Conn) Reset() {
	if tcp := c.tcp(); tcp != nil {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (c *Conn) tcp() *net.TCPConn {
	if c == nil {
		return nil
	}
	tcp, _ := c.Conn.(*net.TCPConn)
	return tcp
}

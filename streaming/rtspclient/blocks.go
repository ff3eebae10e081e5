package rtspclient

import (
	"bytes"
	"io"
	"time"
)

const (
	// The first block is enough for a conversation without a stream. They grow with it.
	firstBlock = 8 << 10
	maxBlock   = 128 << 10
	// maxIdle is how often in a row a connection may return nothing.
	maxIdle = 100
)

// blocks reads a connection into blocks of many packets, of which each is allocated once.
// What it returns may be kept: bytes that were read are not overwritten.
type blocks struct {
	from    io.Reader
	unread  []byte // its capacity is the rest of the block
	size    int    // of the block
	arrived time.Time
}

// peek returns the next n bytes, and waits for them.
func (b *blocks) peek(n int) ([]byte, error) {
	for len(b.unread) < n {
		if err := b.fill(n); err != nil {
			return nil, err
		}
	}
	return b.unread[:n:n], nil
}

// take returns the next n bytes and goes on after them.
func (b *blocks) take(n int) ([]byte, error) {
	data, err := b.peek(n)
	if err == nil {
		b.unread = b.unread[n:]
	}
	return data, err
}

// line returns the next bytes up to a line feed, with it. It returns ErrTooLarge if there
// is none in the first most bytes.
func (b *blocks) line(most int) ([]byte, error) {
	for looked := 0; ; {
		if i := bytes.IndexByte(b.unread[looked:], '\n'); i >= 0 && looked+i < most {
			return b.take(looked + i + 1)
		}
		if looked = len(b.unread); looked >= most {
			return nil, ErrTooLarge
		}
		if err := b.fill(looked + 1); err != nil {
			return nil, err
		}
	}
}

// fill reads more into the block, or into the next one if no n unread bytes fit, or little
// more would: a picture should arrive at once.
func (b *blocks) fill(n int) error {
	if cap(b.unread) < n || cap(b.unread)-len(b.unread) < b.size/8 {
		b.size = max(firstBlock, min(4*b.size, maxBlock), n)
		b.unread = append(make([]byte, 0, b.size), b.unread...)
	}
	for range maxIdle {
		n, err := b.from.Read(b.unread[len(b.unread):cap(b.unread)])
		if n > 0 {
			b.unread, b.arrived = b.unread[:len(b.unread)+n], time.Now()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

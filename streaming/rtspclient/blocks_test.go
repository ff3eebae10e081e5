package rtspclient

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestBlocks: whatever the connection returns at once, the pieces are those that were
// sent, also after later ones were read, and one that is extended changes no other.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := make([]byte, rapid.IntRange(0, 3*maxBlock).Draw(t, "sent"))
		for i := range sent {
			sent[i] = byte(i*7 ^ i>>8)
		}
		var from io.Reader = bytes.NewReader(sent)
		switch rapid.IntRange(0, 2).Draw(t, "way") {
		case 0:
			from = iotest.HalfReader(from)
		case 1:
			from = iotest.DataErrReader(from)
		}
		b := blocks{from: from}
		var pieces [][]byte
		for {
			n := rapid.OneOf(rapid.IntRange(0, 2000), rapid.IntRange(0, 70<<10)).Draw(t, "n")
			piece, err := b.take(n)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				break
			}
			pieces = append(pieces, piece)
			if n == 0 && len(pieces) > 1000 {
				break
			}
		}
		read := 0
		for i, piece := range pieces {
			_ = append(piece, "overwritten"...)
			if !bytes.Equal(piece, sent[read:read+len(piece)]) {
				t.Fatalf("piece %d of %d bytes, from %d on", i, len(piece), read)
			}
			read += len(piece)
		}
		if len(b.unread) != len(sent)-read || !bytes.Equal(b.unread, sent[read:]) {
			t.Fatalf("%d bytes are left of %d", len(b.unread), len(sent)-read)
		}
	})
}

// TestBlocksOfAnIdleConnection: one that returns nothing, and no error, is given up.
func TestBlocksOfAnIdleConnection(t *testing.T) {
	b := blocks{from: idle{}}
	if _, err := b.take(1); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

package accept_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/accept"
)

// TestWhatIsNotTakenIsReset: a client that does not take what was written in time gets
// nothing more of it.
func TestWhatIsNotTakenIsReset(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := accept.NewListener(inner, accept.Config{Most: 1, MostOfNetwork: 1})
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := accept.Of(accept.Context(t.Context(), accepted))
	c.KeepLittle()
	fmt.Fprint(c, "a little")
	if !c.AwaitSent(0) {
		t.Error("what was sent is waited for")
	}
	_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	written, err := c.Write(make([]byte, 8<<20))
	if err == nil {
		t.Fatal("the kernel keeps much")
	}
	kept := c.Unsent()
	if kept == 0 || c.AwaitSent(0) {
		t.Errorf("%d bytes are kept", kept)
	}
	if c.Unsent() != 0 || !c.AwaitSent(time.Hour) {
		t.Error("something is kept of a closed connection")
	}
	n, err := io.Copy(io.Discard, client)
	if !errors.Is(err, syscall.ECONNRESET) || n > int64(written+len("a little")-kept) {
		t.Errorf("%d bytes arrive of %d, of which %d were kept; then %v", n, written, kept, err)
	}
}

func TestNoConnection(t *testing.T) {
	c := accept.Of(t.Context())
	c.KeepLittle()
	if !c.AwaitSent(0) || c.Unsent() != 0 {
		t.Error("no connection has something to send")
	}
}

// TestASmallMessageIsAwaited: behind what a client does not take, a message of some bytes
// waits, too, and is dropped by a reset.
func TestASmallMessageIsAwaited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := accept.NewListener(inner, accept.Config{Most: 1, MostOfNetwork: 1})
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := accept.Of(accept.Context(t.Context(), accepted))
	for c.Unsent() == 0 { // until the client's kernel takes no more
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if c.Unsent() > 16<<10 {
		t.Fatalf("%d bytes are unsent", c.Unsent())
	}
	if c.AwaitSent(0) {
		t.Error("a message that was not sent is not waited for")
	}
	if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

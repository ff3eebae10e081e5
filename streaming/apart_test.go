package streaming

import (
	"io"
	"net"
	"testing"
	"time"

	"latchkey/domain/privilege"
)

// TestChannelsElsewhereAreApart: why a channel of a device was not reached can not be
// read from the answers for another channel that is elsewhere, and does not keep
// anybody from it.
func TestChannelsElsewhereAreApart(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr().String()
	closed.Close()
	says := func(answer string) string {
		return listenAs(t, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 10))
			_, _ = io.WriteString(conn, answer)
		})
	}
	for name, target := range map[string]string{
		"refuses":       refusing,
		"wants a login": says("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n"),
		"is no camera":  says("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"closes":        says(""),
		"has no name":   "camera.invalid:554",
		"is mute":       listenAs(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }),
	} {
		t.Run(name, func(t *testing.T) {
			camera := (&fakeCamera{}).start(t)
			h := open(t, camera, func(c *Config) { c.DialTimeout = 2 * time.Second })
			h.grants.grant("ann", "dev-1", 2, privilege.LiveView)
			h.sources.set("dev-1", 2, Main, Source{URL: "rtsp://" + camera.addr + "/x"})
			h.sources.set("dev-1", 1, Main, Source{URL: "rtsp://" + target + "/x"})
			dead := make(chan int)
			go func() { dead <- h.status(t, "/dev-1/1", annKey) }()
			if name != "is mute" { // else while it is waited for
				if got := <-dead; got != 503 {
					t.Errorf("the channel that fails: %d, want 503", got)
				}
			}
			if got := h.status(t, "/dev-1/2", annKey); got != 200 {
				t.Errorf("the channel elsewhere: %d, want 200", got)
			}
			if name == "is mute" {
				<-dead
			}
		})
	}
}

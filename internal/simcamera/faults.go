package simcamera

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"
)

// Hostility is a way in which a camera attacks its clients.
type Hostility int

// The kinds of hostility. All but BrokenRTP respond so to every new RTSP connection.
const (
	Friendly       Hostility = iota
	OversizedSDP             // a description without end
	EndlessHeaders           // a response whose headers never end
	Noise                    // random bytes, at once
	Silence                  // accepts and never responds
	BrokenRTP                // speaks RTSP, but sends RTP payloads that are garbage
)

// faultState is the camera's current faults. Its zero value is none.
type faultState struct {
	mu        sync.Mutex
	stall     bool
	delay     time.Duration
	hostility Hostility
}

func (f *faultState) stalled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stall
}

func (f *faultState) brokenRTP() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hostility == BrokenRTP
}

func (f *faultState) kind() Hostility {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hostility
}

// delayed waits for as long as responses are to be delayed; it returns false if ctx ends
// first.
func (f *faultState) delayed(ctx context.Context) bool {
	f.mu.Lock()
	d := f.delay
	f.mu.Unlock()
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// GoAway closes the camera's listeners and every connection. The ports may be taken by
// others meanwhile.
func (c *Camera) GoAway() {
	c.mu.Lock()
	r, h := c.rtsp, c.http
	c.rtsp, c.http = nil, nil
	c.mu.Unlock()
	if r != nil {
		r.close()
	}
	if h != nil {
		h.close()
	}
}

// ComeBack listens again, on the ports that it had.
func (c *Camera) ComeBack() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if c.rtsp == nil {
		s, err := c.listenRTSP(c.rtspAddr)
		if err != nil {
			return err
		}
		c.rtsp, c.rtspAddr = s, s.address
	}
	if c.http == nil && c.httpAddr != "" {
		s, err := c.listenHTTP(c.httpAddr)
		if err != nil {
			return err
		}
		c.http, c.httpAddr = s, s.address
	}
	return nil
}

// Stall makes the camera send nothing, while it continues to respond to requests.
func (c *Camera) Stall(on bool) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.stall = on
}

// Delay delays each response to an RTSP request by d.
func (c *Camera) Delay(d time.Duration) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.delay = d
}

// SetPassword changes the password; sessions that are set up go on until their next
// request.
func (c *Camera) SetPassword(password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password = password
}

// Attack makes the camera hostile to new connections, or Friendly again.
func (c *Camera) Attack(h Hostility) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.hostility = h
}

// trap is a listener that keeps a hostile camera's connections for itself.
type trap struct {
	net.Listener
	camera *Camera
	mu     sync.Mutex
	caught map[net.Conn]struct{}
	shut   bool
}

// Accept implements net.Listener.
func (t *trap) Accept() (net.Conn, error) {
	for {
		conn, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		kind := t.camera.faults.kind()
		if kind == Friendly || kind == BrokenRTP {
			return conn, nil
		}
		if t.hold(conn) {
			t.camera.tasks.Go(func() { t.torment(conn, kind) })
		}
	}
}

// Close implements net.Listener; it releases all trapped connections.
func (t *trap) Close() error {
	t.mu.Lock()
	t.shut = true
	for conn := range t.caught {
		conn.Close()
	}
	t.mu.Unlock()
	return t.Listener.Close()
}

func (t *trap) hold(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		conn.Close()
		return false
	}
	if t.caught == nil {
		t.caught = map[net.Conn]struct{}{}
	}
	t.caught[conn] = struct{}{}
	return true
}

func (t *trap) release(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.caught, conn)
	conn.Close()
}

// torment writes until the other side gives up.
func (t *trap) torment(conn net.Conn, kind Hostility) {
	defer t.release(conn)
	switch kind {
	case Silence:
		_, _ = io.Copy(io.Discard, conn)
	case Noise:
		noise := rand.New(rand.NewPCG(1, 2))
		buf := make([]byte, 4096)
		for {
			for i := range buf {
				buf[i] = byte(noise.Uint32())
			}
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
	case EndlessHeaders:
		attack(conn, "", "X-Header: "+strings.Repeat("a", 200)+"\r\n")
	case OversizedSDP:
		attack(conn, "Content-Type: application/sdp\r\nContent-Length: 1000000000\r\n\r\nv=0\r\n",
			"a=x:"+strings.Repeat("a", 1000)+"\r\n")
	}
}

// attack responds to the first request, and then repeats something forever.
func attack(conn net.Conn, head, again string) {
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		return
	}
	if _, err := fmt.Fprintf(conn, "RTSP/1.0 200 OK\r\nCSeq: 1\r\n%s", head); err != nil {
		return
	}
	for {
		if _, err := io.WriteString(conn, again); err != nil {
			return
		}
	}
}

// sendNoise sends, instead of a picture, payloads that no depacketizer should trust: a
// fragment without a start, aggregates with wrong lengths, bare noise.
func (v *viewer) sendNoise(u unit) {
	payloads := [][]byte{
		{0x7c, 0x05, 1, 2, 3},          // FU-A, neither start nor end
		{0x78, 0xff, 0xff, 1, 2},       // STAP-A, 65535 bytes announced
		{0x78, 0x00, 0x00, 0x00, 0x00}, // STAP-A of nothing
		{0x1f}, {0x00}, {},
		make([]byte, 1200),
	}
	for i := range payloads[6] {
		payloads[6][i] = byte(rand.Uint32())
	}
	for _, p := range payloads {
		v.write(v.medias.video, []*rtp.Packet{{
			Header:  rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: uint16(rand.Uint32())},
			Payload: p,
		}}, units(u.pts, 90000), u.at)
	}
}

package rtsp

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ports opens the ports of a server for a test.
func ports(t testing.TB) *udpPorts {
	t.Helper()
	pair, err := listenUDP("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pair[0].Close(); pair[1].Close() })
	u := &udpPorts{rtp: pair[0], rtcp: pair[1]}
	if err := u.open(); err != nil {
		t.Fatal(err)
	}
	return u
}

// listenPlain opens a player's port.
func listenPlain(t testing.TB) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// burstOf makes a burst of packets of these sizes.
func burstOf(sizes ...int) *burst {
	b := &burst{video: true, first: true}
	for n, size := range sizes {
		p := make([]byte, size)
		p[0], p[3] = 0x80, byte(n)
		b.add(p, 7, 9)
	}
	return b
}

// TestDatagramsAreThePackets whatever their sizes, and whether the path takes segments.
func TestDatagramsAreThePackets(t *testing.T) {
	u := ports(t)
	sizes := []int{40, 20, 100, 1400, 1400, 1400, 700, 1400, 1400, 30, 12}
	for range 70 {
		sizes = append(sizes, 900) // more than one datagram has segments
	}
	b := burstOf(sizes...)
	for _, way := range []string{"at once", "alone", "together"} {
		conn := listenPlain(t)
		_ = conn.SetReadBuffer(1 << 20)
		to := u.address(conn.LocalAddr().(*net.UDPAddr).AddrPort())
		switch alone := way == "alone"; way {
		case "together":
			var batch batch
			batch.add(u, b, &outbox{}, &to)
			batch.flush(u, b)
		default:
			if n := u.send(b, to, 0, len(sizes), &alone); n != len(sizes) {
				t.Fatalf("%s: %d packets were sent", way, n)
			}
		}
		buf := make([]byte, 2000)
		for n, size := range sizes {
			got, err := conn.Read(buf)
			if err != nil || got != size || buf[3] != byte(n) {
				t.Fatalf("%s: packet %d has %d bytes and number %d: %v", way, n, got, buf[3], err)
			}
		}
	}
}

// TestAViewerIsLateForOneBurst, also if that filled the last system call.
func TestAViewerIsLateForOneBurst(t *testing.T) {
	u, conn := ports(t), listenPlain(t)
	to := u.address(conn.LocalAddr().(*net.UDPAddr).AddrPort())
	nowhere := u.address(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0))
	late := &outbox{closed: true} // takes nothing back
	var batch batch
	refused, next := burstOf(100, 100), burstOf(50)
	for range maxMessages - 1 {
		batch.add(u, refused, &outbox{}, &to)
	}
	batch.add(u, refused, late, &nowhere)
	batch.flush(u, refused)
	batch.add(u, next, late, &to)
	batch.flush(u, next)
	buf := make([]byte, 2000)
	read := func() int {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for n := range 2 * (maxMessages - 1) {
		if got := read(); got != 100 {
			t.Errorf("packet %d has %d bytes", n, got)
		}
	}
	if got := read(); got != 50 {
		t.Errorf("the next picture has %d bytes", got)
	}
}

// BenchmarkDatagrams compares the ways to send a picture to many viewers, in CPU time of
// the sender: one system call a packet; one a picture and viewer, in segments; one for 64
// packets of any viewers; and both, which is what the door does.
func BenchmarkDatagrams(b *testing.B) {
	const viewers = 64
	u := ports(b)
	var to [viewers]sockaddr
	for n := range to {
		conn := listenPlain(b)
		go func() {
			for buf := make([]byte, 1<<16); ; {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		}()
		to[n] = u.address(conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	for _, packets := range []int{1, 2, 3, 4, 6, 8, 16, 32} {
		sizes := make([]int, packets)
		for n := range sizes {
			sizes[n] = 1400
		}
		picture := burstOf(sizes...)
		single := make([]*datagrams, packets)
		for n := range single {
			single[n] = picture.group(n, n+1)
		}
		box := &outbox{}
		var many batch
		var one [1]message
		for name, send := range map[string]func(){
			"packet": func() {
				for v := range to {
					for n := range single {
						one[0].fill(single[n], &single[n].runs[0], &to[v])
						_, _ = sendMessages(u.rtpRaw, one[:])
					}
				}
			},
			"segments": func() {
				d := picture.datagrams()
				for v := range to {
					for n := range d.runs {
						one[0].fill(d, &d.runs[n], &to[v])
						_, _ = sendMessages(u.rtpRaw, one[:])
					}
				}
			},
			"messages": func() {
				n := 0
				for v := range to {
					for p := range single {
						many.messages[n].fill(single[p], &single[p].runs[0], &to[v])
						if n++; n == maxMessages {
							_, _ = sendMessages(u.rtpRaw, many.messages[:n])
							n = 0
						}
					}
				}
				if n > 0 {
					_, _ = sendMessages(u.rtpRaw, many.messages[:n])
				}
			},
			"both": func() {
				for v := range to {
					many.add(u, picture, box, &to[v])
				}
				many.flush(u, picture)
			},
		} {
			b.Run(fmt.Sprintf("packets=%d/%s", packets, name), func(b *testing.B) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				before := threadTime(b)
				for b.Loop() {
					send()
				}
				b.ReportMetric(float64(threadTime(b)-before)/float64(b.N)/viewers, "cpu-ns/picture")
			})
		}
	}
}

// threadTime is the CPU time of the calling thread, in nanoseconds.
func threadTime(t testing.TB) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

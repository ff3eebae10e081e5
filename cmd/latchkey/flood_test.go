package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// descriptors counts what a process has open.
func (p *process) descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// counter reads a counter without labels from the service's metrics.
func (s *service) counter(t testing.TB, name string) float64 {
	t.Helper()
	res, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		return 0 // asked again
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// TestFloodOfConnections: strangers at several addresses hold as many connections
// as they get, and make each again that they lose. The owner gets in all the
// same, by the API and by the door, a revocation takes effect, and descriptors are
// left.
func TestFloodOfConnections(t *testing.T) {
	const limit, left, strangers, each = 1024, 200, 8, 300
	s := &service{http: freeAddr(t), rtsp: freeAddr(t), metrics: freeAddr(t)}
	s.process = start(t, "/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit),
		binary, "serve", "--data", t.TempDir(), "--http", s.http, "--rtsp", s.rtsp, "--metrics", s.metrics)
	s.api = newAPIClient(s.http)
	s.waitReady(t)
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")

	stop := make(chan struct{})
	var flood sync.WaitGroup
	defer flood.Wait()
	defer close(stop)
	for i := range strangers {
		flood.Go(func() { floodFrom(fmt.Sprintf("127.0.1.%d", i+1), []string{s.http, s.rtsp}, each, stop) })
	}
	eventually(t, "the strangers are refused", func() bool {
		return s.counter(t, "latchkey_http_connections_refused_total") > each
	})

	cam := startGstCamera(t, "digest")
	for i := range 4 {
		again := s.login(t, "owner") // on a connection of its own
		device := again.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
		share := owner.share(recipient, device, "live_view")
		recipient.accept(share, device)
		key := recipient.streamKey()
		if status := describeStatus(t, s.rtsp, "/"+device+"/1", key); status != 200 {
			t.Errorf("try %d: the door answers %d", i, status)
		}
		owner.must("DELETE", "/shares/"+share, nil, nil)
		if status := describeStatus(t, s.rtsp, "/"+device+"/1", key); status == 200 {
			t.Errorf("try %d: the door answers after the revocation", i)
		}
		if n := s.descriptors(t); n > limit-left {
			t.Errorf("try %d: %d of %d descriptors are open", i, n, limit)
		}
	}
}

// floodFrom holds connections from an address until stop is closed.
func floodFrom(address string, targets []string, each int, stop chan struct{}) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: time.Second}
	held := make([]net.Conn, each*len(targets))
	defer func() {
		for _, c := range held {
			if c != nil {
				c.Close()
			}
		}
	}()
	for i := 0; ; i = (i + 1) % len(held) {
		select {
		case <-stop:
			return
		default:
		}
		if held[i] != nil && !lost(held[i]) {
			continue
		}
		held[i], _ = d.Dial("tcp", targets[i%len(targets)])
	}
}

// lost reports whether the other side has closed the connection.
func lost(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.Close()
	return true
}

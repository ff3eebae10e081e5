package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const doorViewers = 200

// benchDoor measures what 200 viewers of one camera over TCP cost the door, in CPU
// seconds per Gbit delivered, compared with a relay that only writes each frame once to
// each viewer.
func benchDoor(b *bench) error {
	bin := filepath.Join(b.dir, "latchkey")
	if out, err := exec.CommandContext(b.ctx, "go", "build", "-o", bin, "./cmd/latchkey").CombinedOutput(); err != nil {
		return fmt.Errorf("building latchkey: %w: %s", err, out)
	}
	floorCPU, floorRate, err := b.floorRun(bin)
	if err != nil {
		return fmt.Errorf("the floor: %w", err)
	}
	doorCPU, doorRate, err := b.doorRun(bin)
	if err != nil {
		return fmt.Errorf("the door: %w", err)
	}
	b.add(fmt.Sprintf("floor: %d viewers over TCP", doorViewers), fmt.Sprintf("%.2f CPU s/Gbit at %.0f Mbit/s", floorCPU, floorRate), "itself", 1, "")
	b.add(fmt.Sprintf("door: %d viewers over TCP", doorViewers), fmt.Sprintf("%.2f CPU s/Gbit at %.0f Mbit/s", doorCPU, doorRate), fmt.Sprintf("floor %.2f CPU s/Gbit", floorCPU), doorCPU/floorCPU, "recorded: the camera is in the same process")
	return nil
}

func (b *bench) doorRun(bin string) (cpu, rate float64, err error) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	demo := exec.CommandContext(ctx, bin, "demo", "--data", filepath.Join(b.dir, "door"), "--http", "127.0.0.1:0", "--rtsp", "127.0.0.1:0")
	stdout, err := demo.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := demo.Start(); err != nil {
		return 0, 0, err
	}
	defer demo.Wait() // ends with the context
	defer cancel()
	var ready struct{ Watch string }
	if err := json.NewDecoder(stdout).Decode(&ready); err != nil {
		return 0, 0, fmt.Errorf("the demo's first line: %w", err)
	}
	auth, addr, path, err := splitWatch(ready.Watch)
	if err != nil {
		return 0, 0, err
	}
	return b.load(demo.Process.Pid, addr, path, auth)
}

func splitWatch(watch string) (auth, addr, path string, err error) {
	rest, ok := strings.CutPrefix(watch, "rtsp://")
	user, rest, ok2 := strings.Cut(rest, "@")
	addr, path, ok3 := strings.Cut(rest, "/")
	if !ok || !ok2 || !ok3 {
		return "", "", "", fmt.Errorf("%q is not an address to watch", watch)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user)), addr, "/" + path, nil
}

// floorRun plays the same generated camera through the relay. The demo's camera is inside
// the door's process; here it has its own process, and only the relay is counted, so the
// comparison is to our disadvantage.
func (b *bench) floorRun(bin string) (cpu, rate float64, err error) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	addr, err := freeAddr()
	if err != nil {
		return 0, 0, err
	}
	cam := exec.CommandContext(ctx, bin, "camera", "--rtsp", addr)
	if err := cam.Start(); err != nil {
		return 0, 0, err
	}
	defer cam.Wait() // ends with the context
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	listen, err := freeAddr()
	if err != nil {
		return 0, 0, err
	}
	relay := exec.CommandContext(ctx, self)
	relay.Env = append(os.Environ(), relayEnv+"="+listen+" "+addr)
	relay.Stderr = os.Stderr
	if err := relay.Start(); err != nil {
		return 0, 0, err
	}
	defer relay.Wait() // ends with the context
	defer cancel()
	return b.load(relay.Process.Pid, listen, "/Streaming/Channels/101", "")
}

// load lets the viewers watch for a while and returns the CPU seconds that the process
// used per Gbit that they received, and the rate in Mbit/s.
func (b *bench) load(pid int, addr, path, auth string) (cpu, rate float64, err error) {
	var received atomic.Int64
	viewers := make([]net.Conn, 0, doorViewers)
	defer func() {
		for _, v := range viewers {
			v.Close()
		}
	}()
	for len(viewers) < doorViewers {
		c, err := watchTCP(b.ctx, addr, path, auth, &received)
		if err != nil {
			return 0, 0, fmt.Errorf("viewer %d: %w", len(viewers), err)
		}
		viewers = append(viewers, c)
	}
	pause(b.ctx, 2*time.Second) // let the start pass
	bytesBefore, cpuBefore := received.Load(), cpuTime(pid)
	began := time.Now()
	pause(b.ctx, time.Duration(b.scaled(20))*time.Second)
	took := time.Since(began)
	gbit := float64(received.Load()-bytesBefore) * 8 / 1e9
	if gbit == 0 {
		return 0, 0, errors.New("nothing was delivered")
	}
	return (cpuTime(pid) - cpuBefore).Seconds() / gbit, gbit * 1000 / took.Seconds(), nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cpuTime is the user and system time of a process, to 10 ms.
func cpuTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// watchTCP plays one stream, interleaved, and counts its bytes until the
// connection is closed.
func watchTCP(ctx context.Context, addr, path, auth string, received *atomic.Int64) (net.Conn, error) {
	var conn net.Conn
	var err error
	for range 100 { // a process that was just started may not listen yet
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		pause(ctx, 50*time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	url := "rtsp://" + addr + path
	session := ""
	ask := func(seq int, method, url string, headers ...string) (sdp string, err error) {
		req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, seq)
		for _, h := range append(headers, "Authorization: "+auth, "Session: "+session) {
			if !strings.HasSuffix(h, ": ") {
				req += h + "\r\n"
			}
		}
		if _, err := io.WriteString(conn, req+"\r\n"); err != nil {
			return "", err
		}
		tp := textproto.NewReader(in)
		line, err := tp.ReadLine()
		if err != nil || !strings.Contains(line, " 200 ") {
			return "", fmt.Errorf("%s: %q, %w", method, line, err)
		}
		header, err := tp.ReadMIMEHeader()
		if err != nil {
			return "", err
		}
		session, _, _ = strings.Cut(header.Get("Session"), ";")
		n, _ := strconv.Atoi(header.Get("Content-Length")) // none: no body
		body := make([]byte, n)
		_, err = io.ReadFull(in, body)
		return string(body), err
	}
	sdp, err := ask(1, "DESCRIBE", url, "Accept: application/sdp")
	if err == nil {
		_, err = ask(2, "SETUP", mediaURL(url, sdp), "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	}
	if err == nil {
		_, err = ask(3, "PLAY", url)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := in.Read(buf)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return conn, nil
}

func mediaURL(url, sdp string) string {
	for line := range strings.Lines(sdp) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=control:"); ok && c != "*" {
			if strings.HasPrefix(c, "rtsp://") {
				return c
			}
			return url + "/" + c
		}
	}
	return url
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// relayEnv makes this program the floor: "LISTEN CAMERA".
const relayEnv = "LATCHKEY_BENCH_RELAY"

// relay pulls one camera and writes each frame once to each viewer: no queue,
// no policy, no parsing beyond the marker bit.
func relay(listen, camera string) error {
	upstream, in, sdp, err := pullCamera("rtsp://" + camera + "/Streaming/Channels/101")
	if err != nil {
		return err
	}
	defer upstream.Close()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	viewers := map[net.Conn]bool{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if shake(c, sdp) == nil {
					mu.Lock()
					viewers[c] = true
					mu.Unlock()
				}
			}()
		}
	}()
	var frame []byte
	for {
		head, err := in.Peek(4)
		if err != nil {
			return err
		}
		n := 4 + int(head[2])<<8 + int(head[3])
		p, err := in.Peek(n)
		if err != nil {
			return err
		}
		if p[1] == 0 {
			frame = append(frame, p...)
			if p[5]&0x80 != 0 {
				mu.Lock()
				for c := range viewers {
					if _, err := c.Write(frame); err != nil {
						c.Close()
						delete(viewers, c)
					}
				}
				mu.Unlock()
				frame = frame[:0]
			}
		}
		if _, err := in.Discard(n); err != nil {
			return err
		}
	}
}

// pullCamera plays the first media of a camera, interleaved.
func pullCamera(url string) (net.Conn, *bufio.Reader, string, error) {
	addr, _, _ := strings.Cut(strings.TrimPrefix(url, "rtsp://"), "/")
	var conn net.Conn
	var err error
	for range 100 { // the camera may not listen yet
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return nil, nil, "", err
	}
	in := bufio.NewReaderSize(conn, 256<<10)
	session := ""
	ask := func(seq int, method, url, header string) (string, error) {
		fmt.Fprintf(conn, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s%s\r\n", method, url, seq, header, session)
		tp := textproto.NewReader(in)
		if line, err := tp.ReadLine(); err != nil || !strings.Contains(line, " 200 ") {
			return "", fmt.Errorf("camera: %s: %q, %w", method, line, err)
		}
		h, err := tp.ReadMIMEHeader()
		if err != nil {
			return "", err
		}
		if s, _, _ := strings.Cut(h.Get("Session"), ";"); s != "" {
			session = "Session: " + s + "\r\n"
		}
		n, _ := strconv.Atoi(h.Get("Content-Length")) // none: no body
		body := make([]byte, n)
		_, err = io.ReadFull(in, body)
		return string(body), err
	}
	sdp, err := ask(1, "DESCRIBE", url, "Accept: application/sdp\r\n")
	if err == nil {
		_, err = ask(2, "SETUP", mediaURL(url, sdp), "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
	}
	if err == nil {
		_, err = ask(3, "PLAY", url, "")
	}
	return conn, in, sdp, err
}

// shake handles a viewer's handshake.
func shake(c net.Conn, sdp string) error {
	// The viewer's addresses are its own: its control attributes are relative.
	lines := strings.Split(sdp, "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "a=control:rtsp://") {
			lines[i] = "a=control:trackID=" + strconv.Itoa(i)
		}
	}
	sdp = strings.Join(lines, "\r\n")
	tp := textproto.NewReader(bufio.NewReader(c))
	for {
		line, err := tp.ReadLine()
		if err != nil {
			return err
		}
		h, err := tp.ReadMIMEHeader()
		if err != nil {
			return err
		}
		more, body := "", ""
		switch method, _, _ := strings.Cut(line, " "); method {
		case "DESCRIBE":
			more, body = fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(sdp)), sdp
		case "SETUP":
			more = "Transport: " + h.Get("Transport") + "\r\nSession: 1\r\n"
		}
		if _, err := fmt.Fprintf(c, "RTSP/1.0 200 OK\r\nCSeq: %s\r\n%s\r\n%s", h.Get("Cseq"), more, body); err != nil {
			return err
		}
		if strings.HasPrefix(line, "PLAY") {
			return nil
		}
	}
}

package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rawViewer speaks RTSP by hand, so that a test sees each byte and each status
// and can do what no good player does.
type rawViewer struct {
	conn    net.Conn
	in      *bufio.Reader
	url     string
	auth    string
	seq     int
	session string
	udp     [2]net.PacketConn // RTP and RTCP
}

// response is what the door answers.
type response struct {
	status int
	header textproto.MIMEHeader
	body   string
}

func dialRaw(addr, path, key string) (*rawViewer, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	v := &rawViewer{conn: conn, in: bufio.NewReader(conn), url: "rtsp://" + addr + path}
	if key != "" {
		v.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(key))
	}
	return v, nil
}

func (v *rawViewer) close() {
	v.conn.Close()
	for _, pc := range v.udp {
		if pc != nil {
			pc.Close()
		}
	}
}

func (v *rawViewer) do(method, url string, headers ...string) (*response, error) {
	v.seq++
	req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, v.seq)
	if v.auth != "" {
		req += "Authorization: " + v.auth + "\r\n"
	}
	if v.session != "" {
		req += "Session: " + v.session + "\r\n"
	}
	for _, h := range headers {
		req += h + "\r\n"
	}
	_ = v.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(v.conn, req+"\r\n"); err != nil {
		return nil, err
	}
	return v.response()
}

// response reads the next response; interleaved packets before it are dropped.
func (v *rawViewer) response() (*response, error) {
	for {
		b, err := v.in.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != '$' {
			break
		}
		if _, err := v.packet(); err != nil {
			return nil, err
		}
	}
	tp := textproto.NewReader(v.in)
	line, err := tp.ReadLine()
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(line, " ", 3)
	if len(parts) < 2 || parts[0] != "RTSP/1.0" {
		return nil, fmt.Errorf("%q is no RTSP response", line)
	}
	r := &response{}
	if r.status, err = strconv.Atoi(parts[1]); err != nil {
		return nil, err
	}
	if r.header, err = tp.ReadMIMEHeader(); err != nil {
		return nil, err
	}
	if n, _ := strconv.Atoi(r.header.Get("Content-Length")); n > 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(v.in, body); err != nil {
			return nil, err
		}
		r.body = string(body)
	}
	if s := r.header.Get("Session"); s != "" {
		v.session, _, _ = strings.Cut(s, ";")
	}
	return r, nil
}

// packet reads one interleaved packet.
func (v *rawViewer) packet() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(v.in, head[:]); err != nil {
		return nil, err
	}
	if head[0] != '$' {
		return nil, fmt.Errorf("byte %#x begins no interleaved packet", head[0])
	}
	body := make([]byte, int(head[2])<<8|int(head[3]))
	_, err := io.ReadFull(v.in, body)
	return body, err
}

func (v *rawViewer) describe() (*response, error) {
	return v.do("DESCRIBE", v.url, "Accept: application/sdp")
}

// setup sets up the first media. The transport is "tcp" or "udp".
func (v *rawViewer) setup(sdp, transport string) (*response, error) {
	control := ""
	for _, line := range strings.Split(sdp, "\r\n") {
		if value, ok := strings.CutPrefix(line, "a=control:"); ok && value != "*" {
			control = value
			break
		}
	}
	if control == "" {
		return nil, errors.New("the SDP has no control attribute")
	}
	if !strings.HasPrefix(control, "rtsp://") {
		control = v.url + "/" + control
	}
	header := "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
	if transport == "udp" {
		ports, err := v.listenUDP()
		if err != nil {
			return nil, err
		}
		header = fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", ports, ports+1)
	}
	return v.do("SETUP", control, header)
}

func (v *rawViewer) listenUDP() (int, error) {
	for range 50 {
		a, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		b, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port+1))
		if port%2 == 0 && err == nil {
			v.udp = [2]net.PacketConn{a, b}
			return port, nil
		}
		a.Close()
		if b != nil {
			b.Close()
		}
	}
	return 0, errors.New("no two free UDP ports")
}

func (v *rawViewer) play() (*response, error) { return v.do("PLAY", v.url, "Range: npt=0.000-") }

// watch goes through DESCRIBE, SETUP and PLAY; the status is that of the first
// request that is refused, or 200.
func (v *rawViewer) watch(transport string) (int, error) {
	r, err := v.describe()
	if err != nil || r.status != 200 {
		return status(r), err
	}
	r, err = v.setup(r.body, transport)
	if err != nil || r.status != 200 {
		return status(r), err
	}
	r, err = v.play()
	return status(r), err
}

func status(r *response) int {
	if r == nil {
		return 0
	}
	return r.status
}

// watching starts a raw viewer that plays; the test fails if it may not.
func watching(t testing.TB, addr, path, key, transport string) *rawViewer {
	t.Helper()
	v, err := dialRaw(addr, path, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	if code, err := v.watch(transport); code != 200 {
		t.Fatalf("watching %s over %s: status %d, %v", path, transport, code, err)
	}
	return v
}

// describeStatus asks for a path once and answers the status.
func describeStatus(t testing.TB, addr, path, key string) int {
	t.Helper()
	v, err := dialRaw(addr, path, key)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	r, err := v.describe()
	if err != nil {
		t.Fatalf("DESCRIBE %s: %v", path, err)
	}
	return r.status
}
